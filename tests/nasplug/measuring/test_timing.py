"""Timing of one network: warm-up, runs, percentiles, and disturbances."""

from __future__ import annotations

import gc
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasplug.measuring.timing import Effort, deviation, is_disturbed, time_network


def test_warm_up_goes_on_until_times_are_stable():
    times = iter([10.0 - 0.3 * k for k in range(30)] + [1.0] * 1000)
    timing = time_network(lambda: next(times), Effort(20, 10, 0.0, 3.0))
    assert (timing.latency_ms, timing.p10_ms, timing.p90_ms, timing.std_ms) == (1, 1, 1, 0)


def test_warm_up_of_a_slow_network_is_short():
    runs = []
    time_network(lambda: float(runs.append(1) or 1500), Effort(20, 10, 0.0, 3.0))
    assert len(runs) == 1 + 3


def test_no_warm_up():
    times = iter([7.0, 1.0, 1.0])
    timing = time_network(lambda: next(times), Effort(3, 0, 0.0, 1.0))
    assert (timing.runs, timing.latency_ms, timing.mean_ms) == (3, 1.0, 3.0)


@given(
    st.floats(0.1, 5000),
    st.integers(1, 50),
    st.floats(0, 0.5),
    st.floats(0.5, 3),
)
def test_number_of_runs(ms, runs, least, most):
    timing = time_network(lambda: ms, Effort(runs, 0, least, most))
    total, before = timing.runs * ms / 1000, (timing.runs - 1) * ms / 1000
    enough = timing.runs >= runs and total >= least * (1 - 1e-9)
    cut_off = timing.runs >= 3 and total >= most * (1 - 1e-9)
    assert enough or cut_off
    assert timing.runs <= max(runs, 3) or before < least * (1 + 1e-9)


def test_percentiles_and_collector():
    times = iter(float(k) for k in range(1, 102))

    def stopwatch() -> float:
        assert not gc.isenabled()
        return next(times)

    timing = time_network(stopwatch, Effort(101, 0, 0.0, 10.0))
    assert (timing.p10_ms, timing.latency_ms, timing.p90_ms) == (11, 51, 91)
    assert timing.std_ms == pytest.approx(np.std(range(101), ddof=1))
    assert gc.isenabled()
    with pytest.raises(StopIteration):
        time_network(stopwatch, Effort(1, 0, 0.0, 1.0))
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("around", "disturbed"),
    [
        ((10.0, 10.9), False),
        ((9.1, 10.0), False),
        ((10.0, 11.1), True),
        ((8.9, 10.0), True),
        ((10.0, math.nan), True),
    ],
)
def test_is_disturbed(around, disturbed):
    assert is_disturbed(deviation(around, 10.0)) is disturbed
