"""Figures in the style of the reports, and the marks that several pictures share."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasplug.choices import error_height
from nasplug.plots.axes import Scale
from nasplug.search_spaces.lazy import from_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "LINES",
    "RED",
    "accuracy_ticks",
    "as_written",
    "beyond",
    "crosses",
    "figure_of",
    "finish",
    "folded",
    "heading",
    "legend_below",
    "limit",
    "rug",
    "scaled",
    "steps",
]

Array = NDArray[np.float64]

# Okabe and Ito's palette: distinct for colour-blind readers, and in print.
BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#9A9A9A"
LINES = (BLUE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Extra room on each side of an axis, as a share of the range of the central nine tenths of values.
MARGIN = 0.5
# Accuracies at which an axis may have a tick, in %.
_ACCURACIES = (
    *(0, 10, 20, 30, 40, 50, 60, 65, 70, 75, 80, 85, 88),
    *(90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100),
)
# Most characters of a label, and of a heading, which is wrapped.
LONGEST, LONGEST_HEADING = 120, 600
# Most lines of a heading, and its characters on an inch of the figure's width.
MOST_LINES, ON_AN_INCH = 3, 13


def figure_of(panels: int = 1, *, square: bool = False) -> tuple[Figure, list[Axes]]:
    """Create a figure with a number of panels, at most three in a row."""
    # The Figure class alone: pyplot would choose a window system and keep global state.
    with from_extra("plots"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    width = 6.0 if square or panels > 1 else 8.0
    # More than three side by side would be too small to read.
    columns = min(panels, 3)
    rows = -(-panels // columns)
    figure = Figure(figsize=(width * columns, 5.5 * rows), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(rows, columns, k + 1) for k in range(panels)]


def finish(plot: Axes, *, above: bool = False) -> None:
    """Add grid and legend, with `above` over the panel, and show texts without markup."""
    plot.grid(alpha=0.3)
    position: dict[str, Any] = {}
    if above:
        # A legend inside would hide bars that reach into every corner. Four entries fill two rows
        # of two; in three columns they would leave gaps.
        entries = len(plot.get_legend_handles_labels()[1])
        columns = math.ceil(entries / math.ceil(entries / 3))
        position = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": columns}
    legend = plot.legend(fontsize=10, **position)
    as_written(plot.title, LONGEST_HEADING)
    for text in (plot.xaxis.label, plot.yaxis.label, *legend.get_texts()):
        as_written(text)


def folded(text: str, width: int) -> str:
    """Break a text into lines of at most a number of characters."""
    return "\n".join(textwrap.wrap(text, width)) or text


def heading(figure: Figure, *sentences: str) -> None:
    """Write sentences over a figure, in three lines at most.

    The first one is cut if it is longer. Of the others those are written that fit as a whole, up to
    the first that does not.
    """
    width = int(ON_AN_INCH * figure.get_figwidth())
    lines: list[str] = []
    for sentence in sentences:
        more = textwrap.wrap(sentence, width, max_lines=MOST_LINES, placeholder=" …")
        if len(lines) + len(more) > MOST_LINES:
            break
        lines += more
    as_written(figure.suptitle("\n".join(lines), fontsize=9), LONGEST_HEADING)


def legend_below(figure: Figure) -> None:
    """Write one legend of all panels below them, in as many columns as the figure has room for."""
    entries: dict[str, Any] = {}
    for panel in figure.axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    labels = [folded(label, int(ON_AN_INCH * figure.get_figwidth()) - 10) for label in entries]
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for columns in (3, 2, 1):
        legend = figure.legend(
            list(entries.values()), labels, loc="outside lower center", ncols=columns, fontsize=9
        )
        for text in legend.get_texts():
            as_written(text)
        if columns == 1 or legend.get_window_extent(renderer).width < figure.bbox.width:
            return
        legend.remove()


def as_written(text: Text, longest: int = LONGEST) -> None:
    """Cut a text to some length, and show it without matplotlib's markup."""
    content = text.get_text()
    shown = content if len(content) <= longest else content[: longest - 1] + "…"
    # `set_parse_math(False)` has no effect on wrapped lines, so dollar signs are escaped.
    text.set_text(shown.replace("$", r"\$"))


def steps(plot: Axes, x: Array, y: Array, color: str, label: str) -> None:
    """Draw a staircase with a dot at its end."""
    # Without the dot a study of one trial would be invisible.
    plot.plot(x, y, drawstyle="steps-post", color=color, linewidth=1.8, label=label, zorder=3)
    plot.plot(x[-1:], y[-1:], "o", color=color, markersize=4, zorder=3)


def rug(plot: Axes, marks: Mapping[str, tuple[NDArray[np.intp], str]]) -> None:
    """Draw short lines at the lower edge, for trials that have no value."""
    for label, (numbers, color) in marks.items():
        if len(numbers):
            plot.plot(
                numbers,
                np.full(len(numbers), 0.015),
                "|",
                color=color,
                markersize=9,
                markeredgewidth=1.6,
                transform=plot.get_xaxis_transform(),
                label=f"{label}: {len(numbers)}",
                zorder=2,
            )


def crosses(plot: Axes, x: ArrayLike, y: ArrayLike) -> None:
    """Draw trials that miss a limit as crosses."""
    if np.size(x):
        label = f"violates a constraint: {np.size(x)}"
        plot.scatter(x, y, s=22, marker="x", linewidths=1.2, color=RED, label=label, zorder=2)


def limit(set_limits: Callable[..., Any], values: Array, others: Array | None = None) -> None:
    """Limit an axis to the range of nearly all values, so that one outlier hides no others."""
    low, high = np.quantile(values, [0.05, 0.95])
    room = MARGIN * max(high - low, 1e-12)
    shown = values[(values >= low - room) & (values <= high + room)]
    low, high = float(shown.min()), float(shown.max())
    if others is not None and others.size:
        low, high = min(low, float(others.min())), max(high, float(others.max()))
    edge = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
    set_limits(low - edge, high + edge)


def beyond(plot: Axes, points: Array, limits: tuple[float, float]) -> None:
    """Add to the legend how many points, `(axes, n)`, lie outside the limits of the axes."""
    outside = int(((points < limits[0]) | (points > limits[1])).any(axis=0).sum())
    if outside:
        plot.plot([], [], ">", color=GREY, label=f"outside the axes: {outside}")


def scaled(plot: Axes, which: str, scale: Scale) -> None:
    """Scale the axis `"x"` or `"y"` of a panel whose points are drawn."""
    axis = plot.xaxis if which == "x" else plot.yaxis
    set_scale = plot.set_xscale if which == "x" else plot.set_yscale
    if scale == "error":
        set_scale("function", functions=(error_height, _accuracy))
        axis.set_ticks(accuracy_ticks(*sorted(axis.get_view_interval())))
    elif scale == "log":
        set_scale("log")


def _accuracy(height: Array) -> Array:
    """Accuracy at a height, in %."""
    return np.asarray(101.0 - np.exp(-np.asarray(height, np.float64)))


def accuracy_ticks(low: float, high: float, gap: float = 0.04) -> list[float]:
    """Accuracies of ticks between two limits, not too close together; the best have precedence.

    Args:
        low: Lower limit, in %.
        high: Upper limit, in %.
        gap: Least distance of two ticks, as a share of the axis.
    """
    bottom, top = error_height(np.array([low, high]))
    chosen: list[tuple[float, float]] = []
    for tick in (float(mark) for mark in _ACCURACIES[::-1] if low <= mark <= high):
        height = float(error_height(np.array(tick)))
        if not chosen or chosen[-1][0] - height >= gap * (top - bottom):
            chosen.append((height, tick))
    return [tick for _, tick in chosen[::-1]]
