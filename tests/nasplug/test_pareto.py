"""Fronts, hypervolumes and contributions, by hand and by definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasplug.pareto import (
    SAMPLE,
    contributions,
    hypervolume,
    hypervolume_of,
    improving_points,
    pareto_mask,
)

REFERENCE = np.array([4.0, 4.0])
FRONT = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])
points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=0, max_size=12).map(
    lambda rows: np.array(rows, np.float64).reshape(-1, 2)
)


def brute_force_mask(values: np.ndarray) -> list[bool]:
    return [
        not any((q <= p).all() and (q < p).any() for q in values) and not np.isnan(p).any()
        for p in values
    ]


def test_pareto_by_hand() -> None:
    values = np.array([[1, 3], [2, 2], [2, 2], [2, 3], [3, 1], [1, 4], [np.nan, 0.0]])
    assert pareto_mask(values).tolist() == [True, True, True, False, True, False, False]
    assert pareto_mask(np.array([[2.0], [1.0], [1.0]])).tolist() == [False, True, True]
    assert pareto_mask(np.empty((0, 2))).tolist() == []
    assert pareto_mask(np.full((2, 2), np.nan)).tolist() == [False, False]
    for shape in ((3,), (3, 0), (1, 3, 3)):
        with pytest.raises(ValueError, match="expected"):
            pareto_mask(np.zeros(shape))


def test_hypervolume_ends_a_tenth_beyond_the_front() -> None:
    # To be maximised and minimised; the last point is dominated, so it has no part in the end.
    values, sign = np.array([[10.0, 5.0], [20.0, 9.0], [0.0, 100.0]]), np.array([-1.0, 1.0])
    told = hypervolume_of(["a", "b"], values, sign)
    assert told == {
        "value": pytest.approx(1.0 * 4.4 + 10.0 * 0.4),
        "reference": {"a": pytest.approx(9.0), "b": pytest.approx(9.4)},
    }
    assert hypervolume_of(["a"], values[:, :1], sign[:1]) is None
    assert hypervolume_of(["a", "b"], values[:0], sign) is None


@given(points)
def test_pareto_equals_definition(values: np.ndarray) -> None:
    assert pareto_mask(values).tolist() == brute_force_mask(values)


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=12))
def test_pareto_of_three_equals_definition(rows: list[tuple[int, int, int]]) -> None:
    values = np.array(rows, np.float64)
    assert pareto_mask(values).tolist() == brute_force_mask(values)


def test_hypervolume_by_hand() -> None:
    assert hypervolume(FRONT, REFERENCE) == 6.0
    assert hypervolume(np.vstack([FRONT, [[2.5, 2.5], [9.0, 0.0], [2.0, 2.0]]]), REFERENCE) == 6.0
    assert hypervolume(np.empty((0, 2)), REFERENCE) == 0.0


def several(count: int) -> st.SearchStrategy[np.ndarray]:
    """Points of so many objectives, some of them beyond 3 in one."""
    rows = st.lists(st.tuples(*[st.integers(0, 4)] * count), max_size=8)
    return rows.map(lambda rows: np.array(rows, np.float64).reshape(-1, count))


@given(st.integers(3, 5).flatmap(several))
def test_hypervolume_of_three_to_five_counts_unit_boxes(values: np.ndarray) -> None:
    count = values.shape[1]
    boxes = np.stack(np.meshgrid(*[np.arange(3)] * count), axis=-1).reshape(-1, count)
    dominated = (values[:, None] <= boxes[None]).all(axis=2).any(axis=0)
    assert hypervolume(values, np.full(count, 3.0)) == dominated.sum()


@given(points)
def test_hypervolume_counts_unit_squares(values: np.ndarray) -> None:
    reference = np.array([5.0, 5.0])
    squares = sum(any(p[0] <= i and p[1] <= j for p in values) for i in range(5) for j in range(5))
    assert hypervolume(values, reference) == squares


@given(points)
def test_contribution_is_what_the_front_loses(values: np.ndarray) -> None:
    values = values[pareto_mask(values)]
    reference = np.array([5.0, 5.0])
    whole = hypervolume(values, reference)
    lost = [whole - hypervolume(np.delete(values, k, 0), reference) for k in range(len(values))]
    np.testing.assert_allclose(contributions(values, reference), lost)


def test_dominated_points_contribute_nothing() -> None:
    found = contributions(np.array([[0.0, 0.0], [0.0, 1.0]]), REFERENCE)
    assert found.tolist() == [16.0, 0.0]


def test_pareto_of_many_points_with_three_objectives() -> None:
    values = np.random.default_rng(0).integers(0, 30, (5 * SAMPLE, 3)).astype(float)
    mask = pareto_mask(values)
    front = values[mask]
    for point in values[::50]:
        beaten = ((front <= point).all(axis=1) & (front < point).any(axis=1)).any()
        assert beaten or (front == point).all(axis=1).any()
    assert not any(((front <= p).all(axis=1) & (front < p).any(axis=1)).any() for p in front)


def test_points_beyond_a_front_of_three_come_first() -> None:
    known = np.array([[0.0, 2.0, 2.0], [2.0, 0.0, 2.0], [2.0, 2.0, 0.0]])
    values = np.array([[3.0, 3.0, 3.0], [1.0, 1.0, 1.0], [0.0, 2.0, 2.0], [1.5, 1.5, 2.0]])
    assert improving_points(known, values, 3).tolist() == [1, 3]
