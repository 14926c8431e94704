"""Similarity of an unknown device to measured ones, and the ratio of their speeds.

A network's time on a device is shaped by what limits it: a device on which launches take longest
ranks networks by their number of operators, one on which arithmetic does by their FLOPs. Two
columns are alike if a usual network takes similar time by the roofline (a small board at batch 1 is
like a large GPU at batch 64), if they are of one class of processors and of one microarchitecture,
and run networks alike. A GPU is like GPUs alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.features.devices import COMPUTE_CLASSES, HARDWARE_FEATURES
from nasplug.predictors.prediction import Array

__all__ = ["Similar", "mix_similar", "similar_devices"]

# A usual network: operations, bytes of activations an image, bytes of parameters, operators.
OPERATIONS, ACTIVATIONS, PARAMETERS, OPERATORS = 6e8, 4e7, 1.2e7, 150
# What is reached of the roofline, and ms that the launch of an operator takes, by class.
REACHED = 1 / 3
LAUNCH = {"gpu": 8e-3, "cpu": 2e-3, "accelerator": 5e-4}
# A compiled network has fewer operators, and a GPU is handed them together.
COMPILED_LAUNCH = {**LAUNCH, "gpu": 2e-3}
# Weights fall to 60 % over a factor of 2.5 in time; another class, another precision or layout is
# worth a third, and so is another microarchitecture of GPUs. A compiled network is another network:
# it has fewer operators, which wait less.
WIDTH, OTHER = 0.4, 1 / 3
RUNTIME_WEIGHTS = np.array([OTHER, 0.02, OTHER])
# Weight of other processors for a GPU: none beside any GPU.
FOREIGN = 1e-12
# Of the largest weight.
SMALLEST_WEIGHT = 0.02
# Of the three words of a runtime: half precision, compiled, channels last.
COMPILED = 1


class Similar(NamedTuple):
    """Measured columns that are like an unknown one.

    Attributes:
        weights: Of the measured columns; they sum to one and are 0 for those that hardly count,
            because each takes its time. `(columns,)`.
        shifts: Logarithms of how much longer a usual network takes than on each, `(columns,)`.
        share: Of what these say in a prediction, between 0 and 1.
    """

    weights: Array
    shifts: Array
    share: float


def similar_devices(
    column: NDArray[np.floating],
    known: Sequence[NDArray[np.floating]] | NDArray[np.floating],
    share: float,
    related: Sequence[bool] = (),
) -> Similar:
    """The measured columns that an unknown one is like.

    Args:
        column: The numbers of `Setting.features`.
        known: The measured columns, at least one.
        related: Whether each is of the unknown one's microarchitecture; none is if left out.
        share: What similar columns count, beside what a network says of the description. If none of
            its class of processors was measured, they count all: a network that never saw a class
            errs without bounds on it.
    """
    work, usual, kind, flags = _read(column)
    # Where launches take the time it is the host that counts, whatever the microarchitecture.
    launches = 1 - work / REACHED / usual
    unrelated = OTHER + (1 - OTHER) * launches
    weights, shifts, kinds = [], [], set()
    for other, is_related in zip(known, related or [False] * len(known), strict=True):
        other_work, other_usual, other_kind, other_flags = _read(other)
        weight = np.exp(-0.5 * (np.log10(work / other_work) / WIDTH) ** 2) + 1e-6
        if kind == other_kind == "gpu":
            weight *= 1 if is_related else unrelated
        elif kind != other_kind:
            # What limits a GPU limits no other processor; it counts where no GPU was measured.
            weight *= FOREIGN if kind == "gpu" else OTHER
        weight *= RUNTIME_WEIGHTS[flags != other_flags].prod()
        weights.append(weight)
        shifts.append(np.log(usual / other_usual))
        kinds.add(other_kind)
    total = np.array(weights)
    total[total < SMALLEST_WEIGHT * total.max()] = 0
    share = share if kind in kinds else 1.0
    return Similar(total / total.sum(), np.array(shifts), share)


def mix_similar(
    logs: Array, similar: Mapping[int, Similar], measured: Array, places: Sequence[int]
) -> None:
    """Move predictions of unknown columns towards those of the columns that they are like.

    Args:
        logs: Logarithms of latencies, `(graphs, columns)`; changed in place.
        similar: Column of `logs` -> what is like it.
        measured: Logarithms of latencies on measured columns at `places`, `(graphs, places)`.
        places: Ascending; those with a weight at least.
    """
    for k, (weights, shifts, share) in similar.items():
        used = np.flatnonzero(weights)
        mixed = measured[:, np.searchsorted(places, used)] + shifts[used]
        logs[:, k] += share * (mixed @ weights[used] - logs[:, k])


def _read(column: NDArray[np.floating]) -> tuple[float, float, str, NDArray[np.floating]]:
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
