"""Reader of a user's table of measured latencies: that of `nasplug measure`, or two columns."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nasplug.arguments import ONNX_FILES
from nasplug.calibrating.measured_files import MeasuredFiles, file_network, is_file
from nasplug.search_spaces import Architecture, Graph, InputError, SearchSpace
from nasplug.text import check_row, is_number, read_whole, shortened, shown_path

if TYPE_CHECKING:
    import pandas as pd

    from nasplug.measuring import MeasurementSet

__all__ = ["LatencyTable", "read_latencies"]

ARCH, ARCH_ID, LATENCY = "arch", "arch_id", "latency_ms"
BATCH, DISTURBED, KEPT, ERROR = "batch_size", "disturbed", "kept", "error"
MAX_FILE_BYTES = 20_000_000
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}
_MOST_SHOWN = 50
_MOST_HEADER_SHOWN = 200
# Range of a latency as it is written; outside of it ratios overflow or vanish.
LEAST, MOST = 1e-9, 1e9


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """Usable rows of a table of latencies.

    Attributes:
        source: Name of the file, or `"the table"`.
        sha256: SHA-256 of the table's text.
        rows: Number of rows below the first line.
        archs: The n different architectures.
        latencies: Latencies in ms, shape `(n,)`; medians for architectures with several rows.
        batch_size: Images a forward pass.
        left_out: Reason for leaving rows out -> number of rows.
        repeated: Number of usable rows beyond the first of each architecture.
        graphs: Graphs of the architectures if they are ONNX files; else None.
    """

    source: str
    sha256: str
    rows: int
    archs: list[Architecture]
    latencies: NDArray[np.float64]
    batch_size: int
    left_out: dict[str, int]
    repeated: int
    graphs: list[Graph] | None = None


def read_latencies(
    source: str | os.PathLike[str] | pd.DataFrame | MeasurementSet,
    space: SearchSpace,
    batch_size: int | None = None,
    factor: float = 1.0,
) -> LatencyTable:
    """Read measured latencies.

    Columns are `arch` and `latency_ms`. The columns `batch_size`, `disturbed`, `kept` and `error`
    are read where they exist: rows that failed, were disturbed and not kept, or have another batch
    size are left out. Where `arch` is the path of an ONNX file, the file is read, from there or
    beside the table; it must have the content that the column `arch_id` tells, if there is one.

    Args:
        source: Path of a CSV file, a pandas frame, or the result of `nasplug.measure`.
        space: The space of the architectures.
        batch_size: Batch size of the rows to use; None if the table has a single one. Rows of a
            table without that column have the given batch size, or 1.
        factor: Factor that turns the table's latencies into ms.

    Raises:
        InputError: If the file cannot be read, is no CSV, lacks a column, mixes batch sizes, or has
            a cell that cannot be read; the message names line and column. If an ONNX file is
            missing or has changed since it was measured.
    """
    where, text = _text_of(source)
    lines = _rows(where, text)
    header = next(lines, (0, []))[1]
    _check_header(where, header)
    left_out: dict[str, int] = {}
    by_batch: dict[int, list[tuple[Architecture, float]]] = {}
    rows = 0
    for number, cells in lines:
        rows += 1
        row = _row(header, cells, space, batch_size, f"{where}, line {number}")
        if isinstance(row, str):
            left_out[row] = left_out.get(row, 0) + 1
        else:
            by_batch.setdefault(row.batch_size, []).append((row.arch, factor * row.latency))
    if not rows:
        raise InputError(f"{where} has no rows below its first line")
    chosen_size = _chosen_batch(where, by_batch, batch_size)
    others = sum(len(of_size) for size, of_size in by_batch.items() if size != chosen_size)
    if others:
        left_out["of another batch size"] = others
    usable = by_batch.get(chosen_size, [])
    graphs = _graphs(source, where, space, [arch for arch, _ in usable])
    if graphs is not None:
        outdated = len(usable)
        usable = [(arch, latency) for arch, latency in usable if arch.text in graphs]
        outdated -= len(usable)
        if outdated:
            left_out["of a file that has changed since"] = outdated
    archs = {arch.text: arch for arch, _ in usable}
    latencies: dict[str, list[float]] = {text: [] for text in archs}
    for arch, latency in usable:
        latencies[arch.text].append(latency)
    return LatencyTable(
        where,
        hashlib.sha256(text.encode()).hexdigest(),
        rows,
        list(archs.values()),
        np.array([np.median(repeats) for repeats in latencies.values()]),
        chosen_size,
        left_out,
        len(usable) - len(archs),
        None if graphs is None else [graphs[text] for text in archs],
    )


def _graphs(
    source: Any, where: str, space: SearchSpace, archs: Sequence[Architecture]
) -> dict[str, Graph] | None:
    """Graphs of a table's ONNX files by the texts of their networks; None if it has none."""
    spaces = {arch.space for arch in archs}
    if ONNX_FILES not in spaces:
        return None
    if len(spaces) > 1:
        raise InputError(
            f"{where} has {ONNX_FILES} and networks of space {space.name}; calibrate by a table of "
            "either"
        )
    path, description = getattr(source, "path", source), getattr(source, "description", None)
    table = Path(os.fsdecode(path)) if isinstance(path, (str, os.PathLike)) else None
    # A frame may have a column of that name.
    return MeasuredFiles(table, description if isinstance(description, dict) else None).graphs(
        archs
    )


class _Row(NamedTuple):
    arch: Architecture
    latency: float
    batch_size: int


def _row(
    header: Sequence[str],
    cells: Sequence[str],
    space: SearchSpace,
    batch_size: int | None,
    line: str,
) -> _Row | str:
    """Read a row, or give the reason to leave it out; the latency is in the table's own unit."""
    if len(cells) != len(header):
        raise InputError(f"{line} has {len(cells)} cells; the first line has {len(header)}")
    check_row(header, cells, line)
    named = dict(zip(header, cells, strict=True))
    if named.get(ERROR):
        return "failed"
    if is_file(named[ARCH]):
        arch = file_network(named[ARCH], named.get(ARCH_ID, ""), line)
    else:
        try:
            arch = space.parse(named[ARCH])
        except InputError as error:
            raise InputError(f"{line}: {ARCH}: {error}") from None
    latency = _positive(named[LATENCY], f"{line}: {LATENCY}")
    disturbed = _WORDS.get(named.get(DISTURBED, "").lower())
    if disturbed is None:
        shown = shortened(repr(named[DISTURBED]), _MOST_SHOWN)
        raise InputError(f"{line}: {DISTURBED} is {shown}; write True or False")
    row = _Row(arch, latency, _batch(named, f"{line}: {BATCH}", batch_size))
    kept = _WORDS.get(named.get(KEPT, "").lower(), False)
    return "disturbed" if disturbed and not kept else row


def _text_of(source: Any) -> tuple[str, str]:
    """Name of a source, and its CSV text."""
    table = getattr(source, "table", source)
    if hasattr(table, "to_csv"):
        return "the table", str(table.to_csv(index=False))
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(
            "measurements must be the path of a .csv file, a pandas DataFrame or the result of "
            f"measure(), not {type(source).__name__}"
        )
    path = Path(os.fsdecode(source))
    where = shown_path(path)
    content = read_whole(
        path, MAX_FILE_BYTES, f"a CSV file with columns {ARCH} and {LATENCY}", "such table"
    )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{where} is not UTF-8 text, as a CSV file must be") from None
    if not text.strip():
        raise InputError(f"{where} is empty; its first line must be {ARCH},{LATENCY}")
    return where, text


def _rows(where: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the last line, and the cells, of each row; empty lines are skipped."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise InputError(f"{where}, line {reader.line_num} is not a CSV row ({error})") from None


def _check_header(where: str, header: Sequence[str]) -> None:
    for column in (ARCH, LATENCY):
        if header.count(column) > 1:
            raise InputError(f"{where} has two columns {column}; keep one")
        if column not in header:
            shown = shortened(repr(", ".join(header)), _MOST_HEADER_SHOWN)
            separator = next((mark for mark in ";\t" if any(mark in cell for cell in header)), "")
            hint = "; separate the cells by commas" if separator else ""
            raise InputError(
                f"{where} has no column {column}; its first line must name the columns {ARCH} and "
                f"{LATENCY}, but it is {shown}{hint}"
            )


def _positive(text: str, where: str) -> float:
    if not text:
        raise InputError(f"{where} is empty; write the latency in ms, or remove the line")
    if text.lower().strip("+-") in ("nan", "inf", "infinity"):
        raise InputError(
            f"{where} is {text}; remove such lines, or give the reason in a column {ERROR}"
        )
    shown = shortened(repr(text), _MOST_SHOWN)
    if not is_number(text):
        raise InputError(f"{where} is {shown}, not a number of ms")
    value = float(text)
    if not LEAST <= value <= MOST:
        raise InputError(
            f"{where} is {shown}; a latency is a positive number of ms, from {LEAST:g} to {MOST:g}"
        )
    return value


def _batch(named: Mapping[str, str], where: str, batch_size: int | None) -> int:
    """Batch size of a row; in a table without that column, the given batch size, or 1."""
    if BATCH not in named:
        return batch_size or 1
    text = named[BATCH]
    # At most six digits, as much as `hardware_features` takes.
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) < 1:
        shown = shortened(repr(text), _MOST_SHOWN)
        raise InputError(f"{where} is {shown}, not a whole number of at least 1")
    return int(text)


def _chosen_batch(where: str, by_batch: Mapping[int, Sequence[Any]], batch_size: int | None) -> int:
    sizes = ", ".join(map(str, sorted(by_batch)))
    if batch_size is None:
        if len(by_batch) > 1:
            raise InputError(
                f"{where} has rows of batch sizes {sizes}; choose one with --batch-size"
            )
        return next(iter(by_batch), 1)
    if by_batch and batch_size not in by_batch:
        raise InputError(f"{where} has no row of batch size {batch_size}, only rows of {sizes}")
    return batch_size
