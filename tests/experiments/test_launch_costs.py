"""Latency as a stretched roofline and the launches of operators."""

import numpy as np
import pytest

from experiments.latency.launch_costs import COMMON, LaunchCosts, fit_factors, launch_rows
from nasplug import datasets, hardware
from nasplug.predictors.features.operators import operator_kinds
from nasplug.predictors.features.roofline import peak_rates, roofline_parts
from nasplug.predictors.features.settings import Setting
from nasplug.search_spaces import space
from nasplug.search_spaces.costs import FLOAT_BYTES

DEVICE = Setting(hardware("Titan RTX"), 64)
RATES = np.array([*peak_rates(DEVICE.hardware), 64, FLOAT_BYTES])
FACTORS = np.array([2.0, 1.5, 0.01, 0.4])


def drawn(name, count, seed=0):
    rng, where = np.random.default_rng(seed), space(name)
    return [where.to_graph(where.sample(rng)) for _ in range(count)]


@pytest.fixture(scope="module")
def networks():
    return [graph for name in ("nnlqp:vgg", "nnlqp:mobilenetv2") for graph in drawn(name, 40)]


def test_a_row_holds_the_roofline_and_the_operators(networks):
    graph = networks[0]
    (row,) = launch_rows([graph], RATES, ["Conv", "Relu", "no such kind"])
    compute, memory = roofline_parts(graph, DEVICE.hardware, 64)
    bound = compute >= memory
    kinds = operator_kinds(graph)
    expected = [
        *(compute[bound].sum(), memory[~bound].sum(), len(graph), 1),
        *(kinds.count("Conv"), kinds.count("Relu"), 0),
    ]
    np.testing.assert_allclose(row, expected)
    halves = launch_rows([graph, graph], np.stack([RATES, RATES * [1, 1, 1, 0.5]]), [])
    np.testing.assert_allclose(halves[1, 0], halves[0, 0], rtol=0.01)
    assert halves[1, 1] < 0.6 * halves[0, 1]


def test_factors_of_known_sums_are_found_again(networks):
    kinds = sorted({kind for graph in networks for kind in operator_kinds(graph)})
    rows = launch_rows(networks, RATES, kinds)
    ms = rows[:, :COMMON] @ FACTORS
    found = fit_factors(rows, ms, ["a"] * 40 + ["b"] * 40)
    assert (found >= 0).all()
    np.testing.assert_allclose(rows @ found, ms, rtol=0.01)


def test_columns_have_factors_of_their_own_and_few_networks_none(networks):
    rows = launch_rows(networks, RATES, ["Conv"])
    ms = rows[:, :COMMON] @ FACTORS
    few = np.where(np.arange(80) < 30, ms, np.nan)
    costs = LaunchCosts.of(
        networks, np.stack([ms, few, 3 * ms], axis=1), ["a"] * 40 + ["b"] * 40,
        ["one", "few", "slow"], np.stack([RATES] * 3), ["Conv"],
    )  # fmt: skip
    assert costs.keys == ["one", "slow"]
    np.testing.assert_allclose(costs(networks, "one", RATES), ms, rtol=0.01)
    np.testing.assert_allclose(costs(networks, "slow", RATES), 3 * ms, rtol=0.01)
    again = LaunchCosts.restored(costs.tensors(), costs.keys, costs.kinds)
    np.testing.assert_allclose(
        again(networks, "slow", RATES), costs(networks, "slow", RATES), rtol=1e-5
    )


def test_networks_of_another_kind_are_met_better_than_by_the_roofline(mirror):
    table = datasets.load("fbnet-latency").iloc[:200]
    fbnet, ofa = space("fbnet"), space("ofa")
    other = datasets.load("ofa-latency").iloc[:100]
    graphs = [fbnet.to_graph(fbnet.parse(text)) for text in table["arch"]]
    foreign = [ofa.to_graph(ofa.parse(text)) for text in other["arch"]]
    device = Setting(hardware("RTX 2080 Ti"), 64)
    rates = np.array([*peak_rates(device.hardware), 64, FLOAT_BYTES])
    kinds = sorted({kind for graph in graphs for kind in operator_kinds(graph)})
    learned = table[device.key].to_numpy(float)
    costs = LaunchCosts.of(
        graphs, learned[:, None], ["fbnet"] * 200, [device.key], rates[None], kinds
    )
    truth = other[device.key].to_numpy(float)
    error = np.abs(costs(foreign, device.key, rates) / truth - 1).mean()
    sums = [np.array([np.maximum(*roofline_parts(g, device.hardware, 64)).sum() for g in part])
            for part in (graphs, foreign)]  # fmt: skip
    scaled = np.median(learned / sums[0]) * sums[1]
    assert error < 0.12
    assert error < 0.5 * np.abs(scaled / truth - 1).mean()
