"""Latency that does not fall as the batch grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.settings import DeviceBatch, fingerprint

__all__ = ["never_falling"]

Array = NDArray[np.float64]

# Batch sizes at which a latency is looked at to tell how it grows; beyond, doublings up to the one
# that is asked for.
GRID = (1, 4, 16, 64, 256, 1024)


def never_falling(
    columns: Sequence[DeviceBatch],
    measured: Callable[[DeviceBatch], Sequence[int]],
    predict: Callable[[Sequence[DeviceBatch]], Array],
) -> Array:
    """Predictions that do not fall as the batch grows, shape `(graphs, columns)`.

    Measured batch sizes come first: where predictions for these fall, they meet halfway. Any other
    lies between the measured ones around it, and is at least what smaller ones of a grid are.

    Args:
        columns: Devices at batch sizes, and their runtimes.
        measured: The batch sizes at which a column's device was measured in its runtime.
        predict: Predicted values of columns, `(graphs, columns)`; each column is asked for once.
    """
    needed: dict[tuple[str, str], DeviceBatch] = {}

    def places(column: DeviceBatch, batches: Sequence[int]) -> list[int]:
        found = []
        for size in batches:
            one = replace(column, batch_size=size)
            # Of two devices of one description a predictor may know one by its name.
            key = one.hardware.name, fingerprint(one)
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
    result = np.empty((len(said), len(columns)))
    for k, (own, nodes, at) in enumerate(plans):
        curve = _curve(said[:, at[:-1]], np.isin(nodes, own))
        result[:, k] = _between(curve, nodes, said[:, at[-1]], columns[k].batch_size)
    return result


def _doublings(batch_size: int) -> list[int]:
    """Those beyond the grid."""
    sizes = []
    size = 2 * GRID[-1]
    while size <= batch_size:
        sizes.append(size)
        size *= 2
    return sizes


def _curve(said: Array, measured: NDArray[np.bool_]) -> Array:
    """Values at increasing batch sizes that do not fall, `(graphs, batches)`."""
    low = np.full_like(said, -np.inf)
    high = np.full_like(said, np.inf)
    anchors = _meeting(said[:, measured])
    low[:, measured] = high[:, measured] = anchors
    low = np.maximum.accumulate(low, axis=1)
    high = np.minimum.accumulate(high[:, ::-1], axis=1)[:, ::-1]
    # Most was measured at small batch sizes, so these have the say.
    result: Array = np.maximum.accumulate(np.clip(said, low, high), axis=1)
    return result


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
    low = curve[:, place - 1] if place else -np.inf
    high = curve[:, place] if place < len(batches) else np.inf
    return np.clip(said, low, high)
