"""Departures from data sheets: what few measurements tell, and what they leave open."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nasplug.predictors.latency.departure_learning import (
    DeviceResiduals,
    learned_prior,
    split_by_family,
)
from nasplug.predictors.latency.departure_priors import departure_priors
from nasplug.predictors.latency.departure_process import (
    WAYS,
    DeparturePrior,
    DepartureProcess,
    Located,
)
from nasplug.predictors.latency.network_features import FEATURES
from nasplug.predictors.prediction import Array

WAY = ("eager", "fp32", "", "")
RNG = np.random.default_rng(0)
# Networks around two centres.
SIDES = np.repeat([[-1.0], [1.0]], 15, 0) * np.eye(len(FEATURES))[0]


def located(features: Array, way: tuple[str, ...] = WAY) -> Located:
    return Located(np.asarray(features, dtype=np.float64), [way] * len(features))


def device(rng: np.random.Generator) -> DeviceResiduals:
    """A device with a scale, and a slope over the first feature."""
    features = SIDES + 0.3 * rng.normal(size=SIDES.shape)
    scale, slope = rng.normal(0, 0.3), rng.normal(0, 0.15)
    noise = rng.normal(0, 0.03, len(features))
    residuals = scale + slope * features[:, 0] + noise
    return DeviceResiduals(located(features), residuals, np.repeat(["left", "right"], 15))


@pytest.fixture(scope="module")
def prior() -> DeparturePrior:
    rng = np.random.default_rng(1)
    return learned_prior([device(rng) for _ in range(12)])


def test_three_measurements_tell_the_scale_and_ten_the_shape(prior: DeparturePrior) -> None:
    rng = np.random.default_rng(2)
    errors: dict[int, list[float]] = {0: [], 3: [], 10: []}
    inside = []
    for _ in range(30):
        new = device(rng)
        order = rng.permutation(30)
        judged = order[10:]
        for count, found in errors.items():
            mean, std = np.zeros(len(judged)), np.ones(len(judged))
            if count:
                learned = order[:count]
                process = DepartureProcess(
                    prior, new.located.take(learned), new.residuals[learned], np.ones(count)
                )
                mean, std = process(new.located.take(judged), np.ones(len(judged)))
                inside.append(np.abs(new.residuals[judged] - mean) <= 1.645 * std)
            found.append(float(np.abs(new.residuals[judged] - mean).mean()))
    means = [float(np.mean(found)) for found in errors.values()]
    assert means[1] < 0.67 * means[0]
    assert means[2] < 0.6 * means[1]
    assert 0.7 < np.mean(inside) < 0.99


def test_intervals_grow_with_the_distance_and_are_widest_before(prior: DeparturePrior) -> None:
    new = device(np.random.default_rng(3))
    left = np.arange(10)
    process = DepartureProcess(prior, new.located.take(left), new.residuals[left], np.ones(10))
    features = new.located.features[:1] + np.linspace(0, 12, 7)[:, None]
    mean, std = process(located(features), np.ones(7))
    assert (np.diff(std) > -1e-3).all()
    assert np.isfinite(mean).all()
    before = np.sqrt(prior.variances(located(features)))
    assert (std <= 1.3 * before).all()
    near = process.nearness(located(features))
    assert near[0] == pytest.approx(1, abs=1e-6)
    assert (np.diff(near) <= 1e-9).all()
    assert near[-1] < 0.1


def test_a_measurement_that_went_wrong_counts_less(prior: DeparturePrior) -> None:
    new = device(np.random.default_rng(4))
    learned = np.arange(0, 30, 4)
    wrong = new.residuals[learned].copy()
    wrong[3] += 5
    right, spoiled = (
        DepartureProcess(prior, new.located.take(learned), residuals, np.ones(len(learned)))
        for residuals in (new.residuals[learned], wrong)
    )
    others = np.setdiff1d(np.arange(30), learned)
    ask = new.located.take(others), np.ones(len(others))
    assert np.abs(right(*ask)[0] - spoiled(*ask)[0]).mean() < 0.3


def test_another_setting_is_alike_but_less_sure(prior: DeparturePrior) -> None:
    new = device(np.random.default_rng(5))
    learned = np.arange(10)
    process = DepartureProcess(
        prior, new.located.take(learned), new.residuals[learned] + 1, np.ones(10)
    )
    same, other = (
        process(located(new.located.features[20:], way), np.ones(10))
        for way in (WAY, ("tensorrt", "fp16", "", ""))
    )
    assert (same[1] <= other[1] + 1e-9).all()
    assert np.abs(other[0]).mean() <= np.abs(same[0]).mean() + 1e-9
    assert process.nearness(located(new.located.features[:1], ("tensorrt", "fp16", "", "")))[0] < 1


def test_a_data_sheet_that_is_sure_leaves_a_narrow_interval(prior: DeparturePrior) -> None:
    new = device(np.random.default_rng(6))
    learned, ask = np.arange(1), new.located.take(np.arange(20, 30))
    spreads = []
    for width in (0.25, 1.0, 4.0):
        process = DepartureProcess(
            prior, new.located.take(learned), np.array([0.05]), np.full(1, width)
        )
        mean, std = process(ask, np.full(10, width))
        assert (mean <= 0.05).all()
        spreads.append(std)
    assert (spreads[0] < spreads[1]).all()
    assert (spreads[1] < spreads[2]).all()


def test_a_scale_on_which_all_agree_carries_over_to_unlike_networks(prior: DeparturePrior) -> None:
    new = device(np.random.default_rng(7))
    learned = np.arange(0, 30, 3)
    far = located(new.located.features[:5] + 6)
    for scale in (-0.7, 0.4, 1.2):
        process = DepartureProcess(
            prior, new.located.take(learned), np.full(10, scale), np.ones(10)
        )
        mean, _ = process(far, np.ones(5))
        assert (process.nearness(far) < 0.1).all()
        assert (np.abs(mean / scale - 1) < 0.35).all()


def test_one_measurement_far_off_the_data_sheet_is_not_believed(prior: DeparturePrior) -> None:
    ask = located(SIDES[:2]), np.ones(2)
    means = [
        np.abs(
            DepartureProcess(prior, ask[0].take(np.arange(1)), np.array([r]), np.ones(1))(*ask)[0]
        )
        for r in (0.3, 5.0)
    ]
    assert (means[0] > 0.1).all()
    assert (means[1] < 2.5).all()


def test_a_design_spreads_over_what_is_to_be_predicted(prior: DeparturePrior) -> None:
    features = SIDES + 0.01 * RNG.normal(size=SIDES.shape)
    chosen = prior.design(located(features), located(features), 2)
    assert len(set(chosen)) == 2
    assert {k < 15 for k in chosen} == {True, False}
    assert prior.design(located(features), located(features), 2) == chosen


def test_nothing_measured_leaves_the_data_sheet(prior: DeparturePrior) -> None:
    none = located(np.empty((0, len(FEATURES))))
    process = DepartureProcess(prior, none, np.empty(0), np.empty(0))
    mean, std = process(located(SIDES), np.ones(30))
    np.testing.assert_allclose(mean, 0)
    assert (std > 0).all()
    np.testing.assert_allclose(process.nearness(located(SIDES)), 0)


def test_priors_are_kept_and_shipped(prior: DeparturePrior) -> None:
    again = DeparturePrior.from_json(json.loads(json.dumps(prior.to_json())))
    np.testing.assert_allclose(again.variances(located(SIDES)), prior.variances(located(SIDES)))
    shipped = departure_priors()
    assert set(shipped) == {"gpu", "cpu", "other"}
    for name, each in shipped.items():
        assert set(each.alike) == set(WAYS), name
        assert each.slopes.shape == (len(FEATURES) + 1,) * 2, name
        assert (np.linalg.eigvalsh(each.slopes) > 0).all(), name
        assert each.chances.sum() == pytest.approx(1, abs=1e-3)


def test_families_are_on_one_side_of_a_split() -> None:
    families = np.repeat(["a", "b", "c", "d"], [3, 8, 5, 4])
    for seed in range(10):
        inside, outside = split_by_family(families, np.random.default_rng(seed))
        assert sorted([*inside, *outside]) == list(range(20))
        assert not set(families[inside]) & set(families[outside])
        assert 5 <= len(inside) <= 15
    one = split_by_family(np.repeat("a", 9), np.random.default_rng(0))
    assert [len(side) for side in one] == [4, 5]
