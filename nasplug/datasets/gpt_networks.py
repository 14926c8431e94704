"""HW-GPT-Bench's 30,000 language models: perplexity, energy and memory, in a file of the package.

Their texts and latencies are those of the table of measurements, whose networks stand in the order
of their texts here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.datasets.archives import numbers_of, planes_of, shipped_arrays, write_arrays
from nasplug.datasets.importers.gpt_runs import BATCHES
from nasplug.datasets.measurements import MeasurementTable, shipped_measurements
from nasplug.datasets.tables import Table
from nasplug.search_spaces.errors import InputError

__all__ = ["ENERGY_BATCH", "FILE", "GPUS", "gpt_table", "gpt_texts", "write_gpt_networks"]

GPUS = ("P100", "V100", "RTX 2080 Ti", "RTX 3080", "A40", "A100 40GB", "H100")
"""GPUs whose energy was measured."""

FILE = Path(__file__).with_name("gpt_networks.npz")
FORMAT_VERSION = 1
SOURCE = "automl/HW-GPT-Bench@cfddd10"
# Name of the source's device -> name in the catalogue, where the table of measurements leaves the
# form of the device open. The cluster that the source names has the smaller of two A100.
_FORMS = {"A100": "A100 40GB", "H100": "H100"}
# Sequences of the passes whose energy was measured, at all scales.
ENERGY_BATCH = 8
# Steps of the columns of small numbers; 0 stands for none.
_STEPS = {"perplexity": 0.001, "next_token_accuracy": 0.001, "allocated_mb": 0.001}
# Step of the logarithm of an energy or a power; rounding moves a value by half a step at most.
_LOG_STEP = 0.001
# No number of a column rounds to it.
_NONE = -1_000_000
_LOGS = tuple((gpu, unit) for unit in ("J", "W") for gpu in GPUS)


@cache
def _measured() -> MeasurementTable:
    table = shipped_measurements()
    return table.take(table.where("source", [SOURCE])).compact()


def gpt_texts(scale: str) -> tuple[str, ...]:
    """Texts of the 10,000 networks of a scale, in the order of the file."""
    table = _measured()
    graphs = np.unique(table.codes["graph"][table.where("network", [f"GPT {scale}"])])
    return tuple(sorted(table.values["graph"][k].removeprefix("gpt:") for k in graphs))


def _latencies(scale: str, texts: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Latencies of a scale by column, in the order of its texts."""
    table = _measured()
    position = {text: k for k, text in enumerate(texts)}
    row_of = np.array(
        [position.get(graph.removeprefix("gpt:"), -1) for graph in table.values["graph"]]
    )
    rows = row_of[table.codes["graph"]]
    hardware, devices = table.values["hardware"], table.values["device"]
    columns = {}
    for code, name in enumerate(hardware):
        chosen = np.flatnonzero((table.codes["hardware"] == code) & (rows >= 0))
        if not len(chosen):
            continue
        known = devices[table.codes["device"][chosen[0]]]
        column = np.full(len(texts), np.nan)
        column[rows[chosen]] = table.numbers["latency_ms"][chosen]
        columns[f"{known or _FORMS.get(name, name)}@{BATCHES[scale]}"] = column
    return columns


@cache
def gpt_table(scale: str) -> Table:
    """The table of a scale, `"s"`, `"m"` or `"l"`.

    Returns:
        A row a network: `perplexity` on OpenWebText and `next_token_accuracy` in percent, NaN where
        it was not evaluated; `allocated_mb` after a forward pass on the A100; for each of `GPUS`
        the joules of a forward pass of `ENERGY_BATCH` sequences and the watts meanwhile; for each
        device the latency of a forward pass of the scale's batch in ms.

    Raises:
        InputError: If a file of the package is missing or damaged.
    """
    texts = gpt_texts(scale)
    with shipped_arrays(FILE, FORMAT_VERSION, "the table of language models is missing") as arrays:
        columns = {name: _numbers(arrays[f"{scale}.{name}"]) * s for name, s in _STEPS.items()}
        for gpu, unit in _LOGS:
            steps = _numbers(arrays[f"{scale}.{gpu} {unit}"])
            columns[f"{gpu}@{ENERGY_BATCH} {unit}"] = np.exp(steps * _LOG_STEP)
        digest = arrays[f"{scale}.digest"].tobytes()
    if digest != _digest(texts):
        raise InputError(f"{FILE} is of another table of measurements; install nasplug again")
    columns |= _latencies(scale, texts)
    return Table(
        index=np.arange(len(texts)),
        columns=tuple(columns),
        values=np.stack(list(columns.values()), axis=1),
        archs=texts,
    )


def _numbers(planes: NDArray[np.uint8]) -> NDArray[np.float64]:
    steps = numbers_of(planes).astype(np.float64)
    steps[steps == _NONE] = np.nan
    return steps


def _digest(texts: Sequence[str]) -> bytes:
    return hashlib.sha256("\n".join(texts).encode()).digest()


def write_gpt_networks(path: Path, scales: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> None:
    """Write the file of all scales.

    Args:
        path: The file.
        scales: Columns of `gpt_table` but for latencies, by scale, in the order of `gpt_texts`.

    Raises:
        OSError: If the folder cannot be written.
    """
    arrays: dict[str, NDArray[Any]] = {"version": np.array(FORMAT_VERSION)}
    for scale, columns in scales.items():
        arrays[f"{scale}.digest"] = np.frombuffer(_digest(gpt_texts(scale)), np.uint8)
        for name, step in _STEPS.items():
            arrays[f"{scale}.{name}"] = _planes(columns[name] / step)
        for gpu, unit in _LOGS:
            values = columns[f"{gpu}@{ENERGY_BATCH} {unit}"]
            arrays[f"{scale}.{gpu} {unit}"] = _planes(np.log(values) / _LOG_STEP)
    write_arrays(path, arrays)


def _planes(steps: NDArray[np.float64]) -> NDArray[Any]:
    return planes_of(np.where(np.isnan(steps), _NONE, np.round(steps)).astype(np.int32))
