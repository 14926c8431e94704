"""Report of a search: a page, pictures of the front and of its progress, and the result as JSON."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.plots.axes import label_of, shown_factor
from nasplug.plots.drawing import BLUE, GREEN, GREY, RED, finish, heading, scaled
from nasplug.predicting.intervals import is_usable, magnitude
from nasplug.reports.front_pictures import front_pictures
from nasplug.reports.reported import ReportedQuantity, ReportedSearch, quantities, some_untried
from nasplug.reports.search_page import search_page
from nasplug.reports.study_report import PAGE, draw_page, write_pictures, write_plots, writing_to
from nasplug.search_spaces import InputError
from nasplug.search_spaces.files import write_text
from nasplug.search_spaces.lazy import from_extra

__all__ = ["write_report"]

# Points of a front beyond which intervals of the choices alone are drawn.
CROWDED = 30

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Points:
    """Shown values of some candidates: mean and interval on both axes, shape `(n,)` each."""

    x: Array
    y: Array
    x_bars: Array  # (2, n): below, above
    y_bars: Array
    x_texts: list[str]


def write_report(
    result: ReportedSearch, folder: str | os.PathLike[str], command: str | None = None
) -> list[Path]:
    """Write `report.html` (which needs no network), `pareto.png`, `result.json` and `progress.png`.

    The last picture shows the hypervolume after each trial; without a feasible trial it is left
    out. With three or four objectives `parallel.png` and `pairs.png` show the front, too. Each file
    is whole or absent: it is written under another name and renamed.

    Args:
        result: Result of the search.
        folder: Folder for the files; created if it is missing.
        command: The command that writes the report, for the page.

    Returns:
        Paths of the files.

    Raises:
        InputError: If the folder cannot be created or written.
    """
    target = Path(folder)
    axes = _axes(result)
    trials = _points(result, list(result.trials), axes)
    front = _points(result, list(result.front), axes)
    kept = target / "result.json"
    # Before the pictures, which a library may fail to draw.
    with writing_to(target):
        write_text(kept, json.dumps(result.to_json(), indent=2) + "\n")
    make = cache(partial(search_page, result, command))
    paths = write_pictures(
        {
            target / PAGE: partial(draw_page, make),
            target / "pareto.png": partial(_draw, result, axes, trials, front),
            **(front_pictures(make, target) if len(result.objectives) > 2 else {}),
        }
    )
    paths.append(kept)
    # Without a feasible trial no picture of the study can be drawn.
    with contextlib.suppress(InputError):
        paths += write_plots(result.study, target).files
    return paths


def _axes(result: ReportedSearch) -> tuple[ReportedQuantity, ReportedQuantity]:
    """Axes of the picture: the second objective, or a count without one, and the first."""
    quality, *others = quantities(result)
    if others:
        return others[0], quality
    name = "flops" if quality.name == "params" else "params"
    return ReportedQuantity(name, label_of(name), shown_factor(name), ()), quality


def _points(
    result: ReportedSearch, indices: list[int], axes: tuple[ReportedQuantity, ReportedQuantity]
) -> _Points:
    shown: list[Array] = []
    for axis in axes:
        quantity = result.candidates.quantities[axis.name]
        mean = quantity.mean[indices] * axis.factor
        below = mean - quantity.lower[indices] * axis.factor
        above = quantity.upper[indices] * axis.factor - mean
        # A calibrated interval need not hold the central prediction; a bar cannot be negative.
        shown += [mean, np.maximum([below, above], 0.0)]
    x, bars = shown[0], shown[1]
    texts = [f"{value:.4g}" for value in x]
    if axes[0].name == "latency":
        latency = result.candidates.quantities["latency"]
        for k, index in enumerate(indices):
            if not is_usable(latency.lower[index], latency.upper[index]):
                texts[k] = f"{magnitude(x[k])} of ms"
    return _Points(x, shown[2], bars, shown[3], texts)


def _measured(result: ReportedSearch) -> tuple[list[float], list[float]]:
    """Measured latencies and accuracies of the architectures of the front that have both."""
    measured = [row["measured"] for row in result.pareto]
    both = [m for m in measured if m["accuracy"] is not None and m["latency_ms"] is not None]
    return [m["latency_ms"] for m in both], [m["accuracy"] for m in both]


def _front_label(result: ReportedSearch) -> str:
    return f"predicted front, {result.candidates.scores.interval:.0%} intervals"


def _label(axis: ReportedQuantity, points: _Points) -> str:
    """Label of the first axis, with a warning if only orders of magnitude are known."""
    wide = any(text.endswith(" of ms") for text in points.x_texts)
    return f"{axis.label} (only the order of magnitude is known)" if wide else axis.label


def _title(result: ReportedSearch) -> list[str]:
    """The heading and brief notes, without the note on the proxy, which the heading has."""
    quality, notes = result.quality, result.notes(brief=True)
    notes = [note for note in notes if quality is None or not note.startswith(quality)]
    return [result.heading(), *notes]


def _draw(
    result: ReportedSearch,
    axes: tuple[ReportedQuantity, ReportedQuantity],
    trials: _Points,
    front: _Points,
    path: Path,
) -> None:
    """Draw the front among the trials as a picture."""
    # Not by pyplot, which would choose a window system and keep global state.
    with from_extra("plots"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    plot = figure.add_subplot()
    some, n_scored = some_untried(result, axes)
    if n_scored:
        x, y = (result.candidates.quantities[a.name].mean[some] * a.factor for a in axes)
        label = f"scored, not tried: {len(some):,} of {n_scored:,}"
        label += ", some beyond a limit" * bool(result.constraints)
        plot.scatter(x, y, s=4, color=GREY, alpha=0.5, linewidths=0, label=label, zorder=1)
    if len(trials.x) > len(front.x):
        label = f"all {len(trials.x)} trials"
        plot.scatter(trials.x, trials.y, s=16, color=GREY, label=label, zorder=1)
    if len(result.objectives) == 2 and result.objectives[1].direction == "minimize":
        plot.step(front.x, front.y, where="post", color=BLUE, linewidth=1, alpha=0.6, zorder=2)
    label, rows = _front_label(result), list(range(len(front.x)))
    if len(rows) > CROWDED and front.x_bars.any() | front.y_bars.any():
        # More intervals would hide the front.
        rows, label = sorted({c.row for c in result.choices()}), f"{label} of the choices"
    plot.errorbar(
        front.x[rows],
        front.y[rows],
        xerr=front.x_bars[:, rows],
        yerr=front.y_bars[:, rows],
        fmt="o",
        markersize=6,
        color=BLUE,
        elinewidth=1.2,
        capsize=3,
        label=label,
        zorder=4,
    )
    plot.plot(front.x, front.y, "o", color=BLUE, markersize=4, zorder=3)
    measured = _measured(result)
    if measured[0] and [axis.name for axis in axes] == ["latency", "accuracy"]:
        look: dict[str, Any] = {
            "marker": "D",
            "facecolors": "none",
            "edgecolors": GREEN,
            "linewidths": 1.5,
        }
        plot.scatter(*measured, s=48, label="measured front", zorder=4, **look)
    for k, axis in enumerate(axes):
        for limit, text in axis.limits:
            line = plot.axvline if k == 0 else plot.axhline
            line(limit, color=RED, linestyle="--", linewidth=1.6, label=text)
    if axes[1].name == "accuracy":
        scaled(plot, "y", "error")
    plot.set_xlabel(_label(axes[0], front), fontsize=12)
    plot.set_ylabel(axes[1].label, fontsize=12)
    heading(figure, *_title(result))
    finish(plot)
    figure.savefig(path, dpi=150, format="png")
