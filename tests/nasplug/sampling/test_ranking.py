from __future__ import annotations

import numpy as np
import pytest

from nasplug.sampling.ranking import MIN_PAIRS, best_candidate, relate

GENERATOR = np.random.default_rng(0)


def test_predictions_stand_as_they_are_at_first() -> None:
    mean, std = np.array([1.0, 2.0]), np.array([0.1, 0.2])
    few = np.arange(MIN_PAIRS - 1.0)
    for found in (relate(mean, std, few, few + 5), relate(mean, std, few[:0], few[:0])):
        assert found[0] is mean
        assert found[1] is std


def test_observed_predictions_leave_no_doubt() -> None:
    mean, std = np.array([1.0, 2.0]), np.array([0.1, 0.2])
    found = relate(mean, std, np.array([93.0]), np.array([93.0]))
    assert found[0] is mean
    assert found[1].tolist() == [0.0, 0.0]


def test_a_line_leads_to_another_scale() -> None:
    predicted = np.linspace(80, 94, 200)
    noise = np.random.default_rng(1).normal(0, 0.5, 200)
    mean, std = relate(np.array([90.0]), np.array([9.0]), predicted, 0.5 * predicted + 3 + noise)
    assert mean[0] == pytest.approx(48.0, abs=0.2)
    assert std[0] == pytest.approx(0.5, rel=0.15)


@pytest.mark.parametrize("predicted", [np.full(10, 5.0), -np.arange(10.0)])
def test_useless_line_only_shifts(predicted: np.ndarray) -> None:
    observed = np.arange(10.0)
    mean, std = relate(np.array([0.0, 1.0]), np.zeros(2), predicted, observed)
    assert mean[1] - mean[0] == pytest.approx(1.0)
    assert mean[0] == pytest.approx(observed.mean() - predicted.mean())
    assert (std > 0).all()


def test_first_trial_is_any_of_the_front() -> None:
    mean = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 3.0]])
    empty = np.empty((0, 2))
    chosen = {
        best_candidate(mean, np.zeros((3, 2)), empty, np.random.default_rng(s)) for s in range(20)
    }
    assert chosen == {0, 1}


def test_largest_gain_then_best_layer() -> None:
    mean = np.array([[2.0, 2.0], [1.5, 3.9], [5.0, 5.0], [4.0, 6.0], [6.0, 6.0]])
    front = np.array([[1.0, 4.0], [4.0, 1.0]])
    zero = np.zeros((5, 2))
    assert best_candidate(mean, zero, front, GENERATOR) == 0
    # Nothing improves on this front: 2 and 3 are the best remaining layer, 2 alone dominates more.
    done = np.vstack([front, mean[:2]])
    assert best_candidate(mean[2:], zero[2:], done, GENERATOR) in (0, 1)
    assert best_candidate(mean[4:], zero[4:], done, GENERATOR) == 0


def test_one_objective() -> None:
    mean = np.array([[3.0], [1.0], [2.0]])
    zero = np.zeros((3, 1))
    assert best_candidate(mean, zero, np.array([[2.5]]), GENERATOR) == 1
    assert best_candidate(mean, zero, np.array([[0.5]]), GENERATOR) == 1
    spread = np.array([[9.0], [0.1], [0.1]])
    assert best_candidate(mean, spread, np.array([[0.5]]), GENERATOR) == 0


def test_ties_are_broken_by_the_generator() -> None:
    mean = np.array([[2.0, 2.0], [2.0, 2.0]])
    front = np.array([[1.0, 4.0], [4.0, 1.0]])
    chosen = {
        best_candidate(mean, np.zeros((2, 2)), front, np.random.default_rng(s)) for s in range(20)
    }
    assert chosen == {0, 1}
