"""Values of candidates that benchmarks measured, where their tables need no download."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nasplug.candidates.candidates import Candidates
from nasplug.predicting.measured_accuracy import HasAccuracies
from nasplug.predictors.hardware import Hardware

__all__ = ["measured"]

# Digits after the point in results.
_DIGITS = 6
_ARCH = "arch"


def measured(
    candidates: Candidates,
    indices: Sequence[int],
    dataset: str,
    hardware: Hardware | None,
    batch_size: int,
) -> list[dict[str, float | None]]:
    """`"accuracy"` and `"latency_ms"` of some candidates, None where they are not known."""
    columns: dict[str, tuple[str, ...]] = {"accuracy": (f"{dataset}_test", f"{dataset}_val")}
    if hardware is not None:
        columns["latency"] = (f"{hardware.name}@{batch_size}",)
    look_up = {name: _column(candidates, name, names) for name, names in columns.items()}

    def value(quantity: str, index: int) -> float | None:
        number = look_up[quantity](index) if quantity in look_up else np.nan
        return round(number, _DIGITS) if np.isfinite(number) else None

    return [{"accuracy": value("accuracy", k), "latency_ms": value("latency", k)} for k in indices]


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
    return lambda _: np.nan
