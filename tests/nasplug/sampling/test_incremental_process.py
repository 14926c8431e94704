"""A Gaussian process that learns one trial after the other."""

from __future__ import annotations

import numpy as np

from nasplug.sampling.incremental_process import (
    DECIDED,
    SETTLED,
    IncrementalProcess,
    median_distance,
)
from nasplug.sampling.trial_model import normal_scores

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 3))
Y = np.sin(X[:, 0]) + 0.5 * X[:, 1]
KERNEL = ((1.0, "x", 2.0),)


def exact(rows: np.ndarray, targets: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Posterior by the textbook formula."""

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        reach = np.sqrt(5) * np.linalg.norm(a[:, None] - b[None], axis=2) / 2.0
        return (1 + reach + reach**2 / 3) * np.exp(-reach)

    inside = kernel(X[rows], X[rows]) + (noise + 1e-6) * np.eye(len(rows))
    across = kernel(X, X[rows])
    mean = across @ np.linalg.solve(inside, targets)
    variance = 1 - np.einsum("ij,ji->i", across, np.linalg.solve(inside, across.T))
    return mean, np.sqrt(variance)


def test_one_trial_at_a_time_is_the_exact_posterior() -> None:
    one = IncrementalProcess({"x": X}, [KERNEL], [0.1])
    for count in (3, 4, 9):
        rows = np.arange(count) * 7
        found = one.posterior(rows, Y[rows])
        for got, wanted in zip(found, exact(rows, Y[rows], 0.1), strict=True):
            np.testing.assert_allclose(got, wanted, atol=2e-4)


def test_what_came_before_does_not_matter() -> None:
    kernels = [KERNEL, ((0.5, "x", 1.0), (0.5, "x", 5.0))]
    used = IncrementalProcess({"x": X}, kernels, [0.05, 0.2])
    rows = np.arange(DECIDED + 20)
    for count in (5, 30, DECIDED + 5, 12, DECIDED + 20):
        used.posterior(rows[:count], normal_scores(Y[:count]))
    other = np.concatenate([rows[:4], rows[10:90]])
    for wanted in (other, rows):
        fresh = IncrementalProcess({"x": X}, kernels, [0.05, 0.2])
        scores = normal_scores(Y[wanted])
        for got, new in zip(
            used.posterior(wanted, scores), fresh.posterior(wanted, scores), strict=True
        ):
            np.testing.assert_allclose(got, new, atol=2e-3)


def test_the_kernel_that_explains_the_values_counts() -> None:
    blocks = {"x": X, "noise": RNG.normal(size=(300, 3))}
    rows = np.arange(40)
    both = IncrementalProcess(blocks, [KERNEL, ((1.0, "noise", 2.0),)], [0.02]).posterior(
        rows, Y[rows]
    )
    alone = IncrementalProcess(blocks, [KERNEL], [0.02]).posterior(rows, Y[rows])
    np.testing.assert_allclose(both[0], alone[0], atol=0.02)


def test_many_rows_leave_one_kernel_and_no_more_room_than_they_need() -> None:
    kernels = [((1.0, "x", length),) for length in (1.0, 2.0, 4.0)]
    whole, steps = (IncrementalProcess({"x": X}, kernels, [0.05, 0.1]) for _ in range(2))
    rows = np.arange(SETTLED + 5)
    for count in (DECIDED - 1, DECIDED + 1, SETTLED - 1, SETTLED + 5):
        found = steps.posterior(rows[:count], Y[:count])
    for got, wanted in zip(found, whole.posterior(rows, Y[rows]), strict=True):
        np.testing.assert_allclose(got, wanted, atol=2e-3)
    for one in (whole, steps):
        (member,) = one._members
        assert member.reach.shape[0] < len(rows) + 64


def test_median_distance() -> None:
    assert median_distance(np.zeros((5, 2))) == 1.0
    assert median_distance(np.array([[0.0], [2.0]])) == 2.0
