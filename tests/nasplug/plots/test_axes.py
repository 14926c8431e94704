"""Labels of quantities, and scales of axes."""

import numpy as np
import pytest

from nasplug.plots.axes import axis_of, label_of, shown_factor


@pytest.mark.parametrize(
    ("name", "about", "label"),
    [
        ("latency", "", "latency (ms)"),
        ("latency_ms", "", "latency (ms)"),
        ("energy@Pixel 3", "", "energy on Pixel 3 (J)"),
        ("latency_ms@T4", "", "latency on T4 (ms)"),
        ("latency@T4", "on T4, batch 8", "latency on T4, batch 8 (ms)"),
        ("perplexity", "", "perplexity"),
        ("params", "", "parameters (M)"),
        ("my_score", "", "my score"),
    ],
)
def test_label_has_quantity_place_and_unit(name: str, about: str, label: str) -> None:
    assert label_of(name, about) == label


def test_counts_are_shown_in_millions() -> None:
    assert shown_factor("params") == 1e-6
    assert shown_factor("latency@T4") == shown_factor("my_score") == 1.0


@pytest.mark.parametrize(
    ("values", "is_accuracy", "scale"),
    [
        ([90.0, 94.0], True, "error"),
        ([0.90, 0.94], True, "linear"),
        ([1.0, 29.0, np.nan], False, "linear"),
        ([1.0, 30.0], False, "log"),
        ([0.0, 30.0], False, "linear"),
        ([-1.0, 30.0], False, "linear"),
        ([], False, "linear"),
    ],
)
def test_scale_shows_the_values_best(values: list[float], is_accuracy: bool, scale: str) -> None:
    assert axis_of("x", np.array(values), False, is_accuracy=is_accuracy).scale == scale
