"""Usual networks on popular devices: what leaves together, and how cells are summed up."""

import numpy as np
import pytest

from experiments.latency.popular_networks import DEVICES, NETWORKS, setting, summary, without
from nasplug.measurements.graphs import has_graph
from nasplug.predictors.features.runtimes import exists
from nasplug.predictors.statistics.calibration import LEVELS


def test_twenty_devices_and_seven_networks_exist():
    assert (len(DEVICES), len(NETWORKS)) == (20, 7)
    for device, (ways, size) in DEVICES.items():
        for way in ways:
            assert exists(setting(device, way, size).hardware, way), (device, way)
    assert all(has_graph(references[0]) for references in NETWORKS.values())


def cell(ratio, low=0.5, high=2.0):
    return {
        "predicted_ms": 1.0,
        "low_ms": low,
        "high_ms": high,
        "measured": [{"ms": 1 / ratio}],
        "ratio": ratio,
    }


def test_cells_are_summed_up():
    unmeasured = {"predicted_ms": 1.0, "measured": []}
    result = summary([cell(1.0), cell(1.2), cell(0.4), cell(2.5), unmeasured])
    assert (result["cells"], result["beyond_2"]) == (4, 2)
    assert (result["within_10_percent"], result["within_30_percent"]) == (25, 50)
    assert result["covered_percent"] == 50
    assert result["median_upper_over_lower"] == pytest.approx(4)


def test_intervals_are_those_of_other_chips():
    residuals = {"zero-shot gpu all": {"a": [5.0], "b": [-0.1, 0.1], "c": [-0.1, 0.1]}}
    quantiles = without(residuals, "a")["zero-shot gpu all"]
    assert np.abs(quantiles).max() < 1
    assert np.interp(0.5, LEVELS, quantiles) == pytest.approx(0)
