"""Which measured devices an unknown one is like, and how much slower or faster it is.

A network's time on a device is shaped by what limits it: a device on which launches take longest
ranks networks by their number of operators, one on which arithmetic does by their FLOPs. Two
columns are alike if a usual network takes similar time by the roofline (a small board at batch 1 is
like a large GPU at batch 64), if they are of one class of processors, and run networks alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.hardware_features import COMPUTE_CLASSES, HARDWARE_FEATURES

__all__ = ["similar_devices"]

Array = NDArray[np.float64]

# A usual network: operations, bytes of activations an image, bytes of parameters, operators.
OPERATIONS, ACTIVATIONS, PARAMETERS, OPERATORS = 6e8, 4e7, 1.2e7, 150
# What is reached of the roofline, and ms that the launch of an operator takes, by class.
REACHED = 1 / 3
LAUNCH = {"gpu": 8e-3, "cpu": 2e-3, "accelerator": 5e-4}
# A compiled network has fewer operators, and a GPU is handed them together.
COMPILED_LAUNCH = {**LAUNCH, "gpu": 2e-3}
# Weights fall to 60 % over a factor of 2.5 in time; another class, another precision or layout is
# worth a third. A compiled network is another network: it has fewer operators, which wait less.
WIDTH, OTHER = 0.4, 1 / 3
RUNTIME_WEIGHTS = np.array([OTHER, 0.02, OTHER])
# Of the three words of a runtime: half precision, compiled, channels last.
COMPILED = 1


def similar_devices(column: Array, known: Sequence[Array]) -> tuple[Array, Array]:
    """Weights of known columns for an unknown one, and how much slower than each it is.

    Args:
        column: As `settings.describe` describes it.
        known: The measured columns, at least one.

    Returns:
        Weights, which sum to one, and logarithms of the ratio of a usual network's times,
        `(columns,)` each.
    """
    work, usual, kind, flags = _read(column)
    weights, shifts = [], []
    for other in known:
        own_work, own_usual, own_kind, own_flags = _read(other)
        weight = np.exp(-0.5 * (np.log10(work / own_work) / WIDTH) ** 2) + 1e-6
        weight *= 1 if kind == own_kind else OTHER
        weight *= RUNTIME_WEIGHTS[flags != own_flags].prod()
        weights.append(weight)
        shifts.append(np.log(usual / own_usual))
    total = np.array(weights)
    return total / total.sum(), np.array(shifts)


def _read(column: Array) -> tuple[float, float, str, Array]:
    """Time of a usual network by the roofline, with launches, in ms; class; how it is run."""
    operations, moved, images, width = (float(value) for value in column[:4])
    traffic = (ACTIVATIONS * images + PARAMETERS) * width / 4
    work = max(OPERATIONS * images / operations, traffic / moved)
    numbers = column[4:]
    classes = numbers[HARDWARE_FEATURES - len(COMPUTE_CLASSES) : HARDWARE_FEATURES]
    kind = COMPUTE_CLASSES[int(classes.argmax())]
    flags = numbers[HARDWARE_FEATURES : HARDWARE_FEATURES + 3]
    launch = (COMPILED_LAUNCH if flags[COMPILED] else LAUNCH)[kind]
    return work, work / REACHED + OPERATORS * launch, kind, flags
