"""The split, the tables and the results with their provenance that all experiments share."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import date
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kendalltau

from experiments import RESULTS, ROOT
from nasplug import datasets
from nasplug.devices.hardware import hardware
from nasplug.measuring.machine import machine
from nasplug.predictors import Prediction
from nasplug.predictors.features.settings import Setting
from nasplug.search_spaces import Architecture, Graph, space
from nasplug.search_spaces.files import write_text

RUNS = ROOT / "experiments" / "runs"
ZOO = ROOT / "nasplug" / "zoo"
IMAGE_SETS = ("cifar10", "cifar100", "imagenet16-120")
SPLIT_SEED = 201
# Cells of NAS-Bench-201.
CELLS = 15_625
PACKAGES = ("nasplug", "torch", "numpy", "scipy", "pandas", "lightning", "optuna")

Array = NDArray[np.float64]


def split() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Official indices of the half of NAS-Bench-201 that is trained on, and of the other half."""
    order = np.random.default_rng(SPLIT_SEED).permutation(CELLS)
    return order[:7_812], order[7_812:]


@cache
def cells() -> tuple[list[Architecture], list[Graph]]:
    """All NAS-Bench-201 cells in index order, and their graphs."""
    nb201 = space("nb201")
    archs = list(nb201)  # type: ignore[call-overload]
    return archs, nb201.to_graphs(archs)


def accuracies() -> tuple[Array, Array]:
    """Validation and test accuracies in percent, each `(15625, 3)`."""
    table = datasets.load("nb201-accuracy")
    return (
        table[[f"{name}_val" for name in IMAGE_SETS]].to_numpy(),
        table[[f"{name}_test" for name in IMAGE_SETS]].to_numpy(),
    )


def latencies() -> tuple[Array, list[Setting]]:
    """Measured latencies in ms, `(15625, columns)`, and the device of each column."""
    table = datasets.load("nb201-latency")
    columns = []
    for key in table.columns:
        name, batch = key.split("@")
        columns.append(Setting(hardware(name), int(batch)))
    return table.to_numpy(), columns


def covered(predicted: Prediction, truth: Array, column: int = 0) -> NDArray[np.bool_]:
    """Whether each truth of a target is inside its 90 % interval."""
    inside: NDArray[np.bool_] = (predicted.lower[:, column] <= truth) & (
        truth <= predicted.upper[:, column]
    )
    return inside


def ranks(score: Array, image_set: int = 0) -> dict[str, float]:
    """Kendall's taus of scores of all cells against both accuracies on an image set."""
    tables = zip(("tau_validation", "tau_test"), accuracies(), strict=True)
    return {name: float(kendalltau(score, table[:, image_set])[0]) for name, table in tables}


def provenance(*names: str) -> dict[str, Any]:
    """Data hashes, package versions and the machine, to write beside a result."""
    return {
        "date": date.today().isoformat(),
        "data": {
            name: {file.key: file.sha256 for file in datasets.info(name).files} for name in names
        },
        "split_seed": SPLIT_SEED,
        "packages": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": {"processor": machine()["processor"], "threads": torch.get_num_threads()},
    }


def run_alone(code: str, *arguments: str, cache: str) -> dict[str, Any]:
    """The JSON that a program prints, in a process of its own with a folder for its cache."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "NASPLUG_CACHE": cache},
        check=True,
        capture_output=True,
        text=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def write_result(name: str | Path, /, *data: str, **fields: Any) -> Path:
    """Write `results/<name>.json`, or the path that is given, and say so.

    Args:
        name: The result.
        data: Data sets, for the provenance.
        fields: The content; the provenance is added unless it is among them.
    """
    path = name if isinstance(name, Path) else RESULTS / f"{name}.json"
    fields.setdefault("provenance", provenance(*data))
    write_text(path, json.dumps(fields, indent=1) + "\n")
    print(f"wrote {path}", file=sys.stderr)
    return path
