from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna._hypervolume.wfg import compute_hypervolume

from nasplug.pareto import hypervolume
from nasplug.sampling.acquisition import (
    SCREENED,
    expected_hypervolume_improvement,
    expected_improvement,
    screened_hypervolume_improvement,
)

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


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_screening_keeps_the_largest_improvement(objectives: int) -> None:
    rng = np.random.default_rng(3)
    mean = rng.normal(size=(2 * SCREENED, objectives))
    std = rng.uniform(0.01, 0.3, mean.shape)
    front, reference = rng.normal(size=(12, objectives)), np.full(objectives, 2.0)
    whole = expected_hypervolume_improvement(mean, std, front, reference)
    found = screened_hypervolume_improvement(mean, std, front, reference)
    assert np.count_nonzero(found) <= SCREENED
    assert found.argmax() == whole.argmax()
    kept = found > 0
    np.testing.assert_allclose(found[kept], whole[kept])


several = st.integers(2, 4).flatmap(
    lambda m: st.tuples(
        st.lists(st.tuples(*[st.integers(0, 6)] * m), max_size=10).map(
            lambda rows: np.array(rows, np.float64).reshape(-1, m)
        ),
        st.integers(0, 2**32 - 1),
    )
)


def plain(new: np.ndarray, front: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Hypervolume improvement of each point by the hypervolumes before and after."""
    front = np.minimum(front, reference)
    before = compute_hypervolume(front, reference)
    after = [
        compute_hypervolume(np.vstack([front, np.minimum(p, reference)]), reference) for p in new
    ]
    return np.array(after) - before


@settings(max_examples=40, deadline=None)
@given(several)
def test_known_points_of_several_objectives_add_what_their_volume_says(
    drawn: tuple[np.ndarray, int],
) -> None:
    front, seed = drawn
    rng = np.random.default_rng(seed)
    reference = np.full(front.shape[1], 5.0)
    # Some lie beyond the reference, on the front, or dominate everything.
    new = np.vstack([rng.integers(-1, 7, (6, front.shape[1])), front[:2], 0 * reference - 2])
    found = expected_hypervolume_improvement(new, np.zeros_like(new), front, reference)
    np.testing.assert_allclose(found, plain(new, front, reference), atol=1e-9)


@settings(max_examples=12, deadline=None)
@given(several, st.integers(0, 2))
def test_expectation_of_several_objectives_equals_monte_carlo(
    drawn: tuple[np.ndarray, int], known: int
) -> None:
    front, seed = drawn
    rng = np.random.default_rng(seed)
    reference = np.full(front.shape[1], 5.0)
    mean, std = rng.uniform(-1, 6, front.shape[1]), rng.uniform(0.05, 2, front.shape[1])
    std[rng.permutation(len(std))[:known]] = 0.0
    draws = rng.normal(mean, std, (20_000, len(mean)))
    gains = expected_hypervolume_improvement(draws, np.zeros_like(draws), front, reference)
    exact = expected_hypervolume_improvement(mean[None], std[None], front, reference)
    error = gains.std() / np.sqrt(len(gains))
    assert exact[0] == pytest.approx(gains.mean(), abs=6 * error + 1e-3)


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_order_and_duplicates_do_not_count(objectives: int) -> None:
    rng = np.random.default_rng(7)
    front, reference = rng.normal(size=(15, objectives)), np.full(objectives, 1.5)
    mean, std = rng.normal(size=(40, objectives)), rng.uniform(0, 0.5, (40, objectives))
    found = expected_hypervolume_improvement(mean, std, front, reference)
    again = np.vstack([front[::-1], front[:4], front[:3] + 0.1])
    order = rng.permutation(objectives)
    turned = expected_hypervolume_improvement(
        mean[:, order], std[:, order], again[:, order], reference[order]
    )
    np.testing.assert_allclose(turned, found, rtol=1e-9, atol=1e-12)


def test_of_an_empty_front_the_whole_box_is_won() -> None:
    mean = np.array([[1.0, 2.0, 3.0], [5.0, 0.0, 0.0]])
    found = expected_hypervolume_improvement(
        mean, np.zeros((2, 3)), np.empty((0, 3)), np.full(3, 4.0)
    )
    assert found.tolist() == [6.0, 0.0]
