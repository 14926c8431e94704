"""Values of candidates that benchmarks measured, where their tables need no download."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nasplug.candidates.candidates import Candidates
from nasplug.predicting.measured_accuracy import HasAccuracies
from nasplug.predictors.hardware import Hardware
from nasplug.quantities import on_device

__all__ = ["measured"]

# Digits after the point in results.
_DIGITS = 6
_ARCH = "arch"


def measured(
    candidates: Candidates,
    indices: Sequence[int],
    dataset: str,
    devices: Sequence[Hardware],
    batch_size: int,
) -> list[dict[str, float | None]]:
    """`"accuracy"` and `"latency_ms"` of some candidates, None where they are not known.

    The latency is that on the first device; of several also `"latency_ms@RTX 3090"` and so on.
    """
    accuracy = (f"{dataset}_test", f"{dataset}_val")
    look_up = {"accuracy": _column(candidates, "accuracy", accuracy), "latency_ms": _unknown}
    for position, device in enumerate(devices):
        column = _column(candidates, "latency", (f"{device.name}@{batch_size}",))
        if not position:
            look_up["latency_ms"] = column
        if len(devices) > 1:
            look_up[on_device("latency_ms", device.name)] = column

    def value(key: str, index: int) -> float | None:
        number = look_up[key](index)
        return round(number, _DIGITS) if np.isfinite(number) else None

    return [{key: value(key, k) for key in look_up} for k in indices]


def _unknown(index: int) -> float:
    return np.nan


def _column(
    candidates: Candidates, quantity: str, columns: Sequence[str]
) -> Callable[[int], float]:
    """Look-up of a candidate in the first of these columns that a table of the space has."""
    from nasplug import datasets

    space = candidates.space
    if quantity == "accuracy" and isinstance(space, HasAccuracies):
        return lambda index: float(space.accuracies([candidates.architectures[index]])[0, 0])

    for name in datasets.tables_of(candidates.space.name, quantity):
        if not datasets.available(name):
            continue
        table = datasets.longest_trained(datasets.load(name))
        for column in columns:
            if column not in table.columns:
                continue
            values = table[column].to_numpy(np.float64)
            if _ARCH in table.columns:
                of_text = dict(zip(table[_ARCH], values.tolist(), strict=True))
                return lambda index: of_text.get(candidates.architectures[index].text, np.nan)
            # A table without texts has the order of its space, and so have its candidates.
            if candidates.whole and len(table) == len(candidates):
                return lambda index: float(values[index])
    return _unknown
