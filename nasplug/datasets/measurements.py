"""The table of measured latencies: its columns, and the compact file that the package ships.

A row is one measurement of a network or an operator on a device. Columns of texts have few values
each, and are kept as codes into them; latencies are rounded to steps of 0.05 %, so that a value in
the file differs from the published one by 0.03 % at most.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug.datasets.archives import (
    joined_lines,
    lines_of,
    numbers_of,
    planes_of,
    shipped_arrays,
    write_arrays,
)
from nasplug.search_spaces.lazy import from_extra

if TYPE_CHECKING:
    import pandas as pd

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "FLAGS",
    "NETWORKS_FILE",
    "NUMBERS",
    "TEXTS",
    "MeasurementSource",
    "MeasurementTable",
    "measurement_sources",
    "network_measurements",
    "read_measurements",
    "shipped_measurements",
    "write_measurements",
]

TEXTS = {
    "source": "repository and commit, as owner/name@commit; see `measurement_sources`",
    "kind": "network, block (a few operators in one file), or operator",
    "network": "name as its source writes it",
    "graph": "reference of the graph, such as timm:resnet50@224 or op:linear{M=8,K=64,N=64}; empty "
    "where the network cannot be built by its name",
    "input": "sizes of the input as the source states them, without the batch where that is known",
    "device": "name in the catalogue of devices; empty for a device that it lacks",
    "hardware": "name of the device or its chip as the source states it",
    "unit": "processor that ran the network: CPU, GPU, NPU, TPU, FPGA, ASIC or MCU; empty if the "
    "source does not say",
    "cores": "cores of the CPU that were used, such as 1 big + 2 medium; empty if unknown",
    "runtime": "program that ran the network, without its version, such as eager or tensorrt",
    "version": "version of the runtime and of what it ran on, as far as stated",
    "precision": "fp64, fp32, tf32, fp16, bf16, int8, int4, w8a16 (weights of 8 and activations of "
    "16 bits), float (fp16 or fp32, not stated which), mixed; empty if unknown",
    "mode": "inference, training step, forward, backward (inputs or weights), or request (the "
    "prompt and the generated tokens of a language model)",
    "timing": "what was timed: kernels (of the GPU alone), events (of the GPU around one call, "
    "with gaps between kernels), wall clock, wall clock with copies (of the input), program (with "
    "reading or preparing inputs), reported (by a vendor's tool), estimate; empty if unknown",
    "statistic": "mean, median, minimum, mean of the fastest 5 of 25, or reported",
    "quality": "words of `FLAGS`, separated by commas; empty where nothing is known against it",
}
"""Columns of texts, and what they hold."""

NUMBERS = {
    "batch": "items a call; 0 if the source does not say",
    "threads": "threads of the CPU; 0 if the source does not say",
    "latency_ms": "milliseconds a batch",
}
"""Columns of numbers, and what they hold."""

FLAGS = {
    "assumed batch": "the batch size is inferred",
    "assumed device": "the form or the generation of the device is inferred",
    "assumed input": "the size of the input is inferred, or varied",
    "assumed precision": "the precision is inferred",
    "autocast": "weights are kept in fp32 and cast as they are read",
    "cost model": "an estimate of a model of the hardware, not a measurement",
    "fallback": "a part of the network ran on another unit",
    "noisy": "runs differed much, or the set-up is known to be erratic",
    "part of the card": "a slice of a GPU (MIG), or one of the chips of a card",
    "power limited": "the device was held below its usual power",
    "profiled": "a profiler ran beside the network, which costs time on a CPU",
    "proxy": "measured on another board with an equal or a similar chip",
    "repeated": "the source has the same setting more than once",
    "rounded": "the time is a few steps of the resolution only, such as whole milliseconds",
    "server": "a server such as Triton passed the inputs on",
    "sparse weights": "weights are pruned, and the runtime makes use of it",
    "two sockets": "two processors ran the network",
    "tf32 convolutions": "convolutions may have run in tf32, as PyTorch does by default",
    "untuned": "code that was compiled without tuning, far slower than the unit can",
    "virtual GPU": "the driver of a virtual machine passed the work on to the GPU",
    "zero inputs": "inputs were zeros, which lets clocks rise",
}
"""Words in the column `quality`, and what they say about a measurement."""

FORMAT_VERSION = 1
NETWORKS_FILE = "network_measurements.npz"
_FILE = "measurements.npz"
# Step of the logarithm of a latency; rounding moves a value by half a step at most.
_STEP = 0.0005
_LATENCY = "latency_ms"


@dataclass(frozen=True)
class MeasurementSource:
    """Public source of measurements.

    Attributes:
        name: Repository and commit, as in the table's column `source`.
        licence: The licence that the numbers are published under, by its SPDX name.
        holder: Holder of the copyright, as far as the source names it.
        url: Address of the files at that commit.
        content: What was taken, in a few words.

    Example:
        >>> from nasplug.datasets.measurements import measurement_sources
        >>> measurement_sources()["sitar-lab/NeuSight@6945927"].licence
        'MIT'
    """

    name: str
    licence: str
    holder: str
    url: str
    content: str


@cache
def measurement_sources() -> dict[str, MeasurementSource]:
    """Sources of measurements, by name, in the order of `measurement_sources.toml`."""
    file = resources.files(__package__) / "measurement_sources.toml"
    entries = tomllib.loads(file.read_text(encoding="utf-8"))["source"]
    return {entry["name"]: MeasurementSource(**entry) for entry in entries}


@dataclass(frozen=True, eq=False)
class MeasurementTable:
    """Table of measured latencies, a row a measurement.

    Attributes:
        codes: For each column of `TEXTS` the position of each row's text in `values`.
        values: For each column of `TEXTS` its distinct texts.
        numbers: The columns of `NUMBERS`: `batch` and `threads` are int32, `latency_ms` float64.
    """

    codes: Mapping[str, NDArray[np.int32]]
    values: Mapping[str, tuple[str, ...]]
    numbers: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.numbers[_LATENCY])

    def where(self, column: str, texts: Collection[str]) -> NDArray[np.bool_]:
        """Whether each row has one of some texts in a column."""
        wanted_texts = set(texts)
        wanted = [k for k, text in enumerate(self.values[column]) if text in wanted_texts]
        result: NDArray[np.bool_] = np.isin(self.codes[column], wanted)
        return result

    def take(self, rows: NDArray[Any]) -> MeasurementTable:
        """The rows at some positions, or those that are true in a mask."""
        return MeasurementTable(
            {name: codes[rows] for name, codes in self.codes.items()},
            self.values,
            {name: column[rows] for name, column in self.numbers.items()},
        )

    def compact(self) -> MeasurementTable:
        """Rows without texts that none of them has."""
        codes, values = {}, {}
        for name, column in self.codes.items():
            used, places = np.unique(column, return_inverse=True)
            codes[name] = places.astype(np.int32)
            values[name] = tuple(self.values[name][k] for k in used)
        return MeasurementTable(codes, values, self.numbers)

    def records(self) -> Iterator[dict[str, Any]]:
        """Each row by the names of columns, with the licence of its source."""
        sources = measurement_sources()
        for row in range(len(self)):
            record: dict[str, Any] = {
                name: self.values[name][codes[row]] for name, codes in self.codes.items()
            }
            record |= {name: column[row].item() for name, column in self.numbers.items()}
            # More digits would be of the rounding.
            record[_LATENCY] = float(f"{record[_LATENCY]:.4g}")
            yield record | {"licence": sources[record["source"]].licence}

    def to_frame(self) -> pd.DataFrame:
        """Convert to a DataFrame; columns of texts are categorical."""
        with from_extra("data"):
            import pandas as pd

        columns: dict[str, Any] = {
            name: pd.Categorical.from_codes(codes, pd.Index(self.values[name]))
            for name, codes in self.codes.items()
        }
        columns |= self.numbers
        frame = pd.DataFrame(columns, index=pd.RangeIndex(len(self), name="index"))
        licences = {name: entry.licence for name, entry in measurement_sources().items()}
        frame["licence"] = pd.Categorical(frame["source"].astype(str).map(licences))
        return frame


@cache
def shipped_measurements() -> MeasurementTable:
    """The measurements that the package ships.

    Raises:
        InputError: If the file is damaged.

    Example:
        >>> from nasplug.datasets.measurements import shipped_measurements
        >>> len(shipped_measurements()) > 100_000
        True
    """
    with resources.as_file(resources.files(__package__) / _FILE) as path:
        return read_measurements(path)


@cache
def network_measurements() -> MeasurementTable:
    """Rows of `shipped_measurements` on networks whose graphs and devices the package knows.

    They are a file of their own, which is read in milliseconds.

    Raises:
        InputError: If the file is damaged.
    """
    with resources.as_file(resources.files(__package__) / NETWORKS_FILE) as path:
        return read_measurements(path)


def shipped_file() -> Path:
    """Path of the shipped table."""
    return Path(__file__).with_name(_FILE)


def write_measurements(path: Path, table: MeasurementTable) -> None:
    """Write a table atomically.

    Raises:
        OSError: If the folder cannot be written.
    """
    arrays: dict[str, NDArray[Any]] = {"version": np.array(FORMAT_VERSION)}
    for name in TEXTS:
        arrays[f"{name}.values"] = joined_lines(table.values[name])
        arrays |= _runs(name, table.codes[name])
    for name in ("batch", "threads"):
        arrays |= _runs(name, table.numbers[name])
    steps = np.round(np.log(table.numbers[_LATENCY]) / _STEP).astype(np.int32)
    # Rows are sorted, so that neighbours differ little: mostly in the first plane.
    arrays[_LATENCY] = planes_of(np.diff(steps, prepend=np.int32(0)), 3)
    write_arrays(path, arrays)


def read_measurements(path: Path) -> MeasurementTable:
    """Read a file that `write_measurements` wrote.

    Raises:
        InputError: If the file is missing or damaged, or of another version.
    """
    missing = f"the table of measurements {path} is missing"
    with shipped_arrays(path, FORMAT_VERSION, missing) as arrays:
        steps = np.cumsum(numbers_of(arrays[_LATENCY]))
        return MeasurementTable(
            {name: _column(name, arrays) for name in TEXTS},
            {name: lines_of(arrays[f"{name}.values"]) for name in TEXTS},
            {name: _column(name, arrays) for name in ("batch", "threads")}
            | {_LATENCY: np.exp(steps * _STEP)},
        )


def _runs(name: str, column: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Arrays of a column: runs of equal differences between neighbours.

    In sorted rows most texts stay as they are, and references count upwards.
    """
    differences = np.asarray(np.diff(column, prepend=0), dtype=np.int32)
    is_start = np.concatenate([[True], differences[1:] != differences[:-1]])[: len(differences)]
    starts = np.flatnonzero(is_start)
    ends = np.append(starts[1:], len(differences))
    lengths: NDArray[np.int32] = (ends - starts).astype(np.int32)
    return {
        f"{name}.steps": planes_of(differences[starts], 4),
        f"{name}.lengths": planes_of(lengths, 4),
    }


def _column(name: str, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.int32]:
    steps, lengths = (numbers_of(arrays[f"{name}.{part}"]) for part in ("steps", "lengths"))
    return np.cumsum(np.repeat(steps, lengths), dtype=np.int32)
