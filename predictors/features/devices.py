"""Hardware description -> numbers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.hardware import Hardware
from nasplug.search_spaces import InputError

__all__ = [
    "COMPUTE_CLASSES",
    "HARDWARE_FEATURES",
    "MAX_BATCH",
    "compute_class",
    "features_text",
    "hardware_features",
]

# Each entry: attribute, centre and scale of its log10, so that common devices lie within ±2.
_LOGS = {
    "memory_bandwidth_gbs": (2.0, 1.0),
    "on_chip_memory_mb": (0.7, 0.7),
    "power_w": (1.7, 0.9),
    "clock_ghz": (0.3, 0.25),
    "units": (1.3, 0.7),
}
_PEAKS = {"fp32": (0.3, 1.0), "fp16": (0.8, 1.2)}
_SMALLEST = 1e-3
_USUAL_YEAR = 2018
MAX_BATCH = 65536

# What executes the network. Finer kinds would leave a device of a kind that was never measured with
# weights that were never trained.
COMPUTE_CLASSES = ("gpu", "cpu", "accelerator")
HARDWARE_FEATURES = len(_LOGS) + len(_PEAKS) + 2 + len(COMPUTE_CLASSES)


def compute_class(hardware: Hardware) -> str:
    """Class of the processor that runs the network, one of `COMPUTE_CLASSES`.

    A phone or a board computes on its CPU, but for NVIDIA's boards, which have a GPU.
    """
    boards = hardware.kind == "edge" and hardware.vendor.strip().lower() == "nvidia"
    if hardware.kind == "gpu" or boards:
        return "gpu"
    return "accelerator" if hardware.kind in ("fpga", "asic") else "cpu"


def hardware_features(hardware: Hardware, batch_size: int) -> NDArray[np.float32]:
    """A device at a batch size as a vector, shape `(HARDWARE_FEATURES,)`.

    Throughputs, bandwidth, on-chip memory, power, clock and units enter by their logarithm; then
    the year, the logarithm of the batch size, and the class of the processor as one-hot. A device
    whose fp16 figure is missing or lower than its fp32 figure gets the latter; an unknown year
    counts as 2018.

    Args:
        hardware: The device.
        batch_size: Images a forward pass, 1 to 65,536.

    Raises:
        InputError: If the batch size is out of range.
    """
    if not 1 <= batch_size <= MAX_BATCH:
        raise InputError(f"batch size {batch_size} is not between 1 and {MAX_BATCH}")
    values = [
        (math.log10(max(float(getattr(hardware, name)), _SMALLEST)) - centre) / scale
        for name, (centre, scale) in _LOGS.items()
    ]
    fp32 = hardware.peak_tflops["fp32"]
    for precision, (centre, scale) in _PEAKS.items():
        peak = max(hardware.peak_tflops.get(precision, fp32), fp32)
        values.append((math.log10(max(peak, _SMALLEST)) - centre) / scale)
    values.append((hardware.year - _USUAL_YEAR) / 4 if hardware.year else 0.0)
    values.append(math.log2(batch_size) / 4)
    values.extend(float(compute_class(hardware) == name) for name in COMPUTE_CLASSES)
    return np.array(values, dtype=np.float32)


def features_text(hardware: Hardware, batch_size: int) -> str:
    """`hardware_features` as text, by which descriptions are compared."""
    return " ".join(f"{value:.4f}" for value in hardware_features(hardware, batch_size))
