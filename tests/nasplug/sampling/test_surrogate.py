from __future__ import annotations

import numpy as np
import pytest

from nasplug.sampling import learning
from nasplug.sampling.learning import Evidence, Learner, normal_scores, spread_design, value_scores
from nasplug.sampling.surrogate import DECIDED, SETTLED, Surrogate, median_distance

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 3))
Y = np.sin(X[:, 0]) + 0.5 * X[:, 1]
KERNEL = ((1.0, "x", 2.0),)


def exact(rows: np.ndarray, targets: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """The textbook formula."""

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        reach = np.sqrt(5) * np.linalg.norm(a[:, None] - b[None], axis=2) / 2.0
        return (1 + reach + reach**2 / 3) * np.exp(-reach)

    inside = kernel(X[rows], X[rows]) + (noise + 1e-6) * np.eye(len(rows))
    across = kernel(X, X[rows])
    mean = across @ np.linalg.solve(inside, targets)
    variance = 1 - np.einsum("ij,ji->i", across, np.linalg.solve(inside, across.T))
    return mean, np.sqrt(variance)


def test_one_trial_at_a_time_is_the_exact_posterior() -> None:
    one = Surrogate({"x": X}, [KERNEL], [0.1])
    for count in (3, 4, 9):
        rows = np.arange(count) * 7
        found = one.posterior(rows, Y[rows])
        for got, wanted in zip(found, exact(rows, Y[rows], 0.1), strict=True):
            np.testing.assert_allclose(got, wanted, atol=2e-4)


def test_what_came_before_does_not_matter() -> None:
    kernels = [KERNEL, ((0.5, "x", 1.0), (0.5, "x", 5.0))]
    used = Surrogate({"x": X}, kernels, [0.05, 0.2])
    rows = np.arange(DECIDED + 20)
    for count in (5, 30, DECIDED + 5, 12, DECIDED + 20):
        used.posterior(rows[:count], normal_scores(Y[:count]))
    other = np.concatenate([rows[:4], rows[10:90]])
    for wanted in (other, rows):
        fresh = Surrogate({"x": X}, kernels, [0.05, 0.2])
        scores = normal_scores(Y[wanted])
        for got, new in zip(
            used.posterior(wanted, scores), fresh.posterior(wanted, scores), strict=True
        ):
            np.testing.assert_allclose(got, new, atol=2e-3)


def test_the_kernel_that_explains_the_values_counts() -> None:
    blocks = {"x": X, "noise": RNG.normal(size=(300, 3))}
    rows = np.arange(40)
    both = Surrogate(blocks, [KERNEL, ((1.0, "noise", 2.0),)], [0.02]).posterior(rows, Y[rows])
    alone = Surrogate(blocks, [KERNEL], [0.02]).posterior(rows, Y[rows])
    np.testing.assert_allclose(both[0], alone[0], atol=0.02)


def test_many_rows_leave_one_kernel_and_no_more_room_than_they_need() -> None:
    kernels = [((1.0, "x", length),) for length in (1.0, 2.0, 4.0)]
    whole, steps = (Surrogate({"x": X}, kernels, [0.05, 0.1]) for _ in range(2))
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


def evidence(rows: np.ndarray, **options: object) -> Evidence:
    given = {"losses": Y[rows][:, None], "violations": {}, "pending": np.empty(0, np.intp)}
    return Evidence(rows, **{**given, **options})  # type: ignore[arg-type]


def learner() -> Learner:
    return Learner({"structure": X, "counts": X, "both": X}, {})


def test_it_finds_the_smallest_loss() -> None:
    one, rows = learner(), [0, 1, 2, 3, 4]
    for step in range(20):
        left = np.setdiff1d(np.arange(len(X)), rows)
        rows.append(one.choose(evidence(np.array(rows)), left, 0.5, np.random.default_rng(step))[0])
    assert int(np.argmin(Y)) in rows


def test_an_unlikely_one_is_not_chosen() -> None:
    rows = np.arange(60)
    missed = X[rows, 0]
    row, outlook = learner().choose(
        evidence(rows, violations={"left": missed}), np.arange(60, 300), 0.9, RNG
    )
    assert outlook.chance[row] >= 0.9
    assert X[row, 0] < 0.2


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_one_side_of_a_limit_alone_says_something(sign: float) -> None:
    rows = np.arange(30)
    missed = sign * (np.abs(X[rows, 0]) + 0.1)
    outlook = learner().outlook(evidence(rows, violations={"limit": missed}))
    near = outlook.chance[rows].mean()
    assert near < 0.3 if sign > 0 else near > 0.7


def test_one_trial_far_from_a_limit_does_not_hide_it() -> None:
    rows = np.arange(60)
    missed = X[rows, 0].copy()
    plain = learner().outlook(evidence(rows, violations={"left": missed})).chance
    missed[np.argmax(missed)] = 1e9
    apart = learner().outlook(evidence(rows, violations={"left": missed})).chance
    agree = (plain > 0.5) == (apart > 0.5)
    assert agree.mean() > 0.95


def test_a_probability_is_that_of_a_value_and_not_of_the_function() -> None:
    rows, noise = np.arange(200), np.random.default_rng(1).normal(size=200)
    # At the border of a function that is known well one value in two keeps the limit.
    outlook = learner().outlook(evidence(rows, violations={"limit": X[rows, 0] + 0.5 * noise}))
    inside = (X[200:, 0] > -0.5) & (X[200:, 0] < -0.2)
    assert 0.6 < outlook.chance[200:][inside].mean() < 0.9


def test_scores_keep_the_order_and_stand_a_diverged_run() -> None:
    losses = np.random.default_rng(2).permutation(40).astype(float)
    scores = value_scores(losses)
    assert (np.argsort(scores) == np.argsort(losses)).all()
    losses[losses.argmax()] = np.inf
    np.testing.assert_array_equal(np.argsort(value_scores(losses)), np.argsort(losses))
    losses[losses.argmax()] = 1e6
    others = np.isfinite(losses) & (losses < 1e6)
    assert np.ptp(value_scores(losses)[others]) > 0.7 * np.ptp(scores[others])
    # Few values, or equal ones, have an order alone.
    np.testing.assert_array_equal(value_scores(losses[:5]), normal_scores(losses[:5]))
    assert np.isfinite(value_scores(np.ones(20))).all()


def test_pending_trials_are_avoided() -> None:
    rows, left = np.arange(10), np.arange(10, 300)
    first, _ = learner().choose(evidence(rows), left, 0.5, RNG)
    pending = np.array([first])
    second, _ = learner().choose(evidence(rows, pending=pending), left, 0.5, RNG)
    assert second != first


def test_a_design_is_spread() -> None:
    rows = np.concatenate([np.zeros((90, 2)), 10 * np.eye(2).repeat(5, axis=0)])
    chosen = spread_design(rows.astype(np.float32), np.arange(100), 3, np.random.default_rng(0))
    assert len({tuple(rows[k]) for k in chosen}) == 3
    assert spread_design(rows.astype(np.float32), np.array([4]), 3, RNG) == [4]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more than forty trials thirty are learned from, and those that came since."""
    monkeypatch.setattr(learning, "MOST", 40)
    monkeypatch.setattr(learning, "KEPT", 30)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_of_many_trials_the_best_and_some_others_are_learned_from(objectives: int) -> None:
    losses = np.random.default_rng(4).normal(size=(300, objectives))
    one, before = learner(), np.empty(0, np.intp)
    for count in range(1, 300):
        given = evidence(np.arange(count), losses=losses[:count])
        kept = one.recalled(given)
        assert len(kept) == min(count, 31 + (count - 41) % 10 if count > 40 else count)
        assert (np.diff(kept) > 0).all()
        assert kept[-1] == count - 1
        # What is known is not learned again before ten more have come.
        if count > 41 and (count - 41) % 10:
            np.testing.assert_array_equal(kept[:-1], before)
            assert len(set(kept) & set(range(20))) > 0
        before = kept
        # By the trials alone, whatever was asked before.
        np.testing.assert_array_equal(kept, learner().recalled(given))
    if objectives == 1:
        assert set(np.argsort(losses[:290, 0])[:15]) <= set(kept)


@pytest.mark.usefixtures("few")
def test_what_kept_its_limits_is_learned_from_first() -> None:
    losses = np.arange(200.0)[:, None]
    missed = np.where(np.arange(200) < 180, 1.0, -1.0)
    kept = learner().recalled(evidence(np.arange(200), losses=losses, violations={"limit": missed}))
    assert set(range(180, 195)) <= set(kept)


@pytest.mark.usefixtures("few")
def test_a_long_search_still_finds_the_smallest_loss() -> None:
    one, rows = learner(), [0, 1, 2]
    for step in range(90):
        left = np.setdiff1d(np.arange(len(X)), rows)
        rows.append(one.choose(evidence(np.array(rows)), left, 0.5, np.random.default_rng(step))[0])
    assert set(np.argsort(Y)[:10]) <= set(rows)
    surrogate = one._surrogates["value 0"]
    assert len(surrogate._rows) <= 40
