"""Predicted latencies are consistent with each other, on a few devices and networks."""

import numpy as np
import pytest

from experiments.latency.sanity import Counts, check, devices, larger, networks, stronger, wider
from nasplug import hardware, load_predictor

NAMES = ("RTX 4070", "T4", "EPYC 7763")


@pytest.fixture(scope="module")
def graphs():
    return networks(3)


def test_latencies_of_few_networks_are_consistent(graphs):
    model = load_predictor("network-latency").model
    rows = check(model, [hardware(name) for name in NAMES], graphs, lambda name: None)
    for name, row in rows.items():
        assert row["checked"], name
        if name != "precision":
            assert row["beyond_5_percent"] == 0, (name, row)
            assert row["wrong_percent"] < 5, (name, row)


def test_devices_are_of_all_kinds():
    chosen = devices(12)
    assert len({device.name for device in chosen}) == 12
    assert len({device.kind for device in chosen}) >= 5


def test_changed_networks_and_devices_have_more(graphs):
    for graph in graphs:
        wide, large = wider(graph, 2.0), larger(graph, 2.0)
        assert 1.5 < wide.total("flops") / graph.total("flops") <= 4.01
        assert 1 <= large.total("flops") / graph.total("flops") <= 4.01
        assert large.total("params") == graph.total("params")
    device = hardware("Galaxy S24")
    more = stronger(device)
    assert more.peak_tflops["fp32"] > device.peak_tflops["fp32"]
    assert more.processors[0].clock_ghz > device.processors[0].clock_ghz


def test_falls_are_counted():
    counts = Counts()
    counts.rises(np.array([[0.0, 1.0, 0.9], [0.0, 0.0, -0.0005]]), "here")
    row = counts.row()
    assert (row["checked"], row["beyond_5_percent"], row["worst_where"]) == (4, 1, "here")
    assert row["wrong_percent"] == 25
