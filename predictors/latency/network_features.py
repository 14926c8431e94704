"""Features of a whole network in a setting: where its time goes by the data sheet.

They tell how alike two networks are to a device, whatever the family: a device that is slower than
its data sheet promises in depthwise convolutions is so in all networks that spend their time there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nasplug.predictors.features.settings import Setting
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.fused_operators import (
    FUSIONS,
    KERNEL_COLUMNS,
    KERNEL_KINDS,
    fused_kernels,
)
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph

__all__ = ["FEATURES", "network_features"]

# Group of kinds of kernels -> the kinds.
_GROUPS = {
    "dense": ("convolution", "grouped"),
    "pointwise": ("pointwise",),
    "depthwise": ("depthwise",),
    "product": ("product", "attention"),
    "elementwise": ("elementwise", "normalisation", "layout", "other"),
}
FEATURES = (
    *(f"share of {group}" for group in _GROUPS),
    "share of memory",
    "share of launches",
    "share of weights",
    "log time",
    "log kernels",
    "log batch",
    "log outputs a unit",
)
# Milliseconds to start a kernel, by kind of processor; a feature needs no more than their order.
_LAUNCH_MS = {"gpu": 4e-3, "cpu": 2e-3, "asic": 5e-3}
_USUAL_LAUNCH_MS = 3e-3
# Shares of the data sheet's rates that are usual: of arithmetic by group, and of the bandwidth.
_EFFICIENCY = {"dense": 0.5, "pointwise": 0.4, "depthwise": 0.1, "product": 0.4, "elementwise": 1.0}
_BANDWIDTH = 0.7
# Precision -> bytes of a number.
_BYTES = {"fp64": 8.0, "fp16": 2.0, "bf16": 2.0, "int8": 1.0, "int4": 0.5, "w8a16": 2.0}
_KIND_EFFICIENCY = [
    next((_EFFICIENCY[group] for group, names in _GROUPS.items() if kind in names), 1.0)
    for kind in KERNEL_KINDS
]
_EAGER = frozenset({"", "eager", "amp", "nhwc", "float32"})
_TINY = 1e-12


def network_features(graphs: Sequence[Graph], settings: Sequence[Setting]) -> Array:
    """Compute `FEATURES` of each network in its setting, `(networks, len(FEATURES))`."""
    kernels: dict[tuple[int, str], Array] = {}
    rows = []
    for graph, setting in zip(graphs, settings, strict=True):
        key = (id(graph), _fusion(setting))
        if key not in kernels:
            kernels[key] = fused_kernels(graph, key[1])
        rows.append(_features(kernels[key], setting))
    return np.array(rows).reshape(len(rows), len(FEATURES))


def _fusion(setting: Setting) -> str:
    return FUSIONS[0] if set(setting.runtime.split()) <= _EAGER else FUSIONS[2]


def _features(kernels: Array, setting: Setting) -> Array:
    kernel = dict(zip(KERNEL_COLUMNS, kernels.T, strict=True))
    processor, images, count = setting.processor, setting.batch_size, kernel["count"]
    precision = setting.precision or ("fp16" if setting.is_half else "fp32")
    number_bytes = _BYTES.get(precision, 4.0)
    kinds = kernel["kind"].astype(int)
    efficiency = np.array(_KIND_EFFICIENCY)[kinds]
    bandwidth = _BANDWIDTH * 1e6 * processor.memory_bandwidth_gbs
    arithmetic = 2 * kernel["macs"] * images / (1e9 * efficiency * _peak(processor, precision))
    weights = kernel["weights"] * number_bytes / bandwidth
    traffic = weights + kernel["activations"] * images * number_bytes / bandwidth
    launch = _LAUNCH_MS.get(processor.kind, _USUAL_LAUNCH_MS)
    # A framework's host hands over operators one by one.
    launch *= 1 + (_fusion(setting) == FUSIONS[0])
    busy = np.maximum(arithmetic, traffic)
    time = count * (busy + launch)
    total = max(float(time.sum()), _TINY)
    shares = [
        time[np.isin(kinds, [KERNEL_KINDS.index(name) for name in names])].sum() / total
        for names in _GROUPS.values()
    ]
    filled = np.log(np.maximum(kernel["outputs"] * images / max(processor.units, 1), 1))
    return np.array(
        [
            *shares,
            time[traffic > arithmetic].sum() / total,
            (count * launch).sum() / total,
            (count * weights).sum() / total,
            np.log(total),
            np.log(max(count.sum(), 1)),
            np.log(images),
            (time * filled).sum() / total,
        ]
    )


def _peak(processor: Hardware, precision: str) -> float:
    """Highest throughput that a processor may have in a precision, 1e12 operations a second."""
    peaks = processor.peak_tflops
    return max(peaks.get(precision, 0.0), peaks["fp32"])
