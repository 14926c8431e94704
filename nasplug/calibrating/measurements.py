"""A user's table of measured latencies, as `nasplug measure` writes it or with two columns."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces import Architecture, InputError, SearchSpace
from nasplug.text import check_row, read_whole, shown_path

if TYPE_CHECKING:
    import pandas as pd

    from nasplug.measuring import MeasurementSet

__all__ = ["LatencyTable", "read_latencies"]

ARCH, LATENCY = "arch", "latency_ms"
BATCH, DISTURBED, ERROR = "batch_size", "disturbed", "error"
MAX_FILE_BYTES = 20_000_000
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}
# What float() takes beyond it, such as 1_000 or digits of other scripts, is more likely a mistake.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MOST_SHOWN = 50
# Of a latency as it is written; beyond it ratios overflow or vanish.
LEAST, MOST = 1e-9, 1e9


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """Usable rows of a table.

    Attributes:
        source: The file, or `"the table"`.
        sha256: Of its text.
        rows: Rows below the first line.
        archs: Different architectures, length n.
        latencies: In ms, shape `(n,)`; the median of those that come more than once.
        batch_size: Images a forward pass.
        left_out: Why rows were left out -> how many.
        repeated: Usable rows beyond the first of each architecture.
    """

    source: str
    sha256: str
    rows: int
    archs: list[Architecture]
    latencies: NDArray[np.float64]
    batch_size: int
    left_out: dict[str, int]
    repeated: int


def read_latencies(
    source: str | os.PathLike[str] | pd.DataFrame | MeasurementSet,
    space: SearchSpace,
    batch_size: int | None = None,
    factor: float = 1.0,
) -> LatencyTable:
    """Read measured latencies.

    Columns are `arch` and `latency_ms`. Where they are there, `batch_size`, `disturbed` and `error`
    are read too: rows that failed, were disturbed, or have another batch size are left out.

    Args:
        source: Path of a CSV file, a pandas frame, or what `nasplug.measure` returned.
        space: The space of the architectures.
        batch_size: Rows of this batch size are meant; None if the table has one only. A table
            without that column has the one that is given, or 1.
        factor: Latencies are multiplied by it.

    Raises:
        InputError: If the file cannot be read, is no CSV, lacks a column, mixes batch sizes, or has
            a cell that cannot be read; the message names line and column.
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
        line = f"{where}, line {number}"
        if len(cells) != len(header):
            raise InputError(f"{line} has {len(cells)} cells; the first line has {len(header)}")
        check_row(header, cells, line)
        named = dict(zip(header, cells, strict=True))
        if named.get(ERROR):
            left_out["failed"] = left_out.get("failed", 0) + 1
            continue
        try:
            arch = space.parse(named[ARCH])
        except InputError as error:
            raise InputError(f"{line}: {ARCH}: {error}") from None
        latency = factor * _positive(named[LATENCY], f"{line}: {LATENCY}")
        disturbed = _WORDS.get(named.get(DISTURBED, "").lower())
        if disturbed is None:
            raise InputError(
                f"{line}: {DISTURBED} is {_shown(named[DISTURBED])}; write True or False"
            )
        own = _batch(named, f"{line}: {BATCH}", batch_size)
        if disturbed:
            left_out["disturbed"] = left_out.get("disturbed", 0) + 1
        else:
            by_batch.setdefault(own, []).append((arch, latency))
    if not rows:
        raise InputError(f"{where} has no rows below its first line")
    wanted = _the_batch(where, by_batch, batch_size)
    others = sum(len(found) for size, found in by_batch.items() if size != wanted)
    if others:
        left_out["of another batch size"] = others
    kept = by_batch.get(wanted, [])
    archs = {arch.text: arch for arch, _ in kept}
    times: dict[str, list[float]] = {text: [] for text in archs}
    for arch, latency in kept:
        times[arch.text].append(latency)
    return LatencyTable(
        where,
        hashlib.sha256(text.encode()).hexdigest(),
        rows,
        list(archs.values()),
        np.array([np.median(found) for found in times.values()]),
        wanted,
        left_out,
        len(kept) - len(archs),
    )


def _text_of(source: Any) -> tuple[str, str]:
    """What the source is called, and its CSV text."""
    table = getattr(source, "table", source)
    if hasattr(table, "to_csv"):
        return "the table", str(table.to_csv(index=False))
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(
            "measurements must be the path of a .csv, a pandas frame or what measure() returned, "
            f"not {type(source).__name__}"
        )
    path = Path(os.fsdecode(source))
    where = shown_path(path)
    content = read_whole(
        path, MAX_FILE_BYTES, f"a CSV file with columns {ARCH} and {LATENCY}", "such table"
    )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{where} is no text in UTF-8, as a CSV file must be") from None
    if not text.strip():
        raise InputError(f"{where} is empty; its first line must be {ARCH},{LATENCY}")
    return where, text


def _rows(where: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """Number of its last line and cells of each row; empty lines are passed over."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise InputError(f"{where}, line {reader.line_num} is no row of a CSV ({error})") from None


def _check_header(where: str, header: Sequence[str]) -> None:
    for column in (ARCH, LATENCY):
        if header.count(column) > 1:
            raise InputError(f"{where} has two columns {column}; leave one")
        if column not in header:
            shown = _shown(", ".join(header), 200)
            other = next((mark for mark in ";\t" if any(mark in cell for cell in header)), "")
            hint = "; put commas between the cells" if other else ""
            raise InputError(
                f"{where} has no column {column} in its first line, which is {shown}; the columns "
                f"must be {ARCH} and {LATENCY}{hint}"
            )


def _positive(text: str, where: str) -> float:
    if not text:
        raise InputError(f"{where} is empty; write a number of ms, or remove the line")
    if text.lower().strip("+-") in ("nan", "inf", "infinity"):
        raise InputError(f"{where} is {text}; remove such lines, or write why in a column {ERROR}")
    if not _NUMBER.fullmatch(text):
        raise InputError(f"{where} is {_shown(text)}, not a number of ms")
    value = float(text)
    if not LEAST <= value <= MOST:
        raise InputError(
            f"{where} is {_shown(text)}; a latency is a positive number of ms, from {LEAST:g} to "
            f"{MOST:g}"
        )
    return value


def _batch(named: Mapping[str, str], where: str, given: int | None) -> int:
    """Batch size of a row; of a table that does not say it, the one that is given, or 1."""
    if BATCH not in named:
        return given or 1
    text = named[BATCH]
    # As much as `hardware_features` takes, in digits.
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) < 1:
        raise InputError(f"{where} is {_shown(text)}, not a whole number of at least 1")
    return int(text)


def _the_batch(where: str, by_batch: Mapping[int, Sequence[Any]], given: int | None) -> int:
    sizes = ", ".join(map(str, sorted(by_batch)))
    if given is None:
        if len(by_batch) > 1:
            raise InputError(
                f"{where} has rows of batch sizes {sizes}; say with --batch-size which are meant"
            )
        return next(iter(by_batch), 1)
    if by_batch and given not in by_batch:
        raise InputError(f"{where} has no row of batch size {given}, only of {sizes}")
    return given


def _shown(text: str, most: int = _MOST_SHOWN) -> str:
    shown = repr(text)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."
