"""Numbers of the roofline of CPUs: what each is a factor on, and where fits start.

Rates (efficiencies, near bandwidth, launch) are products of numbers: of the kind of kernel, the
runtime, the precision and the kind of core, and of pairs of these.
"""

from __future__ import annotations

from itertools import product

from nasplug.predictors.latency.fused_operators import KERNEL_KINDS

__all__ = [
    "COMPUTING",
    "CORE_KINDS",
    "CPU_RUNTIMES",
    "GROUPS",
    "GROUP_OF",
    "NAMES",
    "NEAR",
    "PRECISIONS",
    "RATES",
    "START",
]

CPU_RUNTIMES = (
    *("tflite", "pytorch mobile", "ncnn", "onnxruntime", "openvino", "armnn", "eager", "compiled"),
    *("paddle lite", "mnn", "core ml", "tensorflow", "opencv", ""),
)
# How a CPU computes: int8 with and without an instruction for dot products.
PRECISIONS = ("fp32", "fp16", "int8", "int8 dot")
CORE_KINDS = ("in order", "narrow", "wide", "x86", "32 bit", "other", "scalar")
# Runtimes known to compute convolutions of floats by Winograd's algorithm.
_WINOGRAD = frozenset({"ncnn", "mnn", "paddle lite", "armnn", "pytorch mobile", "eager", "opencv"})
COMPUTING = KERNEL_KINDS[:7]
# Kinds that mostly move, each at a rate of its own; what others move has one rate.
_MOVING = KERNEL_KINDS[7:]
NEAR = ("memory", *_MOVING)
RATES = (*COMPUTING, *NEAR, "launch")
# What a microarchitecture changes alike.
GROUPS = ("compute", "depthwise", "memory", "launch")
GROUP_OF = {
    **dict.fromkeys(COMPUTING, "compute"),
    **dict.fromkeys(NEAR, "memory"),
    **{name: name for name in GROUPS[1:]},
}


def _start() -> dict[str, tuple[float, float]]:
    """Name of a number -> where its fit starts, and how far it may go, in log units."""
    efficiencies = dict.fromkeys(COMPUTING, 0.4) | {"depthwise": 0.15, "grouped": 0.2}
    efficiencies |= {"batched": 0.3, "attention": 0.3}
    start = {f"base.{kind}": (value, 0.5) for kind, value in efficiencies.items()}
    # Bytes a cycle of a core from its caches; thousands of cycles.
    start |= {"base.memory": (4.0, 0.7), "base.elementwise": (3.0, 0.7)}
    start |= {"base.normalisation": (1.0, 0.7), "base.layout": (1.5, 0.7), "base.other": (2.0, 0.7)}
    start["base.launch"] = (10.0, 1.0)
    for first, rate in product((*CPU_RUNTIMES, *PRECISIONS, *CORE_KINDS), RATES):
        start[f"{first}.{rate}"] = (1.0, 0.3)
    # Some runtimes have no fast kernel for groups.
    start |= {f"{runtime}.grouped": (1.0, 1.0) for runtime in CPU_RUNTIMES}
    for first, second in product(CPU_RUNTIMES, PRECISIONS):
        start[f"{first}.{second}"] = (1.0, 0.25)
    for first, second in product(CORE_KINDS, (*CPU_RUNTIMES, *PRECISIONS)):
        start[f"{first}.{second}"] = (1.0, 0.25)
    for kind in COMPUTING:
        by_matrix = kind not in ("depthwise", "attention", "batched")
        start[f"fp16.{kind}"] = (1.7, 0.2)
        start[f"int8.{kind}"] = (1.3, 0.3)
        start[f"int8 dot.{kind}"] = (2.5 if by_matrix else 1.5, 0.4)
    start |= {f"serial.{rate}": (0.1, 0.7) for rate in (*COMPUTING, *NEAR)}
    start |= {"serial.power": (0.4, 0.5)}
    start["power"] = (1.15, 0.1)
    start |= {f"year.{group}": (1.1, 0.1) for group in ("compute", "memory", "launch")}
    start |= {f"serial.{runtime}": (1.0, 0.5) for runtime in CPU_RUNTIMES}
    start |= {f"lanes.{rate}": (0.85, 0.15) for rate in (*COMPUTING, "memory")}
    for runtime in CPU_RUNTIMES:
        start[f"winograd.{runtime}"] = (1.6 if runtime in _WINOGRAD else 1.1, 0.3)
        start[f"sync.{runtime}"] = (0.1, 1.0)
        start[f"call.{runtime}"] = (50.0, 1.0)
        start[f"first.{runtime}"] = (2.0, 0.5)
    start |= {f"traffic.{k}": (1.5 if k in COMPUTING else 1.0, 0.4) for k in KERNEL_KINDS}
    start |= {f"far.{core}": (1.0, 0.3) for core in CORE_KINDS}
    start |= {"uneven": (1.3, 0.3), "memory": (0.6, 0.3), "core memory": (3.0, 0.5)}
    start |= {"cache.weights": (0.7, 0.5), "cache.activations": (0.7, 0.5), "wider": (0.7, 0.2)}
    start["cache.cores"] = (0.5, 0.3)
    start |= {"depth": (20.0, 1.0), "width": (8.0, 1.0), "pixels": (8.0, 1.0)}
    start |= {"window": (6.0, 0.7), "stride": (1.3, 0.3), "overlap": (2.0, 0.4)}
    return start


START = _start()
NAMES = {name: place for place, name in enumerate(START)}
