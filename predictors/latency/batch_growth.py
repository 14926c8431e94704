"""Latency that does not fall as the batch grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.features.devices import MAX_BATCH
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.prediction import Array

__all__ = ["never_falling"]

# Batch sizes at which a latency is looked at to tell how it grows; beyond, doublings up to the one
# that is asked for.
GRID = (1, 4, 16, 64, 256, 1024)
# How far a logarithm may fall between measured batch sizes: so much falls in measured tables.
NOISE = 0.05


def never_falling(
    columns: Sequence[Setting],
    measured: Callable[[Setting], Sequence[int]],
    predict: Callable[[Sequence[Setting]], Array],
    least: Callable[[Sequence[Setting]], Array] | None = None,
) -> Array:
    """Predictions that do not fall as the batch grows, shape `(graphs, columns)`.

    Measured batch sizes come first: where predictions for these fall by more than `NOISE`, they
    meet halfway. Any other lies between the measured ones around it, and is at least what smaller
    ones of a grid are.

    Args:
        columns: Devices at batch sizes, and their runtimes.
        measured: The batch sizes at which a column's device was measured in its runtime.
        predict: Predicted logarithms of columns, `(graphs, columns)`; each is asked for once.
        least: Logarithms of what data sheets allow, in the same form. A batch size that was not
            measured is not beneath it, or by no more than the smallest one is.
    """
    needed: dict[tuple[str, str], Setting] = {}

    def places(column: Setting, batches: Sequence[int]) -> list[int]:
        found = []
        for size in batches:
            one = replace(column, batch_size=size)
            # Of two devices of one description a predictor may know one by its name.
            key = one.hardware.name, one.fingerprint
            needed.setdefault(key, one)
            found.append(list(needed).index(key))
        return found

    plans = []
    for column in columns:
        own = sorted(set(measured(column)))
        nodes = own
        if column.batch_size not in own:
            nodes = sorted({*own, *GRID, *_doublings(column.batch_size)})
        plans.append((own, nodes, places(column, [*nodes, column.batch_size])))
    said = predict(list(needed.values()))
    lows = None if least is None else least(list(needed.values()))
    result = np.empty((len(said), len(columns)))
    for k, (own, nodes, at) in enumerate(plans):
        values = said[:, at]
        was_measured = np.isin([*nodes, columns[k].batch_size], own)
        if lows is not None:
            low = lows[:, at] + np.minimum(0, values[:, :1] - lows[:, at[:1]])
            values = np.where(was_measured, values, np.maximum(values, low))
        curve = _curve(values[:, :-1], was_measured[:-1])
        result[:, k] = _between(curve, nodes, values[:, -1], columns[k].batch_size)
    return result


def _doublings(batch_size: int) -> list[int]:
    """Batch sizes beyond the grid."""
    sizes = []
    size = 2 * GRID[-1]
    while size <= min(batch_size, MAX_BATCH):
        sizes.append(size)
        size *= 2
    return sizes


def _curve(said: Array, measured: NDArray[np.bool_]) -> Array:
    """Values at increasing batch sizes that do not fall, `(graphs, batches)`.

    From one measured batch size to any later one they may fall by `NOISE`.
    """
    meeting = _meeting(said[:, measured])
    anchors = np.clip(said[:, measured], meeting - NOISE / 2, meeting + NOISE / 2)
    curve = said.copy()
    curve[:, measured] = anchors
    ahead = np.full_like(said, np.inf)
    ahead[:, measured] = anchors
    ahead = np.minimum.accumulate(ahead[:, ::-1], axis=1)[:, ::-1]
    for k in np.flatnonzero(~measured):
        # Most was measured at small batch sizes, so these have the say.
        before = curve[:, k - 1] if k else -np.inf
        curve[:, k] = np.maximum(before, np.minimum(said[:, k], ahead[:, k]))
    return curve


def _meeting(values: Array) -> Array:
    """Halfway between the largest so far and the smallest to come."""
    so_far = np.maximum.accumulate(values, axis=1)
    to_come = np.minimum.accumulate(values[:, ::-1], axis=1)[:, ::-1]
    result: Array = (so_far + to_come) / 2
    return result


def _between(curve: Array, batches: Sequence[int], said: Array, batch_size: int) -> Array:
    """The value at a batch size: the curve's, or what was said between those of its neighbours."""
    place = int(np.searchsorted(batches, batch_size))
    if place < len(batches) and batches[place] == batch_size:
        found: Array = curve[:, place]
        return found
    low = curve[:, place - 1] if place else np.full(len(said), -np.inf)
    high = np.maximum(low, curve[:, place]) if place < len(batches) else np.inf
    return np.clip(said, low, high)
