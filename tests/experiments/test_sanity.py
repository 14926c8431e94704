"""Predicted latencies are consistent with each other, on a few devices and networks."""

import numpy as np
import pytest

from experiments.latency.sanity import (
    Counts,
    Networks,
    check,
    check_measured,
    devices,
    larger,
    networks,
    stronger,
    wider,
)
from nasplug import hardware, load_predictor
from nasplug.search_spaces import Graph
from nasplug.search_spaces.graph import ATTRIBUTES

NAMES = ("RTX 4070", "T4", "EPYC 7763")


@pytest.fixture(scope="module")
def graphs():
    return networks(3)


def test_latencies_of_few_networks_are_consistent(graphs):
    model = load_predictor("network-latency").model
    counts = {"measured": check_measured(model, graphs)}
    for name in NAMES:
        for key, count in check(model, hardware(name), Networks(graphs)).items():
            counts.setdefault(key, Counts()).add(count)
    for key, count in counts.items():
        row = count.row()
        assert row["checked"], key
        if key != "precision":
            assert row["beyond_5_percent"] == 0, (key, row)
            assert row["wrong_percent"] < 5, (key, row)


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


def test_wider_networks_are_aligned_as_before():
    graph = Graph(
        ("Input", "Conv", "Conv", "Conv"),
        ((0, 1), (1, 2), (2, 3)),
        np.array([[0.0] * len(ATTRIBUTES)] * 4),
    )
    table = graph.attributes
    for name, values in {
        "in_channels": (3, 3, 24, 48),
        "out_channels": (3, 24, 24, 48),
        "groups": (1, 1, 24, 3),
    }.items():
        table[:, ATTRIBUTES.index(name)] = values
    wide = wider(graph, 1.25)
    assert wide.attribute("out_channels").tolist() == [3, 32, 32, 64]
    assert wide.attribute("groups").tolist() == [1, 1, 32, 4]
    assert wide.attribute("in_channels").tolist() == [3, 3, 32, 64]


def test_falls_are_counted():
    counts = Counts()
    counts.rises(np.array([[0.0, 1.0, 0.9], [0.0, 0.0, -0.0005]]), "here")
    counts.add(Counts(counts.stored() | {"checked": 0, "wrong": 0, "large": 0}))
    row = counts.row()
    assert (row["checked"], row["beyond_5_percent"], row["worst_where"]) == (4, 1, "here")
    assert row["wrong_percent"] == 25
