"""Loops of more trips than a graph has nodes for."""

import pytest

from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers import network
from nasplug.search_spaces.importers.loops import Loop, trips_together
from nasplug.search_spaces.importers.onnx_graph import onnx_graph
from nasplug.search_spaces.importers.steps import Step
from tests.search_spaces.importers.test_onnx_unknown import parsed

LOOP = """
g (float[1, 8] x) => (float[1, 8] y, float[TRIPS, 1, 8] all)
<int64 trips = {TRIPS}, bool yes = {1}, float[8, 8] w = {WEIGHTS}> {
    y, all = Loop (trips, yes, x) <body = b (int64 i, bool go, float[1, 8] h)
        => (bool go_on, float[1, 8] h2, float[1, 8] row) {
        go_on = Identity (go)
        m = MatMul (h, w)
        h2 = Relu (m)
        row = Exp (h2)
    }>
}"""


def loop(trips):
    weights = ", ".join(["0.5"] * 64)
    return onnx_graph(parsed(LOOP.replace("TRIPS", str(trips)).replace("WEIGHTS", weights)))


def test_trips_of_equal_cost_are_put_together(monkeypatch):
    whole = loop(32)
    monkeypatch.setattr(network, "MAX_NODES", 60)
    fewer = loop(32)
    assert len(whole) > 60 >= len(fewer)
    for cost in ("flops", "params"):
        assert fewer.total(cost) == whole.total(cost)
    kept = [
        graph.attributes[[op == "Exp" for op in graph.ops], -1].sum() for graph in (whole, fewer)
    ]
    assert kept[0] == kept[1]
    # A few long trips are left, each after the one before.
    assert 1 < fewer.ops.count("Gemm") < 32


def test_a_loop_of_too_many_operators_is_named(monkeypatch):
    monkeypatch.setattr(network, "MAX_NODES", 3)
    words = "with the Loop that writes 'y' unrolled to 32 trips; at most 3 are read: read its parts"
    with pytest.raises(InputError, match=words):
        loop(32)


def test_trips_that_differ_stay_apart():
    steps = [Step("Input", (), (1, 4))]
    trips = []
    for width in (4, 4, 8, 8, 8):
        start = len(steps)
        steps.append(Step("Gemm", (start - 1,), (1, width), weights=(width, 4)))
        trips.append((start, len(steps)))
    together = trips_together(steps, [Loop("the Loop", trips)], 2)
    assert [step.shape for step in together] == [(1, 4), (2, 4), (1, 4), (2, 8), (1, 8), (1, 8)]
    assert together[3].inputs == (1,)
    assert together[5].inputs == (3,)
