"""Sizes and training of the latency predictor of whole networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nasplug.predictors.features.operators import operator_kinds
from nasplug.predictors.training.config import TrainingConfig
from nasplug.search_spaces import Graph

__all__ = ["NetworkLatencyConfig", "common_kinds", "split_groups"]

# Kinds of operators that fewer networks have are left to what is common to all.
FEWEST_NETWORKS = 5


@dataclass(frozen=True)
class NetworkLatencyConfig:
    """Sizes and training of a `NetworkLatency`.

    Attributes:
        members: Networks in the ensemble.
        text: Whether the description of a device is read as text, too.
        heads: Whether measured columns have `ColumnCorrections`.
        costs: Share of `LaunchCosts` in what is said of a network unlike those measured on a
            column; 0 to do without.
        similar: Share of the measured columns that an unknown one is like in what is said of it.
        smallest_ms: Latencies below are degenerate measurements and are left out, in ms.
        calibration_share: Share of each group's graphs kept for calibration.
        validation_share: Share of the rest that chooses each member's epoch.
        training: How each member is trained; member k has `seed + k`.
        options: Fields of `RooflineTransformerConfig` that differ from the usual ones.
    """

    members: int = 1
    text: bool = True
    heads: bool = True
    costs: float = 0.5
    similar: float = 0.75
    smallest_ms: float = 0.1
    calibration_share: float = 0.15
    validation_share: float = 0.05
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            epochs=30,
            batch_size=8,
            learning_rate=4e-3,
            weight_decay=0.01,
            rank_weight=0.0,
            device_dropout=0.3,
            columns_a_step=8,
            loss="robust",
        )
    )
    options: Mapping[str, Any] = field(default_factory=dict)


def split_groups(
    names: Sequence[str], config: NetworkLatencyConfig
) -> tuple[list[int], list[int], list[int]]:
    """Positions to learn from, to choose the epoch by, and to calibrate on; of each group."""
    learn: list[int] = []
    check: list[int] = []
    hold: list[int] = []
    for name in dict.fromkeys(names):
        own = [k for k, other in enumerate(names) if other == name]
        held = round(config.calibration_share * len(own))
        checked = max(1, round(config.validation_share * (len(own) - held)))
        rest = len(own) - held - checked
        learn += own[:rest]
        check += own[rest : rest + checked]
        hold += own[rest + checked :]
    return learn, check, hold


def common_kinds(graphs: Sequence[Graph]) -> tuple[str, ...]:
    """Kinds of operators that several networks have."""
    counts: dict[str, int] = {}
    for graph in graphs:
        for kind in set(operator_kinds(graph)):
            counts[kind] = counts.get(kind, 0) + 1
    return tuple(sorted(kind for kind, count in counts.items() if count >= FEWEST_NETWORKS))
