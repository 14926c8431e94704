"""Trials of architectures, as the choice of the next one reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nasplug.search_spaces import Architecture

__all__ = ["Tried"]


@dataclass(frozen=True, eq=False)
class Tried:
    """A trial of an architecture.

    Attributes:
        arch: The architecture.
        losses: The trial's values as losses; None while it runs, or if it has none. Those of a
            pruned trial are estimates, once `estimated_finals` has made them.
        violations: Name of a constraint to the distance by which the trial misses it.
        runs: Whether it is under way.
        outside: Whether each loss lay outside of the interval announced for it; None without any.
        failed: Whether it failed.
        curve: Step to the loss that the trial reported there, in a study of one value.
        others: Parameters of the trial that are not the space's, by name.
        noise: Variance of an estimated loss around the one that the trial would have had, in units
            of the variance of all losses; 0 of a measured one.
        pruned: Whether its loss is an estimate.
    """

    arch: Architecture
    losses: tuple[float, ...] | None
    violations: Mapping[str, float]
    runs: bool
    outside: tuple[bool, ...] | None = None
    failed: bool = False
    curve: Mapping[int, float] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)
    noise: float = 0.0
    pruned: bool = False

    @property
    def missed(self) -> float:
        """Sum of the distances by which constraints are missed."""
        return sum(max(value, 0.0) for value in self.violations.values())
