"""Progress of a study after each trial: its best value, or the hypervolume it dominates.

Shapes: `n` trials with finite values, in order of their numbers; `m` objectives.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nasplug.pareto import hypervolume, reference_point
from nasplug.search_spaces import InputError
from nasplug.studies.values import StudyValues

__all__ = ["best_so_far", "hypervolume_so_far", "reference_of"]

Array = NDArray[np.float64]


def best_so_far(values: StudyValues) -> Array:
    """Best feasible value after each trial of a study with one objective, `(n,)`.

    It is NaN before the first feasible trial.
    """
    losses = np.where(values.feasible, values.losses[:, 0], np.inf)
    best = np.minimum.accumulate(losses)
    return np.where(np.isfinite(best), best * values.sign[0], np.nan)


def hypervolume_so_far(values: StudyValues, reference: Array) -> Array:
    """Hypervolume that the feasible trials dominate after each trial, `(n,)`.

    Args:
        values: Trials of a study with several objectives.
        reference: Point at which the hypervolume ends, `(m,)`, in the units of the values.
    """
    end = reference * values.sign
    volumes, last, front = [], 0.0, np.empty((0, len(end)))
    for loss, feasible in zip(values.losses, values.feasible, strict=True):
        # Most trials are dominated and change nothing.
        if feasible and not (front <= loss).all(axis=1).any():
            if (loss < end).all():
                # The box of the trial, without the share of it that is dominated already.
                shared = hypervolume(np.maximum(front, loss), end)
                last += float(np.prod(end - loss)) - shared
            front = np.vstack([front[~(loss <= front).all(axis=1)], loss])
        volumes.append(last)
    return np.array(volumes)


def reference_of(sets: Sequence[StudyValues | Array], sign: Array) -> Array:
    """`reference_point` of all points, in the units of the values, `(m,)`.

    Args:
        sets: Studies, whose feasible trials count; or points of shape `(k, m)`.
        sign: Factors that turn values into losses, `(m,)`.

    Raises:
        InputError: If no trial is feasible.
    """
    parts = [s.values[s.feasible] if isinstance(s, StudyValues) else s for s in sets]
    losses = np.concatenate(parts) * sign
    if not len(losses):
        raise InputError("no trial meets all constraints yet, so there is no hypervolume")
    return reference_point(losses) * sign
