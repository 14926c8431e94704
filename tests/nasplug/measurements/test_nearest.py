"""The published measurements that are nearest to a network in a setting."""

import numpy as np
import pytest

from nasplug import hardware
from nasplug.datasets.measurements import network_measurements
from nasplug.datasets.network_graphs import shipped_network_graphs
from nasplug.measurements.nearest import nearest_measurements, rows_of_networks
from nasplug.predictors.features.settings import Setting
from nasplug.search_spaces import Graph

NET = "torchvision:mobilenet_v2@224"


def test_the_file_has_rows_of_known_networks_and_devices_alone():
    table = network_measurements()
    assert len(table) > 10_000
    assert rows_of_networks(table, shipped_network_graphs().references).all()


def test_this_very_measurement_comes_first():
    graph = shipped_network_graphs().graph(NET)
    asked = Setting(hardware("RTX 3090"), 12, "eager", "fp16")
    first, *others = nearest_measurements(graph, asked)
    assert (first.same_network, first.same_setting) == (True, True)
    assert first.setting.key == asked.key
    assert first.sentence.startswith("measured: mobilenet_v2 fp16 eager batch 12: 7.06 ms on RTX")
    assert first.to_json()["licence"]
    assert len(others) == 2
    assert not any(near.same_setting and near.same_network for near in others)


@pytest.mark.parametrize("name", ["H100", "EPYC 7763", "Jetson AGX Orin"])
def test_the_same_network_is_found_for_devices_that_were_never_measured(name):
    graph = shipped_network_graphs().graph(NET)
    near = nearest_measurements(graph, Setting(hardware(name), 1, "eager", "fp32"))
    assert near[0].same_network
    kinds = {measured.setting.processor.kind == "gpu" for measured in near}
    assert len(kinds) == 1


def test_totals_are_those_of_the_graphs():
    graphs = shipped_network_graphs()
    totals = graphs.totals({"flops": lambda table: table["flops"]})["flops"]
    for reference in (NET, graphs.references[0], graphs.references[-1]):
        place = graphs.references.index(reference)
        assert np.isclose(totals[place], graphs.graph(reference).total("flops"))


def test_a_single_operator_is_near_to_no_network():
    rows = np.zeros((3, 10))
    rows[1] = [3, 1, 1, 8, 8, 4, 4, 9216, 584, 3360]
    graph = Graph(("Input", "Conv", "Output"), ((0, 1), (1, 2)), rows)
    assert nearest_measurements(graph, Setting(hardware("T4"), 1, "eager", "fp32")) == []


def test_near_are_batches_of_like_work_and_one_measurement_of_a_network_on_a_device():
    """A batch of 64 is 64 times the work of one image."""
    graphs = shipped_network_graphs()
    graph = graphs.graph(NET)
    for batch in (1, 64):
        near = nearest_measurements(graph, Setting(hardware("T4"), batch, "eager", "fp32"), 8)
        assert near
        assert len({(other.network, other.setting.hardware.name) for other in near}) == len(near)
        for other in near:
            work = graphs.graph(other.reference).total("flops") * other.setting.batch_size
            assert 1 / 3 <= work / (graph.total("flops") * batch) <= 3
