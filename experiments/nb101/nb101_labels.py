"""The accuracies of NAS-Bench-101 cells that the experiments learn from, by source."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nasplug import InputError, datasets
from nasplug.datasets.nasbench.table import NasbenchTable, cached_table
from nasplug.search_spaces import Architecture, Graph
from nasplug.search_spaces.nb101.cells import Cell
from nasplug.search_spaces.nb101.enumeration import CELLS
from nasplug.search_spaces.nb101.space import NB101

__all__ = [
    "LABELS",
    "Labels",
    "from_table",
    "labels_of",
    "official",
    "sha256",
    "small_subset",
    "subset",
]

Array = NDArray[np.float64]

# What the rows of a source are called, wherever they are shown.
LABELS = {
    "small": "NB-101 small-cell subset (n=1,713)",
    "ecnas-5v": "EC-NAS 2,532 cells, 4 epochs",
    "official": "NAS-Bench-101 (n=423,624)",
}
# Accuracies at all budgets of the cells that EC-NAS's searches visited; see docs/nb101.md.
SUBSET_FILE = "nb101_real_subset.csv.gz"
SUBSET_SHA256 = "5d129c787e430f79c6ed08dce61b8af8dbd5b1e376481844e2618b5e3ac3301f"
_SUBSET_CELLS = 1_713
_EPOCHS = 108


@dataclass(frozen=True, eq=False)
class Labels:
    """Cells with both accuracies in percent.

    Attributes:
        name: What rows of this source are called.
        codes: `Cell.code` of each cell in any spelling, shape `(cells,)`.
        validation: Validation accuracy, shape `(cells,)`.
        test: Test accuracy, shape `(cells,)`.
    """

    name: str
    codes: NDArray[np.uint32]
    validation: Array
    test: Array

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def vertices(self) -> NDArray[np.int64]:
        """Vertices of each cell, shape `(cells,)`."""
        return np.array([Cell.from_code(code).vertices for code in self.codes.tolist()])

    def architectures(self, rows: Sequence[int] | NDArray[np.int64]) -> list[Architecture]:
        """The architectures of some cells."""
        space = NB101()
        wanted = self.codes[rows]
        places = np.minimum(np.searchsorted(space.codes, wanted), CELLS - 1)
        # To find the canonical spelling takes longest, and most files use it.
        return [
            space[int(place)] if known else space.architecture(Cell.from_code(int(code)))
            for place, known, code in zip(
                places, space.codes[places] == wanted, wanted, strict=True
            )
        ]

    def graphs(self, rows: Sequence[int] | NDArray[np.int64]) -> list[Graph]:
        """The graphs of some cells."""
        return NB101().to_graphs(self.architectures(rows))


def labels_of(source: str, subset_file: Path | None, official_file: Path | None) -> Labels:
    """The labels of a source of `LABELS`.

    Raises:
        InputError: If the source needs a file that is not given, or the file is another one.
    """
    if source == "small":
        return small_subset(subset_file)
    if source == "official":
        if official_file is None:
            raise InputError(
                "source official reads NAS-Bench-101's own file, which you download by hand; give "
                "its path with --official nasbench_only108.tfrecord"
            )
        return official(official_file)
    table = datasets.load("ecnas-5v")
    return _labels(LABELS[source], list(table["arch"]), table["cifar10_val"], table["cifar10_test"])


def subset(path: Path | None = None) -> pd.DataFrame:
    """The table of all cells that EC-NAS's searches visited, accuracies from 0 to 1 by budget.

    Args:
        path: The file; that beside the mirror of the data sets if None.

    Raises:
        InputError: If it is not there, or another file.
    """
    if path is None:
        mirror = os.environ.get("NASPLUG_MIRROR", "")
        path = Path(mirror.removeprefix("file://")).parent / "derived" / SUBSET_FILE
    try:
        content = path.read_bytes()
    except OSError:
        raise InputError(
            f"{path} cannot be read; give the table of NAS-Bench-101 cells that EC-NAS's searches "
            f"visited with --subset {SUBSET_FILE}"
        ) from None
    if sha256(content) != SUBSET_SHA256:
        raise InputError(f"{path} is not the table {SUBSET_FILE}: its SHA-256 is another one")
    return pd.read_csv(path, dtype={"adjacency": str})


def sha256(content: bytes) -> str:
    """SHA-256 of bytes, as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def small_subset(path: Path | None = None) -> Labels:
    """NAS-Bench-101's accuracies after 108 epochs of the cells of `subset` that have them."""
    table = subset(path)
    table = table[table["val_acc_108"].notna() & table["test_acc_108"].notna()]
    texts = [f"{a}:{o}" for a, o in zip(table["adjacency"], table["ops"], strict=True)]
    labels = _labels(
        LABELS["small"], texts, 100 * table["val_acc_108"], 100 * table["test_acc_108"]
    )
    assert len(labels) == _SUBSET_CELLS
    return labels


def official(path: Path) -> Labels:
    """Means over the runs of 108 epochs of every cell of the benchmark's own file."""
    table = cached_table(path)
    if len(table) != CELLS or _EPOCHS not in table.epochs:
        raise InputError(
            f"{path} has {len(table):,} cells; NAS-Bench-101's own file has {CELLS:,} with runs of "
            f"{_EPOCHS} epochs"
        )
    return from_table(table, LABELS["official"])


def from_table(table: NasbenchTable, name: str) -> Labels:
    """Means over the runs of 108 epochs of each cell of a file of the benchmark's family."""
    budget = table.epochs.tolist().index(_EPOCHS)
    starts = table.starts[budget :: len(table.epochs)][: len(table)]
    ends = table.starts[budget + 1 :: len(table.epochs)][: len(table)]
    means = []
    for column in ("final_validation_accuracy", "final_test_accuracy"):
        sums = np.concatenate([[0.0], np.cumsum(table.runs[column], dtype=np.float64)])
        means.append(100 * (sums[ends] - sums[starts]) / (ends - starts))
    return Labels(name, table.codes, means[0], means[1])


def _labels(name: str, texts: Sequence[str], validation: pd.Series, test: pd.Series) -> Labels:
    space = NB101()
    codes = [space.parse(text).key for text in texts]
    return Labels(
        name, np.array(codes, np.uint32), validation.to_numpy(np.float64), test.to_numpy(np.float64)
    )
