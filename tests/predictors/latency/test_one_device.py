"""The process over operators, on measured networks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from nasplug import InputError, datasets, hardware
from nasplug.predictors import NotFittedError, Predictor, create
from nasplug.predictors.checkpoint import load_checkpoint
from nasplug.predictors.features.operators import OperatorFeatures, operator_kinds
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.one_device import LatencyGP
from nasplug.predictors.registry import restore
from nasplug.search_spaces import Graph, space

DEVICE = Setting(hardware("Titan RTX"), 64)
ROWS = np.random.default_rng(4).permutation(5000)[:360]
LEARN, REST = slice(0, 160), slice(160, 360)


@pytest.fixture(scope="module")
def networks(mirror):
    table = datasets.load("fbnet-latency").iloc[ROWS]
    fbnet = space("fbnet")
    graphs = [fbnet.to_graph(fbnet.parse(text)) for text in table["arch"]]
    return graphs, table[DEVICE.key].to_numpy()


@pytest.fixture(scope="module")
def fitted(networks):
    graphs, latencies = networks
    predictor = LatencyGP()
    predictor.fit(graphs[LEARN], latencies[LEARN], [DEVICE])
    return predictor


def test_it_predicts_networks_that_it_has_not_seen(fitted, networks):
    graphs, latencies = networks
    assert isinstance(fitted, Predictor)
    said, truth = fitted.predict(graphs[REST], DEVICE.hardware, 64), latencies[REST]
    error = np.abs(said.mean[:, 0] - truth) / truth
    assert error.mean() < 0.012
    assert spearmanr(said.mean[:, 0], truth)[0] > 0.975
    inside = (truth >= said.lower[:, 0]) & (truth <= said.upper[:, 0])
    assert 0.82 < inside.mean() < 0.97
    assert said.units == ("ms",)


def test_degenerate_and_unknown_latencies_are_left_out(fitted, networks):
    graphs, latencies = networks
    spoiled = np.concatenate([latencies[LEARN], [np.nan, 0.003]])
    predictor = LatencyGP()
    predictor.fit([*graphs[LEARN], *graphs[REST][:2]], spoiled, [DEVICE])
    error = np.abs(predictor.predict(graphs[REST]).mean[:, 0] / latencies[REST] - 1)
    assert error.mean() < 0.012


def test_a_stored_process_says_the_same(fitted, networks, tmp_path):
    graphs, _ = networks
    fitted.save(tmp_path / "mine")
    again = restore(load_checkpoint(tmp_path / "mine"))
    assert isinstance(again, LatencyGP)
    first, second = (p.predict(graphs[REST]) for p in (fitted, again))
    np.testing.assert_allclose(second.mean, first.mean, rtol=1e-9)
    np.testing.assert_allclose(second.upper, first.upper, rtol=1e-9)


def test_bad_input_is_named(fitted, networks):
    graphs, latencies = networks
    with pytest.raises(NotFittedError):
        LatencyGP().predict(graphs[:1])
    with pytest.raises(InputError, match="2 devices"):
        LatencyGP().fit(graphs[:20], latencies[:20], [DEVICE, DEVICE])
    with pytest.raises(InputError, match="latencies have shape"):
        LatencyGP().fit(graphs[:20], latencies[:19], [DEVICE])
    with pytest.raises(InputError, match="3 measured graphs"):
        LatencyGP().fit(graphs[:3], latencies[:3], [DEVICE])
    with pytest.raises(InputError, match="Titan RTX@1 was not learned"):
        fitted.predict(graphs[:1], DEVICE.hardware, 1)
    with pytest.raises(InputError, match="not .* of accuracy"):
        create("latency-gp", kind="accuracy")
    with pytest.raises(InputError, match="unknown option 'rows'"):
        create("latency-gp", rows=3)


def test_cells_are_told_apart_by_place(nb201_cache):
    nb201 = space("nb201")
    rows = np.random.default_rng(2).permutation(15_625)[:300]
    graphs = nb201.to_graphs([nb201[int(k)] for k in rows])
    features = OperatorFeatures.of(graphs)
    assert "places" in features(graphs)
    truth = datasets.load("nb201-latency")["GTX 1080 Ti@256"].to_numpy()[rows]
    predictor = create("latency-gp")
    predictor.fit(graphs[:200], truth[:200], [Setting(hardware("GTX 1080 Ti"), 256)])
    error = np.abs(predictor.predict(graphs[200:]).mean[:, 0] / truth[200:] - 1)
    assert error.mean() < 0.03


@settings(max_examples=25)
@given(st.integers(0, 199), st.integers(0, 2**16))
def test_the_order_of_nodes_makes_no_difference(fitted, networks, index, seed):
    graph = networks[0][REST][index]
    other = graph.relabel(_topological_order(graph, np.random.default_rng(seed)))
    first, second = fitted.predict([graph]), fitted.predict([other])
    np.testing.assert_allclose(second.mean, first.mean, rtol=1e-9)


def test_kinds_of_convolutions():
    net = space("nnlqp:mobilenetv2")
    kinds = operator_kinds(net.to_graph(net.standard))
    assert {"Conv", "Conv depthwise", "Conv pointwise", "Gemm", "Clip"} < set(kinds)
    assert kinds.count("Conv depthwise") == 17


def _topological_order(graph: Graph, rng: np.random.Generator) -> list[int]:
    waiting = [0] * len(graph)
    for _, b in graph.edges:
        waiting[b] += 1
    ready, order = [k for k, count in enumerate(waiting) if not count], []
    while ready:
        node = ready.pop(int(rng.integers(len(ready))))
        order.append(node)
        for a, b in graph.edges:
            if a == node:
                waiting[b] -= 1
                if not waiting[b]:
                    ready.append(b)
    return order
