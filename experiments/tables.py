"""Tables in Markdown from the rows of results.

A template describes a row of a table: format strings between bars, such as `{model} | {tau:.3f}`.
Fields of several rows that `merged` made one are means; `{tau:±.3f}` adds the standard deviation,
and `{tau:~.3f}` is the median. A cell is – if one of its values is None.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from statistics import mean, median, stdev
from string import Formatter
from typing import Any, TypeVar

from experiments import RESULTS

__all__ = [
    "MISSING",
    "SECTIONS",
    "Row",
    "cells",
    "grouped",
    "load",
    "load_lines",
    "merged",
    "runs",
    "section",
    "spread",
    "table",
    "table_of",
]

Row = dict[str, Any]
MISSING = "–"
# Name of a section of a page -> the function that makes it.
SECTIONS: dict[str, Callable[[], str]] = {}
Make = TypeVar("Make", bound=Callable[..., str])


def section(name: str, *arguments: Any) -> Callable[[Make], Make]:
    """Decorate a function that makes a section of a page of these arguments."""

    def registered(make: Make) -> Make:
        SECTIONS[name] = partial(make, *arguments)
        return make

    return registered


def load(name: str) -> Row:
    """Read results/<name>.json."""
    content: Row = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def load_lines(name: str) -> list[Row]:
    """Read the rows of results/<name>.jsonl."""
    text = (RESULTS / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def runs(name: str) -> list[Row]:
    """Read the runs of results/<name>.json."""
    rows: list[Row] = load(name)["runs"]
    return rows


def grouped(rows: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    """Rows by the values of some fields, in the order in which these come."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in keys)].append(row)
    return groups


def spread(values: Sequence[float], form: str = ".3f", usual: int | None = None) -> str:
    """Mean ± standard deviation of values; their count where it is not the usual one."""
    if not values:
        return MISSING
    text = format(mean(values), form)
    if len(values) > 1:
        text += f" ± {stdev(values):{form}}"
    return text if usual in (None, len(values)) else f"{text} ({len(values)})"


class _Values(tuple[float, ...]):
    """Numbers of one field in several rows."""

    def __format__(self, form: str) -> str:
        if form.startswith("±"):
            return spread(self, form[1:])
        return format(median(self) if form.startswith("~") else mean(self), form.lstrip("~"))


def merged(rows: Sequence[Row]) -> Row:
    """Merge rows into one for a template: their numbers, the first one's text, their `count`."""
    result: Row = {"count": len(rows)}
    for key, first in rows[0].items():
        values = [row[key] for row in rows if row.get(key) is not None]
        if isinstance(first, dict):
            result[key] = merged(values)
        elif values and isinstance(values[0], int | float):
            result[key] = _Values(values)
        else:
            result[key] = first
    return result


class _Cell(Formatter):
    """Formats a cell; None makes it `GAP`."""

    GAP = "\0"

    def format_field(self, value: Any, format_spec: str) -> Any:
        return self.GAP if value is None else super().format_field(value, format_spec)


def cells(template: str, row: Mapping[str, Any]) -> list[str]:
    """Fill a template with a row."""
    texts = [_Cell().vformat(part, (), row) for part in template.split(" | ")]
    return [MISSING if _Cell.GAP in text else text for text in texts]


def table(header: str | Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; the header is a list, or one text with bars between its columns."""
    names = header.split(" | ") if isinstance(header, str) else list(header)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def table_of(header: str | Sequence[str], template: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """A table whose rows follow a template."""
    return table(header, [cells(template, row) for row in rows])
