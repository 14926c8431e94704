"""Partition of what a front does not dominate into boxes, over which improvements are summed.

The corners of the dominated region (its local upper bounds) are found one point after the other,
with the points that define them; they partition the dominated region, and used as points themselves
the rest (Lacour, Klamroth and Fonseca, "A box decomposition algorithm to compute the hypervolume
indicator", 2017; Yang, Emmerich, Deutz and Bäck, "Efficient computation of expected hypervolume
improvement using box decomposition algorithms", 2019).

Notation: k points of m ≥ 2 objectives to be minimised, c corners, b boxes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nasplug.arrays import Array, Indices
from nasplug.pareto import pareto_mask

__all__ = ["Boxes", "boxes_beyond", "proper_front", "rounded", "rows_beyond"]

# Corners of a region, at most: those of 500 points of three objectives, or 150 of four. There are
# some one and a half times as many boxes for three, and twice as many for four.
MOST_CORNERS = 1_000
# Step of the finest grid, as a share of a front's range, and factor to the next one.
FINEST, COARSER = 1 / 64, 1.5


class Boxes(NamedTuple):
    """Disjoint boxes.

    Attributes:
        edges: Distinct sides of the boxes in each objective, ascending; m arrays, of which each
            begins with −∞.
        lower: Positions of the lower sides among the edges, `(b, m)`.
        upper: Positions of the upper sides among the edges, `(b, m)`.
    """

    edges: list[Array]
    lower: Indices
    upper: Indices


def proper_front(points: Array, reference: Array) -> Array:
    """The distinct non-dominated points strictly below the reference, first objective up."""
    points = np.asarray(points, np.float64).reshape(-1, len(reference))
    points = points[(points < reference).all(axis=1)]
    return np.unique(points[pareto_mask(points)], axis=0)


def rows_beyond(points: Array, front: Array, reference: Array) -> Indices:
    """Rows of the points below the reference that no point of a front dominates or equals."""
    rows = np.flatnonzero((points < reference).all(axis=1))
    columns = [column[rows] for column in points.T]
    # A point in the middle of the front leaves fewest to be compared with the others.
    ranks = np.argsort(np.argsort(front, axis=0), axis=0).sum(axis=1)
    for point in front[np.argsort(ranks, kind="stable")]:
        is_open = columns[0] < point[0]
        for column, value in zip(columns[1:], point[1:], strict=True):
            is_open |= column < value
        if not is_open.all():
            rows, columns = rows[is_open], [column[is_open] for column in columns]
    return rows


def boxes_beyond(front: Array, reference: Array, most: int = MOST_CORNERS) -> Boxes:
    """Partition the points below the reference that no point of the front dominates.

    Where the dominated region has too many corners, the points of the front are first rounded down
    to a grid, the finest of some that leaves few enough. So they count as better, by less than a
    step, which is a share of the front's range in each objective.

    Args:
        front: A `proper_front`, `(k, m)`.
        reference: Shape `(m,)`.
        most: Largest number of corners.
    """
    share, boxes = FINEST, _exactly(front, reference, most)
    while boxes is None:
        boxes = _exactly(rounded(front, share), reference, most)
        share *= COARSER
    return boxes


def rounded(front: Array, share: float) -> Array:
    """The front of points rounded down to multiples of a share of their range, from the least."""
    low, extent = front.min(axis=0), np.ptp(front, axis=0)
    step = np.where(extent > 0, extent * share, 1.0)
    points = np.unique(low + np.floor((front - low) / step) * step, axis=0)
    return np.asarray(points[pareto_mask(points)])


def _exactly(front: Array, reference: Array, most: int) -> Boxes | None:
    """The boxes of a front as it is; None if the dominated region has too many corners."""
    # The corners are to come from the last objective, so that with two the boxes are columns.
    order = np.argsort(front[:, -1], kind="stable")
    corners, _ = _corners(front[order, ::-1], reference[::-1], most)
    if len(corners) > most:
        return None
    # What lies beyond is dominated, with all signs turned, by the corners as points.
    points = np.unique(-corners, axis=0)
    points = points[pareto_mask(points)]
    upper, defining = _corners(points, np.full(len(reference), np.inf))
    lower = np.empty_like(upper)
    lower[:, 0], upper[:, 0] = defining[0, 0], np.inf
    largest = np.maximum.accumulate(defining, axis=0)
    for k in range(1, len(reference)):
        lower[:, k] = largest[k - 1, k]
    lower, upper = -upper[:, ::-1], -lower[:, ::-1]
    is_proper = (lower < upper).all(axis=1)
    lower, upper = lower[is_proper], upper[is_proper]
    order = np.lexsort(upper.T[::-1])
    edges, places = [], []
    for column in np.concatenate([lower[order], upper[order]]).T:
        values, place = np.unique(np.append(column, -np.inf), return_inverse=True)
        edges.append(values)
        places.append(place[:-1])
    return Boxes(edges, *np.split(np.stack(places, axis=1), 2))


def _corners(points: Array, reference: Array, most: float = np.inf) -> tuple[Array, Array]:
    """Corners of the region that points dominate, `(c, m)`, and what defines them, `(m, m, c)`.

    If they are more than `most`, some points are left out: another point never makes them fewer.
    The k-th of the points that define a corner is the one that ends it in objective k. The points
    are non-dominated, distinct, and sorted by the first objective.
    """
    m = len(reference)
    own = np.eye(m, dtype=np.bool_)
    corners = np.array(reference, np.float64)[:, None]
    defining = np.where(own, reference, -np.inf)[:, :, None]
    count = 1
    for point in points:
        inside = np.flatnonzero((point[:, None] < corners[:, :count]).all(axis=0))
        # A corner moves to the point in each objective in which it keeps its other definers.
        ends = defining[:, :, inside]
        others = np.where(own[:, :, None], -np.inf, ends).max(axis=0)
        objective, which = np.nonzero(point[:, None] >= others)
        place = np.arange(len(which))
        ends = ends[:, :, which]
        ends[objective, :, place] = point
        moved = corners[:, inside[which]]
        moved[objective, place] = point[objective]
        # Every corner moves in the first objective at least, so that none leaves its place empty.
        end = count + len(which) - len(inside)
        if end > corners.shape[1]:
            # Room for more, so that not every point copies all.
            room = ((0, 0), (0, 2 * end - corners.shape[1]))
            corners, defining = np.pad(corners, room), np.pad(defining, ((0, 0), *room))
        places = np.concatenate([inside, np.arange(count, end)])
        corners[:, places], defining[:, :, places] = moved, ends
        count = end
        if count > most:
            break
    return corners[:, :count].T, defining[:, :, :count]
