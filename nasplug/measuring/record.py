"""Files of a measuring campaign: a CSV with a row a network, and a JSON that describes it.

The CSV grows by whole lines that are on disk before the next network begins. The JSON beside it
holds the machine, the runtime, the settings, and the timings of the reference network.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from nasplug.measuring.timing import deviation, is_disturbed
from nasplug.search_spaces import InputError
from nasplug.search_spaces.files import write_text
from nasplug.text import CHECKSUM, check_row, checksum_of, row_checksum

__all__ = ["COLUMNS", "FORMAT", "Measurement", "Record", "now"]

FORMAT = "nasplug-measurements-1"
# Sections that must be equal for two timings to share a file; a kernel may be updated in between.
_COMPARED = ("machine", "runtime", "settings")
_MAY_DIFFER = {"kernel"}
_MOST_SHOWN = 60


@dataclass
class Measurement:
    """Row of the CSV: one network and its time.

    Attributes:
        arch: The text of the architecture, which its space parses.
        arch_id: Canonical id of the architecture.
        family: Family of the network, or the space's name where it has no families.
        batch_size: Images a forward pass.
        latency_ms: Median time of a forward pass of the whole batch, in ms; NaN if it failed.
        p10_ms: 10th percentile of the runs.
        p90_ms: 90th percentile of the runs.
        mean_ms: Mean of the runs.
        std_ms: Standard deviation of single runs.
        runs: Number of timed runs.
        params: Parameters.
        flops: Multiply-accumulates for one image.
        seconds: Time to build, load, warm up and time the network.
        reference: Position, in the description, of the reference's timing before the network.
        disturbed: Whether the reference was off before or after the network, or was not timed after
            it.
        error: Reason why there is no time, or empty.
        deviation: Deviation of the reference from its median, before or after the network, as a
            share of the median; NaN if it was not timed after the network.
        kept: Whether the time is to be used although it is disturbed.
    """

    arch: str
    arch_id: str
    family: str
    batch_size: int
    latency_ms: float = math.nan
    p10_ms: float = math.nan
    p90_ms: float = math.nan
    mean_ms: float = math.nan
    std_ms: float = math.nan
    runs: int = 0
    params: int | None = None
    flops: int | None = None
    seconds: float = 0.0
    reference: int = 0
    disturbed: bool = True
    error: str = ""
    deviation: float = math.nan
    kept: bool = False


COLUMNS = tuple(field.name for field in fields(Measurement))
# Columns of the file, and those of files of earlier versions.
_HEADER = (*COLUMNS, CHECKSUM)
_EARLIER = COLUMNS[: COLUMNS.index("deviation")]


def now() -> str:
    """Current time in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


class Record:
    """Rows and description of one campaign, kept in files unless there is no path.

    Args:
        path: Path of the CSV; the JSON has its name with another suffix. None writes no files.
        description: Description of the campaign, with `"machine"`, `"runtime"`, `"settings"` and
            `"reference"`. If the files exist already, their description is kept.

    Raises:
        InputError: If the files cannot be read or written, are no measurements, or are those of
            another machine or of other settings.
    """

    def __init__(self, path: Path | None, description: dict[str, Any]) -> None:
        self.path = path
        self.rows: dict[str, Measurement] = {}
        self.description = description
        description["format"] = FORMAT
        description.setdefault("date", now())
        description["reference"].setdefault("timings", [])
        self.repaired = False
        if path is not None:
            self._open(path)
        earlier = [timing["session"] for timing in self.timings]
        self._session = max(earlier, default=-1) + 1

    @property
    def timings(self) -> list[dict[str, Any]]:
        """Timings of the reference, in order; see `add_reference`."""
        timings: list[dict[str, Any]] = self.description["reference"]["timings"]
        return timings

    def _open(self, path: Path) -> None:
        if path.suffix != ".csv":
            raise InputError(f"{path} cannot be the file of a table; give a name that ends in .csv")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes() if path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]
            if whole:
                self._continue(path, content, whole)
            else:
                self._write()
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise InputError(
                f"{path} is not UTF-8 text, as measurements are; give another file"
            ) from None

    def _continue(self, path: Path, content: bytes, whole: bytes) -> None:
        """Continue with the rows and the description of existing files."""
        beside = path.with_suffix(".json")
        rows, header = _parsed(path, whole.decode("utf-8"))
        try:
            description = json.loads(beside.read_text(encoding="utf-8"))
            if description["format"] != FORMAT or not isinstance(
                description["reference"]["timings"], list
            ):
                raise ValueError
            checksum = description.pop(CHECKSUM, None)
            if checksum is not None and checksum != checksum_of(description):
                raise InputError(
                    f"{beside} is damaged (its content does not match its checksum); give another "
                    "file"
                )
            differing = _differences(description, self.description)
        except FileNotFoundError:
            raise InputError(
                f"{path} needs {beside.name} beside it, which describes the machine; give another "
                "file"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{beside} does not describe measurements; give another file"
            ) from None
        if differing:
            raise InputError(
                f"{path} was measured with {'; '.join(differing)}; give another file, or use the "
                "same machine and settings"
            )
        self.rows, self.description = rows, description
        # The last line was not finished when the process was killed.
        self.repaired = len(whole) < len(content)
        protected = CHECKSUM in header and checksum is not None
        if not protected:
            warnings.warn(
                f"{path} was written by an earlier version without checksums, so earlier damage "
                "would go unnoticed; nasplug now adds checksums",
                stacklevel=2,
            )
        if self.repaired or not protected or header != _HEADER:
            self._mark()
            self._write()

    def add(self, row: Measurement) -> None:
        """Add a row, which is on disk on return; a second row of a network replaces the first."""
        row.reference = len(self.timings) - 1
        row.disturbed = not row.error
        replaces = row.arch_id in self.rows
        self.rows[row.arch_id] = row
        if self.path is None:
            return
        if replaces:
            self._write()
            return
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(_lines([row]))
            file.flush()
            os.fsync(file.fileno())

    def add_reference(self, latency_ms: float, other_cores: float) -> None:
        """Add a timing of the reference network, and mark all rows anew by all timings.

        `other_cores` is how many cores others kept busy since the reference's last timing.
        """
        timing = {
            "session": self._session,
            "latency_ms": round(latency_ms, 6),
            "other_cores": round(other_cores, 3),
            "at": now(),
        }
        self.timings.append(timing)
        self.description["updated"] = timing["at"]
        self._mark()
        self._write()

    def keep_calmest(self, earlier: Mapping[str, Measurement]) -> None:
        """Put earlier rows of networks back where the machine was calmer than later."""
        self._mark(earlier.values())
        for arch_id, row in earlier.items():
            if self.rows[arch_id].error or row.deviation < self.rows[arch_id].deviation:
                self.rows[arch_id] = row
        self._mark()
        self._write()

    def keep(self, disturbed: bool) -> None:
        """Mark the disturbed rows as to be used, or unmark them."""
        marks = {arch_id: disturbed and row.disturbed for arch_id, row in self.rows.items()}
        if marks != {arch_id: row.kept for arch_id, row in self.rows.items()}:
            for arch_id, mark in marks.items():
                self.rows[arch_id].kept = mark
            self._write()

    def _mark(self, rows: Iterable[Measurement] | None = None) -> None:
        """Mark rows, by default all, as disturbed or not by all timings of the reference."""
        if not self.timings:
            return
        median = float(np.median([timing["latency_ms"] for timing in self.timings]))
        self.description["reference"]["median_ms"] = median
        for row in self.rows.values() if rows is None else rows:
            row.deviation = float(f"{deviation(self._around(row.reference), median):.6g}")
            row.disturbed = not row.error and is_disturbed(row.deviation)
        self.description["networks"] = {
            "measured": sum(not row.error for row in self.rows.values()),
            "disturbed": sum(row.disturbed for row in self.rows.values()),
            "failed": sum(bool(row.error) for row in self.rows.values()),
        }

    def _around(self, before: int) -> tuple[float, float]:
        """The reference's times before and after a row; NaN unless they are of one session."""
        pair = self.timings[before : before + 2]
        if len(pair) < 2 or pair[0]["session"] != pair[1]["session"]:
            return math.nan, math.nan
        return float(pair[0]["latency_ms"]), float(pair[1]["latency_ms"])

    def _write(self) -> None:
        if self.path is None:
            return
        # The description comes first, since rows refer to its timings.
        content = {**self.description, CHECKSUM: checksum_of(self.description)}
        text = json.dumps(content, indent=1, allow_nan=False)
        write_text(self.path.with_suffix(".json"), text + "\n")
        write_text(self.path, ",".join(_HEADER) + "\n" + _lines(list(self.rows.values())))


def _differences(earlier: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    differences = []
    for section in _COMPARED:
        for key in dict.fromkeys((*earlier[section], *wanted[section])):
            before, now_value = earlier[section].get(key), wanted[section].get(key)
            if key not in _MAY_DIFFER and before != now_value:
                differences.append(
                    f"{key.replace('_', ' ')} {_word(before)}, not {_word(now_value)}"
                )
    return differences


def _word(value: Any) -> str:
    return "unknown" if value is None else str(value)[:_MOST_SHOWN]


def _lines(rows: Sequence[Measurement]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for row in rows:
        cells = [_written(getattr(row, name)) for name in COLUMNS]
        writer.writerow([*cells, row_checksum(COLUMNS, cells)])
    return buffer.getvalue()


def _written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def _parsed(path: Path, text: str) -> tuple[dict[str, Measurement], tuple[str, ...]]:
    """Parse the rows of a file, of this version or an earlier one, and its header."""
    lines = csv.reader(io.StringIO(text))
    rows = {}
    header: tuple[str, ...] = ()
    try:
        header = tuple(next(lines))
        columns = tuple(name for name in header if name != CHECKSUM)
        if columns not in (COLUMNS, _EARLIER) or header not in (columns, (*columns, CHECKSUM)):
            raise InputError(f"{path} is not a table that nasplug measure wrote; give another file")
        for cells in lines:
            if len(cells) != len(header):
                raise ValueError
            row = _measurement(cells[: len(columns)])
            check_row(header, cells, f"{path}, line {lines.line_num}")
            rows[row.arch_id] = row
    except (ValueError, csv.Error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}, line {lines.line_num} is not a measurement; remove the line, and nasplug "
            "times its network again"
        ) from None
    return rows, header


def _measurement(cells: Sequence[str]) -> Measurement:
    kinds = [str(field.type) for field in fields(Measurement)][: len(cells)]
    return Measurement(*(_read(kind, cell) for kind, cell in zip(kinds, cells, strict=True)))


def _read(kind: str, cell: str) -> Any:
    """Read a cell by the type of its field; the inverse of `_written`."""
    if kind == "bool":
        if cell not in ("True", "False"):
            raise ValueError
        return cell == "True"
    if kind == "int | None":
        return int(cell) if cell else None
    return {"str": str, "int": int, "float": float}[kind](cell)
