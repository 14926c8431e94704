"""Reader of a user's table of measured latencies: that of `nasplug measure`, or two columns."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nasplug.arguments import ONNX_FILES, OWN_NETWORKS
from nasplug.calibrating.measured_files import MeasuredFiles, file_network, is_file
from nasplug.measurements.graphs import graph_of
from nasplug.predicting.known_networks import KNOWN_NETWORKS, is_known_name, known_network
from nasplug.predictors.features.runtimes import Way, asked_way
from nasplug.predictors.latency.device_profile import Run
from nasplug.search_spaces import Architecture, Graph, InputError, SearchSpace
from nasplug.text import check_row, is_number, read_whole, shortened, shown_path

if TYPE_CHECKING:
    import pandas as pd

    from nasplug.measuring import MeasurementSet

__all__ = ["LatencyTable", "read_latencies"]

ARCH, ARCH_ID, LATENCY = "arch", "arch_id", "latency_ms"
BATCH, DISTURBED, KEPT, ERROR = "batch_size", "disturbed", "kept", "error"
# Columns that say how a network was run.
WAY = ("runtime", "precision", "unit", "threads")
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
        archs: The networks; one that was run in several ways is there several times, n in all.
        latencies: Latencies in ms, shape `(n,)`; medians where there are several rows.
        runs: Batch size and way of each.
        left_out: Reason for leaving rows out -> number of rows.
        repeated: Number of usable rows beyond the first of each network and run.
        graphs: Graphs of networks that are no architectures of the space, by their texts.
        told_way: Way that the description beside the table tells, of rows that tell none.
    """

    source: str
    sha256: str
    rows: int
    archs: list[Architecture]
    latencies: NDArray[np.float64]
    runs: list[Run]
    left_out: dict[str, int]
    repeated: int
    graphs: dict[str, Graph]
    told_way: Way

    @property
    def batch_size(self) -> int:
        """Images a forward pass, of most rows."""
        sizes = Counter(run.batch_size for run in self.runs)
        return sizes.most_common(1)[0][0] if sizes else 1

    @property
    def space(self) -> str:
        """Space of the networks, one of `OWN_NETWORKS` for those of none or of several."""
        spaces = {arch.space for arch in self.archs}
        if len(spaces) != 1 or KNOWN_NETWORKS in spaces:
            return OWN_NETWORKS[-1]
        return spaces.pop()


def read_latencies(
    source: str | os.PathLike[str] | pd.DataFrame | MeasurementSet,
    space: SearchSpace,
    batch_size: int | None = None,
    factor: float = 1.0,
) -> LatencyTable:
    """Read measured latencies.

    Columns are `arch` and `latency_ms`. The columns `batch_size`, `runtime`, `precision`, `unit`,
    `threads`, `disturbed`, `kept` and `error` are read where they exist: rows that failed, were
    disturbed and not kept, or have another batch size than the chosen one are left out. `arch` is
    an architecture of the space; the path of an ONNX file, which is read from there or beside the
    table, and must have the content that the column `arch_id` tells, if there is one; or the name
    of a network of another package, such as `timm:resnet50`.

    Args:
        source: Path of a CSV file, a pandas frame, or the result of `nasplug.measure`.
        space: The space of the architectures.
        batch_size: Batch size of the rows to use; None for all. Rows of a table without that column
            have the given batch size, or 1.
        factor: Factor that turns the table's latencies into ms.

    Raises:
        InputError: If the file cannot be read, is no CSV, lacks a column, or has a cell that cannot
            be read; the message names line and column. If an ONNX file is missing or has changed
            since it was measured, or no network is known by a name.
    """
    where, text = _text_of(source)
    lines = _rows(where, text)
    header = next(lines, (0, []))[1]
    _check_header(where, header)
    files = _files(source)
    left_out: Counter[str] = Counter()
    usable: list[_Row] = []
    rows = 0
    for number, cells in lines:
        rows += 1
        row = _row(header, cells, space, batch_size, f"{where}, line {number}", files.way)
        if isinstance(row, str):
            left_out[row] += 1
        else:
            usable.append(row._replace(latency=factor * row.latency))
    if not rows:
        raise InputError(f"{where} has no rows below its first line")
    usable = _of_batch(where, usable, batch_size, left_out)
    graphs = _graphs(files, [row.arch for row in usable])
    outdated = [
        row for row in usable if row.arch.space == ONNX_FILES and row.arch.text not in graphs
    ]
    if outdated:
        left_out["of a file that has changed since"] = len(outdated)
        usable = [row for row in usable if row not in outdated]
    by_run: dict[tuple[str, Run], list[_Row]] = {}
    for row in usable:
        by_run.setdefault((row.arch.text, row.run), []).append(row)
    return LatencyTable(
        where,
        hashlib.sha256(text.encode()).hexdigest(),
        rows,
        [repeats[0].arch for repeats in by_run.values()],
        np.array([np.median([row.latency for row in repeats]) for repeats in by_run.values()]),
        [run for _, run in by_run],
        dict(left_out),
        len(usable) - len(by_run),
        graphs,
        files.way,
    )


def _files(source: Any) -> MeasuredFiles:
    """Reader of the ONNX files of a source, which knows how `nasplug measure` ran them."""
    path, description = getattr(source, "path", source), getattr(source, "description", None)
    table = Path(os.fsdecode(path)) if isinstance(path, (str, os.PathLike)) else None
    # A frame may have a column of that name.
    return MeasuredFiles(table, description if isinstance(description, dict) else None)


def _graphs(files: MeasuredFiles, archs: Sequence[Architecture]) -> dict[str, Graph]:
    """Graphs of ONNX files and of known networks by the texts of the networks."""
    distinct = {arch.text: arch for arch in archs}.values()
    known = [arch for arch in distinct if arch.space == KNOWN_NETWORKS]
    graphs = files.graphs([arch for arch in distinct if arch.space == ONNX_FILES])
    return graphs | {arch.text: graph_of(str(arch.key)) for arch in known}


def _of_batch(
    where: str, rows: list[_Row], batch_size: int | None, left_out: Counter[str]
) -> list[_Row]:
    """Rows of a batch size; all if it is None."""
    if batch_size is None or not rows:
        return rows
    chosen = [row for row in rows if row.run.batch_size == batch_size]
    if not chosen:
        sizes = ", ".join(map(str, sorted({row.run.batch_size for row in rows})))
        raise InputError(f"{where} has no row of batch size {batch_size}, only rows of {sizes}")
    if len(chosen) < len(rows):
        left_out["of another batch size"] = len(rows) - len(chosen)
    return chosen


class _Row(NamedTuple):
    arch: Architecture
    latency: float
    run: Run


def _row(
    header: Sequence[str],
    cells: Sequence[str],
    space: SearchSpace,
    batch_size: int | None,
    line: str,
    measured_way: Way,
) -> _Row | str:
    """Read a row, or give the reason to leave it out; the latency is in the table's own unit.

    A row without columns of its own for that was run in the way of `measured_way`.
    """
    if len(cells) != len(header):
        raise InputError(f"{line} has {len(cells)} cells; the first line has {len(header)}")
    check_row(header, cells, line)
    named = dict(zip(header, cells, strict=True))
    if named.get(ERROR):
        return "failed"
    if is_file(named[ARCH]):
        arch = file_network(named[ARCH], named.get(ARCH_ID, ""), line)
    else:
        parse = known_network if is_known_name(named[ARCH]) else space.parse
        try:
            arch = parse(named[ARCH])
        except InputError as error:
            raise InputError(f"{line}: {ARCH}: {error}") from None
    latency = _positive(named[LATENCY], f"{line}: {LATENCY}")
    disturbed = _WORDS.get(named.get(DISTURBED, "").lower())
    if disturbed is None:
        shown = shortened(repr(named[DISTURBED]), _MOST_SHOWN)
        raise InputError(f"{line}: {DISTURBED} is {shown}; write True or False")
    size = _batch(named, f"{line}: {BATCH}", batch_size)
    row = _Row(arch, latency, Run(size, _way(named, line) or measured_way))
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


def _way(named: Mapping[str, str], line: str) -> Way | None:
    """Way to run a network that a row's own columns tell; None if it has none of them."""
    told = {name: named[name] for name in WAY if named.get(name)}
    if not told:
        return None
    threads = told.pop("threads", None)
    if threads is not None and not threads.isdecimal():
        raise InputError(f"{line}: threads is {shortened(repr(threads), _MOST_SHOWN)}")
    try:
        return asked_way(**told, threads=int(threads or 0) or None)
    except InputError as error:
        raise InputError(f"{line}: {error}") from None
