"""HELP's latencies of whole networks: the FBNet space, and Once-for-All MobileNetV3."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nasplug.datasets.importers.nb201 import GPUS, NB201_DEVICES, device_table, gpu_files
from nasplug.datasets.layout import foreign, shown
from nasplug.datasets.safe_pickle import NUMPY_SCALARS, load_pickle_zip
from nasplug.datasets.tables import Table
from nasplug.search_spaces import space
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.networks.fbnet import OPS as FBNET_OPS

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

_FBNET_LAYERS = 22


def _archs_of(path: Path, content: object, dataset: str) -> list[dict[str, Any]]:
    if not isinstance(content, dict) or content.get("dataset") != dataset:
        raise foreign(path, f"expected a dictionary of the data set {dataset}")
    archs = content.get("arch")
    if not isinstance(archs, list) or len(archs) != N_ARCHS:
        raise foreign(path, f"expected a list of {N_ARCHS:,} architectures under arch")
    for row, arch in enumerate(archs):
        if not isinstance(arch, dict):
            raise foreign(path, f"architecture {row} is {shown(arch)}, not a dictionary")
    return archs


def _fbnet_text(path: Path, row: int, arch: Mapping[str, Any]) -> str:
    indices, ops = arch.get("op_idx_list"), arch.get("arch_str")
    if (
        not isinstance(indices, list)
        or len(indices) != _FBNET_LAYERS
        or any(type(i) is not int or not 0 <= i < len(FBNET_OPS) for i in indices)
        or ops != [FBNET_OPS[i] for i in indices]
    ):
        raise foreign(path, f"architecture {row} is not a list of {_FBNET_LAYERS} known operations")
    return "|".join(FBNET_OPS[i] for i in indices)


def _ofa_text(path: Path, row: int, arch: Mapping[str, Any]) -> str:
    resolution = arch.get("r")
    lists = {name: arch.get(name) for name in ("d", "ks", "e")}
    try:
        # The space would read 3.0 or true for a number, too.
        if not isinstance(resolution, int | np.integer) or not all(
            isinstance(values, list) and all(type(value) is int for value in values)
            for values in lists.values()
        ):
            raise InputError("some values are not whole numbers")
        return space("ofa").parse(json.dumps({"r": int(resolution), **lists})).text
    except InputError as error:
        raise foreign(
            path, f"architecture {row} is not a Once-for-All MobileNetV3: {shown(arch)}"
        ) from error


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
