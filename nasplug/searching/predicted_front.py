"""The Pareto front of a search by prediction, which is known before its trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from nasplug.arrays import Array
from nasplug.candidates.candidates import Candidates
from nasplug.objectives import Objective
from nasplug.pareto import pareto_mask
from nasplug.results.result import DIGITS

__all__ = ["PredictedFront"]


class PredictedFront:
    """The non-dominated feasible predictions of all candidates that compete.

    Values are compared as they are shown, since the digits beyond differ between machines.

    Args:
        candidates: The scored candidates.
        objectives: Objectives of the search, in the order of its trials' values.
    """

    def __init__(self, candidates: Candidates, objectives: Sequence[Objective]) -> None:
        competing = np.zeros(len(candidates), np.bool_)
        competing[candidates.competing] = True
        # Of architectures with one function the sampler proposes the cheapest.
        feasible = candidates.cheapest(competing & candidates.feasible)
        means = candidates.means([objective.name for objective in objectives])[feasible]
        shown = np.round(means, DIGITS)
        sign = np.array([objective.sign for objective in objectives])
        self._points = set(_points(shown[pareto_mask(shown * sign)]))

    def __len__(self) -> int:
        return len(self._points)

    def missing(self, values: Iterable[Sequence[float]]) -> int:
        """Number of the front's points that are not among values of trials."""
        return len(self._points.difference(_points(np.array([*values]))))


def _points(values: Array) -> list[tuple[float, ...]]:
    return [tuple(row) for row in np.round(values, DIGITS).tolist()]
