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

# Batch sizes at which a latency is looked at to tell how it grows, and further ones up to the one
# that is asked for.
GRID = (1, 4, 16, 64, 256, 1024)
LARGE = tuple(1 << k for k in range(11, MAX_BATCH.bit_length()))
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

    def places(column: Setting, sizes: Sequence[int]) -> list[int]:
        settings = [replace(column, batch_size=size) for size in sizes]
        # Of two devices of one description a predictor may know one by its name.
        keys = [(setting.hardware.name, setting.fingerprint) for setting in settings]
        for key, setting in zip(keys, settings, strict=True):
            needed.setdefault(key, setting)
        return [list(needed).index(key) for key in keys]

    plans = []
    for column in columns:
        nodes = batches = sorted(set(measured(column)))
        if column.batch_size not in batches:
            nodes = sorted({*batches, *GRID, *(n for n in LARGE if n <= column.batch_size)})
        plans.append((batches, nodes, places(column, [*nodes, column.batch_size])))
    predicted = predict(list(needed.values()))
    lows = None if least is None else least(list(needed.values()))
    result = np.empty((len(predicted), len(columns)))
    for k, (batches, nodes, at) in enumerate(plans):
        values = predicted[:, at]
        was_measured = np.isin([*nodes, columns[k].batch_size], batches)
        if lows is not None:
            low = lows[:, at] + np.minimum(0, values[:, :1] - lows[:, at[:1]])
            values = np.where(was_measured, values, np.maximum(values, low))
        curve = _curve(values[:, :-1], was_measured[:-1])
        result[:, k] = _between(curve, nodes, values[:, -1], columns[k].batch_size)
    return result


def _curve(predicted: Array, measured: NDArray[np.bool_]) -> Array:
    """Values at increasing batch sizes that do not fall, `(graphs, batches)`.

    From one measured batch size to any later one they may fall by `NOISE`.
    """
    meeting = _meeting(predicted[:, measured])
    anchors = np.clip(predicted[:, measured], meeting - NOISE / 2, meeting + NOISE / 2)
    curve = predicted.copy()
    curve[:, measured] = anchors
    ahead = np.full_like(predicted, np.inf)
    ahead[:, measured] = anchors
    ahead = np.minimum.accumulate(ahead[:, ::-1], axis=1)[:, ::-1]
    for k in np.flatnonzero(~measured):
        # Most was measured at small batch sizes, so these have the say.
        before = curve[:, k - 1] if k else -np.inf
        curve[:, k] = np.maximum(before, np.minimum(predicted[:, k], ahead[:, k]))
    return curve


def _meeting(values: Array) -> Array:
    """Halfway between the largest so far and the smallest to come."""
    so_far = np.maximum.accumulate(values, axis=1)
    to_come = np.minimum.accumulate(values[:, ::-1], axis=1)[:, ::-1]
    result: Array = (so_far + to_come) / 2
    return result


def _between(curve: Array, batches: Sequence[int], predicted: Array, batch_size: int) -> Array:
    """The curve at a batch size; between its nodes the prediction, between its neighbours there."""
    place = int(np.searchsorted(batches, batch_size))
    low = curve[:, place - 1] if place else np.full(len(predicted), -np.inf)
    high = np.maximum(low, curve[:, place]) if place < len(batches) else np.inf
    if place < len(batches) and batches[place] == batch_size:
        low = high = curve[:, place]
    return np.clip(predicted, low, high)
