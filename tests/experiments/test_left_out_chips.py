"""Floors of the latency on chips that were left out, and the choice that their own errors spare."""

import numpy as np
import pytest

from experiments.latency.gpu_data import Measurement
from experiments.latency.left_out_chips import STRENGTHS, chosen, scaled_roofline, sibling
from nasplug import hardware, space
from nasplug.predictors.features.settings import Setting

SPACE = space("nnlqp:resnet")
GRAPH = SPACE.to_graph(SPACE.sample(np.random.default_rng(0)))


def measured(name, ms, batch=8, graph=GRAPH):
    return Measurement(graph, Setting(hardware(name), batch), ms, "we", "we", "we")


def test_a_sibling_gives_its_time_by_the_ratio_of_the_data_sheets():
    peaks = {name: hardware(name).peak_tflops["fp32"] for name in ("P100", "T4", "RTX 2080 Ti")}
    p100, t4 = (measured(name, 100 / peaks[name]) for name in ("P100", "T4"))
    judged = measured("RTX 2080 Ti", 1.0, batch=16)
    # The peaks explain both measurements, so that they explain the third.
    assert np.exp(sibling([p100, t4], [judged]))[0] == pytest.approx(200 / peaks["RTX 2080 Ti"])


def test_a_network_that_no_other_chip_ran_has_no_sibling():
    other = SPACE.to_graph(SPACE.sample(np.random.default_rng(1)))
    rows = [measured("P100", 5.0), measured("T4", 9.0)]
    assert np.isnan(sibling(rows, [measured("V100", 1.0, graph=other)])).all()


def test_a_factor_scales_the_roofline_of_a_setting():
    one = measured("T4", 1.0)
    slow = np.exp(scaled_roofline([one._replace(ms=3.0)], [one]))
    assert slow[0] == pytest.approx(3 * np.exp(scaled_roofline([one], [one]))[0])


def test_the_errors_of_a_chip_do_not_choose_for_it():
    names = [f"model {strength:g}" for strength in STRENGTHS]

    def row(chip, best):
        errors = {name: {"mape_percent": 10.0 + 40 * (name != best)} for name in names}
        floors = {name: {"mape_percent": 30.0} for name in ("ridge", "roofline", "sibling")}
        return {"chip": chip, **errors, **floors}

    rows = [row("a", names[0]), row("b", names[1]), row("c", names[1])]
    summary = chosen(rows)
    assert rows[0]["chosen"] == names[1]
    assert rows[0]["model"]["mape_percent"] == 50
    assert summary["ridge"] == {
        "groups": 3,
        "median_mape_percent": 30.0,
        "mean_mape_percent": 30.0,
    }
