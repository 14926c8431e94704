"""NAS-Bench-201: accuracies from the GENIUS json files, latencies from the HELP tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nasplug.datasets.layout import foreign, numbers, read_json
from nasplug.datasets.safe_pickle import load_pickle_zip
from nasplug.datasets.tables import Table

__all__ = [
    "ACCURACY_COLUMNS",
    "NB201_DEVICES",
    "N_ARCHS",
    "import_accuracy",
    "import_latency",
    "is_arch",
    "read_index",
]

N_ARCHS = 15_625

NB201_DEVICES: dict[str, tuple[str, int]] = {
    "1080ti_1": ("GTX 1080 Ti", 1),
    "1080ti_32": ("GTX 1080 Ti", 32),
    "1080ti_256": ("GTX 1080 Ti", 256),
    "2080ti_1": ("RTX 2080 Ti", 1),
    "2080ti_32": ("RTX 2080 Ti", 32),
    "2080ti_256": ("RTX 2080 Ti", 256),
    "titan_rtx_1": ("Titan RTX", 1),
    "titan_rtx_32": ("Titan RTX", 32),
    "titan_rtx_256": ("Titan RTX", 256),
    "titanx_1": ("Titan X", 1),
    "titanx_32": ("Titan X", 32),
    "titanx_256": ("Titan X", 256),
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
"""File name without `.pt` -> (device, batch size). Listed one by one, since names such as gold_6226
end in digits that are no batch size. HELP states no batch size after Titan X: taken as 1."""

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
    """Read the architecture strings in the official index order, from `str_arch2idx.pt`.

    Raises:
        InputError: If the file cannot be read or has another layout.
    """
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


def import_accuracy(files: Mapping[str, Path], sources: Mapping[str, str]) -> Table:
    """Build the accuracy table.

    Args:
        files: The three json files and `str_arch2idx.pt`, by file name.
        sources: SHA-256 of the files, to be kept in the table.

    Returns:
        15,625 rows in the official index order, accuracy in percent after 200 epochs.

    Raises:
        InputError: If a file cannot be read or has another layout.
    """
    archs = read_index(files["str_arch2idx.pt"])
    columns: dict[str, NDArray[np.float64]] = {}
    for name, dataset in _ACCURACY_FILES.items():
        path = files[name]
        content = read_json(path)
        if content.keys() != set(archs):
            raise foreign(path, "its architecture strings are not those of the index table")
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
        sources=sources,
    )


def import_latency(files: Mapping[str, Path], sources: Mapping[str, str]) -> Table:
    """Build the latency table.

    Args:
        files: The 24 `.pt` files, by file name.
        sources: SHA-256 of the files, to be kept in the table.

    Returns:
        15,625 rows in the official index order, milliseconds per batch, columns `<device>@<batch>`.

    Raises:
        InputError: If a file cannot be read or has another layout.
    """
    columns = {}
    for stem, (device, batch) in NB201_DEVICES.items():
        path = files[f"{stem}.pt"]
        values = load_pickle_zip(path)
        if not isinstance(values, list):
            raise foreign(path, "expected a list of numbers")
        columns[f"{device}@{batch}"] = numbers(path, values, N_ARCHS)
    return Table(
        index=np.arange(N_ARCHS),
        columns=tuple(columns),
        values=np.column_stack(list(columns.values())),
        archs=None,
        sources=sources,
    )
