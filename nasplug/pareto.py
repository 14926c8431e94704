"""Pareto fronts of points to be minimised: dominance, hypervolume, points that extend a front.

All functions minimise: negate an objective that is to be maximised. Points are rows, `(n, m)`; the
area of a front is that of two objectives.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Array",
    "Mask",
    "contributions",
    "hypervolume",
    "improving_points",
    "pareto_mask",
    "smallest",
    "staircase",
]

Array = NDArray[np.float64]

Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]


def pareto_mask(values: Array) -> Mask:
    """Which points no other point dominates.

    A point dominates another if it is nowhere larger and somewhere smaller. Equal points do not
    dominate each other, so duplicates of a non-dominated point are all kept. A point with a NaN is
    never kept and dominates nothing.

    Args:
        values: Points, shape `(n, m)` with m ≥ 1.

    Returns:
        Shape `(n,)`.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or not values.shape[1]:
        raise ValueError(f"points of shape {values.shape}; expected (n, m), m ≥ 1")
    mask: Mask = np.asarray(~np.isnan(values).any(axis=1))
    if not mask.any():
        return mask
    points, place = np.unique(values[mask], axis=0, return_inverse=True)
    if points.shape[1] == 1:
        kept = np.arange(len(points)) == 0
    elif points.shape[1] > 2:
        # Distinct points: another one that is nowhere larger dominates.
        kept = np.array([(points <= point).all(axis=1).sum() == 1 for point in points])
    else:
        # Distinct points in lexicographic order: an earlier one dominates iff its y is not larger.
        before = np.minimum.accumulate(points[:, 1])[:-1]
        kept = np.concatenate([[True], points[1:, 1] < before])
    mask[mask] = kept[place.reshape(-1)]
    return mask


def staircase(front: Array, reference: Array) -> Array:
    """The distinct non-dominated points strictly below the reference, first objective ascending."""
    front = np.asarray(front, np.float64).reshape(-1, 2)
    front = front[(front < reference).all(axis=1)]
    return np.unique(front[pareto_mask(front)], axis=0)


def hypervolume(points: Array, reference: Array) -> float:
    """Area that the points dominate, up to the reference point.

    Args:
        points: Shape `(n, 2)`; those that do not lie strictly below the reference count nothing.
        reference: Shape `(2,)`.
    """
    steps = staircase(points, np.asarray(reference, np.float64))
    ceiling = np.concatenate([[reference[1]], steps[:-1, 1]])
    return float(((reference[0] - steps[:, 0]) * (ceiling - steps[:, 1])).sum())


def contributions(points: Array, reference: Array) -> Array:
    """Area that each point of the front dominates and no other point of the front does.

    Args:
        points: Shape `(n, 2)`. Dominated points and duplicates get 0 and take nothing from others.
        reference: Shape `(2,)`.

    Returns:
        Shape `(n,)`.
    """
    points = np.asarray(points, np.float64).reshape(-1, 2)
    steps = staircase(points, np.asarray(reference, np.float64))
    right = np.append(steps[1:, 0], reference[0])
    above = np.concatenate([[reference[1]], steps[:-1, 1]])
    area = (right - steps[:, 0]) * (above - steps[:, 1])
    result = np.zeros(len(points))
    for step, value in zip(steps, area, strict=True):
        same = np.flatnonzero((points == step).all(axis=1))
        if len(same) == 1:
            result[same] = value
    return result


def smallest(values: Array, count: int) -> Indices:
    """Positions of the smallest values, ascending, the first of equals first; at most `count`."""
    if count < len(values):
        # Sorting all would take longest of all that a trial does.
        rows = np.flatnonzero(values <= np.partition(values, count)[count])
    else:
        rows = np.arange(len(values))
    return np.asarray(rows[np.argsort(values[rows], kind="stable")[:count]])


def improving_points(known: Array, values: Array, count: int) -> Indices:
    """Select the points most likely to extend a front, without sorting all candidates.

    No known point dominates them; those that lie farthest beyond the known ones come first.

    With two objectives each step of the known front has its best before any has its second, so that
    the front is looked at along all of its length.

    Args:
        known: Points to be minimised, `(k, m)` with k ≥ 1 and m = 1 or 2.
        values: Others, `(n, m)`.
        count: How many, at most.

    Returns:
        Their positions.
    """
    front = np.unique(known[pareto_mask(known)], axis=0)
    if values.shape[1] == 1:
        rows = smallest(values[:, 0], count)
        return rows[values[rows, 0] < front[0, 0]]
    # The step of the front that a point would lie below, and how far, in units of the front.
    step = np.searchsorted(front[:, 0], values[:, 0], side="right") - 1
    height = np.where(step >= 0, front[step, 1], np.inf)
    better = np.flatnonzero(height > values[:, 1])
    reach = float(np.ptp(front[:, 1])) or 1.0
    gain, step = np.minimum((height - values[:, 1])[better] / reach, 1.0), step[better]
    chosen, turns = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    for k in np.unique(step):
        own = np.flatnonzero(step == k)
        chosen.append(own[smallest(-gain[own], count)])
        turns.append(np.arange(len(chosen[-1])))
    rows = np.concatenate(chosen)
    order = np.lexsort((-gain[rows], np.concatenate(turns)))[:count]
    return np.asarray(better[rows[order]])
