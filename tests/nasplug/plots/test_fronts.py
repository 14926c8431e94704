"""Fronts of three and more objectives by parallel coordinates and by pairs, off the figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nasplug.plots.axes import Axis
from nasplug.plots.drawing import MOST_LINES, RED
from nasplug.plots.fronts import ShownFront, draw_pairs, draw_parallel

LONG = "Fastest on the first device within 1 % of the best; Lowest perplexity within the limits"


def front(**more: Any) -> ShownFront:
    """Three objectives, and a fourth quantity that has a limit."""
    given: dict[str, Any] = {
        "title": "a study",
        "axes": [
            Axis("accuracy (%)", "linear", True, []),
            Axis("latency (ms)", "linear", False, [(3.0, "latency<=3ms")]),
            Axis("energy (J)", "log", False, [(1e9, "energy<=1e9J")]),
            Axis("memory (MB)", "linear", False, [(10.0, "memory<=10MB")]),
        ],
        "values": np.array([[90.0, 3.0, 1.0, 8.0], [80.0, 2.0, 10.0, 4.0], [70.0, 1.0, 100.0, 6]]),
        "choices": {"The best": 0, "The fastest": 2, "The least": 2},
        "others": np.array([[60.0, 3.0, 100.0]]),
        "missed": np.array([[95.0, 9.0, 9.0], [95.0, 9.0, 8.0]]),
        "scored": np.full((4, 3), 50.0),
    }
    return ShownFront(**{**given, **more})


def legend(figure: Any) -> list[str]:
    (found,) = figure.legends
    return [text.get_text() for text in found.get_texts()]


def heights(figure: Any, label: str) -> list[float]:
    (found,) = [line for line in figure.axes[0].lines if line.get_label() == label]
    return np.asarray(found.get_ydata()).tolist()


def test_the_better_end_of_every_axis_is_on_top() -> None:
    figure = draw_parallel(front())
    # Latency 3 to 1, energy 1 to 100 by its logarithm, memory 10, the limit, to 4.
    assert heights(figure, "The best") == pytest.approx([1, 0, 1, 1 / 3])
    assert heights(figure, "The fastest; The least") == pytest.approx([0, 1, 0, 2 / 3])
    ticks = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert ticks == ["accuracy (%)", "latency (ms)", "energy (J)", "memory (MB)"]


def test_limits_stand_on_their_axes_or_are_told_to_lie_outside() -> None:
    figure = draw_parallel(front())
    assert legend(figure) == [
        *("front: 3 rows", "The best", "The fastest; The least", "limit"),
        "limit energy<=1e9J, outside the axes",
    ]
    texts = [text.get_text() for text in figure.axes[0].texts if text.get_color() == RED]
    assert texts == ["latency<=3ms", "memory<=10MB"]


def test_an_unknown_value_leaves_a_gap() -> None:
    values = front().values.copy()
    values[:, 3] = np.nan
    assert np.isnan(heights(draw_parallel(front(values=values)), "The best")[3])


def test_pairs_have_a_panel_for_each_two_objectives() -> None:
    figure = draw_pairs(front())
    names = [(panel.get_xlabel(), panel.get_ylabel()) for panel in figure.axes]
    assert names == [
        ("latency (ms)", "accuracy (%)"),
        ("energy (J)", "accuracy (%)"),
        ("energy (J)", "latency (ms)"),
    ]
    assert [panel.get_xscale() for panel in figure.axes] == ["linear", "log", "log"]
    # The quantity that only has a limit is no objective, so it has no panel.
    assert legend(figure) == [
        *("scored, not tried, drawn: 4", "other trials: 1", "violates a limit: 2", "front: 3"),
        *("The best", "The fastest; The least", "limit latency<=3ms"),
        "limit energy<=1e9J, outside the axes",
    ]


def test_more_than_four_objectives_have_the_panels_of_the_first_four() -> None:
    axes = [Axis(f"q{k}", "linear", False, []) for k in range(5)]
    rows = np.eye(5)
    more = {"others": np.empty((0, 5)), "missed": np.empty((0, 5)), "scored": np.empty((0, 5))}
    figure = draw_pairs(front(axes=axes, values=rows, choices={}, **more))
    assert len(figure.axes) == 6
    assert {panel.get_ylabel() for panel in figure.axes} == {"q0", "q1", "q2"}


@pytest.mark.parametrize("draw", [draw_parallel, draw_pairs])
def test_heading_and_legend_are_inside_the_picture(draw: Any) -> None:
    titles = [LONG, f"{LONG} too", f"{LONG} and {LONG} and {LONG} as well"]
    choices = {title: k for k, title in enumerate(titles)}
    figure = draw(front(choices=choices, title="many words of limits and devices " * 40))
    figure.canvas.draw()
    (found,) = figure.legends
    for text in (found, figure._suptitle):
        box = text.get_window_extent()
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    assert len(figure._suptitle.get_text().splitlines()) == MOST_LINES
    assert figure._suptitle.get_text().endswith(" …")
