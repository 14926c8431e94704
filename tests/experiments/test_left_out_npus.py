"""Figures of chips that were left out."""

import numpy as np
import pytest

from experiments.latency.left_out_npus import METHODS, errors, intervals, quantiles, summary


def row(chip, bias, residuals):
    figures = errors(np.arange(5.0) + bias, np.arange(5.0))
    return {
        "chip": chip,
        "unit": "npu",
        "family": "Hexagon",
        "precision": "int8",
        **dict.fromkeys(METHODS, figures),
        "residuals": {"model": residuals, "new networks": residuals},
    }


def test_one_factor_leaves_the_error_of_the_shape():
    figures = errors(np.array([0.0, 1.0, 2.0, 3.5]) + 0.3, np.array([0.0, 1.0, 2.0, 3.5]))
    assert figures["bias"] == pytest.approx(0.3)
    assert figures["mape_percent"] == pytest.approx(100 * np.expm1(0.3))
    assert figures["one_factor"] == pytest.approx(0, abs=1e-9)
    assert figures["spearman"] == pytest.approx(1)
    assert errors(np.full(4, np.nan), np.arange(4.0))["bias"] is None


def test_a_class_has_the_median_of_its_chips():
    rows = [row(chip, bias, [0.0]) for chip, bias in (("a", 0.1), ("b", -0.2), ("c", 0.4))]
    all_precisions, int8 = summary(rows)
    assert (int8["precision"], all_precisions["chips"]) == ("int8", 3)
    assert int8["model"]["bias"] == pytest.approx(0.2)


def test_quantiles_count_each_chip_alike():
    many, few = [0.0] * 1000, [1.0] * 10
    assert quantiles([many, few]) == (0.0, 1.0)


def test_intervals_of_a_chip_come_from_others():
    rng = np.random.default_rng(0)
    rows = [row(str(k), 0.0, rng.normal(0, 0.2, 200).tolist()) for k in range(8)]
    known, new = intervals(rows)
    assert (known["networks"], new["networks"]) == ("known", "new")
    assert 85 < known["covered_percent"] < 95
    assert known["median_width"] == pytest.approx(np.exp(2 * 1.645 * 0.2), rel=0.1)
