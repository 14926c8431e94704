"""Pareto fronts of points to be minimised: dominance, hypervolume, points that extend a front.

All functions minimise: negate an objective that is to be maximised.

Notation: n points of m objectives are rows, `(n, m)`. A front is the set of points that no other
point dominates. Volumes lie below a reference point r. With two objectives a staircase is the front
sorted by its first objective, so that step i covers the rectangle from its point (x_i, y_i) up to
(x_{i+1} or r_0, y_{i−1} or r_1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nasplug.arrays import Array, Indices, Mask

__all__ = [
    "SAMPLE",
    "contributions",
    "hypervolume",
    "hypervolume_of",
    "improving_points",
    "pareto_mask",
    "reference_point",
    "smallest",
    "staircase",
]

# Points of which the front is found first, where there are many.
SAMPLE = 1_000
# Distance of a reference point beyond a front's worst values, as a share of the front's extent.
BEYOND = 0.1


def pareto_mask(values: Array) -> Mask:
    """Mask of the points that no other point dominates.

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
        raise ValueError(f"the points have shape {values.shape}; expected (n, m) with m ≥ 1")
    # Column by column, which is several times as fast as along rows of two.
    mask: Mask = ~np.logical_or.reduce([np.isnan(column) for column in values.T])
    if not mask.any():
        return mask
    if values.shape[1] > 1 and len(values) > 2 * SAMPLE:
        # The front of a sample dominates most points, without an order of all of them.
        sample = values[mask][:: len(values) // SAMPLE]
        front = np.unique(sample[pareto_mask(sample)], axis=0)
        if values.shape[1] == 2:
            mask &= ~_is_dominated(values, front)
        for point in front if values.shape[1] > 2 else ():
            left = values[mask]
            mask[mask] = ~((point <= left).all(axis=1) & (point < left).any(axis=1))
    points = values[mask]
    if points.shape[1] == 2:
        mask[mask] = _front_of_two(points)
        return mask
    points, row_of_point = np.unique(points, axis=0, return_inverse=True)
    is_first = np.arange(len(points)) == 0
    non_dominated = is_first if points.shape[1] == 1 else _front_of_many(points)
    mask[mask] = non_dominated[row_of_point.reshape(-1)]
    return mask


def _front_of_many(points: Array) -> Mask:
    """`pareto_mask` of distinct points with three or more objectives."""
    # Whatever a point of the least sum of ranks dominates is gone before it is compared itself.
    ranks = np.argsort(np.argsort(points, axis=0, kind="stable"), axis=0, kind="stable")
    left = np.argsort(ranks.sum(axis=1), kind="stable")
    columns = [column.copy() for column in points.T]
    result = np.zeros(len(points), np.bool_)
    while len(left):
        first, left = left[0], left[1:]
        result[first] = True
        # No later one dominates it: that one would have a smaller sum.
        worse = np.logical_and.reduce([column[first] <= column[left] for column in columns])
        left = left[~worse]
    return result


def _front_of_two(points: Array) -> Mask:
    """`pareto_mask` of two objectives, without NaN, at least one point."""
    order = np.lexsort((points[:, 1], points[:, 0]))
    x, y = points[order].T
    # In this order an earlier point dominates another one iff its y is not larger.
    lowest = np.concatenate([[np.inf], np.minimum.accumulate(y)[:-1]])
    is_new = np.concatenate([[True], (x[1:] != x[:-1]) | (y[1:] != y[:-1])])
    of_first = (y < lowest) | (np.arange(len(y)) == 0)
    result = np.empty(len(points), np.bool_)
    result[order] = of_first[is_new][np.cumsum(is_new) - 1]
    return result


def _is_dominated(points: Array, front: Array) -> Mask:
    """Whether a point of a sorted front has a smaller first value and no larger second one."""
    before = np.searchsorted(front[:, 0], points[:, 0])
    result: Mask = front[before - 1, 1] <= points[:, 1]
    result[before == 0] = False
    return result


def staircase(front: Array, reference: Array) -> Array:
    """Sort the distinct non-dominated points strictly below the reference, first objective up."""
    front = np.asarray(front, np.float64).reshape(-1, 2)
    front = front[(front < reference).all(axis=1)]
    return np.unique(front[pareto_mask(front)], axis=0)


def hypervolume(points: Array, reference: Array) -> float:
    """Volume that the points dominate, up to the reference point; an area for two objectives.

    Args:
        points: Shape `(n, m)`, m ≥ 2; points that do not lie strictly below the reference add
            nothing.
        reference: Shape `(m,)`.
    """
    reference = np.asarray(reference, np.float64)
    if len(reference) > 2:
        points = np.asarray(points, np.float64).reshape(-1, len(reference))
        below = points[(points < reference).all(axis=1)]
        front = np.unique(below[pareto_mask(below)], axis=0)
        return _hypervolume_of_many(front[np.argsort(front[:, -1], kind="stable")], reference)
    steps = staircase(points, reference)
    ceiling = np.concatenate([[reference[1]], steps[:-1, 1]])
    return float(((reference[0] - steps[:, 0]) * (ceiling - steps[:, 1])).sum())


def reference_point(points: Array) -> Array:
    """Point a tenth of the front's extent beyond the worst values of the front, `(m,)`.

    An objective in which the front has no extent, as that of a single point, ends a tenth of its
    size beyond.

    Args:
        points: Shape `(n, m)` with n ≥ 1; only the front among them counts.
    """
    front = points[pareto_mask(points)]
    worst, extent = front.max(axis=0), np.ptp(front, axis=0)
    extent = np.where(extent > 0, extent, np.maximum(np.abs(worst), 1e-9))
    return np.asarray(worst + BEYOND * extent)


def hypervolume_of(names: Sequence[str], values: Array, sign: Array) -> dict[str, Any] | None:
    """The hypervolume up to `reference_point`, for JSON; None for one objective or no point.

    Args:
        names: Names of the objectives, length m.
        values: Values, some to be maximised, `(n, m)`.
        sign: Factors that turn values into losses, `(m,)`.

    Returns:
        `"value"`, and `"reference"` with a value for each name.
    """
    if len(names) < 2 or not len(values):
        return None
    losses = np.asarray(values * sign, np.float64)
    end = reference_point(losses)
    reference = dict(zip(names, (end * sign).tolist(), strict=True))
    return {"value": hypervolume(losses, end), "reference": reference}


def _hypervolume_of_many(front: Array, reference: Array) -> float:
    """`hypervolume` of a front of three or more objectives, sorted by its last one.

    A slab between two levels of the last objective is as large as the front of all points below it.
    """
    thickness = np.diff(np.append(front[:, -1], reference[-1]))
    points, end = front[:, :-1], reference[:-1]
    if len(end) > 3:
        slabs = np.array([hypervolume(points[: k + 1], end) for k in range(len(points))])
    else:
        slabs = _growing_volumes(points, end)
    return float(thickness @ slabs)


def _growing_volumes(points: Array, reference: Array) -> Array:
    """Volume that the first k of n points of two or three objectives dominate, for each k, `(n,)`.

    A grid over all objectives but the last one holds the dominated depth in that one.
    """
    axes = [np.unique(column, return_inverse=True) for column in points[:, :-1].T]
    widths = [np.diff(np.append(axis, r)) for (axis, _), r in zip(axes, reference, strict=False)]
    depth = np.zeros([len(width) for width in widths])
    volumes = np.empty(len(points))
    corners = np.stack([place.reshape(-1) for _, place in axes], axis=1).tolist()
    for k, corner in enumerate(corners):
        part = depth[tuple(slice(first, None) for first in corner)]
        np.maximum(part, reference[-1] - points[k, -1], out=part)
        volume = depth
        for width in reversed(widths):
            volume = volume @ width
        volumes[k] = volume
    return volumes


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
        equal = np.flatnonzero((points == step).all(axis=1))
        if len(equal) == 1:
            result[equal] = value
    return result


def smallest(values: Array, count: int) -> Indices:
    """Positions of the `count` smallest values, ascending; equal values keep their order."""
    if count < len(values):
        # Sorting all values would be the slowest part of a trial.
        rows = np.flatnonzero(values <= np.partition(values, count)[count])
    else:
        rows = np.arange(len(values))
    return np.asarray(rows[np.argsort(values[rows], kind="stable")[:count]])


def improving_points(known: Array, values: Array, count: int) -> Indices:
    """Select the points most likely to extend a front, without sorting all candidates.

    No known point dominates a selected one; points farthest beyond the known front come first. With
    two objectives, the best point of every step of the known front comes before the second best of
    any step, so that the selection covers the whole front.

    Args:
        known: Points to be minimised, `(k, m)` with k ≥ 1.
        values: Candidates, `(n, m)`.
        count: Largest number of points to select.

    Returns:
        Positions of the selected candidates.
    """
    front = np.unique(known[pareto_mask(known)], axis=0)
    if values.shape[1] == 1:
        rows = smallest(values[:, 0], count)
        result: Indices = rows[values[rows, 0] < front[0, 0]]
        return result
    if values.shape[1] > 2:
        return _beyond(front, values, count)
    # The step of the front that a point lies below, and its distance in units of the front's range.
    step = np.searchsorted(front[:, 0], values[:, 0], side="right") - 1
    height = np.where(step >= 0, front[step, 1], np.inf)
    better = np.flatnonzero(height > values[:, 1])
    height_range = float(np.ptp(front[:, 1])) or 1.0
    gain, step = np.minimum((height - values[:, 1])[better] / height_range, 1.0), step[better]
    rows_by_step, ranks = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    for k in np.unique(step):
        of_step = np.flatnonzero(step == k)
        rows_by_step.append(of_step[smallest(-gain[of_step], count)])
        ranks.append(np.arange(len(rows_by_step[-1])))
    rows = np.concatenate(rows_by_step)
    order = np.lexsort((-gain[rows], np.concatenate(ranks)))[:count]
    return np.asarray(better[rows[order]])


def _beyond(front: Array, values: Array, count: int) -> Indices:
    """`improving_points` of three or more objectives: the farthest beyond every known point.

    The distance to a known point is the largest gain in an objective, in units of its range.
    """
    extent = np.ptp(front, axis=0)
    scale = np.where(extent > 0, extent, 1.0)
    gain = np.full(len(values), np.inf)
    # Column by column, which is several times as fast as along rows of three.
    columns = [np.ascontiguousarray(column) for column in values.T]
    for point in front:
        apart = (point[0] - columns[0]) / scale[0]
        for k in range(1, len(columns)):
            np.maximum(apart, (point[k] - columns[k]) / scale[k], out=apart)
        np.minimum(gain, apart, out=gain)
    rows = smallest(-gain, count)
    return np.asarray(rows[gain[rows] > 0])
