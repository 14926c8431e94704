"""HELP's latencies of whole networks: the FBNet space, and Once-for-All MobileNetV3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nasplug.datasets.importers.nb201 import GPUS, NB201_DEVICES, device_table, gpu_files
from nasplug.datasets.layout import foreign, shown
from nasplug.datasets.safe_pickle import NUMPY_SCALARS, load_pickle_zip
from nasplug.datasets.tables import Table

__all__ = ["FBNET_DEVICES", "FBNET_OPS", "OFA_DEVICES", "import_fbnet", "import_ofa"]

N_ARCHS = 5_000

_BATCHES = (1, 32, 64)
_OFA_GPUS = {"2080ti": "RTX 2080 Ti", "titan_rtx": "Titan RTX", "v100": "V100"}

FBNET_DEVICES: dict[str, tuple[str, int]] = {
    **gpu_files(GPUS, _BATCHES),
    **{k: v for k, v in NB201_DEVICES.items() if v[0] not in GPUS.values()},
}
"""File name without `.pt` -> (device, batch size); HELP states no batch size after Titan X: 1."""

OFA_DEVICES: dict[str, tuple[str, int]] = gpu_files(_OFA_GPUS, _BATCHES)
"""File name without `.pt` -> (device, batch size)."""

FBNET_OPS = (
    *("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6"),
    *("k5_e1", "k5_e1_g2", "k5_e3", "k5_e6"),
    "skip",
)
"""The operations of a layer in the order of their indices: kernel, expansion, groups."""

_FBNET_LAYERS = 22
_OFA_STAGES, _OFA_BLOCKS = 5, 4  # blocks of a stage, including those that its depth switches off
_OFA_KERNELS, _OFA_EXPANSIONS, _OFA_DEPTHS = {3, 5, 7}, {3, 4, 6}, {2, 3, 4}
_OFA_RESOLUTIONS = range(128, 225, 4)


def _archs_of(path: Path, content: object, dataset: str) -> list[dict[str, Any]]:
    if not isinstance(content, dict) or content.get("dataset") != dataset:
        raise foreign(path, f"expected a dictionary of the data set {dataset}")
    archs = content.get("arch")
    if not isinstance(archs, list) or len(archs) != N_ARCHS:
        raise foreign(path, f"expected a list of {N_ARCHS:,} architectures under arch")
    for row, arch in enumerate(archs):
        if not isinstance(arch, dict):
            raise foreign(path, f"architecture {row} is {shown(arch)}, no dictionary")
    return archs


def _fbnet_text(path: Path, row: int, arch: Mapping[str, Any]) -> str:
    indices, ops = arch.get("op_idx_list"), arch.get("arch_str")
    if (
        not isinstance(indices, list)
        or len(indices) != _FBNET_LAYERS
        or any(type(i) is not int or not 0 <= i < len(FBNET_OPS) for i in indices)
        or ops != [FBNET_OPS[i] for i in indices]
    ):
        raise foreign(path, f"architecture {row} is no list of {_FBNET_LAYERS} known operations")
    return "|".join(FBNET_OPS[i] for i in indices)


def _whole(values: object, count: int, allowed: Iterable[int]) -> list[int] | None:
    """Check that values are `count` integers among the allowed ones; None if they are not."""
    choices = set(allowed)
    if not isinstance(values, list) or len(values) != count:
        return None
    if any(type(v) is not int or v not in choices for v in values):
        return None
    return values


def _ofa_text(path: Path, row: int, arch: Mapping[str, Any]) -> str:
    n = _OFA_STAGES * _OFA_BLOCKS
    kernels = _whole(arch.get("ks"), n, _OFA_KERNELS)
    expansions = _whole(arch.get("e"), n, _OFA_EXPANSIONS)
    depths = _whole(arch.get("d"), _OFA_STAGES, _OFA_DEPTHS)
    resolution = arch.get("r")
    if (
        kernels is None
        or expansions is None
        or depths is None
        or not isinstance(resolution, int | np.integer)
        or int(resolution) not in _OFA_RESOLUTIONS
    ):
        raise foreign(path, f"architecture {row} is no Once-for-All MobileNetV3: {shown(arch)}")

    def text(values: Sequence[int]) -> str:
        # The file gives a kernel and an expansion even to the blocks that the depth switches off.
        exists = (k % _OFA_BLOCKS < depths[k // _OFA_BLOCKS] for k in range(n))
        return ",".join(str(v if on else 0) for v, on in zip(values, exists, strict=True))

    depth = ",".join(map(str, depths))
    return f"r={int(resolution)};d={depth};ks={text(kernels)};e={text(expansions)}"


def import_fbnet(files: Mapping[str, Path]) -> Table:
    """Build the table of the 5,000 FBNet architectures from `metainfo.pt` and the 24 latency files.

    Returns:
        5,000 rows in HELP's order: the operations of the 22 layers joined by `|`, and milliseconds
        per batch, columns `<device>@<batch>`.
    """
    path = files["metainfo.pt"]
    entries = _archs_of(path, load_pickle_zip(path), "cifar100")
    archs = [_fbnet_text(path, row, arch) for row, arch in enumerate(entries)]
    return device_table(files, FBNET_DEVICES, N_ARCHS, archs)


def import_ofa(files: Mapping[str, Path]) -> Table:
    """Build the table of Once-for-All MobileNetV3 from `ofa_archs.pt` and the 9 latency files.

    Returns:
        5,000 rows in HELP's order: `r=<resolution>;d=<5 depths>;ks=<20 kernels>;e=<20 expansions>`,
        where a block that its stage's depth switches off has kernel and expansion 0, and
        milliseconds per batch, columns `<device>@<batch>`.
    """
    path = files["ofa_archs.pt"]
    entries = _archs_of(path, load_pickle_zip(path, NUMPY_SCALARS), "imagenet")
    archs = [_ofa_text(path, row, arch) for row, arch in enumerate(entries)]
    return device_table(files, OFA_DEVICES, N_ARCHS, archs)
