"""Pareto fronts, hypervolume and expected improvement, in closed form.

All functions minimise: negate an objective that is to be maximised. Two objectives at most.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

__all__ = [
    "contributions",
    "expected_hypervolume_improvement",
    "expected_improvement",
    "hypervolume",
    "pareto_mask",
    "screened_hypervolume_improvement",
]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Candidates whose hypervolume improvement is worked out, and how optimistic the choice of them is.
SCREENED = 1_500
OPTIMISM = 1.5


def pareto_mask(values: Array) -> Mask:
    """Which points no other point dominates.

    A point dominates another if it is nowhere larger and somewhere smaller. Equal points do not
    dominate each other, so duplicates of a non-dominated point are all kept. A point with a NaN is
    never kept and dominates nothing.

    Args:
        values: Points, shape `(n, m)` with m = 1 or 2.

    Returns:
        Shape `(n,)`.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or values.shape[1] not in (1, 2):
        raise ValueError(f"points of shape {values.shape}; expected (n, 1) or (n, 2)")
    mask: Mask = np.asarray(~np.isnan(values).any(axis=1))
    if not mask.any():
        return mask
    points, place = np.unique(values[mask], axis=0, return_inverse=True)
    if points.shape[1] == 1:
        kept = np.arange(len(points)) == 0
    else:
        # Distinct points in lexicographic order: an earlier one dominates iff its y is not larger.
        before = np.minimum.accumulate(points[:, 1])[:-1]
        kept = np.concatenate([[True], points[1:, 1] < before])
    mask[mask] = kept[place.reshape(-1)]
    return mask


def _staircase(front: Array, reference: Array) -> Array:
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
    steps = _staircase(points, np.asarray(reference, np.float64))
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
    steps = _staircase(points, np.asarray(reference, np.float64))
    right = np.append(steps[1:, 0], reference[0])
    above = np.concatenate([[reference[1]], steps[:-1, 1]])
    area = (right - steps[:, 0]) * (above - steps[:, 1])
    result = np.zeros(len(points))
    for step, value in zip(steps, area, strict=True):
        same = np.flatnonzero((points == step).all(axis=1))
        if len(same) == 1:
            result[same] = value
    return result


def _expected_below(level: Array, mean: Array, std: Array) -> Array:
    """E[(level − Y)+] for Y normal; the plain positive part where std is 0. Shapes broadcast."""
    gap = level - mean
    if not std.any():
        return np.maximum(gap, 0.0)
    safe = np.where(std > 0, std, 1.0)
    z = gap / safe
    density = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    smooth = gap * ndtr(z) + safe * density
    result: Array = np.maximum(np.where(std > 0, smooth, gap), 0.0)
    return result


def expected_improvement(mean: Array, std: Array, best: float) -> Array:
    """Expected improvement of one objective over the best value so far.

    Args:
        mean: Means, shape `(n,)`.
        std: Standard deviations, shape `(n,)`; where it is 0 the result is the plain improvement.
        best: The smallest value observed.

    Returns:
        Shape `(n,)`, not negative.
    """
    return _expected_below(np.asarray(best), np.asarray(mean), np.asarray(std))


def expected_hypervolume_improvement(
    mean: Array, std: Array, front: Array, reference: Array
) -> Array:
    """Exact expected hypervolume improvement of candidates with two independent normal objectives.

    Between two neighbours of the front the dominated region has a flat ceiling, so the area that a
    point Y adds is a sum over strips, `Σᵢ |[Y₁, aᵢ₊₁] ∩ strip i| · (bᵢ − Y₂)+`, and by independence
    the expectation of each term is a product of one-dimensional ones.

    Args:
        mean: Means, shape `(n, 2)`.
        std: Standard deviations, shape `(n, 2)`; where both are 0 the result is the plain
            hypervolume improvement.
        front: Points observed so far, shape `(k, 2)`, k ≥ 0; dominated ones do no harm.
        reference: Shape `(2,)`; nothing beyond it counts.

    Returns:
        Shape `(n,)`, not negative.
    """
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    reference = np.asarray(reference, np.float64)
    steps = _staircase(front, reference)
    right = np.append(steps[:, 0], reference[0])  # (k + 1,) right edges of the strips
    ceiling = np.concatenate([[reference[1]], steps[:, 1]])  # (k + 1,)
    reach = _expected_below(right[None, :], mean[:, :1], std[:, :1])  # (n, k + 1)
    width = np.diff(reach, axis=1, prepend=0.0)
    height = _expected_below(ceiling[None, :], mean[:, 1:], std[:, 1:])
    result: Array = (np.maximum(width, 0.0) * height).sum(axis=1)
    return result


def screened_hypervolume_improvement(
    mean: Array, std: Array, front: Array, reference: Array
) -> Array:
    """`expected_hypervolume_improvement` of the candidates that may have the largest, 0 of others.

    A candidate counts by what it adds if it turns out `OPTIMISM` standard deviations better than
    expected in both objectives; the `SCREENED` best by that are worked out.

    Args:
        mean: Means, shape `(n, 2)`.
        std: Standard deviations, shape `(n, 2)`.
        front: Points observed so far, shape `(k, 2)`.
        reference: Shape `(2,)`.

    Returns:
        Shape `(n,)`, not negative.
    """
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    reference = np.asarray(reference, np.float64)
    hoped = mean - OPTIMISM * std
    steps = _staircase(front, reference)
    right = np.append(steps[:, 0], reference[0])
    ceiling = np.concatenate([[reference[1]], steps[:, 1]])
    added, left = np.zeros(len(mean)), hoped[:, 0]
    for edge, top in zip(right, ceiling, strict=True):
        width = np.maximum(edge - left, 0.0)
        added += width * np.maximum(top - hoped[:, 1], 0.0)
        left = np.maximum(left, edge)
    chosen = np.flatnonzero(added > 0)
    if len(chosen) > SCREENED:
        chosen = chosen[np.argsort(-added[chosen], kind="stable")[:SCREENED]]
    result = np.zeros(len(mean))
    result[chosen] = expected_hypervolume_improvement(mean[chosen], std[chosen], front, reference)
    return result
