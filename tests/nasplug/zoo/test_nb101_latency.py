"""Predictors of whole networks read the networks of NAS-Bench-101's cells."""

from __future__ import annotations

import numpy as np
import pytest
from counting_predictors import SumLatency, sum_latency

from nasplug import hardware, load_predictor
from nasplug.predicting.few_shot import drawn, expands
from nasplug.predicting.zoo import ArchitecturePredictor, predictors_for
from nasplug.search_spaces import InputError, space
from nasplug.searching.search import search

NB = space("nb101")
CELL = "0110001100010000:input,conv1x1-bn-relu,conv3x3-bn-relu,output"


@pytest.fixture
def predictor() -> ArchitecturePredictor:
    return sum_latency(space("fbnet")).for_space(NB)


def test_cells_are_expanded(predictor: ArchitecturePredictor) -> None:
    arch = NB.parse(CELL)
    network = NB.to_network(arch)
    for graph in predictor.graphs([arch, CELL, network]):
        assert graph.ops == network.ops
        assert np.array_equal(graph.attributes, network.attributes)
    device = hardware("RTX 3090")
    said = predictor.predict([arch, network], device).mean[:, 0]
    assert said[0] == said[1] == pytest.approx(0.005 * len(network) + 2e-8 * network.total("bytes"))


def test_the_graph_of_a_cell_is_refused(predictor: ArchitecturePredictor) -> None:
    with pytest.raises(
        InputError, match="'sum-latency' reads whole networks, but a graph of nb101 is a cell"
    ):
        predictor.predict([NB.to_graph(NB.parse(CELL))], hardware("RTX 3090"))


def test_the_package_has_a_latency_for_cells() -> None:
    found = predictors_for(NB, True, ())
    assert list(found) == ["accuracy", "latency"]
    assert (found["latency"].name, found["latency"].space) == ("network-latency", NB)
    with pytest.raises(InputError, match="'network-latency' is for space"):
        load_predictor("network-latency").for_space(space("nb201"))


def test_what_a_calibration_draws_is_networks(predictor: ArchitecturePredictor) -> None:
    assert expands(predictor, NB)
    graphs = drawn(predictor, NB)
    assert all(graph.ops[0] == "Input" for graph in graphs)
    # Whole networks are what they are, and predictors of cells read cells.
    assert not expands(predictor, space("fbnet"))
    cells = SumLatency()
    cells.whole_networks = False  # type: ignore[misc]
    assert not expands(ArchitecturePredictor("cells", NB, cells), NB)


@pytest.mark.slow
def test_a_search_scores_the_networks_of_cells(predictor: ArchitecturePredictor) -> None:
    given = {"n_trials": 3, "storage": "memory"}
    result = search(NB, "RTX 3090", predictors=[predictor], **given)  # type: ignore[arg-type]
    for row in result.pareto:
        network = NB.to_network(NB.parse(row["arch"]))
        expected = 0.005 * len(network) + 2e-8 * network.total("bytes")
        assert row["predicted"]["latency_ms"]["mean"] == pytest.approx(expected, rel=1e-4)
