from __future__ import annotations

import numpy as np
import pytest

from nasplug.predictors.features.operator_prices import ALL_WINDOWS, COSTS, SHARED, OperatorPrices
from nasplug.predictors.features.operators import operator_kinds
from nasplug.search_spaces import Graph, space

FBNET = space("fbnet")
SOME = [FBNET.to_graph(FBNET.sample(np.random.default_rng(k))) for k in range(12)]


def covariance(a: Graph, b: Graph, cost: str) -> float:
    """Of two networks' latencies if prices are as the module says, operator by operator."""
    total = 0.0
    windows = (a.attribute("kernel"), b.attribute("kernel"))
    for j, one in enumerate(operator_kinds(a)):
        for k, other in enumerate(operator_kinds(b)):
            alike = (SHARED + (1 - SHARED) * (one == other)) * (
                ALL_WINDOWS + (1 - ALL_WINDOWS) * (windows[0][j] == windows[1][k])
            )
            total += alike * a.attribute(cost)[j] * b.attribute(cost)[k]
    return total


def test_products_of_rows_are_covariances_of_price_lists() -> None:
    rows = OperatorPrices.of(SOME)(SOME)
    found = rows @ rows.T
    wanted = np.zeros_like(found)
    for cost in COSTS:
        raw = np.array([[covariance(a, b, cost) for b in SOME] for a in SOME])
        centered = raw - raw.mean(0) - raw.mean(1)[:, None] + raw.mean()
        wanted += centered / np.diag(centered).mean() / len(COSTS)
    assert found == pytest.approx(wanted, abs=1e-9)
    assert np.diag(found).mean() == pytest.approx(1.0)


def test_other_graphs_are_measured_by_the_known_ones() -> None:
    prices = OperatorPrices.of(SOME[:8])
    assert prices(SOME)[8:] == pytest.approx(prices(SOME[8:]))
    assert prices(SOME[:8]).mean(axis=0) == pytest.approx(0.0, abs=1e-12)


def test_a_cost_that_is_the_same_for_all_says_nothing() -> None:
    prices = OperatorPrices.of([SOME[0], SOME[0]])
    assert prices(SOME[:2]).tolist() == np.zeros((2, prices.mixing.shape[1] * 2)).tolist()


def test_operators_of_unknown_kinds_count_nothing() -> None:
    known = Graph(("input", "output"), ((0, 1),), np.ones((2, SOME[0].attributes.shape[1])))
    prices = OperatorPrices.of([known, SOME[0]])
    rows = prices([SOME[0], SOME[1]])
    assert np.isfinite(rows).all()
    foreign = Graph(("input", "odd", "output"), ((0, 1), (1, 2)), 2 * np.ones((3, 10)))
    without = Graph(("input", "output"), ((0, 1),), 2 * np.ones((2, 10)))
    # Of the three operators only those that are known count.
    assert prices([foreign]) == pytest.approx(prices([without]))
