"""A trial of an architecture as a choice sees it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from nasplug.search_spaces import Architecture

__all__ = ["Tried", "held_twice"]


@dataclass(frozen=True, eq=False)
class Tried:
    """A trial of an architecture.

    Attributes:
        arch: The architecture.
        losses: The trial's values as losses; None while it runs, or if it has none.
        violations: Name of a constraint to how far the trial misses it.
        runs: Whether it is under way.
        outside: Of each loss whether it lay outside of the interval announced before the trial;
            None if none was.
    """

    arch: Architecture
    losses: tuple[float, ...] | None
    violations: Mapping[str, float]
    runs: bool
    outside: tuple[bool, ...] | None = None

    @property
    def missed(self) -> float:
        """By how much all limits together are missed."""
        return sum(max(value, 0.0) for value in self.violations.values())


def held_twice(failed: Collection[str]) -> set[str]:
    """What failed more than once, and is not tried again."""
    seen: set[str] = set()
    twice: set[str] = set()
    for one in failed:
        (twice if one in seen else seen).add(one)
    return twice
