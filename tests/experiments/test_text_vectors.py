"""Descriptions of devices are compared on chips that were left out."""

import numpy as np
import pytest

from experiments.latency import text_vectors
from experiments.latency.text_vectors import Rows, folds, gaussian, left_out, linear, sentence
from nasplug import hardware
from nasplug.predictors.features.settings import Setting

NAMES = ("Jetson Nano", "RTX 3090", "T4", "V100", "A30", "RTX 4070", "RTX 2080 Ti", "P100")


@pytest.fixture
def rows(monkeypatch):
    """Latencies that follow from peak and bandwidth alone."""
    settings = [Setting(hardware(name)) for name in NAMES for _ in range(3)]
    peaks = [setting.hardware.peak_tflops["fp32"] for setting in settings]
    target = -np.log(peaks)
    chips = np.array([setting.hardware.name for setting in settings])
    made = Rows(target, chips, np.zeros((len(target), 0)), settings)
    monkeypatch.setattr(text_vectors, "latency_rows", lambda name: made)
    return made


def test_figures_tell_what_depends_on_them(rows):
    nothing, figures = (
        left_out("latency", "gpu", variant, 0)["mean_log_error"]
        for variant in ("nothing", "figures")
    )
    assert figures < nothing / 2


def test_a_chip_is_left_out_with_all_its_rows(rows):
    masks = np.array(list(folds(rows.chips, 4, 0)))
    assert (masks.sum(0) == 1).all()
    for chip in NAMES:
        assert (masks[:, rows.chips == chip].sum(1) % 3 == 0).all()


@pytest.mark.parametrize("method", [linear, gaussian])
def test_weak_strengths_follow_and_strong_ones_give_the_mean(method):
    x = np.linspace(-1, 1, 9)[:, None]
    weak, *_, strong = method(x, 2 * x[:, 0] + 1, np.ones(9), x)
    np.testing.assert_allclose(weak, 2 * x[:, 0] + 1, atol=0.1)
    assert np.ptp(strong) < np.ptp(weak) / 3


def test_sentences_name_the_device_and_the_processor():
    text = sentence(Setting(hardware("Galaxy S24"), 1, "qnn", "int8", "npu"))
    assert all(word in text for word in ("Galaxy S24", "Hexagon V75", "TFLOPS int8"))
