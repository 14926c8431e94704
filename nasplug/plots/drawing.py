"""Figures in the style of the reports, and the marks that several pictures share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
    "as_written",
    "beyond",
    "crosses",
    "figure_of",
    "finish",
    "limit",
    "rug",
    "steps",
]

Array = NDArray[np.float64]

# Okabe and Ito's palette: distinct for colour-blind readers, and in print.
BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#9A9A9A"
LINES = (BLUE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Of the range that nine tenths of the values lie in, how much more an axis shows.
MARGIN = 0.5
# Characters of a label, and of a heading, which is wrapped.
LONGEST, LONGEST_HEADING = 120, 600


def figure_of(panels: int = 1, *, square: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, at most three in a row."""
    # The Figure class alone: pyplot would choose a window system and keep global state.
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
    """Add grid and legend, the latter above the panel if so said, and show texts as they are."""
    plot.grid(alpha=0.3)
    # Where bars reach into every corner the legend stands outside.
    place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 3}
    legend = plot.legend(fontsize=10, **(place if above else {}))
    as_written(plot.title, LONGEST_HEADING)
    for text in (plot.xaxis.label, plot.yaxis.label, *legend.get_texts()):
        as_written(text)


def as_written(text: Text, longest: int = LONGEST) -> None:
    """Draw a text as it is, whatever a name in it means to matplotlib, up to some length."""
    told = text.get_text()
    shown = told if len(told) <= longest else told[: longest - 1] + "…"
    # Its own switch for mathematics is not asked where lines are wrapped.
    text.set_text(shown.replace("$", r"\$"))


def steps(plot: Axes, x: Array, y: Array, color: str, label: str) -> None:
    """A staircase with a dot at its end."""
    # A dot at the end shows a study of one trial too.
    plot.plot(x, y, drawstyle="steps-post", color=color, linewidth=1.8, label=label, zorder=3)
    plot.plot(x[-1:], y[-1:], "o", color=color, markersize=4, zorder=3)


def rug(plot: Axes, marks: Mapping[str, tuple[NDArray[np.intp], str]]) -> None:
    """Short lines at the lower edge, for trials that have no height."""
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
    """Trials that miss a limit."""
    if np.size(x):
        label = f"misses a limit: {np.size(x)}"
        plot.scatter(x, y, s=22, marker="x", linewidths=1.2, color=RED, label=label, zorder=2)


def limit(set_limits: Callable[..., Any], values: Array, others: Array | None = None) -> None:
    """Limit an axis to where nearly all values lie, so that one outlier does not hide the rest."""
    low, high = np.quantile(values, [0.05, 0.95])
    room = MARGIN * max(high - low, 1e-12)
    shown = values[(values >= low - room) & (values <= high + room)]
    low, high = float(shown.min()), float(shown.max())
    if others is not None and others.size:
        low, high = min(low, float(others.min())), max(high, float(others.max()))
    edge = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
    set_limits(low - edge, high + edge)


def beyond(plot: Axes, points: Array, limits: tuple[float, float]) -> None:
    """Say of how many points, `(axes, n)`, the picture does not show where they lie."""
    outside = int(((points < limits[0]) | (points > limits[1])).any(axis=0).sum())
    if outside:
        plot.plot([], [], " ", label=f"beyond the axis: {outside}")
