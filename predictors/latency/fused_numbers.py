"""Numbers of the roofline of fused kernels: where fits start, and what each is a factor on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from nasplug.predictors.latency.fused_operators import KERNEL_KINDS
from nasplug.predictors.latency.gpu_ways import GPU_SETTINGS

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "COMPUTING",
    "ENGINES",
    "NUMBERS",
    "PLACES",
    "START",
    "UNITS",
    "number_place",
    "resolution",
]

COMPUTING = KERNEL_KINDS[:7]
_EFFICIENT = ("convolution", "pointwise", "product")
# Units that compute convolutions and products.
UNITS = ("plain", "tensor")
# Settings in which a network is one start of a graph of kernels.
_GRAPHS = ("framework graphs", "compiled graphs")
ENGINES = GPU_SETTINGS[5:]
# Setting -> the one whose numbers its own are factors on.
_LIKE = {
    **{"framework graphs": "framework", "channels last": "framework", "compiled": "channels last"},
    **{"compiled graphs": "compiled"},
    **{"paddle tensorrt": "tensorrt", "onnxruntime": "tensorrt"},
}
_TRAFFIC = {s: 0.4 for s in GPU_SETTINGS} | {s: 0.2 for s in (*_GRAPHS, *ENGINES[1:])}
# Name of a number -> where its fit starts (times in ms), and how far it may go, in log units.
START: dict[str, tuple[float, float]] = {
    **{f"efficiency.{u}.{k}": (0.3, 1.0) for u in UNITS for k in COMPUTING},
    **{f"efficiency.{u}.{k}": (0.6, 0.6) for u in UNITS for k in _EFFICIENT},
    **{f"efficiency.plain.{k}": (0.6, 0.6) for k in ("attention", "batched")},
    **{"efficiency.tf32": (0.9, 0.3), "efficiency.int8": (0.7, 0.3)},
    **{"emulated": (1.5, 0.5), "halved": (1.4, 0.3)},
    **{"winograd": (2.2, 0.4), "winograd.channels": (32.0, 1.0), "winograd.pixels": (256.0, 1.5)},
    **{f"fill.{k}": (2000.0, 1.5) for k in COMPUTING},
    **{"fill.rate": (0.6, 0.4), "fill.power": (0.9, 0.3)},
    **{"lanes.plain": (0.2, 0.5), "lanes.tensor": (0.1, 0.5), "host.year": (0.2, 0.3)},
    **{"boost": (0.7, 0.3), "old": (1.1, 0.3), "host.amd": (1.3, 0.4)},
    **{"depth.plain": (20.0, 1.5), "depth.tensor": (40.0, 1.5)},
    **{"width.plain": (8.0, 1.5), "width.tensor": (16.0, 1.5), "rows": (8.0, 1.5)},
    **{
        "unaligned": (1.3, 0.5),
        "unaligned.product": (1.2, 0.3),
        "watt.plain": (0.12, 0.5),
        "watt.tensor": (0.7, 0.5),
    },
    **{"watt.node": (1.0, 0.5), "watt.power": (3.0, 0.3)},
    **{f"compute.{s}": (1.0, 0.2) for s in GPU_SETTINGS[1:]},
    **{f"compute.{s}.{k}": (1.0, 0.4) for s in GPU_SETTINGS[1:] for k in ("depthwise", "grouped")},
    **{"memory": (0.85, 0.1), "memory.old": (0.88, 0.1), "memory.amd": (0.9, 0.1)},
    **{f"traffic.{s}.{k}": (1.0, _TRAFFIC[s]) for s in GPU_SETTINGS for k in KERNEL_KINDS},
    **{"transfer": (2e5, 1.5), "cache": (2.0, 0.5), "layout": (0.5, 1.0)},
    **{"cast.weights": (3.0, 0.4), "cast.activations": (1.4, 0.3), "cast.launch": (3.0, 0.3)},
    **{"launch.kernels": (2e-3, 0.7), "launch.framework": (3e-3, 0.7)},
    **{"launch.compiled": (2e-3, 0.7), "launch.tensorrt": (1.5e-3, 0.7)},
    **{"launch.compiled graphs": (0.7, 0.4), "launch.onnxruntime": (1.5, 0.4)},
    "group": (1e-4, 2.0),
    # Engines of old start a kernel for each group.
    "group.tensorrt": (3e-3, 1.5),
    **{"host.framework": (1e-2, 0.7), "host.compiled": (3e-3, 0.7)},
    **{"launch.framework graphs": (0.7, 0.4), "host.framework graphs": (0.2, 0.5)},
    **{"host.compiled graphs": (0.2, 0.5), "host.tensorrt": (1.5e-3, 0.7)},
    **{"host.onnxruntime": (3.0, 0.5), "host.paddle tensorrt": (1.0, 0.3)},
    **{"floor.framework": (2e-2, 1.0), "floor.kernels": (1e-3, 1.0), "copy": (4e6, 0.7)},
    **{"floor.compiled": (2e-2, 1.0), "floor.tensorrt": (2e-2, 1.0)},
    **{"floor.paddle tensorrt": (5.0, 1.0), "floor.onnxruntime": (1.0, 0.5)},
    **{"overlap.kernel": (2.0, 0.5), "overlap.host": (3.0, 0.5)},
}
NUMBERS = tuple(START)
PLACES = {name: place for place, name in enumerate(NUMBERS)}


def resolution() -> Tensor:
    """Matrix that adds to the logarithm of each number those of the ones it is a factor on."""
    matrix = np.eye(len(NUMBERS))
    for name in NUMBERS:
        head, _, after = name.partition(".")
        setting, _, kind = after.partition(".")
        like = _LIKE.get(setting)
        while like is not None:
            parent = ".".join((head, like, kind) if kind else (head, like))
            # What was set anew for a setting is no factor.
            if parent in PLACES and not _is_own(name):
                matrix[PLACES[name], PLACES[parent]] = 1.0
            like = _LIKE.get(like)
            if _is_own(parent):
                break
    return torch.tensor(matrix, dtype=torch.float32)


def _is_own(name: str) -> bool:
    head, _, setting = name.partition(".")
    return head in ("launch", "host", "floor") and setting in ("framework", "compiled", "tensorrt")


def number_place(head: str, setting: str) -> int:
    """Place of the number of a setting, or of the setting that it is like."""
    while f"{head}.{setting}" not in PLACES:
        setting = _LIKE[setting]
    return PLACES[f"{head}.{setting}"]
