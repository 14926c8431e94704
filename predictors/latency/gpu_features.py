"""Features of networks and of GPUs that tell how alike residuals of the roofline are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nasplug.predictors.features.settings import Setting
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.fused_operators import KERNEL_COLUMNS, KERNEL_KINDS
from nasplug.predictors.latency.fused_terms import kernels_of
from nasplug.predictors.latency.gpu_ways import gpu_precision, gpu_setting, rates_of
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph

__all__ = ["gpu_features", "network_features", "words_of"]

_AT = {name: place for place, name in enumerate(KERNEL_COLUMNS)}
_COMPUTING = 7
# How much logarithms of sizes count beside shares, which are between 0 and 1.
_SIZES = 0.25


def network_features(graph: Graph, column: Setting, flash: bool = True) -> Array:
    """Features of a network at a batch size, whatever the GPU.

    Logarithms of its work, traffic, weights and kernels; the shares of kinds of kernels in work and
    in traffic; and mean logarithms of depths, widths, outputs and traffic of kernels.
    """
    rows = kernels_of(graph, column, flash).astype(np.float64)
    kind, count = rows[:, _AT["kind"]].astype(int), rows[:, _AT["count"]]
    images = column.batch_size
    macs = rows[:, _AT["macs"]] * count * images
    moved = rows[:, _AT["activations"]] * count * images
    weights = rows[:, _AT["weights"]] * count
    work, traffic = macs.sum(), moved.sum()
    sizes = [work, traffic, weights.sum(), count.sum(), images]
    of_work = np.bincount(kind, macs, len(KERNEL_KINDS))[:_COMPUTING] / max(work, 1.0)
    of_traffic = np.bincount(kind, moved, len(KERNEL_KINDS)) / max(traffic, 1.0)
    means = [
        *(_mean(rows[:, _AT[name]], macs) for name in ("depth", "width")),
        _mean(rows[:, _AT["outputs"]] * images, macs),
        _mean(rows[:, _AT["activations"]] * images, moved),
    ]
    aligned = (rows[:, _AT["aligned"]] * macs).sum() / max(work, 1.0)
    return np.array(
        [*(_SIZES * np.log1p(sizes)), *of_work, *of_traffic, *(_SIZES * np.array(means)), aligned]
    )


def _mean(values: Array, weights: Array) -> float:
    return float((np.log1p(values) * weights).sum() / max(weights.sum(), 1e-9))


def gpu_features(hardware: Hardware) -> Array:
    """Logarithms of what a GPU's units do in a cycle, of its cache, bandwidth and power."""
    cycles = hardware.units * hardware.clock_ghz * 1e-3
    plain, bandwidth = hardware.peak_tflops["fp32"], hardware.memory_bandwidth_gbs
    half = rates_of(hardware, "fp16", "framework").products
    return np.array(
        [
            np.log(plain / cycles),
            np.log(half / cycles),
            0.5 * np.log(max(hardware.on_chip_memory_mb, 0.1) / bandwidth),
            np.log(plain / bandwidth),
            np.log(half / bandwidth),
            0.5 * np.log(bandwidth),
            np.log(half / max(hardware.power_w, 1.0)),
            hardware.year / 3,
            2.0 * (hardware.vendor == "NVIDIA"),
        ]
    )


def words_of(columns: Sequence[Setting]) -> list[tuple[str, str]]:
    """Setting and precision of each column, as far as residuals tell them apart."""
    return [(gpu_setting(column), gpu_precision(column)) for column in columns]
