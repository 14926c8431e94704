"""Measured networks of several groups: which of them a predictor learns, and their operators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from nasplug.predictors.features.operators import operator_kinds
from nasplug.search_spaces import Graph, InputError

__all__ = ["chosen", "common_kinds", "split_groups"]

# Kinds of operators that fewer networks have are left to what is common to all.
FEWEST_NETWORKS = 5


class Shares(Protocol):
    """Shares of networks that are not learned."""

    @property
    def calibration_share(self) -> float:
        """Share of each group's graphs kept for calibration."""

    @property
    def validation_share(self) -> float:
        """Share of the rest that chooses each member's epoch."""


def split_groups(names: Sequence[str], config: Shares) -> tuple[list[int], list[int], list[int]]:
    """Positions to learn from, to choose the epoch by, and to calibrate on; of each group.

    Raises:
        InputError: If one of these is empty.
    """
    learn: list[int] = []
    check: list[int] = []
    hold: list[int] = []
    for name in dict.fromkeys(names):
        group = [k for k, other in enumerate(names) if other == name]
        kept = len(group) - round(config.calibration_share * len(group))
        learned = kept - max(1, round(config.validation_share * kept))
        learn += group[:learned]
        check += group[learned:kept]
        hold += group[kept:]
    if not (learn and check and hold):
        raise InputError(f"{len(names)} graphs are too few to train and calibrate on")
    return learn, check, hold


def chosen(
    rows: Sequence[int], graphs: Sequence[Graph], groups: Sequence[str]
) -> tuple[list[Graph], list[str]]:
    """Networks at some positions, and their groups."""
    return [graphs[k] for k in rows], [groups[k] for k in rows]


def common_kinds(graphs: Sequence[Graph]) -> tuple[str, ...]:
    """Kinds of operators that several networks have."""
    counts = Counter(kind for graph in graphs for kind in set(operator_kinds(graph)))
    return tuple(sorted(kind for kind, count in counts.items() if count >= FEWEST_NETWORKS))
