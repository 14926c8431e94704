"""Which of very many points may be better than the known ones: no sorting of all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nasplug.sampling.acquisition import pareto_mask

__all__ = ["beyond", "smallest"]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


def smallest(values: Array, count: int) -> Indices:
    """Positions of the smallest values, ascending, the first of equals first; at most `count`."""
    if count < len(values):
        # Sorting all would take longest of all that a trial does.
        rows = np.flatnonzero(values <= np.partition(values, count)[count])
    else:
        rows = np.arange(len(values))
    return np.asarray(rows[np.argsort(values[rows], kind="stable")[:count]])


def beyond(known: Array, values: Array, count: int) -> Indices:
    """Points that no known point dominates, those that lie farthest beyond the known ones first.

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
