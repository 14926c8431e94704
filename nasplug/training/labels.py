"""Measured architectures to train on: a data set of the package, or a user's own CSV file."""

from __future__ import annotations

import csv
import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nasplug import datasets
from nasplug.predicting.architecture_predictor import check_labels
from nasplug.search_spaces import Architecture, FiniteSpace, InputError, SearchSpace
from nasplug.search_spaces.errors import closest
from nasplug.text import check_row, counted

__all__ = ["Labels", "check_data", "check_data_space", "read_labels"]

ARCH = "arch"


@dataclass(frozen=True, eq=False)
class Labels:
    """Architectures with measured values.

    Attributes:
        source: The data set's name or the file.
        sha256: SHA-256 of the content, by file.
        archs: n architectures of one space; a benchmark's in the order of the space.
        columns: Names of the read columns.
        values: Finite values in the units of the data, shape `(n, columns)`.
    """

    source: str
    sha256: dict[str, str]
    archs: list[Architecture]
    columns: tuple[str, ...]
    values: NDArray[np.float64]


def read_labels(data: str | os.PathLike[str], columns: Sequence[str], space: SearchSpace) -> Labels:
    """Read columns of a data set or of a CSV file.

    Rows of a data set that lack a value are left out; a file must have every value.

    Args:
        data: A name of `nasplug.datasets`, or the path of a CSV file with a header, a column `arch`
            of texts that the space parses, and columns of numbers.
        columns: Columns to read, at least one.
        space: The space of the architectures.

    Raises:
        InputError: If there is no such data set, file or column, the data set is of another space,
            or a row cannot be read; the message names its line.
    """
    check_data(data)
    check_data_space(data, space)
    if isinstance(data, str) and data in datasets.names():
        return _from_dataset(data, columns, space)
    return _from_file(Path(data), columns, space)


def check_data(data: str | os.PathLike[str]) -> None:
    """Check that data is the name of a data set, or the path of a file that can be read.

    Raises:
        InputError: If it is neither.
    """
    if not isinstance(data, (str, os.PathLike)):
        raise InputError(
            f"data must be the name of a data set or the path of a .csv file, not {data!r}"
        )
    name = os.fspath(data)
    if isinstance(data, str) and name in datasets.names():
        return
    is_path = isinstance(data, os.PathLike) or "/" in name or name.endswith(".csv")
    if not is_path and not os.path.isfile(name):
        listed = closest(name, datasets.names(), "nasplug data list")
        raise InputError(
            f"unknown data set {name!r}; known: {listed}; for your own table give the path of a "
            ".csv file"
        )
    try:
        with open(name, "rb"):
            pass
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}") from None


def check_data_space(data: str | os.PathLike[str], space: SearchSpace) -> None:
    """Check that a data set is of a space; a file says so only in its rows."""
    if not isinstance(data, str) or data not in datasets.names():
        return
    info = datasets.info(data)
    if info.space != space.name:
        where = f"space {info.space}" if info.space else "no search space"
        raise InputError(f"data set {data} belongs to {where}, not to space {space.name}")


def _from_dataset(name: str, columns: Sequence[str], space: SearchSpace) -> Labels:
    table = datasets.load(name)
    numeric = table.drop(columns=ARCH, errors="ignore").select_dtypes(["number", "bool"]).columns
    _check_columns(name, columns, list(numeric))
    values = table[list(columns)].to_numpy(np.float64)
    rows = np.flatnonzero(np.isfinite(values).all(axis=1))
    if ARCH in table.columns:
        archs = [space.parse(text) for text in table[ARCH].iloc[rows]]
    elif isinstance(space, FiniteSpace) and len(space) == len(table):
        members = list(space)
        archs = [members[row] for row in rows]
    else:
        raise InputError(f"data set {name} does not name the architecture of each row")
    return Labels(name, datasets.sources(name), archs, tuple(columns), values[rows])


def _from_file(path: Path, columns: Sequence[str], space: SearchSpace) -> Labels:
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text, as a CSV file must be") from None
    if not text.strip():
        raise InputError(f"{path} is empty; its first line must name the columns")
    lines = _rows(path, text)
    _, header = next(lines)
    if len(set(header)) < len(header):
        raise InputError(f"{path} has a column name twice in its first line; rename or remove one")
    if ARCH not in header:
        raise InputError(
            f"{path} has no column {ARCH!r} with architecture strings; its columns are "
            f"{closest(ARCH, header, 'its first line')}"
        )
    _check_columns(str(path), columns, [column for column in header if column != ARCH])
    archs, values = [], []
    for line, row in lines:
        where = f"{path}, line {line}"
        if len(row) != len(header):
            raise InputError(
                f"{where} has {counted(len(row), 'field')}; the first line has {len(header)}"
            )
        check_row(header, row, where)
        fields = dict(zip(header, row, strict=True))
        try:
            archs.append(space.parse(fields[ARCH].strip()))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        values.append([_number(fields[column], column, where) for column in columns])
    if not archs:
        raise InputError(f"{path} has no rows below its first line")
    digest = {path.name: hashlib.sha256(content).hexdigest()}
    return Labels(str(path), digest, archs, tuple(columns), np.array(values, dtype=np.float64))


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and fields of each row; empty lines are skipped."""
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, [field.strip() for field in row]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num} is not a CSV row: {error}") from None


def _number(text: str, column: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{where}: {column} is {text[:50]!r}, not a number") from None
    if not math.isfinite(value):
        raise InputError(f"{where}: {column} is {text}, not a finite number; remove such rows")
    try:
        check_labels(np.array(value))
    except InputError as error:
        raise InputError(f"{where}: {column}: {error}") from None
    return value


def _check_columns(source: str, columns: Sequence[str], known: Sequence[str]) -> None:
    for column in columns:
        if column not in known:
            raise InputError(
                f"{source} has no column {column!r}; it has "
                f"{closest(column, known, 'its first line')}"
            )
