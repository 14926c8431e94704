"""Expected improvement of values and of the dominated hypervolume, in closed form.

All functions minimise: negate an objective that is to be maximised. Two objectives at most.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from nasplug.arrays import Array, Mask
from nasplug.pareto import staircase

__all__ = [
    "expected_hypervolume_improvement",
    "expected_improvement",
    "screened_hypervolume_improvement",
]

# Candidates whose hypervolume improvement is computed, and standard deviations by which they are
# hoped to be better than expected when they are chosen.
SCREENED = 1_500
OPTIMISM = 1.5


def _expected_below(level: Array, mean: Array, std: Array) -> Array:
    """E[(level − Y)+] for Y normal; the plain positive part where std is 0. Shapes broadcast."""
    gap = level - mean
    if not std.any():
        return np.maximum(gap, 0.0)
    safe = np.where(std > 0, std, 1.0)
    z = gap / safe
    density = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    smooth = gap * ndtr(z) + safe * density
    return np.maximum(np.where(std > 0, smooth, gap), 0.0)


def expected_improvement(mean: Array, std: Array, best: float) -> Array:
    """Expected improvement of one objective over the smallest value so far, `(n,)`, ≥ 0.

    Where the standard deviation is 0 the result is the plain improvement.
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
    steps = staircase(front, reference)
    right = np.append(steps[:, 0], reference[0])  # (k + 1,) right edges of the strips
    ceiling = np.concatenate([[reference[1]], steps[:, 1]])  # (k + 1,)
    rows: slice | Mask = slice(None)
    if not std.any():
        # Most of many candidates are known to add nothing.
        strip = np.searchsorted(steps[:, 0], mean[:, 0], side="right")
        rows = (mean[:, 0] < reference[0]) & (mean[:, 1] < ceiling[strip])
    reach = _expected_below(right[None, :], mean[rows, :1], std[rows, :1])  # (n, k + 1)
    width = np.diff(reach, axis=1, prepend=0.0)
    height = _expected_below(ceiling[None, :], mean[rows, 1:], std[rows, 1:])
    result = np.zeros(len(mean))
    result[rows] = (np.maximum(width, 0.0) * height).sum(axis=1)
    return result


def screened_hypervolume_improvement(
    mean: Array, std: Array, front: Array, reference: Array
) -> Array:
    """`expected_hypervolume_improvement` of the candidates that may have the largest, 0 of others.

    A candidate counts by what it adds if it turns out `OPTIMISM` standard deviations better than
    expected in both objectives; the `SCREENED` best by that are worked out.
    """
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    reference = np.asarray(reference, np.float64)
    hoped = mean - OPTIMISM * std
    steps = staircase(front, reference)
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
