import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasplug.predictors.prediction import Prediction
from nasplug.predictors.statistics.calibration import (
    LEVELS,
    Calibration,
    conformal_quantiles,
    left_out_quantiles,
)
from nasplug.search_spaces import InputError


def skewed(rng, n):
    """Scores, and truths that are a crooked function of them with uneven, skewed noise."""
    scores = rng.normal(size=n)
    noise = (rng.exponential(size=n) - 1) * (0.2 + np.exp(-scores))
    return scores[:, None], (90 + 3 * np.tanh(scores) + noise)[:, None]


def predict(calibration, scores, interval=0.9):
    center, spread, residuals = calibration.apply(scores, range(scores.shape[1]))
    return Prediction(
        ("y",), ("%",), center, spread, LEVELS, residuals, (False,), interval=interval
    )


@pytest.mark.parametrize("interval", [0.5, 0.8, 0.9])
def test_intervals_cover_as_they_say(interval):
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(20):
        calibration = Calibration.fit(*skewed(rng, 1000))
        scores, truths = skewed(rng, 4000)
        said = predict(calibration, scores, interval)
        shares.append(np.mean((truths >= said.lower) & (truths <= said.upper)))
    assert np.mean(shares) == pytest.approx(interval, abs=0.01)


def test_spread_follows_the_noise():
    calibration = Calibration.fit(*skewed(np.random.default_rng(1), 4000))
    said = predict(calibration, np.array([[-1.5], [1.5]]))
    width = (said.upper - said.lower)[:, 0]
    assert width[0] > 3 * width[1]


@given(st.integers(20, 300), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_the_map_keeps_the_ranking(n, seed):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, 1)).round(2)
    calibration = Calibration.fit(scores, rng.normal(size=(n, 1)).round(1))
    line = np.sort(np.concatenate([scores, rng.uniform(-9, 9, (50, 1))]), axis=0)
    center, spread, residuals = calibration.apply(line, [0])
    steps = np.diff(center[:, 0])
    assert (steps[np.diff(line[:, 0]) > 1e-6] > 0).all()
    assert (spread > 0).all()
    assert (np.diff(residuals[:, 0]) >= 0).all()


def test_quantiles_have_the_finite_sample_correction():
    # With 19 residuals the largest is the 95 % quantile: 19 / (19 + 1).
    quantiles = conformal_quantiles(np.arange(19.0))
    assert np.interp(0.95, LEVELS, quantiles) == pytest.approx(18.0)
    assert np.interp(0.5, LEVELS, quantiles) == pytest.approx(9.0)
    assert quantiles[0] == 0.0


def covered(quantiles, residuals):
    low, high = np.interp([0.05, 0.95], LEVELS, quantiles)
    return np.mean((residuals >= low) & (residuals <= high))


def test_quantiles_for_a_new_group_allow_for_the_spread_of_groups():
    rng = np.random.default_rng(0)

    def group():
        return rng.normal(0, 1) + 0.2 * rng.normal(size=500)

    widened, pooled = [], []
    for _ in range(60):
        groups, new = [group() for _ in range(8)], group()
        widened.append(covered(left_out_quantiles(groups), new))
        pooled.append(covered(conformal_quantiles(np.concatenate(groups)), new))
    assert np.mean(pooled) < np.mean(widened)
    assert np.mean(widened) == pytest.approx(0.9, abs=0.05)


def test_groups_that_are_alike_need_no_widening():
    rng = np.random.default_rng(0)
    groups = [rng.normal(size=2000) for _ in range(5)]
    quantiles = left_out_quantiles(groups)
    np.testing.assert_allclose(quantiles, conformal_quantiles(np.concatenate(groups)), rtol=0.1)
    assert (np.diff(quantiles) >= 0).all()
    alone = left_out_quantiles(groups[:1])
    np.testing.assert_array_equal(alone, conformal_quantiles(groups[0]))


def test_too_few_examples_are_refused():
    with pytest.raises(InputError, match="19 examples are too few"):
        Calibration.fit(np.zeros((19, 1)), np.zeros((19, 1)))


def test_constant_truths_do_no_harm():
    calibration = Calibration.fit(np.arange(40.0)[:, None], np.full((40, 1), 10.0))
    said = predict(calibration, np.array([[5.0], [100.0]]))
    assert np.isfinite(said.mean).all()
    assert said.mean[0, 0] == pytest.approx(10.0, abs=1e-3)


def log_prediction():
    residuals = np.linspace(-0.3, 0.5, len(LEVELS))[:, None]
    center = np.log([[4.0], [8.0]])
    return Prediction(
        ("latency",), ("ms",), center, np.ones_like(center), LEVELS, residuals, (True,)
    )


def test_log_scale_answers_in_units():
    said = log_prediction()
    assert said.mean[:, 0] == pytest.approx([4.0, 8.0])
    assert (said.lower < said.mean).all()
    assert (said.upper > said.mean).all()
    assert said.upper[1, 0] / said.upper[0, 0] == pytest.approx(2.0)
    assert len(said) == 2


@given(st.floats(0.01, 0.99))
def test_probability_inverts_the_quantile(level):
    said = log_prediction()
    bound = said.quantile(level)[0, 0]
    assert said.probability_at_most(bound, "latency")[0] == pytest.approx(level, abs=1e-6)


def test_probability_at_the_ends():
    said = log_prediction()
    assert said.probability_at_most(1e-9, "latency").tolist() == [0.0, 0.0]
    assert said.probability_at_most(-1.0, "latency").tolist() == [0.0, 0.0]
    assert said.probability_at_most(1e9, "latency").tolist() == [1.0, 1.0]
    with pytest.raises(InputError, match="unknown target 'energy'; known: latency"):
        said.probability_at_most(1.0, "energy")
