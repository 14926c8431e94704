"""Outcomes of trials: repeated, estimated and failed ones."""

from __future__ import annotations

import numpy as np
import pytest

from nasplug.sampling.observations import Observations
from nasplug.sampling.trial_model import TrialModel

NONE = np.empty(0, np.intp)


def test_values_of_one_candidate_are_averaged_in_one_setting() -> None:
    losses = np.array([[1.0], [2.0], [3.0]])
    rows = np.array([4, 7, 4])
    averaged = Observations(rows, losses, {}, NONE).best
    assert averaged[0] == pytest.approx(averaged[1])
    apart = Observations(rows, losses, {}, NONE, settings=np.array([0, 1, 2])).best
    assert len(apart) == 3


def test_estimates_are_never_the_best_while_others_were_measured() -> None:
    losses = np.array([[1.0], [2.0], [3.0]])
    estimated = np.array([True, False, False])
    some = Observations(np.arange(3), losses, {}, NONE, estimated=estimated)
    assert len(some.best) == 2
    every = Observations(np.arange(3), losses, {}, NONE, estimated=np.ones(3, np.bool_))
    assert len(every.best) == 3


def test_those_like_failed_ones_are_less_likely_to_succeed() -> None:
    x = np.linspace(0, 6, 60)[:, None]
    rows, failed = np.arange(0, 30, 5), np.arange(40, 60, 5)
    blocks = {"structure": x, "counts": x, "both": x}
    observations = Observations(rows, np.sin(x[rows]), {}, NONE, failed=failed)
    posterior = TrialModel(blocks, {}).posterior(observations)
    assert posterior.success is not None
    assert posterior.success[50] < 0.3
    assert posterior.success[10] > 0.8
