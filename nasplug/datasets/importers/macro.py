"""NAS-Bench-Macro: CIFAR-10 accuracies of all 6,561 chains of eight blocks."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nasplug.datasets.layout import foreign, named_numbers, numbers, read_json
from nasplug.datasets.tables import Table

__all__ = ["MACRO_COLUMNS", "import_macro"]

_KEYS = ["".join(blocks) for blocks in itertools.product("012", repeat=8)]
_RUNS = 3

MACRO_COLUMNS = (
    *("cifar10_test", "cifar10_test_std"),
    *(f"cifar10_test_{run}" for run in range(1, _RUNS + 1)),
    *("params", "flops", "first_index"),
)
"""Mean and spread (ddof 0) over three trainings, the three accuracies, the network's costs as
published, and the first row of an equal network."""


def import_macro(files: Mapping[str, Path]) -> Table:
    """Build the table of NAS-Bench-Macro from `nas-bench-macro_cifar10.json`.

    Returns:
        6,561 rows in the order of their keys, which are the architectures: eight digits, 0 for
        identity, 1 for an inverted bottleneck of kernel 3 and expansion 3, 2 for one of kernel 5
        and expansion 6. Accuracies are in percent. Keys whose networks differ only in the place of
        an identity share one measurement; `first_index` is the first such key (3,969 networks are
        distinct).
    """
    path = files["nas-bench-macro_cifar10.json"]
    content = read_json(path)
    if content.keys() != set(_KEYS):
        raise foreign(path, f"its keys are not the {len(_KEYS):,} words of eight digits 0, 1, 2")
    rows = []
    first: dict[tuple[float, ...], int] = {}
    for row, key in enumerate(_KEYS):
        entry = content[key]
        runs = entry.pop("test_acc", None) if isinstance(entry, dict) else None
        if not isinstance(runs, list):
            raise foreign(path, f"{key} has no list test_acc")
        accuracies = numbers(path, runs, _RUNS, 100.0)
        names = ("mean_acc", "std", "params", "flops")
        mean, std, params, flops = named_numbers(path, key, entry, names)
        if abs(mean - accuracies.mean()) > 1e-6 or abs(std - accuracies.std()) > 1e-6:
            raise foreign(path, f"mean and std of {key} are not those of its runs")
        measured = (mean, std, *accuracies.tolist(), params, flops)
        rows.append([*measured, first.setdefault(measured, row)])
    return Table(
        index=np.arange(len(_KEYS)),
        columns=MACRO_COLUMNS,
        values=np.array(rows),
        archs=tuple(_KEYS),
        dtypes=dict.fromkeys(("params", "flops", "first_index"), "int64"),
    )
