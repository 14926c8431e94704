"""Whatever measurements say, a prediction stays near the data sheet at their scale."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasplug.predictors import NotFittedError
from nasplug.predictors.latency.few_shot import DeviceTransfer
from nasplug.predictors.latency.measured_device import LARGEST_FACTOR, MeasuredDevice
from nasplug.search_spaces import Graph

NETWORKS = [Graph(("Conv",), ()) for _ in range(8)]
PLACE = {id(graph): k for k, graph in enumerate(NETWORKS)}


class Told:
    """A transfer that says of each network what a test wants."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], error: float = 0.0) -> None:
        self.known = SimpleNamespace(smallest_ms=0.01)
        self.mean, self.std, self.error = np.array(mean), np.array(std), error
        self.logs = np.empty(0)

    def fit(self, graphs: Sequence[Graph], latencies: np.ndarray) -> None:
        self.logs = np.log(latencies)

    def usual(self, graphs: Sequence[Graph], latencies: np.ndarray) -> Any:
        return list(graphs), np.log(latencies)

    def log_latency(self, graphs: Sequence[Graph]) -> tuple[np.ndarray, np.ndarray]:
        places = [PLACE[id(graph)] for graph in graphs]
        return self.mean[places], self.std[places]

    def left_out(self, graphs: Sequence[Graph], latencies: np.ndarray) -> Any:
        return np.log(latencies), np.log(latencies) + self.error, np.full(len(graphs), 0.1)


def device(told: Told, promised: np.ndarray, half: float) -> Any:
    def sheet(graphs: Sequence[Graph]) -> tuple[np.ndarray, np.ndarray]:
        return promised[[PLACE[id(graph)] for graph in graphs]], np.full(len(graphs), half)

    return MeasuredDevice(cast(DeviceTransfer, told), sheet)


logs = st.floats(-6, 14)
eight = st.lists(logs, min_size=8, max_size=8)


@given(
    eight,
    st.lists(st.floats(-1e6, 1e6), min_size=8, max_size=8),
    st.lists(st.floats(1e-6, 1e6), min_size=8, max_size=8),
    st.lists(st.floats(-4, 11), min_size=3, max_size=5),
    st.floats(0.01, 5),
    st.floats(0, 5),
)
def test_nothing_explodes(
    promised: list[float],
    mean: list[float],
    std: list[float],
    measured: list[float],
    half: float,
    error: float,
) -> None:
    count, sheet = len(measured), np.array(promised)
    shift = np.median(measured - sheet[:count])
    scatter = np.abs(measured - sheet[:count] - shift)
    own = device(Told(mean, std, error), sheet, half)
    own.fit(NETWORKS[:count], np.exp(measured))
    said = own.predict(NETWORKS)
    apart = np.abs(np.log(said.mean[:, 0]) - sheet - shift)
    free = scatter.max() * (error <= scatter.mean() / 2 + 1e-6)
    assert (apart <= np.log(LARGEST_FACTOR) + free + 1e-6).all()
    width = np.log(said.upper[:, 0] / said.lower[:, 0]) / 2
    assert (width <= half + 1e-6).all()
    assert (width > 0).all()


def test_the_less_sure_the_nearer_to_the_data_sheet() -> None:
    sheet = np.linspace(0, 2, 8)
    apart = []
    for std in (0.1, 0.5, 2.0, 20.0):
        own = device(Told(sheet + 2, [std] * 8), sheet, 1.0)
        own.fit(NETWORKS[:4], np.exp(sheet[:4] + 1))
        apart.append(float(np.abs(np.log(own.predict(NETWORKS).mean[:, 0]) - sheet - 1).max()))
    assert apart == sorted(apart, reverse=True)
    assert apart[0] == pytest.approx(1, rel=0.02)
    assert apart[-1] < 0.001


def test_sure_measurements_of_like_networks_rule() -> None:
    sheet = np.linspace(0, 2, 8)
    truth = sheet + np.array([0.0, 1, -2, 2, 0.5, -1, 1.9, -1.9])
    own = device(Told(truth, [0.05] * 8), sheet, 2.0)
    own.fit(NETWORKS[:6], np.exp(truth[:6]))
    said = own.predict(NETWORKS)
    np.testing.assert_allclose(np.log(said.mean[:, 0]), truth, atol=0.01)
    np.testing.assert_allclose(np.log(said.upper / said.mean), 1.645 * 0.05, rtol=0.1)
    left = own.left_out()
    np.testing.assert_allclose(left.mean, truth[:6], atol=0.01)
    assert left.factors[0] == pytest.approx(1, abs=0.01)
    assert left.factors[1] == pytest.approx(np.exp(np.abs(truth - sheet)[:6].mean()))


def test_a_cell_far_from_the_measured_sizes_has_a_wider_interval() -> None:
    sheet = np.array([0.0, 0.2, 0.4, 0.3, 1.4, 1.6, -1.0, -1.2])
    own = device(Told(sheet, [0.1] * 8), sheet, 1.0)
    own.fit(NETWORKS[:4], np.exp(sheet[:4]))
    wide = own.predict(NETWORKS).spread[:, 0] > 0.15
    assert wide.tolist() == [False] * 5 + [True, False, True]
    assert len(own.predict([])) == 0


def test_one_bad_measurement_does_not_move_the_scale() -> None:
    sheet = np.linspace(0, 2, 8)
    measured = np.exp(sheet[:5] + 0.5)
    measured[2] *= 1e4
    own = device(Told(sheet + 9, [1e9] * 8), sheet, 1.0)
    own.fit(NETWORKS[:5], measured)
    np.testing.assert_allclose(np.log(own.predict(NETWORKS).mean[:, 0]), sheet + 0.5, atol=1e-6)


def test_what_learned_nothing_says_nothing() -> None:
    own = device(Told([0.0] * 8, [1.0] * 8), np.zeros(8), 1.0)
    for ask in (lambda: own.predict(NETWORKS), own.left_out):
        with pytest.raises(NotFittedError, match="this device has no measurements yet"):
            ask()
