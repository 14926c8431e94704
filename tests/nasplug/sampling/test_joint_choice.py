"""The choice of a candidate together with the parameters beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optuna.distributions import FloatDistribution

from nasplug.sampling.joint_choice import JointTrials, choose_jointly
from nasplug.sampling.observations import Observations
from nasplug.sampling.other_params import OtherParams
from nasplug.sampling.trial_model import TrialModel

X = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
NONE = np.empty(0, np.intp)


def loss(row: int, rate: float) -> float:
    """A loss that is smallest for the largest first feature at a rate near its middle."""
    return float(-X[row, 0] + 6 * (rate - 0.5 - 0.1 * np.tanh(X[row, 1])) ** 2)


@pytest.mark.parametrize("settled", [{}, pytest.param({"rate": 0.9}, marks=pytest.mark.slow)])
def test_both_are_found_in_few_trials(settled: dict[str, Any]) -> None:
    others = OtherParams({"rate": FloatDistribution(0.0, 1.0)}, settled, [])
    model = TrialModel({"structure": X, "counts": X, "both": X}, {})
    rows, rates = [0, 1, 2], [settled.get("rate", rate) for rate in (0.1, 0.6, 0.9)]
    for step in range(17):
        losses = np.array([[loss(k, rate)] for k, rate in zip(rows, rates, strict=True)])
        observations = Observations(np.array(rows), losses, {}, NONE)
        empty = np.empty((0, 1))
        trials = JointTrials(observations, np.array(rates)[:, None], empty, empty)
        left = np.setdiff1d(np.arange(len(X)), rows)
        row, params, posterior = choose_jointly(
            model, trials, left, others, 0.5, np.random.default_rng(step)
        )
        assert posterior.mean.shape == (1, 1)
        rows.append(row)
        rates.append(params["rate"])
    if settled:
        assert set(rates) == {0.9}
    best = min(loss(k, rate) for k, rate in zip(rows, rates, strict=True))
    grid = settled.values() or np.linspace(0, 1, 101)
    assert best < min(loss(k, rate) for k in range(len(X)) for rate in grid) + 0.1
