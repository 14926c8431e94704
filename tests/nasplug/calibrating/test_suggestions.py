"""Networks that are worth measuring before a calibration."""

from __future__ import annotations

import numpy as np
import pytest
from roofline_predictor import Roofline

from nasplug import hardware
from nasplug.calibrating.suggestions import RUNS, SECONDS, next_step, suggest_measurements
from nasplug.predicting.zoo import ArchitecturePredictor
from nasplug.predictors.features.settings import Setting
from nasplug.search_spaces import space

FBNET, NNLQP = space("fbnet"), space("nnlqp")


def union() -> ArchitecturePredictor:
    return ArchitecturePredictor("roofline", NNLQP, Roofline())


@pytest.fixture
def predictor() -> ArchitecturePredictor:
    return ArchitecturePredictor("roofline", FBNET, Roofline())


def test_networks_are_suggested_that_can_be_measured(predictor: ArchitecturePredictor) -> None:
    chosen = suggest_measurements("fbnet", 5, predictor=predictor)
    assert len({FBNET.parse(arch.text).text for arch in chosen}) == 5
    assert chosen == suggest_measurements(FBNET, 5, predictor=predictor)
    # All can be timed in five minutes, on a slow device, too.
    slow = suggest_measurements("nnlqp", 5, hardware="Raspberry Pi 3", predictor=union())
    setting = Setting(hardware("Raspberry Pi 3"), 1)
    ms = np.exp(Roofline().log_latency(NNLQP.to_graphs(slow), [setting])[:, 0])
    assert ms.sum() * RUNS < 1000 * SECONDS
    assert len({NNLQP.family_of(arch) for arch in slow}) > 2
    assert next_step(FBNET, "todo.txt", "fbnet").endswith(
        "nasplug measure --space fbnet --archs todo.txt --out measured.csv"
    )
    words = "net.py:build --example 1x3x8x8"
    assert f"--space {words} --archs todo.txt" in next_step(NNLQP, "todo.txt", words)
