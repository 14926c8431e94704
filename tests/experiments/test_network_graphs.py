"""The script that builds the graphs of networks: what fails, and costs that sources state."""

import math
import time

import numpy as np
import pytest

from experiments.measurements import network_costs, network_graphs
from experiments.measurements.network_costs import Stated, compared
from nasplug.datasets.network_graphs import KnownNetwork, read_network_graphs
from nasplug.search_spaces import ATTRIBUTES, Graph

ROWS = np.zeros((2, len(ATTRIBUTES)))
ROWS[1, ATTRIBUTES.index("flops")] = 1000.0
GRAPH = Graph(("Input", "Output"), ((0, 1),), ROWS)


def network(reference, parameters=100):
    return KnownNetwork(reference, "family", parameters, GRAPH)


def test_what_fails_and_what_takes_too_long_is_noted(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NASPLUG_CACHE", str(tmp_path))
    end = time.process_time() + 60

    def read(reference, device, tables):
        while reference == "timm:slow@8" and time.process_time() < end:
            pass
        if reference == "timm:bad@8" or device == "meta":
            raise ValueError("no such thing")
        return network(reference)

    monkeypatch.setattr(network_graphs, "read", read)
    references = ["timm:slow@8", "timm:bad@8", "timm:good@8"]
    network_graphs.build_all(references, seconds=0.2)
    notes = [network_graphs.paths(reference)[1] for reference in references]
    assert notes[0].read_text() == "takes more than 0.2 s of processor time"
    assert notes[1].read_text() == "ValueError: no such thing"
    assert not notes[2].exists()
    good = read_network_graphs(network_graphs.paths(references[2])[0])
    assert good.known("timm:good@8").parameters == 100
    assert "3/3 timm:good@8" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("macs", "parameters", "agrees"),
    [
        (1000, 100, True),
        (1015, 100, True),
        (1050, 100, False),
        (1000, 104, False),
        (math.nan, 100, True),
    ],
)
def test_costs_that_a_source_states(macs, parameters, agrees):
    comparison = compared(network("timm:x@8"), [Stated(macs, parameters, 0, 0)])
    assert comparison["agrees"] is agrees
    assert comparison["explained"] == ""


def test_rounding_of_the_stated_costs_is_no_difference():
    assert compared(network("timm:x@8"), [Stated(1050, 104, 50, 4)])["agrees"]


def test_the_nearest_of_several_statements_counts():
    stated = [Stated(9, 9, 0, 0), Stated(1000, 100, 0, 0)]
    assert compared(network("timm:x@8"), stated)["agrees"]
    assert compared(network("timm:x@8"), []) == {}


def test_a_known_reason_keeps_a_network():
    differs = [Stated(1100, 100, 0, 0)]
    known = compared(network("timm:mnasnet_b1@8"), differs)
    assert not known["agrees"]
    assert known["explained"] == network_costs._NORMS
    # It explains multiply-accumulates alone.
    assert compared(network("timm:mnasnet_b1@8"), [Stated(1000, 200, 0, 0)])["explained"] == ""
