"""Devices that are calibrated in memory, by networks of any space."""

from __future__ import annotations

import numpy as np

import nasplug
from nasplug.calibrating.study_device import FEWEST, device_of_study
from nasplug.predictors.latency.device_profile import Run

SPACE = nasplug.space("macro")
ARCHS = [SPACE.sample(np.random.default_rng(k)) for k in range(8)]
GRAPHS = SPACE.to_graphs(ARCHS)
DEVICE = nasplug.hardware("RTX 3090")


def latencies(factor: float) -> list[float]:
    return [factor * nasplug.predict(g, hardware=DEVICE, runtime="eager").mean for g in GRAPHS]


def test_a_device_that_is_slower_than_its_data_sheet() -> None:
    measured = latencies(2.0)
    result = device_of_study(DEVICE, GRAPHS[:6], measured[:6], [Run()] * 6, "mine")
    assert result is not None
    device, (by_study, by_sheet) = result
    assert device.name == "mine"
    assert by_study < by_sheet
    predicted = nasplug.predict(GRAPHS[7], hardware=device).mean
    assert 0.8 < predicted / measured[7] < 1.25


def test_an_earlier_calibration_counts_too() -> None:
    measured = latencies(2.0)
    first = device_of_study(DEVICE, GRAPHS[:4], measured[:4], [Run()] * 4, "mine")
    assert first is not None
    second = device_of_study(first[0], GRAPHS[4:], measured[4:], [Run()] * 4, "mine")
    assert second is not None
    assert len(second[0].measured.archs) == 8


def test_too_few_networks() -> None:
    few = FEWEST - 1
    assert device_of_study(DEVICE, GRAPHS[:few], [1.0] * few, [Run()] * few, "mine") is None
    assert device_of_study(DEVICE, GRAPHS, [1e-9] * 8, [Run()] * 8, "mine") is None
