"""A report as a page: its content as data, and one HTML file that shows it without a network.

The page is put together from `frame.html`, `report.html`, `report.css` and four scripts. All
content goes into it as one JSON island, and the scripts write it as text, never as markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from nasplug.choices import Choice
from nasplug.plots.axes import Axis, Scale
from nasplug.text import shortened

__all__ = [
    "Comparison",
    "Page",
    "Progress",
    "Row",
    "State",
    "filled_html",
    "page_html",
]

# Most rows of a page, and most bytes of their architectures and cells, so that the file stays small
# and a browser fast.
MOST_ROWS, MOST_BYTES = 2_000, 1_000_000
# Most characters of a text, and most notes.
_LONGEST, _MOST_NOTES = 4_000, 50
# Most points of a curve, and most marks of trials without a value.
_MOST_POINTS = 2_000
# Significant digits of numbers that a picture shows.
_DIGITS = 6
_HERE = Path(__file__).parent
# Parts of the page's script, in order.
_SCRIPTS = ("charts.js", "front.js", "objectives.js", "report.js")

State = Literal["front", "met", "missed"]


@dataclass(frozen=True)
class Row:
    """One trial.

    Attributes:
        trial: Number of the trial.
        arch: The architecture.
        state: `"front"`, `"met"` if it meets all limits, or `"missed"`.
        values: Values on the axes.
        ends: Lower and upper end of the interval of each value; None without one.
        cells: Number to sort by and text of each column of the table.
        measured: Measured values on the axes; None if they are not all known.
        more: Text for a reader who selects the row; may be empty.
        limited: Values on `Page.limited`; empty where they are not known.
    """

    trial: int
    arch: str
    state: State
    values: list[float]
    ends: list[tuple[float, float] | None]
    cells: list[tuple[float | None, str]]
    measured: list[float] | None = None
    more: str = ""
    limited: Sequence[float] = ()


@dataclass(frozen=True)
class Progress:
    """Curve over the numbers of trials: a hypervolume or the best value so far.

    Attributes:
        label: Quantity of the curve.
        note: End of the hypervolume, in words.
        trials: Numbers of the trials, length n.
        values: Values of the curve, length n; NaN before the first feasible trial.
        missed: Numbers of the trials that miss a limit.
        failed: Numbers of the trials without values.
    """

    label: str
    note: str
    trials: list[int]
    values: list[float]
    missed: list[int]
    failed: list[int]


@dataclass(frozen=True)
class Comparison:
    """Predicted values of one quantity against observed ones.

    Attributes:
        name: Name of the quantity, with its unit.
        scale: Scale of both axes, as of `Axis`.
        predicted: Word for the predictions: `"expected"` or `"predicted"`.
        observed: Word for the other values: `"observed"` or `"measured"`.
        points: Number of the trial, observed value, predicted mean, lower and upper end, each.
    """

    name: str
    scale: Scale
    predicted: str
    observed: str
    points: list[tuple[int, float, float, float, float]]


@dataclass(frozen=True)
class Page:
    """Content of a report.

    Attributes:
        title: A few words.
        heading: A sentence below the title.
        axes: Axes of the objectives: the quality, the cost, and any others.
        columns: Headings of the table's columns, those of the axes first.
        rows: The trials.
        interval: Meaning of the intervals on the front, in words; empty without intervals.
        choices: The choices; `row` is the position in `rows`.
        progress: Progress of the study, or None.
        comparisons: Predicted against observed values.
        facts: Name and text of each fact that the numbers rest on.
        notes: Sentences on the meaning of the numbers.
        command: The command that wrote the report, or None.
        scored: Values on the axes of architectures that were scored and not tried, or some of them.
        n_scored: Number of architectures that were scored and not tried.
        limited: Axes of quantities that have limits and are no objectives.
    """

    title: str
    heading: str
    axes: list[Axis]
    columns: list[str]
    rows: list[Row]
    interval: str
    choices: list[Choice]
    progress: Progress | None
    comparisons: list[Comparison]
    facts: list[tuple[str, str]]
    notes: list[str]
    command: str | None = None
    scored: Sequence[Sequence[float]] = ()
    n_scored: int = 0
    limited: Sequence[Axis] = ()


def page_html(page: Page) -> str:
    """The page as one HTML file of at most 1.5 MB, which loads nothing.

    A page with very many trials has all of the front, then the first ones, and says so.
    """
    return filled_html("report", _SCRIPTS, _fitting(page))


def filled_html(kind: str, scripts: Sequence[str], content: Mapping[str, Any]) -> str:
    """Fill the frame of all pages with the sections, style, scripts, and content as a JSON island.

    Args:
        kind: Kind of page, and name of the file with its sections beside this file.
        scripts: Names of the parts of the page's script, in order.
        content: Data that the scripts show.
    """
    style = (_HERE / "report.css").read_text(encoding="utf-8")
    script = "".join((_HERE / name).read_text(encoding="utf-8") for name in scripts)
    island = json.dumps(_plain(content), allow_nan=False, separators=(",", ":"))
    parts = {
        "kind": kind,
        "main": (_HERE / f"{kind}.html").read_text(encoding="utf-8"),
        "style": style,
        "style-hash": _hash(style),
        "script": script,
        "script-hash": _hash(script),
        # A text such as </script> would end the island.
        "data": island.replace("<", "\\u003c"),
    }
    html = (_HERE / "frame.html").read_text(encoding="utf-8")
    # The data come last, so that no text of theirs is taken for a placeholder.
    for name, text in parts.items():
        html = html.replace(f"{{{{{name}}}}}", text)
    return html


def _hash(content: str) -> str:
    """Hash by which a page's content security policy allows a style or a script."""
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _fitting(page: Page) -> dict[str, Any]:
    """The content without the rows and texts that would make the file too large."""
    chosen = {choice.row for choice in page.choices}
    order = sorted(
        range(len(page.rows)),
        key=lambda k: (k not in chosen, page.rows[k].state != "front", k),
    )
    kept, size = set(), 0
    for k in order[:MOST_ROWS]:
        row = page.rows[k]
        # JSON writes other characters than ASCII with six bytes.
        size += 6 * len(row.more) + 6 * sum(len(text) for _, text in row.cells)
        size += len(json.dumps(row.arch[:_LONGEST])) + 40 * len(row.values) + 80
        if size > MOST_BYTES:
            break
        kept.add(k)
    position = {k: number for number, k in enumerate(sorted(kept))}
    content = asdict(page)
    content["rows"] = [content["rows"][k] for k in sorted(kept)]
    content["choices"] = [
        {**choice.to_json(), "row": position[choice.row]}
        for choice in page.choices
        if choice.row in position
    ]
    content["n_rows"] = len(page.rows)
    content["notes"] = page.notes[:_MOST_NOTES]
    if page.progress is not None:
        content["progress"] = _thinned(page.progress)
    for comparison in content["comparisons"]:
        comparison["n_points"] = len(comparison["points"])
        comparison["inside"] = sum(low <= y <= high for _, y, _, low, high in comparison["points"])
        comparison["points"] = comparison["points"][:MOST_ROWS]
    return content


def _thinned(progress: Progress) -> dict[str, Any]:
    """The curve without the points at which it stays as it was, and few enough marks."""
    content = asdict(progress)
    values = progress.values
    last = len(values) - 1
    turns = [k for k, y in enumerate(values) if k in (0, last) or y != values[k - 1]]
    step = -(-len(turns) // _MOST_POINTS)
    turns = sorted({*turns[::step], *turns[-1:]})
    content["trials"] = [progress.trials[k] for k in turns]
    content["values"] = [values[k] for k in turns]
    for name in ("missed", "failed"):
        numbers = content[name]
        content[f"n_{name}"] = len(numbers)
        content[name] = numbers[:: -(-len(numbers) // _MOST_POINTS) or 1]
    return content


def _plain(value: Any) -> Any:
    """The value with short texts and finite numbers of few digits, as JSON knows them."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return shortened(value, _LONGEST)
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value
