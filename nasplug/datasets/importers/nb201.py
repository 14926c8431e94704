"""NAS-Bench-201: accuracies from the GENIUS json files, latencies from the HELP tables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nasplug.datasets.layout import foreign, numbers, read_json
from nasplug.datasets.safe_pickle import load_pickle_zip
from nasplug.datasets.tables import Table

__all__ = [
    "ACCURACY_COLUMNS",
    "GPUS",
    "NB201_DEVICES",
    "N_ARCHS",
    "device_table",
    "gpu_files",
    "import_accuracy",
    "import_latency",
    "is_arch",
    "read_index",
]

N_ARCHS = 15_625

GPUS = {
    "1080ti": "GTX 1080 Ti",
    "2080ti": "RTX 2080 Ti",
    "titan_rtx": "Titan RTX",
    "titanx": "Titan X",
}
"""Start of HELP's file names -> GPU."""


def gpu_files(gpus: Mapping[str, str], batches: Sequence[int]) -> dict[str, tuple[str, int]]:
    """File names without `.pt` of GPUs at several batch sizes, with device and batch size."""
    return {f"{stem}_{n}": (device, n) for stem, device in gpus.items() for n in batches}


NB201_DEVICES: dict[str, tuple[str, int]] = {
    **gpu_files(GPUS, (1, 32, 256)),
    "gold_6226": ("Xeon Gold 6226", 1),
    "gold_6240": ("Xeon Gold 6240", 1),
    "silver_4114": ("Xeon Silver 4114", 1),
    "silver_4210r": ("Xeon Silver 4210R", 1),
    "samsung_a50": ("Galaxy A50", 1),
    "samsung_s7": ("Galaxy S7", 1),
    "essential_ph_1": ("Essential PH-1", 1),
    "pixel2": ("Pixel 2", 1),
    "pixel3": ("Pixel 3", 1),
    "raspi4": ("Raspberry Pi 4", 1),
    "fpga": ("ZC706", 1),
    "eyeriss": ("Eyeriss", 1),
}
"""File name without `.pt` -> (device, batch size); HELP states no batch size after Titan X: 1."""

_ACCURACY_FILES = {
    "nasbench201_cifar10.json": "cifar10",
    "nasbench201_cifar100.json": "cifar100",
    "nasbench201_imagenet.json": "imagenet16-120",
}
ACCURACY_COLUMNS = tuple(f"{d}_{s}" for d in _ACCURACY_FILES.values() for s in ("val", "test"))
"""The columns of the accuracy table beside `arch`: data set and split, in percent."""

_OP = "(?:none|skip_connect|nor_conv_1x1|nor_conv_3x3|avg_pool_3x3)"
_ARCH = re.compile(rf"\|{_OP}~0\|\+\|{_OP}~0\|{_OP}~1\|\+\|{_OP}~0\|{_OP}~1\|{_OP}~2\|", re.ASCII)


def is_arch(text: object) -> bool:
    """Whether `text` is the architecture string of a NAS-Bench-201 cell."""
    return isinstance(text, str) and _ARCH.fullmatch(text) is not None


def read_index(path: Path) -> list[str]:
    """Read the architecture strings in the official index order, from `str_arch2idx.pt`."""
    table = load_pickle_zip(path)
    if (
        not isinstance(table, dict)
        or len(table) != N_ARCHS
        or not all(is_arch(arch) for arch in table)
        or any(type(index) is not int for index in table.values())
        or sorted(table.values()) != list(range(N_ARCHS))
    ):
        raise foreign(path, f"expected {N_ARCHS:,} architecture strings numbered from 0")
    return sorted(table, key=table.__getitem__)


def import_accuracy(files: Mapping[str, Path]) -> Table:
    """Build the accuracy table from the three json files and `str_arch2idx.pt`.

    Returns:
        15,625 rows in the official index order, accuracy in percent after 200 epochs.
    """
    archs = read_index(files["str_arch2idx.pt"])
    columns: dict[str, NDArray[np.float64]] = {}
    for name, dataset in _ACCURACY_FILES.items():
        path = files[name]
        content = read_json(path)
        if content.keys() != set(archs):
            raise foreign(path, "its architecture strings differ from those of the index table")
        # The json is in another order than the index: only the index table gives the rows.
        rows = [content[arch] for arch in archs]
        for split in ("val", "test"):
            key = f"{split}_acc_200"
            if not all(isinstance(row, dict) and key in row for row in rows):
                raise foreign(path, f"some architectures have no {key}")
            columns[f"{dataset}_{split}"] = numbers(
                path, [row[key] for row in rows], N_ARCHS, 100.0
            )
    return Table(
        index=np.arange(N_ARCHS),
        columns=ACCURACY_COLUMNS,
        values=np.column_stack([columns[name] for name in ACCURACY_COLUMNS]),
        archs=tuple(archs),
    )


def import_latency(files: Mapping[str, Path]) -> Table:
    """Build the latency table from the 24 `.pt` files.

    Returns:
        15,625 rows in the official index order, milliseconds per batch, columns `<device>@<batch>`.
    """
    return device_table(files, NB201_DEVICES, N_ARCHS)


def device_table(
    files: Mapping[str, Path],
    devices: Mapping[str, tuple[str, int]],
    count: int,
    archs: Sequence[str] | None = None,
) -> Table:
    """Make a table of HELP's latency files, a column `<device>@<batch>` each.

    Args:
        files: Path of each file, by its name.
        devices: File name without `.pt` -> (device, batch size).
        count: Number of architectures in each file.
        archs: The text of each architecture.
    """
    columns = {}
    for stem, (device, batch) in devices.items():
        path = files[f"{stem}.pt"]
        values = load_pickle_zip(path)
        if not isinstance(values, list):
            raise foreign(path, "expected a list of numbers")
        columns[f"{device}@{batch}"] = numbers(path, values, count)
    return Table(
        index=np.arange(count),
        columns=tuple(columns),
        values=np.column_stack(list(columns.values())),
        archs=None if archs is None else tuple(archs),
    )
