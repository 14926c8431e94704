"""Trials of architectures, as the choice of the next one reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nasplug.search_spaces import Architecture

__all__ = ["Tried"]


@dataclass(frozen=True, eq=False)
class Tried:
    """A trial of an architecture.

    Attributes:
        arch: The architecture.
        losses: The trial's values as losses; None while it runs, or if it has none.
        violations: Name of a constraint to the distance by which the trial misses it.
        runs: Whether it is under way.
        outside: Whether each loss lay outside of the interval announced for it; None without any.
    """

    arch: Architecture
    losses: tuple[float, ...] | None
    violations: Mapping[str, float]
    runs: bool
    outside: tuple[bool, ...] | None = None

    @property
    def missed(self) -> float:
        """Sum of the distances by which constraints are missed."""
        return sum(max(value, 0.0) for value in self.violations.values())
