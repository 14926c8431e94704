"""Loops of imported networks: trips that cost the same, put together in a network of many steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from nasplug.search_spaces.importers.steps import Step

__all__ = ["Loop", "trips_together"]


@dataclass(frozen=True)
class Loop:
    """Loop of a model that is read as the steps of all its trips.

    Attributes:
        label: The loop, for an error message.
        trips: Positions of the first step of each trip and of the one after its last.
    """

    label: str
    trips: list[tuple[int, int]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The loop and its trips, for an error message."""
        return f"{self.label} unrolled to {len(self.trips):,} trips"


def trips_together(steps: Sequence[Step], loops: Sequence[Loop], most: int) -> list[Step]:
    """Let the steps of a trip stand for those of the trips after it that cost the same.

    Such a step has as many elements as those that it stands for. What reads a later trip reads the
    one that stands for it.

    Args:
        steps: Steps of a network.
        loops: Loops among them, none inside of another.
        most: Trips that one of them may stand for.

    Returns:
        The steps, of which some are no longer read.
    """
    position = list(range(len(steps)))
    times = [1] * len(steps)
    for loop in loops:
        first, count = (0, 0), most
        for start, end in loop.trips:
            if count < most and _same(steps, first, (start, end)):
                count += 1
                position[start:end] = range(*first)
            else:
                first, count = (start, end), 1
            times[slice(*first)] = [count] * (first[1] - first[0])
    result = []
    for k, step in enumerate(steps):
        shape = step.shape
        if times[k] > 1 and position[k] == k:
            shape = (times[k] * shape[0], *shape[1:]) if shape else (times[k],)
        # A trip reads the state of the one before it, which may be put together with it.
        inputs = tuple(source for source in (position[s] for s in step.inputs) if source < k)
        result.append(replace(step, shape=shape, inputs=inputs))
    return result


def _same(steps: Sequence[Step], first: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether the steps of two trips cost the same."""
    if first[1] - first[0] != other[1] - other[0]:
        return False
    pairs = zip(steps[slice(*first)], steps[slice(*other)], strict=True)
    return all(_costs(one) == _costs(two) for one, two in pairs)


def _costs(step: Step) -> Step:
    """The step without what it reads, and without its numbers."""
    return replace(step, inputs=(), number=(), parameters=())
