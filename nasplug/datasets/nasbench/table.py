"""Arrays of every run of a file of the NAS-Bench-101 family, and their copy in the cache."""

from __future__ import annotations

import binascii
import re
import sys
import zipfile
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.datasets.archives import read_arrays, write_arrays
from nasplug.datasets.download import cache_dir, is_lfs_pointer, sha256_of
from nasplug.datasets.layout import shown
from nasplug.datasets.nasbench.metrics import metrics_class
from nasplug.datasets.nasbench.records import (
    PLAIN_SIZE,
    bits_of,
    labels_of,
    plain_runs,
    record_fault,
    split_record,
)
from nasplug.datasets.nasbench.tfrecord import read_records
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.nb101.cells import Cell, module_hash

__all__ = ["ENERGY", "METRICS", "NasbenchTable", "cached_table", "read_file"]

FORMAT_VERSION = 1
"""Version to be raised when the layout or the reader changes; older copies are then made again."""

_MEASURED = ("training_time", "train_accuracy", "validation_accuracy", "test_accuracy")
METRICS = tuple(f"{when}_{name}" for when in ("halfway", "final") for name in _MEASURED)
"""Metrics of a run in the official API: seconds, and accuracies from 0 to 1."""
ENERGY = ("halfway_energy", "final_energy")
"""Metrics that EC-NAS adds, in kilowatt-hours."""

_COLUMNS = (*METRICS, *ENERGY)
_ACCURACIES = [k for k, name in enumerate(METRICS) if name.endswith("accuracy")]
# Number of runs that are decoded, checked and packed at once.
_CHUNK = 16_384
# Number of cells whose hash is checked, to detect a benchmark with other operations or hashes.
_HASHED = 100
_HASH = re.compile(r"[0-9a-f]{32}")
_HASH_BYTES = 16
# Names of the arrays in a copy, beside those of the runs.
_ARRAYS = ("hashes", "codes", "params", "epochs", "starts")
_RUN = "runs."
# A record begins with a bracket, a quote, and the hash.
_START = 2 + 2 * _HASH_BYTES


@dataclass(frozen=True, eq=False)
class NasbenchTable:
    """Runs of a file, grouped by cell, then by budget, in the order of the file.

    Attributes:
        hashes: The 16 bytes of each cell's hash, in the order of the file; shape `(cells, 16)`.
        codes: `Cell.code` of each cell as the file spells it, shape `(cells,)`.
        params: Trainable parameters of each cell, shape `(cells,)`.
        epochs: The budgets, ascending; shape `(budgets,)`.
        starts: Runs of cell c at budget b are rows `starts[c·budgets + b]` to the next start; shape
            `(cells·budgets + 1,)`.
        runs: Name of `METRICS` (and `ENERGY`, where it was measured) to one value a run.
    """

    hashes: NDArray[np.uint8]
    codes: NDArray[np.uint32]
    params: NDArray[np.int64]
    epochs: NDArray[np.int64]
    starts: NDArray[np.int64]
    runs: Mapping[str, NDArray[np.floating[Any]]]

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def positions(self) -> dict[bytes, int]:
        """Position of each cell in the file's order, by the bytes of its hash."""
        content = self.hashes.tobytes()
        return {
            content[k * _HASH_BYTES : (k + 1) * _HASH_BYTES]: k for k in range(len(self.hashes))
        }

    def rows(self, cell: int, budget: int) -> range:
        """Rows of the runs of a cell at a budget; both arguments are positions."""
        group = cell * len(self.epochs) + budget
        return range(int(self.starts[group]), int(self.starts[group + 1]))


def cached_table(
    path: Path,
    progress: bool | None = None,
    check: Callable[[NasbenchTable, str], None] | None = None,
) -> NasbenchTable:
    """Load the table of a file from the cache, or read the file and keep a copy in the cache.

    The copy is found by the SHA-256 of the file, whatever the file's path.

    Args:
        path: A file of the family.
        progress: Whether to draw a progress bar on stderr; None draws it on a terminal only.
        check: Function that is called with the table and the file's SHA-256; a table that it
            refuses by an error is not kept.

    Raises:
        InputError: For the reasons of `read_file`.
    """
    _check_file(path)
    try:
        digest = sha256_of(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error
    copy = cache_dir() / "tables" / f"nasbench-{digest[:16]}.npz"
    cached = _read_copy(copy, digest)
    table = read_file(path, progress) if cached is None else cached
    if check is not None:
        check(table, digest)
    if cached is not None:
        return cached
    try:
        _write_copy(copy, table, digest)
    except OSError as error:
        # The table is worth more than its copy.
        print(
            f"nasplug: cannot cache the table of {path} in {copy} ({error}); set NASPLUG_CACHE to "
            "a folder that can be written, or nasplug reads the file again next time",
            file=sys.stderr,
        )
    return table


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path} is not a file; give the .tfrecord file that you downloaded")
    if is_lfs_pointer(path):
        raise InputError(f"{path} is a git-LFS pointer, not the data; download the real file")


def read_file(path: Path, progress: bool | None = None) -> NasbenchTable:
    """Read a file of the family: the benchmark's own, or one of EC-NAS.

    Args:
        path: The file.
        progress: Whether to draw a progress bar on stderr; None draws it on a terminal only.

    Raises:
        InputError: If the file cannot be read, is cut off or damaged, or a record is not laid out
            like those of NAS-Bench-101; the sentence names the file and the record.
    """
    from tqdm import tqdm

    _check_file(path)
    draws_bar = sys.stderr.isatty() if progress is None else progress
    reading = _Reading(path)
    size = path.stat().st_size
    with tqdm(total=size, desc=path.name, unit="B", unit_scale=True, disable=not draws_bar) as bar:
        pending = 0
        for payload in read_records(path):
            reading.add(payload)
            pending += len(payload)
            if len(reading.epochs) % 4096 == 0:
                bar.update(pending)
                pending = 0
        bar.update(pending)
    return reading.table()


class _Reading:
    """Runs of a file, as far as it has been read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = metrics_class()()
        # Beginning of a cell's records -> its position; text of a number of epochs -> the number;
        # and for each cell a hash of the text between epochs and metrics in its records.
        self.position_of: dict[bytes, int] = {}
        self.epochs_of: dict[bytes, int] = {}
        self.between = array("q")
        self.codes = array("L")
        self.params = array("q")
        # One item a run.
        self.cell_of = array("i")
        self.epochs = array("i")
        # Records whose metrics are not decoded yet, and the characters of the metrics that are
        # read.
        self.payloads: list[bytes] = []
        self.texts: list[bytes] = []
        self.chunks: list[list[NDArray[np.floating[Any]]]] = []

    def add(self, payload: bytes) -> None:
        """Add one record."""
        # Most records differ from an earlier record of their cell in epochs and metrics alone.
        start = payload.rfind(b'"', 0, -2) + 1
        comma = payload.find(b",", 36)
        position = self.position_of.get(payload[:_START])
        epochs = self.epochs_of.get(payload[_START:comma])
        if (
            position is not None
            and epochs is not None
            and self.between[position] == hash(payload[comma:start])
            and payload.endswith(b'"]')
        ):
            self.cell_of.append(position)
            self.epochs.append(epochs)
        else:
            self._add_other(payload, payload[_START:comma], hash(payload[comma:start]))
        self.payloads.append(payload)
        self.texts.append(payload[start : start + PLAIN_SIZE])
        if len(self.payloads) >= _CHUNK:
            self._pack()

    def _add_other(self, payload: bytes, number: bytes, between: int) -> None:
        """Add a record of a new cell, or of another form."""
        try:
            module, epochs, adjacency, operations, text = split_record(payload)
            position = self.position_of.get(_key(module))
            if position is None:
                position = self._add_cell(module, adjacency, operations, binascii.a2b_base64(text))
                self.between.append(between)
            self.cell_of.append(position)
            self.epochs.append(epochs)
            if number == b'", %d' % epochs:
                self.epochs_of[number] = epochs
        except InputError:
            raise
        # Foreign content can fail in JSON, in base64, in protobuf, or by its types.
        except Exception as error:
            raise self.foreign(len(self.epochs) + 1, record_fault(payload, error)) from error

    def _any_form(self, number: int, payload: bytes) -> tuple[float, ...]:
        """Decode a record of any form of the family to numbers in the order of `_COLUMNS`."""
        try:
            return self._decoded(binascii.a2b_base64(split_record(payload)[-1]))
        except Exception as error:
            raise self.foreign(number, record_fault(payload, error)) from error

    def _decoded(self, raw: bytes) -> tuple[float, ...]:
        """Decode a message of any form of the family to numbers in the order of `_COLUMNS`."""
        self.metrics.ParseFromString(raw)
        _start, half, final = self.metrics.evaluation_data
        measured = [getattr(when, name) for when in (half, final) for name in _MEASURED]
        return (*measured, half.energy, final.energy)

    def _add_cell(self, module: str, adjacency: str, operations: str, raw: bytes) -> int:
        number = len(self.epochs) + 1
        if _HASH.fullmatch(module) is None:
            raise self.foreign(number, f"{shown(module)} is not the hash of a cell")
        labels = labels_of(operations)
        if labels is None:
            raise self.foreign(number, f"{shown(operations)} are not operations of a cell")
        bits = bits_of(adjacency, len(labels) + 2)
        if bits is None:
            raise self.foreign(number, f"{shown(adjacency)} is not the adjacency matrix of a cell")
        cell = Cell(bits, labels)
        if len(self.position_of) < _HASHED and module_hash(cell) != module:
            raise self.foreign(
                number, f"{module} is not NAS-Bench-101's hash of {adjacency} {operations}"
            )
        self.metrics.ParseFromString(raw)
        if self.metrics.trainable_parameters < 1:
            raise self.foreign(number, "it has no trainable parameters")
        position = self.position_of[_key(module)] = len(self.position_of)
        self.codes.append(cell.code)
        self.params.append(self.metrics.trainable_parameters)
        return position

    def _pack(self) -> None:
        """Decode and check the runs that were read last, and pack them into fewer bytes."""
        first = len(self.epochs) - len(self.payloads)
        plain, is_plain = plain_runs(self.texts)
        values = np.zeros((len(plain), len(_COLUMNS)))
        values[:, : plain.shape[1]] = plain
        for row in np.flatnonzero(~is_plain).tolist():
            values[row] = self._any_form(first + row + 1, self.payloads[row])
        self.payloads, self.texts = [], []
        valid = np.isfinite(values).all(axis=1) & (values >= 0).all(axis=1)
        valid &= (values[:, _ACCURACIES] <= 1).all(axis=1)
        valid &= values[:, METRICS.index("final_training_time")] > 0
        valid &= np.frombuffer(self.epochs, np.int32)[first:] > 0
        if not valid.all():
            row = int(np.argmin(valid))
            shown_values = ", ".join(f"{v:g}" for v in values[row])
            raise self.foreign(
                first + row + 1,
                f"after {self.epochs[first + row]} epochs its seconds and accuracies are "
                f"{shown_values}",
            )
        self.chunks.append([_narrow(column) for column in values.T])

    def table(self) -> NasbenchTable:
        """Make the table of all runs that were read."""
        if self.payloads:
            self._pack()
        if not self.chunks:
            raise InputError(f"{self.path} has no records; fetch it again")
        epochs, budget = np.unique(np.frombuffer(self.epochs, np.int32), return_inverse=True)
        key = np.frombuffer(self.cell_of, np.int32).astype(np.int64) * len(epochs) + budget
        order = np.argsort(key, kind="stable")
        counts = np.bincount(key, minlength=len(self.position_of) * len(epochs))
        del key, budget
        runs: dict[str, NDArray[np.floating[Any]]] = {}
        for k, name in enumerate(_COLUMNS):
            column = np.concatenate([chunk[k] for chunk in self.chunks])
            if name in METRICS or column.any():
                runs[name] = column[order]
            # Each column is replaced as soon as it is copied, to save memory.
            for chunk in self.chunks:
                chunk[k] = np.empty(0)
        content = bytes.fromhex(b"".join(key[2:] for key in self.position_of).decode())
        return NasbenchTable(
            np.frombuffer(content, np.uint8).reshape(-1, _HASH_BYTES),
            np.array(self.codes, np.uint32),
            np.array(self.params, np.int64),
            epochs.astype(np.int64),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            runs,
        )

    def foreign(self, number: int, why: str) -> InputError:
        """Make the error for a record of another layout."""
        return InputError(
            f"record {number:,} of {self.path} does not have the layout of NAS-Bench-101: {why}; "
            "give nasbench_only108.tfrecord, nasbench_full.tfrecord or a file of EC-NAS"
        )


def _key(module: str) -> bytes:
    """Beginning of the records of a cell."""
    return f'["{module}'.encode()


def _narrow(column: NDArray[np.float64]) -> NDArray[np.floating[Any]]:
    """Convert numbers to 32 bits if that loses nothing; the benchmark's accuracies fit."""
    narrow = column.astype(np.float32)
    return narrow if np.array_equal(narrow.astype(np.float64), column) else column.copy()


def _write_copy(path: Path, table: NasbenchTable, source: str) -> None:
    arrays: dict[str, NDArray[Any]] = {
        "version": np.array(FORMAT_VERSION, np.int64),
        "source": np.frombuffer(bytes.fromhex(source), np.uint8),
        **{name: getattr(table, name) for name in _ARRAYS},
        **{f"{_RUN}{name}": column for name, column in table.runs.items()},
    }
    # To compress them would take longer than to read the file anew.
    write_arrays(path, arrays, method=zipfile.ZIP_STORED)


def _read_copy(path: Path, source: str) -> NasbenchTable | None:
    """Read the table in a copy; None if the copy is missing, damaged or of another file."""
    try:
        arrays, is_whole = read_arrays(path)
        version, file = int(arrays["version"]), arrays["source"].tobytes().hex()
        if not is_whole or (version, file) != (FORMAT_VERSION, source):
            return None
        runs = {k.removeprefix(_RUN): v for k, v in arrays.items() if k.startswith(_RUN)}
        return NasbenchTable(**{name: arrays[name] for name in _ARRAYS}, runs=runs)
    # Damaged bytes can raise nearly anything in zipfile, zlib and numpy's header parser.
    except Exception:
        return None
