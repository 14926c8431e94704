"""EC-NAS: NAS-Bench-101 cells of at most five vertices, with the energy of their training.

Its files have the layout of NAS-Bench-101's and are read likewise; see `nasbench.table`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nasplug.datasets.layout import foreign
from nasplug.datasets.nasbench.table import NasbenchTable, read_file
from nasplug.datasets.tables import Table
from nasplug.search_spaces.nb101.cells import Cell
from nasplug.search_spaces.nb101.space import NB101

__all__ = ["DEVICES", "import_hardware", "import_means", "import_runs"]

# File of `ecnas-hardware` -> device.
DEVICES = {
    "energy_4V9E_quadrortx6000.tfrecord": "Quadro RTX 6000",
    "energy_4V9E_rtx3060.tfrecord": "RTX 3060",
    "energy_4V9E_rtx3090.tfrecord": "RTX 3090",
}
# Number of cells in a file: of at most five vertices, and measured on one GPU.
_SIZES = {"energy_5V9E.tfrecord": 2_532, "energy_4V9E_rtx3060.tfrecord": 88}
_SMALL = 91
# In the files of `ecnas-hardware`, longer budgets are measurements at this one, scaled.
_MEASURED_EPOCHS = 4
# The energy of this cell on the RTX 3090 is a fault: 3.8 kW, where other cells take 0.6 to 0.8.
_FAULTY = ("RTX 3090", "256affa4b0191e323796f138db7b1164")

_ACCURACIES = {
    "cifar10_train": "final_train_accuracy",
    "cifar10_val": "final_validation_accuracy",
    "cifar10_test": "final_test_accuracy",
}
_COSTS = {"train_time_s": "final_training_time", "energy_kwh": "final_energy"}


def _read(path: Path) -> NasbenchTable:
    table = read_file(path, progress=False)
    cells = _SIZES.get(path.name, _SMALL)
    if len(table) != cells or "final_energy" not in table.runs:
        raise foreign(path, f"it has {len(table)} cells with energies instead of {cells}")
    return table


def _frame(table: NasbenchTable, names: Mapping[str, str], epochs: int | None = None) -> Table:
    """Make a table with a row for each run, cells in the order of the file.

    If `epochs` is given, runs of other budgets are left out.
    """
    space = NB101()
    archs, hashes, rows = [], [], []
    for cell, code in enumerate(table.codes.tolist()):
        arch = space.architecture(Cell.from_code(code))
        for budget, length in enumerate(table.epochs.tolist()):
            for run in table.rows(cell, budget) if epochs in (None, length) else ():
                values = [
                    float(table.runs[name][run]) * (100 if name.endswith("accuracy") else 1)
                    for name in names.values()
                ]
                archs.append(arch.text)
                hashes.append(arch.arch_id)
                rows.append([length, int(table.params[cell]), *values])
    return Table(
        index=np.arange(len(rows)),
        columns=("epochs", "params", *names),
        values=np.array(rows),
        archs=tuple(archs),
        texts={"hash": tuple(hashes)},
        dtypes={"epochs": "int64", "params": "int64"},
    )


def import_runs(files: Mapping[str, Path]) -> Table:
    """Build the table of the trainings that EC-NAS ran itself from one TFRecord.

    Returns:
        A row a run: `epochs`, `params`, accuracies in percent, seconds and kWh of the training on a
        Quadro RTX 6000.
    """
    (path,) = files.values()
    return _frame(_read(path), {**_ACCURACIES, **_COSTS})


def import_means(files: Mapping[str, Path]) -> Table:
    """Build the table of NAS-Bench-101's own accuracies from `energy_4V9E_estimate.tfrecord`.

    Returns:
        A row a cell of at most four vertices and budget: `epochs`, `params`, accuracies in percent,
        means of the benchmark's three runs. The file's times and energies are scaled from four
        epochs, and left out.
    """
    (path,) = files.values()
    return _frame(_read(path), _ACCURACIES)


def import_hardware(files: Mapping[str, Path]) -> Table:
    """Build the table of training times and energies on three GPUs from the files of `DEVICES`.

    Returns:
        A row a device and cell: `device`, `epochs` (4), `params`, seconds and kWh of the training.
        The energy of one run is a measurement fault, and NaN.
    """
    parts, devices = [], []
    for name, device in DEVICES.items():
        parts.append(_frame(_read(files[name]), _COSTS, _MEASURED_EPOCHS))
        devices += [device] * len(parts[-1].index)
    hashes = tuple(text_hash for part in parts for text_hash in part.texts["hash"])
    values = np.concatenate([part.values for part in parts])
    faulty = [pair == _FAULTY for pair in zip(devices, hashes, strict=True)]
    values[faulty, parts[0].columns.index("energy_kwh")] = np.nan
    return Table(
        index=np.arange(len(values)),
        columns=parts[0].columns,
        values=values,
        archs=tuple(text for part in parts for text in part.archs or ()),
        texts={"device": tuple(devices), "hash": hashes},
        dtypes=parts[0].dtypes,
    )
