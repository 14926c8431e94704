"""Expected improvement of values and of the dominated hypervolume, in closed form.

All functions minimise: negate an objective that is to be maximised.

Notation: n candidates, k points of a front, m objectives.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from nasplug.arrays import Array
from nasplug.sampling.boxes import Boxes, boxes_beyond, proper_front, rows_beyond

__all__ = [
    "expected_hypervolume_improvement",
    "expected_improvement",
    "screened_hypervolume_improvement",
]

# Candidates whose hypervolume improvement is computed, and standard deviations by which they are
# hoped to be better than expected when they are chosen.
SCREENED = 1_500
OPTIMISM = 1.5
# Corners of the region by which candidates are chosen, at most; see `boxes_beyond`.
SCREENING_CORNERS = 200
# Candidates, and numbers of them times boxes, that are computed at once.
_TOGETHER, _BLOCK = 4_096, 65_536


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
    """Expected hypervolume improvement of candidates with independent normal objectives.

    The volume that a point Y adds is a sum over the disjoint boxes [l, u] that the front does not
    dominate, `Σ Πⱼ |[Yⱼ, ∞) ∩ [lⱼ, uⱼ]|`, and by independence the expectation of each term is a
    product of one-dimensional ones (Yang et al., 2019). With a front so large that its points are
    rounded (see `boxes_beyond`), the result lies between the exact one and that of a candidate that
    is worse by the step of the grid in all objectives; else it is exact.

    Args:
        mean: Means, shape `(n, m)`, m ≥ 2.
        std: Standard deviations, shape `(n, m)`; an objective without one is known, and if all are
            0 the result is the plain hypervolume improvement.
        front: Points observed so far, shape `(k, m)`, k ≥ 0; dominated ones do no harm.
        reference: Shape `(m,)`; nothing beyond it counts.

    Returns:
        Shape `(n,)`, not negative.
    """
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    reference = np.asarray(reference, np.float64)
    front = proper_front(front, reference)
    # Most of many candidates are known to add nothing.
    rows = np.arange(len(mean)) if std.any() else rows_beyond(mean, front, reference)
    result = np.zeros(len(mean))
    result[rows] = _expected_volumes(mean[rows], std[rows], boxes_beyond(front, reference))
    return result


def screened_hypervolume_improvement(
    mean: Array, std: Array, front: Array, reference: Array
) -> Array:
    """`expected_hypervolume_improvement` of the candidates that may have the largest, 0 of others.

    A candidate counts by what it adds if it turns out `OPTIMISM` standard deviations better than
    expected in all objectives; the `SCREENED` best by that are worked out.
    """
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    reference = np.asarray(reference, np.float64)
    front = proper_front(front, reference)
    hoped = mean - OPTIMISM * std
    chosen = rows_beyond(hoped, front, reference)
    if len(chosen) > SCREENED:
        boxes = boxes_beyond(front, reference, SCREENING_CORNERS)
        added = _expected_volumes(hoped[chosen], np.zeros_like(std[chosen]), boxes)
        chosen = chosen[np.argsort(-added, kind="stable")[:SCREENED]]
    result = np.zeros(len(mean))
    boxes = boxes_beyond(front, reference)
    result[chosen] = _expected_volumes(mean[chosen], std[chosen], boxes)
    return result


def _expected_volumes(mean: Array, std: Array, boxes: Boxes) -> Array:
    """Expected volume of the parts of boxes that normal points dominate, `(n,)`."""
    result = np.zeros(len(mean))
    for start in range(0, len(mean), _TOGETHER):
        rows = slice(start, start + _TOGETHER)
        reach = [
            # By how much an edge is expected to be undercut; the first one, −∞, by nothing.
            np.pad(_expected_below(edges[1:, None], m[None], s[None]), ((1, 0), (0, 0)))
            for edges, m, s in zip(boxes.edges, mean[rows].T, std[rows].T, strict=True)
        ]
        size = max(1, _BLOCK // max(1, reach[0].shape[1]))
        for first in range(0, len(boxes.lower), size):
            lower, upper = (side[first : first + size].T for side in boxes[1:])
            volume: Array | None = None
            for table, below, above in zip(reach, lower, upper, strict=True):
                width = table[above]
                width -= table[below]
                np.maximum(width, 0.0, out=width)
                volume = width if volume is None else np.multiply(volume, width, out=volume)
            assert volume is not None
            result[rows] += volume.sum(axis=0)
    return result
