"""The report of a search: pictures of the front and of the way to it, and the result as JSON."""

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

if TYPE_CHECKING:
    from optuna.study import Study

    from nasplug.candidates.candidates import Candidates
    from nasplug.candidates.constraints import Constraint
    from nasplug.predictors.hardware import Hardware

__all__ = ["FRONT", "LIMIT", "TRIALS", "ReportedSearch", "write_report"]

Array = NDArray[np.float64]

# Okabe and Ito's palette: distinct for colour-blind readers, and in print.
FRONT, LIMIT, MEASURED, TRIALS = "#0072B2", "#D55E00", "#009E73", "#9A9A9A"

# Accuracies that may be marked on the axis, in %.
_MARKS = np.array([0, 10, 20, 30, 40, 50, 60, 65, 70, 75, 80, 85, 88, 90, 91, 92, 93, 94, 95, 96])
_MARKS = np.concatenate([_MARKS, [97, 98, 99, 100]])
# A counted quantity as an axis: its label, and the factor to the shown unit.
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
    """One objective as an axis: its name, label, the factor to the shown unit, and its limits."""

    name: str
    label: str
    factor: float
    limits: tuple[tuple[float, str], ...]  # value in the shown unit, text

    def height(self, values: Array) -> Array:
        """Where values stand on the axis: the best accuracies are spread out."""
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

    The last is the hypervolume after each trial; without a feasible trial it is left out. Each file
    is whole or absent: it is written under another name and renamed.

    Args:
        result: The search to show.
        folder: Where to; made if it is missing.

    Returns:
        The paths of the files.

    Raises:
        InputError: If the folder cannot be made or written.
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
    # Trials that are evaluated by prediction leave nothing to compare predictions with.
    with contextlib.suppress(InputError):
        paths += write_plots(result.study, target).files
    return paths


def _axes(result: ReportedSearch) -> tuple[_Axis, _Axis]:
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
    """Measured latency and accuracy of the front, where the benchmark has both."""
    rows = [row["measured"] for row in result.pareto]
    both = [r for r in rows if r["accuracy"] is not None and r["latency_ms"] is not None]
    return [r["latency_ms"] for r in both], [r["accuracy"] for r in both]


def _front_label(result: ReportedSearch) -> str:
    return f"predicted front, {result.candidates.scores.interval:.0%} intervals"


def _label(axis: _Axis, points: _Points) -> str:
    """The label of the first axis, with what its numbers are worth."""
    wide = any(text.endswith(" of ms") for text in points.x_texts)
    return f"{axis.label}: only its order of magnitude is known" if wide else axis.label


def _title(result: ReportedSearch) -> list[str]:
    """The heading, and what it does not say yet."""
    said = result.quality
    notes = [note for note in result.notes() if said is None or not note.startswith(said)]
    return [result.heading(), *notes]


def _stretch(accuracy: Array) -> Array:
    """Height of an accuracy in %: the logarithm of the error spreads out the best ones."""
    return -np.log(np.maximum(101.0 - np.asarray(accuracy, np.float64), 1e-3))


def _unstretch(height: Array) -> Array:
    """The accuracy at a height."""
    return np.asarray(101.0 - np.exp(-np.asarray(height, np.float64)))


def _marks(low: float, high: float) -> list[float]:
    """Accuracies to mark between two, not too close to each other, the best ones first."""
    inside = _MARKS[(low <= _MARKS) & (high >= _MARKS)]
    least = 0.04 * float(_stretch(np.array(high)) - _stretch(np.array(low)))
    chosen: list[float] = []
    for mark in map(float, inside[::-1]):
        if not chosen or _stretch(np.array(chosen[-1])) - _stretch(np.array(mark)) >= least:
            chosen.append(mark)
    return chosen[::-1]


def _draw(
    result: ReportedSearch, axes: tuple[_Axis, _Axis], trials: _Points, front: _Points, path: Path
) -> None:
    # The Figure class alone: pyplot would choose a window system and keep global state.
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
    import plotly.graph_objects as go

    height = axes[1].height
    unit = " %" if axes[1].name == "accuracy" else ""
    shown = f", %{{customdata:.2f}}{unit}<extra></extra>"
    hover = f"%{{text}}{shown}"
    middle, bars = height(front.y), front.y_bars
    stretched = np.array([middle - height(front.y - bars[0]), height(front.y + bars[1]) - middle])
    figure = go.Figure()
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
            hovertemplate=f"measured<br>%{{x:.4g}}{shown}",
            mode="markers",
            name="the front, measured",
            marker={"color": MEASURED, "size": 11, "symbol": "diamond-open", "line": {"width": 2}},
        )
    for k, axis in enumerate(axes):
        for limit, text in axis.limits:
            line = figure.add_vline if k == 0 else figure.add_hline
            line(
                limit if k == 0 else float(height(np.array(limit))),
                line={"color": LIMIT, "dash": "dash"},
                annotation={"text": html.escape(text, quote=False)},
            )
    marks = {}
    if axes[1].name == "accuracy":
        chosen = _marks(float(np.min(np.append(front.y - bars[0], trials.y))), 100.0)
        marks = {
            "tickvals": _stretch(np.array(chosen)).tolist(),
            "ticktext": [f"{mark:g}" for mark in chosen],
        }
    figure.update_layout(
        title={"text": "<br>".join(_as_written(_title(result))), "font": {"size": 15}},
        xaxis_title=html.escape(_label(axes[0], front), quote=False),
        yaxis={"title": html.escape(axes[1].label, quote=False), **marks},
        template="plotly_white",
    )
    # A fixed id makes equal results equal files.
    page: str = figure.to_html(include_plotlyjs=True, full_html=True, div_id="pareto")
    path.write_text(page, encoding="utf-8")


def _as_written(texts: list[str]) -> list[str]:
    """Texts for plotly, which takes what looks like HTML for markup."""
    return [html.escape(text, quote=False) for text in texts]


def _hover_texts(points: _Points) -> list[str]:
    texts = zip(_as_written(points.archs), points.x_texts, strict=True)
    return [f"{arch}<br>{x}" for arch, x in texts]


def _bars(bars: Array) -> dict[str, Any]:
    below, above = bars.tolist()
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "width": 4}
