"""Pictures of a front of three and more objectives: parallel coordinates, and pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from nasplug.arrays import Array
from nasplug.plots.axes import Axis, heights
from nasplug.plots.drawing import (
    BLUE,
    GREY,
    RED,
    accuracy_ticks,
    as_written,
    figure_of,
    folded,
    heading,
    legend_below,
    scaled,
)
from nasplug.search_spaces.lazy import from_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ShownFront", "draw_pairs", "draw_parallel"]

# Objectives of the panels of pairs, at most: six panels.
MOST = 4
# Colour, line and marker of each choice, which differ without colours too.
LOOKS = (
    ("#009E73", "-", "s"),
    ("#CC79A7", "--", "^"),
    ("#E69F00", "-.", "D"),
)
# Share of the axis above the best and below the worst value on the front.
EDGE = 0.03


@dataclass(frozen=True, eq=False)
class ShownFront:
    """A front of m objectives among all candidates, in the shown units.

    Attributes:
        title: Heading of the pictures.
        axes: Axes of the objectives, length m, then those of other quantities that have limits.
        values: Values of the front's k rows on all axes, `(k, len(axes))`; NaN if unknown.
        choices: Title of a choice -> its row.
        others: Objectives of the feasible trials off the front, `(n, m)`.
        missed: Objectives of the trials that miss a limit, `(n, m)`.
        scored: Objectives of candidates that were scored and not tried, `(n, m)`.
    """

    title: str
    axes: Sequence[Axis]
    values: Array
    choices: Mapping[str, int]
    others: Array
    missed: Array
    scored: Array = field(default_factory=lambda: np.empty((0, 0)))

    @property
    def objectives(self) -> Sequence[Axis]:
        """Axes of the objectives."""
        return self.axes[: self.others.shape[1]]

    def looks(self) -> dict[int, tuple[str, tuple[str, str, str]]]:
        """Row of the front -> titles of the choices that it is, and how they are drawn."""
        titles: dict[int, list[str]] = {}
        for title, row in self.choices.items():
            titles.setdefault(row, []).append(title)
        return {
            row: ("; ".join(names), LOOKS[k % len(LOOKS)])
            for k, (row, names) in enumerate(titles.items())
        }


def draw_parallel(front: ShownFront) -> Figure:
    """Draw a line for each row of a front over one axis a quantity, the better end on top."""
    figure, (plot,) = figure_of()
    figure.set_size_inches(max(8.0, 2.0 * len(front.axes)), 5.5)
    spans = [_span(axis, column) for axis, column in zip(front.axes, front.values.T, strict=True)]
    places = np.column_stack(
        [
            (heights(axis.scale, column) - worst) / (best - worst)
            for axis, column, (worst, best) in zip(front.axes, front.values.T, spans, strict=True)
        ]
    )
    x, looks = np.arange(len(front.axes)), front.looks()
    alpha = float(np.clip(12 / max(len(places), 1), 0.15, 0.6))
    for row, line in enumerate(places):
        if row not in looks:
            plot.plot(x, line, color=BLUE, linewidth=1.1, alpha=alpha, zorder=2)
    plot.plot([], [], color=BLUE, alpha=0.6, label=f"front: {len(places)} rows")
    for row, (title, (color, style, marker)) in looks.items():
        look: dict[str, Any] = {
            "color": color,
            "linestyle": style,
            "marker": marker,
            "linewidth": 2.4,
        }
        plot.plot(x, places[row], markersize=7, label=title, zorder=4, **look)
    limits = []
    for k, (axis, span) in enumerate(zip(front.axes, spans, strict=True)):
        limits += _upright(plot, k, axis, span)
    for words in dict.fromkeys(limits):
        plot.plot([], [], color=RED, linewidth=2.4, label=words)
    plot.set_xlim(-0.4, len(front.axes) - 0.4)
    plot.set_ylim(-EDGE, 1 + EDGE)
    plot.set_xticks(x, [folded(axis.label, 22) for axis in front.axes], fontsize=10)
    for label in plot.get_xticklabels():
        as_written(label)
    plot.set_yticks([])
    plot.set_ylabel("better, on every axis  →", fontsize=11)
    plot.spines[:].set_visible(False)
    plot.tick_params(axis="x", length=0)
    heading(figure, front.title)
    legend_below(figure)
    return figure


def draw_pairs(front: ShownFront) -> Figure:
    """Draw a panel for each pair of the first four objectives: the front among the candidates."""
    pairs = list(combinations(range(min(len(front.objectives), MOST)), 2))
    figure, plots = figure_of(len(pairs))
    figure.set_size_inches(4.6 * min(len(pairs), 3), 4.0 * -(-len(pairs) // 3) + 1.2)
    for plot, (y, x) in zip(plots, pairs, strict=True):
        _pair(plot, front, x, y)
    heading(figure, front.title)
    legend_below(figure)
    return figure


def _pair(plot: Axes, front: ShownFront, x: int, y: int) -> None:
    """Draw the front among the candidates by two objectives."""
    groups: tuple[tuple[Array, dict[str, Any], str], ...] = (
        (
            front.scored,
            {"s": 4, "color": GREY, "alpha": 0.4, "linewidths": 0},
            "scored, not tried, drawn",
        ),
        (front.others, {"s": 16, "color": GREY}, "other trials"),
        (front.missed, {"s": 20, "color": RED, "marker": "x", "alpha": 0.6}, "violates a limit"),
    )
    for values, look, label in groups:
        if len(values):
            plot.scatter(
                values[:, x], values[:, y], label=f"{label}: {len(values)}", zorder=1, **look
            )
    rows = front.values
    plot.scatter(rows[:, x], rows[:, y], s=22, color=BLUE, label=f"front: {len(rows)}", zorder=3)
    for row, (title, (color, _, marker)) in front.looks().items():
        plot.scatter(
            rows[row, x],
            rows[row, y],
            s=70,
            label=title,
            zorder=4,
            color=color,
            marker=marker,
            edgecolors="black",
            linewidths=1.0,
        )
    _near(plot, front, x, y)
    for k, line, ends in ((x, plot.axvline, plot.get_xlim()), (y, plot.axhline, plot.get_ylim())):
        for bound, text in front.axes[k].limits:
            label = f"limit {text}" + ", outside the axes" * (not ends[0] <= bound <= ends[1])
            line(bound, color=RED, linestyle="--", linewidth=1.4, label=label)
    for which, k in (("x", x), ("y", y)):
        scaled(plot, which, front.axes[k].scale)
    if front.axes[x].scale == "linear":
        # More would touch each other in a narrow panel.
        plot.locator_params(axis="x", nbins=6)
    plot.grid(alpha=0.3)
    plot.set_xlabel(folded(front.axes[x].label, 44), fontsize=10)
    plot.set_ylabel(folded(front.axes[y].label, 34), fontsize=10)
    as_written(plot.xaxis.label)
    as_written(plot.yaxis.label)


def _near(plot: Axes, front: ShownFront, x: int, y: int) -> None:
    """Limit a panel to the front and the tried around it; scored ones may lie outside."""
    tried = np.concatenate([front.values[:, : len(front.objectives)], front.others])
    for k, set_limits in ((x, plot.set_xlim), (y, plot.set_ylim)):
        scale = front.axes[k].scale
        column = tried[:, k]
        low, high = float(column.min()), float(column.max())
        near = [b for b, _ in front.axes[k].limits if low - (high - low) < b < 2 * high - low]
        low, high = min([low, *near]), max([high, *near])
        edge = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        top = min(high + edge, 100.5) if scale == "error" else high + edge
        set_limits(max(low - edge, 0.9 * low) if scale == "log" else low - edge, top)


def _span(axis: Axis, column: Array) -> tuple[float, float]:
    """Heights of the worst and the best end of an axis over the front and the limits near it."""
    at = heights(axis.scale, column[np.isfinite(column)])
    low, high = (float(at.min()), float(at.max())) if at.size else (0.0, 1.0)
    extent = (high - low) or 0.1 * abs(high) or 1.0
    bounds = heights(axis.scale, np.array([bound for bound, _ in axis.limits]))
    near = bounds[(bounds > low - extent) & (bounds < high + extent)].tolist()
    low, high = min([low, *near]), max([high, *near])
    if low == high:
        low, high = low - extent / 2, high + extent / 2
    return (low, high) if axis.maximize else (high, low)


def _upright(plot: Axes, k: int, axis: Axis, span: tuple[float, float]) -> list[str]:
    """Draw the k-th axis with its ticks and limits; return words for each limit."""
    worst, best = span

    def height(value: float) -> float:
        return float((heights(axis.scale, np.array(value)) - worst) / (best - worst))

    plot.plot([k, k], [0, 1], color="black", linewidth=1, zorder=1)
    at = {text: height(bound) for bound, text in axis.limits}
    seen = {text: y for text, y in at.items() if -EDGE <= y <= 1 + EDGE}
    for value in _ticks(axis, *sorted(span)):
        y = height(value)
        # The mark of a limit would hide the number, and its text tells it.
        if any(abs(y - other) < EDGE for other in seen.values()):
            continue
        plot.plot([k - 0.02, k], [y, y], color="black", linewidth=1, zorder=1)
        tick = plot.text(k - 0.04, y, f"{value:.6g}", ha="right", va="center", fontsize=8)
        # Lines of the front run behind the numbers.
        tick.set_bbox({"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.5})
    for text, y in seen.items():
        plot.plot([k - 0.09, k + 0.09], [y, y], color=RED, linewidth=2.4, zorder=5)
        label = plot.text(k + 0.1, y, text, color=RED, fontsize=8, va="bottom", zorder=5)
        label.set_bbox({"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.5})
        as_written(label)
    # The text of a limit on the axis stands beside it.
    return ["limit" if text in seen else f"limit {text}, outside the axes" for text in at]


def _ticks(axis: Axis, low: float, high: float) -> list[float]:
    """Values of a few ticks between two heights."""
    with from_extra("plots"):
        from matplotlib.ticker import MaxNLocator

    if axis.scale == "error":
        return accuracy_ticks(101.0 - math.exp(-low), 101.0 - math.exp(-high), gap=0.08)
    if axis.scale == "log":
        powers = range(math.floor(low), math.ceil(high) + 1)
        marks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
        return [mark for mark in marks if low <= math.log10(mark) <= high]
    steps = [float(step) for step in MaxNLocator(6).tick_values(low, high)]
    return [step for step in steps if low <= step <= high]
