"""The model of trials: what it learns from them, and the candidate that it chooses."""

from __future__ import annotations

import numpy as np
import pytest
from optuna._hypervolume.wfg import compute_hypervolume

from nasplug.sampling import trial_model
from nasplug.sampling.trial_model import (
    Observations,
    TrialModel,
    normal_scores,
    spread_design,
    value_scores,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 3))
Y = np.sin(X[:, 0]) + 0.5 * X[:, 1]


def observations(rows: np.ndarray, **options: object) -> Observations:
    given = {"losses": Y[rows][:, None], "violations": {}, "pending": np.empty(0, np.intp)}
    return Observations(rows, **{**given, **options})  # type: ignore[arg-type]


def model() -> TrialModel:
    return TrialModel({"structure": X, "counts": X, "both": X}, {})


def test_it_finds_the_smallest_loss() -> None:
    one, rows = model(), [0, 1, 2, 3, 4]
    for _ in range(20):
        left = np.setdiff1d(np.arange(len(X)), rows)
        rows.append(one.choose(observations(np.array(rows)), left, 0.5)[0])
    assert int(np.argmin(Y)) in rows


def test_of_three_values_smooth_costs_are_soon_certain() -> None:
    rng, rows = np.random.default_rng(1), np.arange(40)
    counts, choices = rng.normal(size=(200, 1)), rng.normal(size=(200, 12)) / 4
    both = np.concatenate([choices, counts], axis=1) / np.sqrt(2)
    costs = np.stack([np.exp(counts[:, 0] / 4 + k / 10) for k in range(3)], axis=1)
    spreads = []
    for columns in (2, 3):
        made = TrialModel({"structure": choices, "counts": counts, "both": both}, {})
        seen = observations(rows, losses=costs[rows, :columns])
        spreads.append(made.posterior(seen).std[40:, 0].mean())
    assert spreads[1] < 0.5 * spreads[0]


def test_an_unlikely_one_is_not_chosen() -> None:
    rows = np.arange(60)
    missed = X[rows, 0]
    row, posterior = model().choose(
        observations(rows, violations={"left": missed}), np.arange(60, 300), 0.9
    )
    assert posterior.feasibility[row] >= 0.9
    assert X[row, 0] < 0.2


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_one_side_of_a_limit_alone_says_something(sign: float) -> None:
    rows = np.arange(30)
    missed = sign * (np.abs(X[rows, 0]) + 0.1)
    posterior = model().posterior(observations(rows, violations={"limit": missed}))
    near = posterior.feasibility[rows].mean()
    assert near < 0.3 if sign > 0 else near > 0.7


def test_one_trial_far_from_a_limit_does_not_hide_it() -> None:
    rows = np.arange(60)
    missed = X[rows, 0].copy()
    plain = model().posterior(observations(rows, violations={"left": missed})).feasibility
    missed[np.argmax(missed)] = 1e9
    apart = model().posterior(observations(rows, violations={"left": missed})).feasibility
    agree = (plain > 0.5) == (apart > 0.5)
    assert agree.mean() > 0.95


def test_a_probability_is_that_of_a_value_and_not_of_the_function() -> None:
    rows, noise = np.arange(200), np.random.default_rng(1).normal(size=200)
    # At the border of a function that is known well one value in two keeps the limit.
    posterior = model().posterior(
        observations(rows, violations={"limit": X[rows, 0] + 0.5 * noise})
    )
    inside = (X[200:, 0] > -0.5) & (X[200:, 0] < -0.2)
    assert 0.6 < posterior.feasibility[200:][inside].mean() < 0.9


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


def of_several(count: int) -> np.ndarray:
    """Losses of all candidates that are in each other's way, `(300, count)`."""
    return np.column_stack([Y, X[:, 0] - Y, -X[:, 1], X[:, 2] ** 2])[:, :count]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_pending_trials_are_avoided(count: int) -> None:
    rows, left, losses = np.arange(10), np.arange(10, 300), of_several(count)[:10]
    chosen: list[int] = []
    for _ in range(3):
        seen = observations(rows, losses=losses, pending=np.array(chosen, np.intp))
        chosen.append(model().choose(seen, left, 0.5)[0])
    assert len(set(chosen)) == 3


@pytest.mark.parametrize("count", [2, 3, 4])
def test_several_losses_cover_their_front_within_a_limit(count: int) -> None:
    every, missed, one = of_several(count), X[:, 2] - 0.5, model()
    rows = list(range(8))
    for _ in range(32):
        seen = observations(np.array(rows), losses=every[rows], violations={"left": missed[rows]})
        left = np.setdiff1d(np.arange(len(X)), rows)
        row, posterior = one.choose(seen, left, 0.5)
        assert posterior.mean.shape == (len(X), count)
        rows.append(row)
    assert (missed[rows[8:]] <= 0).mean() > 0.6
    feasible = np.array(rows)[missed[rows] <= 0]
    reference = every.max(axis=0)
    whole = compute_hypervolume(every[missed <= 0], reference)
    assert compute_hypervolume(every[feasible], reference) > 0.85 * whole


def test_a_design_is_spread() -> None:
    rows = np.concatenate([np.zeros((90, 2)), 10 * np.eye(2).repeat(5, axis=0)])
    chosen = spread_design(rows.astype(np.float32), np.arange(100), 3, np.random.default_rng(0))
    assert len({tuple(rows[k]) for k in chosen}) == 3
    assert spread_design(rows.astype(np.float32), np.array([4]), 3, RNG) == [4]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty of more than forty trials are learned from, and those that came since."""
    monkeypatch.setattr(trial_model, "MOST", 40)
    monkeypatch.setattr(trial_model, "KEPT", 30)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_of_many_trials_the_best_and_some_others_are_learned_from(objectives: int) -> None:
    losses = np.random.default_rng(4).normal(size=(300, objectives))
    one, before = model(), np.empty(0, np.intp)
    for count in range(1, 300):
        known = observations(np.arange(count), losses=losses[:count])
        kept = one.recalled(known)
        assert len(kept) == min(count, 31 + (count - 41) % 10 if count > 40 else count)
        assert (np.diff(kept) > 0).all()
        assert kept[-1] == count - 1
        # What is known is not learned again before ten more have come.
        if count > 41 and (count - 41) % 10:
            np.testing.assert_array_equal(kept[:-1], before)
            assert len(set(kept) & set(range(20))) > 0
        before = kept
        # By the trials alone, whatever was asked before.
        np.testing.assert_array_equal(kept, model().recalled(known))
    if objectives == 1:
        assert set(np.argsort(losses[:290, 0])[:15]) <= set(kept)


@pytest.mark.usefixtures("few")
def test_what_kept_its_limits_is_learned_from_first() -> None:
    losses = np.arange(200.0)[:, None]
    missed = np.where(np.arange(200) < 180, 1.0, -1.0)
    kept = model().recalled(
        observations(np.arange(200), losses=losses, violations={"limit": missed})
    )
    assert set(range(180, 195)) <= set(kept)


@pytest.mark.usefixtures("few")
def test_a_long_search_still_finds_the_smallest_loss() -> None:
    one, rows = model(), [0, 1, 2]
    for _ in range(90):
        left = np.setdiff1d(np.arange(len(X)), rows)
        rows.append(one.choose(observations(np.array(rows)), left, 0.5)[0])
    assert set(np.argsort(Y)[:10]) <= set(rows)
    process = one._processes["value 0"]
    assert len(process._rows) <= 40
