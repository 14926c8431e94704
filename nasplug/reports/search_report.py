"""Report of a search: pictures of the front and of its progress, and the result as JSON."""

from __future__ import annotations

import contextlib
import html
import json
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nasplug.objectives import Objective
from nasplug.plots.drawing import finish
from nasplug.predicting.intervals import is_usable, magnitude
from nasplug.reports.study_report import write_pictures, write_plots, writing_to
from nasplug.search_spaces import InputError
from nasplug.search_spaces.files import write_text
from nasplug.search_spaces.lazy import from_extra

if TYPE_CHECKING:
    from optuna.study import Study
    from plotly.graph_objects import Figure

    from nasplug.candidates.candidates import Candidates
    from nasplug.candidates.constraints import Constraint
    from nasplug.predictors.hardware import Hardware

__all__ = ["FRONT", "LIMIT", "TRIALS", "ReportedSearch", "write_report"]

Array = NDArray[np.float64]

# Okabe and Ito's palette: distinct for colour-blind readers, and in print.
FRONT, LIMIT, MEASURED, TRIALS = "#0072B2", "#D55E00", "#009E73", "#9A9A9A"

# Accuracies at which the axis may have a tick, in %.
_MARKS = np.array([0, 10, 20, 30, 40, 50, 60, 65, 70, 75, 80, 85, 88, 90, 91, 92, 93, 94, 95, 96])
_MARKS = np.concatenate([_MARKS, [97, 98, 99, 100]])
# Counted quantity -> the label of its axis, and the factor to the shown unit.
_COUNTED = {
    "flops": ("multiply-accumulates (millions)", 1e-6),
    "params": ("parameters (millions)", 1e-6),
}


class ReportedSearch(Protocol):
    """The parts of a search's result that reports show; see `nasplug.SearchResult`."""

    def heading(self) -> str: ...  # noqa: D102
    def notes(self) -> list[str]: ...  # noqa: D102
    def to_json(self) -> dict[str, Any]: ...  # noqa: D102

    @property
    def hardware(self) -> Hardware | None: ...  # noqa: D102
    @property
    def dataset(self) -> str: ...  # noqa: D102
    @property
    def batch_size(self) -> int: ...  # noqa: D102
    @property
    def n_trials(self) -> int: ...  # noqa: D102
    @property
    def objectives(self) -> tuple[Objective, ...]: ...  # noqa: D102
    @property
    def constraints(self) -> tuple[Constraint, ...]: ...  # noqa: D102
    @property
    def pareto(self) -> list[dict[str, Any]]: ...  # noqa: D102
    @property
    def trials(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def front(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def study(self) -> Study: ...  # noqa: D102
    @property
    def candidates(self) -> Candidates: ...  # noqa: D102
    @property
    def proxy(self) -> str | None: ...  # noqa: D102
    @property
    def quality(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True)
class _Axis:
    """Axis of one objective: its name, label, the factor to the shown unit, and its limits."""

    name: str
    label: str
    factor: float
    limits: tuple[tuple[float, str], ...]  # value in the shown unit, text

    def height(self, values: Array) -> Array:
        """Positions of values on the axis, which spreads out the best accuracies."""
        return _stretch(values) if self.name == "accuracy" else np.asarray(values, np.float64)


@dataclass(frozen=True, eq=False)
class _Points:
    """Shown values of some candidates: mean and interval on both axes, shape `(n,)` each."""

    x: Array
    y: Array
    x_bars: Array  # (2, n): below, above
    y_bars: Array
    archs: list[str]
    x_texts: list[str]


def write_report(result: ReportedSearch, folder: str | os.PathLike[str]) -> list[Path]:
    """Write `pareto.png`, `pareto.html` (which needs no network), `result.json` and `progress.png`.

    The last picture shows the hypervolume after each trial; without a feasible trial it is left
    out. Each file is whole or absent: it is written under another name and renamed.

    Args:
        result: Result of the search.
        folder: Folder for the files; created if it is missing.

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
    paths = write_pictures(
        {
            target / "pareto.png": partial(_draw, result, axes, trials, front),
            target / "pareto.html": partial(_draw_page, result, axes, trials, front),
        }
    )
    paths.append(kept)
    # Without a feasible trial no picture of the study can be drawn.
    with contextlib.suppress(InputError):
        paths += write_plots(result.study, target).files
    return paths


def _axes(result: ReportedSearch) -> tuple[_Axis, _Axis]:
    """Axes of the pictures: the cost, then the quality."""

    def limits(name: str, factor: float) -> tuple[tuple[float, str], ...]:
        return tuple((c.bound * factor, str(c)) for c in result.constraints if c.name == name)

    def axis(name: str) -> _Axis:
        if name in _COUNTED:
            label, factor = _COUNTED[name]
            proxy = ", a proxy for quality" if name == result.proxy else ""
            return _Axis(name, label + proxy, factor, limits(name, factor))
        label = f"predicted {result.dataset} accuracy (%)"
        if name == "latency" and result.hardware is not None:
            label = f"predicted latency on {result.hardware.name}, batch {result.batch_size} (ms)"
        return _Axis(name, label, 1.0, limits(name, 1.0))

    quality, cost = (objective.name for objective in result.objectives)
    return axis(cost), axis(quality)


def _points(result: ReportedSearch, indices: list[int], axes: tuple[_Axis, _Axis]) -> _Points:
    shown: list[Array] = []
    for axis in axes:
        quantity = result.candidates.quantities[axis.name]
        mean = quantity.mean[indices] * axis.factor
        below = mean - quantity.lower[indices] * axis.factor
        above = quantity.upper[indices] * axis.factor - mean
        # A calibrated interval need not hold the central prediction; a bar cannot be negative.
        shown += [mean, np.maximum([below, above], 0.0)]
    archs = [result.candidates.architectures[k].text for k in indices]
    x, bars = shown[0], shown[1]
    texts = [f"{value:.4g}" for value in x]
    if axes[0].name == "latency":
        latency = result.candidates.quantities["latency"]
        for k, index in enumerate(indices):
            if not is_usable(latency.lower[index], latency.upper[index]):
                texts[k] = f"{magnitude(x[k])} of ms"
    return _Points(x, shown[2], bars, shown[3], archs, texts)


def _measured(result: ReportedSearch) -> tuple[list[float], list[float]]:
    """Measured latencies and accuracies of the architectures of the front that have both."""
    measured = [row["measured"] for row in result.pareto]
    both = [m for m in measured if m["accuracy"] is not None and m["latency_ms"] is not None]
    return [m["latency_ms"] for m in both], [m["accuracy"] for m in both]


def _front_label(result: ReportedSearch) -> str:
    return f"predicted front, {result.candidates.scores.interval:.0%} intervals"


def _label(axis: _Axis, points: _Points) -> str:
    """Label of the first axis, with a warning if only orders of magnitude are known."""
    wide = any(text.endswith(" of ms") for text in points.x_texts)
    return f"{axis.label}: only its order of magnitude is known" if wide else axis.label


def _title(result: ReportedSearch) -> list[str]:
    """The heading and the notes, without the note on the proxy, which the heading has."""
    quality = result.quality
    notes = [note for note in result.notes() if quality is None or not note.startswith(quality)]
    return [result.heading(), *notes]


def _stretch(accuracy: Array) -> Array:
    """Height of an accuracy in %, by the logarithm of its error, which spreads out the best."""
    return -np.log(np.maximum(101.0 - np.asarray(accuracy, np.float64), 1e-3))


def _unstretch(height: Array) -> Array:
    """Accuracy at a height, in %."""
    return np.asarray(101.0 - np.exp(-np.asarray(height, np.float64)))


def _marks(low: float, high: float) -> list[float]:
    """Accuracies of ticks between two limits, not too close together; the best have precedence."""
    inside = _MARKS[(low <= _MARKS) & (high >= _MARKS)]
    least_gap = 0.04 * float(_stretch(np.array(high)) - _stretch(np.array(low)))
    chosen: list[float] = []
    for mark in map(float, inside[::-1]):
        if not chosen or _stretch(np.array(chosen[-1])) - _stretch(np.array(mark)) >= least_gap:
            chosen.append(mark)
    return chosen[::-1]


def _draw(
    result: ReportedSearch, axes: tuple[_Axis, _Axis], trials: _Points, front: _Points, path: Path
) -> None:
    """Draw the front among the trials as a picture."""
    # Not by pyplot, which would choose a window system and keep global state.
    with from_extra("plots"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    plot = figure.add_subplot()
    plot.scatter(
        trials.x, trials.y, s=16, color=TRIALS, label=f"all {len(trials.x)} trials", zorder=1
    )
    plot.step(front.x, front.y, where="post", color=FRONT, linewidth=1, alpha=0.6, zorder=2)
    plot.errorbar(
        front.x,
        front.y,
        xerr=front.x_bars,
        yerr=front.y_bars,
        fmt="o",
        markersize=6,
        color=FRONT,
        elinewidth=1.2,
        capsize=3,
        label=_front_label(result),
        zorder=3,
    )
    measured = _measured(result)
    if measured[0]:
        plot.scatter(
            *measured,
            s=48,
            marker="D",
            facecolors="none",
            edgecolors=MEASURED,
            linewidths=1.5,
            label="the front, measured",
            zorder=4,
        )
    for k, axis in enumerate(axes):
        for limit, text in axis.limits:
            line = plot.axvline if k == 0 else plot.axhline
            line(limit, color=LIMIT, linestyle="--", linewidth=1.6, label=text)
    if axes[1].name == "accuracy":
        plot.set_yscale("function", functions=(_stretch, _unstretch))
        plot.set_yticks(_marks(*plot.get_ylim()))
    plot.set_xlabel(_label(axes[0], front), fontsize=12)
    plot.set_ylabel(axes[1].label, fontsize=12)
    plot.set_title("\n".join(_title(result)), fontsize=10, wrap=True)
    finish(plot)
    figure.savefig(path, dpi=150, format="png")


def _draw_page(
    result: ReportedSearch, axes: tuple[_Axis, _Axis], trials: _Points, front: _Points, path: Path
) -> None:
    """Draw the front among the trials as a page whose points show their architectures."""
    with from_extra("plots"):
        import plotly.graph_objects as go

    figure = go.Figure()
    _add_points(figure, result, axes, trials, front)
    height = axes[1].height
    for k, axis in enumerate(axes):
        for limit, text in axis.limits:
            line = figure.add_vline if k == 0 else figure.add_hline
            line(
                limit if k == 0 else float(height(np.array(limit))),
                line={"color": LIMIT, "dash": "dash"},
                annotation={"text": html.escape(text, quote=False)},
            )
    ticks = {}
    if axes[1].name == "accuracy":
        lowest = np.min(np.append(front.y - front.y_bars[0], trials.y))
        accuracies = _marks(float(lowest), 100.0)
        ticks = {
            "tickvals": _stretch(np.array(accuracies)).tolist(),
            "ticktext": [f"{accuracy:g}" for accuracy in accuracies],
        }
    figure.update_layout(
        title={"text": "<br>".join(_as_written(_title(result))), "font": {"size": 15}},
        xaxis_title=html.escape(_label(axes[0], front), quote=False),
        yaxis={"title": html.escape(axes[1].label, quote=False), **ticks},
        template="plotly_white",
    )
    # A fixed id makes equal results equal files.
    page: str = figure.to_html(include_plotlyjs=True, full_html=True, div_id="pareto")
    path.write_text(page, encoding="utf-8")


def _add_points(
    figure: Figure,
    result: ReportedSearch,
    axes: tuple[_Axis, _Axis],
    trials: _Points,
    front: _Points,
) -> None:
    """Add the trials, the front, and measured values of the front to a page."""
    height = axes[1].height
    unit = " %" if axes[1].name == "accuracy" else ""
    quality = f", %{{customdata:.2f}}{unit}<extra></extra>"
    hover = f"%{{text}}{quality}"
    middle, bars = height(front.y), front.y_bars
    stretched = np.array([middle - height(front.y - bars[0]), height(front.y + bars[1]) - middle])
    figure.add_scatter(
        x=trials.x.tolist(),
        y=height(trials.y).tolist(),
        customdata=trials.y.tolist(),
        mode="markers",
        name=f"all {len(trials.x)} trials",
        text=_hover_texts(trials),
        hovertemplate=hover,
        marker={"color": TRIALS, "size": 7},
    )
    figure.add_scatter(
        x=front.x.tolist(),
        y=middle.tolist(),
        customdata=front.y.tolist(),
        mode="lines+markers",
        name=_front_label(result),
        text=_hover_texts(front),
        hovertemplate=hover,
        line={"color": FRONT, "shape": "hv", "width": 1},
        marker={"color": FRONT, "size": 10},
        error_x=_bars(front.x_bars),
        error_y=_bars(stretched),
    )
    measured = _measured(result)
    if measured[0]:
        figure.add_scatter(
            x=measured[0],
            y=height(np.array(measured[1])).tolist(),
            customdata=measured[1],
            hovertemplate=f"measured<br>%{{x:.4g}}{quality}",
            mode="markers",
            name="the front, measured",
            marker={"color": MEASURED, "size": 11, "symbol": "diamond-open", "line": {"width": 2}},
        )


def _as_written(texts: list[str]) -> list[str]:
    """Escape texts for plotly, which reads HTML in them as markup."""
    return [html.escape(text, quote=False) for text in texts]


def _hover_texts(points: _Points) -> list[str]:
    """Texts that the page shows for points under the pointer."""
    texts = zip(_as_written(points.archs), points.x_texts, strict=True)
    return [f"{arch}<br>{x}" for arch, x in texts]


def _bars(bars: Array) -> dict[str, Any]:
    """Error bars for plotly, from lengths below and above, `(2, n)`."""
    below, above = bars.tolist()
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "width": 4}
