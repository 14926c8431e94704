"""Table of the official NAS-Bench-101 file, a row a cell, for `load("nb101-official")`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nasplug.datasets.nasbench.table import NasbenchTable
from nasplug.datasets.tables import Table
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.nb101.cells import Cell
from nasplug.search_spaces.nb101.enumeration import CELLS, cell_table
from nasplug.search_spaces.nb101.space import NB101

__all__ = ["means"]

_RUNS = {
    "cifar10_train": ("final_train_accuracy", 100.0),
    "cifar10_val": ("final_validation_accuracy", 100.0),
    "cifar10_test": ("final_test_accuracy", 100.0),
    "train_time_s": ("final_training_time", 1.0),
}
# Up to so many cells are put in canonical spelling one by one; more are looked up by their hashes.
_FEW = 10_000


def means(table: NasbenchTable, sources: Mapping[str, str]) -> Table:
    """Means of the repeats at the longest budget: a row a cell, in the order of the space.

    Args:
        table: The runs of a file.
        sources: SHA-256 of the file, by its name.

    Returns:
        `epochs`, `params`, accuracies in percent, seconds of training. The table of a file of all
        cells names no architectures: its rows are in the order of space nb101.
    """
    positions = _positions(table)
    order = np.argsort(positions, kind="stable")
    last_budget = order * len(table.epochs) + len(table.epochs) - 1
    first, last = table.starts[last_budget], table.starts[last_budget + 1]
    columns = [
        np.full(len(order), float(table.epochs[-1])),
        table.params[order].astype(np.float64),
    ]
    for name, factor in _RUNS.values():
        sums = np.concatenate([[0.0], np.cumsum(table.runs[name], dtype=np.float64)])
        with np.errstate(invalid="ignore"):
            mean = factor * (sums[last] - sums[first]) / (last - first)
        # A sum of a million numbers has noise in its last digits.
        columns.append(np.round(mean, 8))
    is_whole = len(order) == CELLS
    space = NB101()
    return Table(
        index=positions[order].astype(np.int64),
        columns=("epochs", "params", *_RUNS),
        values=np.stack(columns, axis=1),
        archs=None
        if is_whole
        else tuple(space[int(position)].text for position in positions[order]),
        sources=sources,
        dtypes={"epochs": "int64", "params": "int64"},
    )


def _positions(table: NasbenchTable) -> NDArray[np.intp]:
    """Position of each cell in the order of space nb101, `(cells,)`."""
    if len(table) <= _FEW:
        space = NB101()
        archs = (space.architecture(Cell.from_code(code)) for code in table.codes.tolist())
        return np.array([space.index(arch) for arch in archs], np.intp)
    index_of_hash = table.positions
    all_hashes = cell_table().hashes
    index = np.array([index_of_hash.get(row.tobytes(), -1) for row in all_hashes], np.intp)
    positions = np.full(len(table), -1, np.intp)
    positions[index[index >= 0]] = np.flatnonzero(index >= 0)
    if (positions < 0).any():
        unknown_hash = table.hashes[int(np.argmin(positions))].tobytes().hex()
        raise InputError(f"the cell with the hash {unknown_hash} is not in NAS-Bench-101")
    return positions
