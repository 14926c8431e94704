"""Rows of a source on their way into the table: dropped, flagged, and brought into its columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nasplug.datasets.measurements import FLAGS, NUMBERS, TEXTS, MeasurementTable
from nasplug.measurements.device_names import catalogued
from nasplug.measurements.references import network_reference, sizes
from nasplug.measurements.words import precision_of, runtime_of
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.lazy import from_extra

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Imported", "Rows", "each", "joined"]


@dataclass(frozen=True)
class Imported:
    """Rows of a source in the columns of the table.

    Attributes:
        frame: The rows; columns are those of `TEXTS` and `NUMBERS`.
        dropped: Reason -> number of rows of the source that are left out.
    """

    frame: pd.DataFrame
    dropped: Mapping[str, int]


@dataclass(eq=False)
class Rows:
    """Rows of a source, from which rows are dropped, and which get flags.

    Attributes:
        frame: The rows that are left, with the source's columns.
        dropped: Reason -> number of rows that are left out.
    """

    frame: pd.DataFrame
    dropped: dict[str, int] = field(default_factory=dict)
    _flags: dict[str, pd.Series[bool]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def read(cls, path: Path) -> Rows:
        """Read a table of measurements; empty fields of texts are empty texts.

        Raises:
            InputError: If the file cannot be read, or has no latencies.
        """
        with from_extra("data"):
            import pandas as pd

        try:
            frame = pd.read_csv(path, low_memory=False, encoding="utf-8")
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"{path} cannot be read as a table of measurements ({error})"
            ) from error
        if "latency_ms" not in frame:
            raise InputError(f"{path} has no column latency_ms; give a table of measurements")
        numeric = {
            "latency_ms",
            "throughput_per_s",
            "batch",
            "threads",
            "min_ms",
            "max_ms",
            "std_ms",
        }
        texts = [str(name) for name in frame if name not in numeric]
        frame[texts] = frame[texts].astype(object).where(frame[texts].notna(), "").astype(str)
        rows = cls(frame)
        rows.drop("no latency, only a throughput", frame["latency_ms"].isna())
        return rows

    def text(self, column: str) -> pd.Series[str]:
        """A column of texts; empty texts if the source lacks it."""
        if column in self.frame:
            return self.frame[column]
        return self.frame["latency_ms"].map(lambda _: "")

    def has(self, column: str, pattern: str) -> pd.Series[bool]:
        """Whether a text of each row contains a regular expression."""
        return self.text(column).str.contains(pattern)

    def drop(self, reason: str, rows: pd.Series[bool]) -> None:
        """Leave rows out, and count them."""
        count = int(rows.sum())
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + count
            self.frame = self.frame[~rows]

    def flag(self, flag: str, rows: pd.Series[bool]) -> None:
        """Give rows a flag of `FLAGS`."""
        if flag not in FLAGS:
            raise ValueError(f"no flag is called {flag!r}")
        before = self._flags.get(flag)
        self._flags[flag] = rows if before is None else before.reindex(rows.index) | rows

    def imported(self, **columns: Any) -> Imported:
        """The rows in the table's columns; those that are not given come from the source's own.

        Args:
            **columns: Column of the table -> a Series, or one value for all rows.
        """
        with from_extra("data"):
            import pandas as pd

        frame = self.frame
        values: dict[str, Any] = self._own_columns() | columns
        flags = pd.Series("", index=frame.index)
        for flag, rows in self._flags.items():
            is_flagged = rows.reindex(frame.index, fill_value=False)
            flags = flags.where(
                ~is_flagged, flags.map(lambda text, f=flag: f"{text}, {f}" if text else f)
            )
        values["quality"] = flags
        result = pd.DataFrame({name: values[name] for name in TEXTS}, index=frame.index)
        for name in ("batch", "threads"):
            numbers = pd.Series(values[name], index=frame.index).fillna(0)
            result[name] = numbers.astype(np.int32)
        result["latency_ms"] = frame["latency_ms"].astype(float)
        return Imported(result, dict(self.dropped))

    def _own_columns(self) -> dict[str, Any]:
        """Columns of the table as far as the source's columns of the common scheme tell them."""
        frame = self.frame
        shapes = each(self.text("input_shape"), sizes)
        runtimes = each(self.text("runtime"), runtime_of)
        columns: dict[str, Any] = dict.fromkeys(TEXTS, "")
        columns |= {
            "source": self.text("source"),
            "kind": frame.get("kind", "network"),
            "network": self.text("network" if "network" in frame else "name"),
            "graph": pairs(self.text("network_source"), shapes, network_reference),
            "input": shapes,
            "hardware": self.text("device"),
            "device": each(self.text("device"), catalogued),
            "runtime": runtimes.map(lambda pair: pair[0]),
            "version": runtimes.map(lambda pair: pair[1]),
            "precision": each(self.text("precision"), precision_of),
            "unit": self.text("unit"),
            "mode": "inference",
            "timing": "wall clock",
            "statistic": "mean",
            "batch": frame.get("batch", 1),
            "threads": frame.get("threads", 0),
        }
        return columns


def each(texts: pd.Series[str], function: Callable[[str], Any]) -> pd.Series[Any]:
    """Apply a function to each text, once for each distinct one."""
    return texts.map({text: function(text) for text in texts.unique()})


def pairs(
    first: pd.Series[str], second: pd.Series[str], function: Callable[[str, str], str]
) -> pd.Series[str]:
    """Apply a function to two texts of each row."""
    with from_extra("data"):
        import pandas as pd

    values = [function(a, b) for a, b in zip(first, second, strict=True)]
    return pd.Series(values, index=first.index, dtype=object)


def joined(parts: Sequence[Imported]) -> MeasurementTable:
    """Join the rows of several sources to one table, sorted so that equal settings are neighbours.

    Raises:
        InputError: If a latency is no finite number above 0, or a text has several lines.
    """
    with from_extra("data"):
        import pandas as pd

    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    bad = ~(np.isfinite(frame["latency_ms"]) & (frame["latency_ms"] > 0))
    if bad.any():
        raise InputError(f"{int(bad.sum()):,} latencies are no finite numbers above 0")
    codes, values = {}, {}
    for name in TEXTS:
        distinct = sorted(frame[name].unique(), key=_natural if name == "graph" else None)
        if any("\n" in text for text in distinct):
            raise InputError(f"a text of the column {name} has several lines")
        values[name] = tuple(distinct)
        positions = {text: k for k, text in enumerate(distinct)}
        codes[name] = frame[name].map(positions).to_numpy(np.int32)
    order = np.lexsort([codes[name] for name in ("graph", *_ORDER[::-1])])
    table = MeasurementTable(codes, values, {name: frame[name].to_numpy() for name in NUMBERS})
    return table.take(order)


_ORDER = ("source", "kind", "hardware", "unit", "cores", "runtime", "version", "precision", "mode")


def _natural(text: str) -> tuple[tuple[int, str], ...]:
    """Key that sorts the numbers in texts by size: `conv{N=9}` before `conv{N=10}`."""
    import re

    return tuple(
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.findall(r"\d+|\D+", text)
    )
