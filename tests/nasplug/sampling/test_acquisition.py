from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasplug.pareto import hypervolume
from nasplug.sampling.acquisition import expected_hypervolume_improvement, expected_improvement

REFERENCE = np.array([4.0, 4.0])
FRONT = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])

points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=0, max_size=12).map(
    lambda rows: np.array(rows, np.float64).reshape(-1, 2)
)


@given(points, points)
def test_without_spread_it_is_the_plain_improvement(front: np.ndarray, new: np.ndarray) -> None:
    reference = np.array([5.0, 5.0])
    gain = [
        hypervolume(np.vstack([front, p[None]]), reference) - hypervolume(front, reference)
        for p in new
    ]
    found = expected_hypervolume_improvement(new, np.zeros_like(new), front, reference)
    np.testing.assert_allclose(found, gain, atol=1e-12)


@settings(max_examples=15)
@given(
    points,
    st.tuples(st.floats(-1, 6), st.floats(-1, 6)),
    st.tuples(st.floats(0.05, 2), st.floats(0.05, 2)),
    st.integers(0, 2**32 - 1),
)
def test_expectation_equals_monte_carlo(
    front: np.ndarray, mean: tuple[float, float], std: tuple[float, float], seed: int
) -> None:
    reference = np.array([5.0, 5.0])
    draws = np.random.default_rng(seed).normal(mean, std, (40_000, 2))
    gains = expected_hypervolume_improvement(draws, np.zeros_like(draws), front, reference)
    exact = expected_hypervolume_improvement(np.array([mean]), np.array([std]), front, reference)
    error = gains.std() / np.sqrt(len(gains))
    assert exact[0] == pytest.approx(gains.mean(), abs=6 * error + 1e-3)


def test_one_spread_may_be_zero() -> None:
    mean = np.array([[1.5, 1.5]])
    draws = np.random.default_rng(0).normal(1.5, 0.7, 100_000)
    sampled = np.stack([draws, np.full_like(draws, 1.5)], axis=1)
    gains = expected_hypervolume_improvement(sampled, np.zeros_like(sampled), FRONT, REFERENCE)
    exact = expected_hypervolume_improvement(mean, np.array([[0.7, 0.0]]), FRONT, REFERENCE)
    assert exact[0] == pytest.approx(gains.mean(), rel=0.01)


def test_expected_improvement() -> None:
    mean, std = np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.0, 1.0])
    # At z = -1 the standard formula gives phi(1) - Phi(-1).
    np.testing.assert_allclose(
        expected_improvement(mean, std, 2.0), [1.0, 0.0, 0.0833155], atol=1e-7
    )
    draws = np.random.default_rng(1).normal(3.0, 1.0, 400_000)
    assert expected_improvement(mean, std, 2.0)[2] == pytest.approx(
        np.maximum(2.0 - draws, 0).mean(), rel=0.02
    )


def test_more_spread_never_hurts() -> None:
    mean = np.tile([[2.0, 3.0]], (5, 1))
    std = np.linspace(0, 2, 5)[:, None] * [1, 1]
    found = expected_hypervolume_improvement(mean, std, FRONT, REFERENCE)
    assert (np.diff(found) > 0).all()


def test_screening_keeps_the_largest_improvement() -> None:
    from nasplug.sampling.acquisition import SCREENED, screened_hypervolume_improvement

    rng = np.random.default_rng(3)
    mean, std = rng.normal(size=(3 * SCREENED, 2)), rng.uniform(0.01, 0.3, (3 * SCREENED, 2))
    front, reference = np.array([[-1.5, 1.0], [0.0, -0.5], [1.0, -1.5]]), np.array([2.0, 2.0])
    whole = expected_hypervolume_improvement(mean, std, front, reference)
    found = screened_hypervolume_improvement(mean, std, front, reference)
    assert np.count_nonzero(found) <= SCREENED
    assert found.argmax() == whole.argmax()
    kept = found > 0
    np.testing.assert_allclose(found[kept], whole[kept])
