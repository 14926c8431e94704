from __future__ import annotations

import numpy as np
import pytest

from nasplug.pareto import hypervolume, pareto_mask
from nasplug.sampling.ranking import MIN_PAIRS, best_candidate, relate


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


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


def test_first_trial_dominates_most(generator: np.random.Generator) -> None:
    mean = np.array([[1.0, 3.0], [1.5, 1.5], [3.0, 1.0], [3.0, 3.0]])
    zero = np.zeros((4, 2))
    assert best_candidate(mean, zero, np.empty((0, 2)), generator) == 1
    assert best_candidate(mean[:, :1], zero[:, :1], np.empty((0, 1)), generator) == 0


def test_trials_of_the_front_come_in_the_order_of_what_they_add(
    generator: np.random.Generator,
) -> None:
    mean = np.random.default_rng(0).uniform(1, 2, size=(300, 2))
    mean[:5] = [[-0.5, 0.9], [0.0, 0.5], [0.1, 0.1], [0.5, 0.0], [0.9, -0.1]]
    reference = mean[pareto_mask(mean)].max(axis=0)
    reference = reference + 0.1 * np.ptp(mean[pareto_mask(mean)], axis=0)
    tried: list[int] = []
    while len(tried) < 5:
        tried.append(best_candidate(mean, np.zeros_like(mean), mean[tried], generator))
    areas = [hypervolume(mean[tried[:k]], reference) for k in range(6)]
    assert sorted(tried) == np.flatnonzero(pareto_mask(mean)).tolist() == [0, 1, 2, 3, 4]
    assert np.diff(areas).tolist() == sorted(np.diff(areas), reverse=True)


def test_the_largest_gain_is_chosen(generator: np.random.Generator) -> None:
    mean = np.array([[2.0, 2.0], [1.5, 3.9], [5.0, 5.0], [4.0, 6.0], [6.0, 6.0]])
    front = np.array([[1.0, 4.0], [4.0, 1.0]])
    assert best_candidate(mean, np.zeros((5, 2)), front, generator) == 0


@pytest.mark.parametrize(
    ("middle", "chosen"),
    [
        # Dominated by each middle point alone: 1 · 2 and 2 · 1.5; by an end at most 4.4 · 0.1.
        ([[5.0, 6.0], [6.0, 4.5]], 2),
        ([[6.0, 4.5], [5.0, 6.0]], 1),
    ],
)
def test_without_gain_the_best_of_the_first_layer_dominates_most_alone(
    middle: list[list[float]], chosen: int, generator: np.random.Generator
) -> None:
    front = np.array([[1.0, 4.0], [4.0, 1.0]])
    # The front dominates all of these; the last lies behind the layer of the others.
    mean = np.array([[4.0, 8.0], *middle, [8.0, 4.0], [9.0, 9.0]])
    assert best_candidate(mean, np.zeros((5, 2)), front, generator) == chosen
    assert best_candidate(mean[4:], np.zeros((1, 2)), front, generator) == 0


def test_two_ends_of_a_layer_are_tied(generator: np.random.Generator) -> None:
    front = np.array([[1.0, 4.0], [4.0, 1.0], [2.0, 2.0]])
    mean = np.array([[5.0, 5.0], [4.0, 6.0], [6.0, 6.0]])
    chosen = {best_candidate(mean, np.zeros((3, 2)), front, generator) for _ in range(20)}
    assert chosen == {0, 1}


def test_one_objective(generator: np.random.Generator) -> None:
    mean = np.array([[3.0], [1.0], [2.0]])
    zero = np.zeros((3, 1))
    assert best_candidate(mean, zero, np.array([[2.5]]), generator) == 1
    assert best_candidate(mean, zero, np.array([[0.5]]), generator) == 1
    spread = np.array([[9.0], [0.1], [0.1]])
    assert best_candidate(mean, spread, np.array([[0.5]]), generator) == 0


def test_ties_are_broken_by_the_generator() -> None:
    mean = np.array([[2.0, 2.0], [2.0, 2.0]])
    front = np.array([[1.0, 4.0], [4.0, 1.0]])
    chosen = {
        best_candidate(mean, np.zeros((2, 2)), front, np.random.default_rng(s)) for s in range(20)
    }
    assert chosen == {0, 1}


def test_trials_of_three_objectives_complete_the_front(generator: np.random.Generator) -> None:
    steps = np.linspace(0, 1, 5)
    front = np.array([[x, y, 2 - x - y] for x in steps for y in steps])
    points = np.vstack([front, front + 1.0])
    chosen: list[int] = []
    for _ in range(len(front)):
        left = np.array([k for k in range(len(points)) if k not in chosen])
        observed = points[chosen].reshape(-1, 3)
        spread = np.zeros((len(left), 3))
        chosen.append(int(left[best_candidate(points[left], spread, observed, generator)]))
    # No dominated point comes before the front is complete; what dominates most is first.
    assert sorted(chosen) == list(range(len(front)))
    assert chosen[0] == 6
