"""Evidence of a predicted network, and the rows of its operators."""

import pytest

import nasplug
from nasplug.datasets.network_graphs import shipped_network_graphs


def test_a_prediction_says_from_how_many_networks_its_device_was_learned():
    graph = shipped_network_graphs().graph("timm:resnet50@224")
    said = nasplug.predict(graph, hardware="Pixel 4")
    told = said.to_json()
    assert (said.evidence, told["evidence"]) == ("measured", "measured")
    assert told["learned"] == said.learned > 100
    predictor = nasplug.load_predictor("network-latency")
    again = predictor.predict([graph], "Pixel 4")
    assert (again.evidence, again.learned, again.zero_shot) == ("measured", said.learned, False)


def test_operators_and_the_rest_are_the_whole():
    graph = shipped_network_graphs().graph("timm:resnet18@224")
    said = nasplug.predict(graph, hardware="T4")
    parts = sum(operator.latency_ms for operator in said.operators) + said.rest_ms
    assert parts == pytest.approx(said.mean)
    rows = said.operator_rows(3)
    others = len(graph) - sum(int(row["times"]) for row in rows[:3])
    assert [row["operator"] for row in rows[3:]] == [f"{others} others", "outside operators"]
