"""Values of a study's trials, and the intervals that were announced for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from counted_studies import learned, told
from optuna.trial import TrialState, create_trial

from nasplug.studies.values import study_values


@pytest.fixture(scope="module")
def one() -> optuna.Study:
    return learned(1, 24, limited=True)


def test_values_of_a_study(one: optuna.Study) -> None:
    values = study_values(one)
    assert values.metrics == ("value",)
    assert values.lost.tolist() == [3]
    assert values.numbers.tolist() == [k for k in range(24) if k != 3]
    assert values.values[:, 0].tolist() == [t.value for t in one.trials if t.number != 3]
    missed = [t.constraints["convs"] > 0 for t in one.trials if t.number != 3]
    assert (~values.feasible).tolist() == missed
    assert any(missed)
    assert not values.foreseen[0]
    assert values.foreseen[10:].all()
    # What is expected is kept as losses, and shown as values.
    mean, lower, upper = values.expected[-1, 0]
    assert lower <= mean <= upper
    assert 0 <= lower <= 60
    assert 0 <= values.chance[-1] <= 1


def test_attributes_that_are_not_the_samplers_are_left_out() -> None:
    notes: list[Any] = [
        "text",
        {"expected": []},
        {"expected": {"losses": [["a", 1, 2], [1, 2, 3]]}},
        {"expected": {"losses": [[1, 0, 2]]}},
        {"expected": {"losses": None, "feasible": "yes"}},
        {"expected": {"losses": [[-5, -6, -4], [1, 0, 2]], "feasible": 0.5}},
    ]
    values = study_values(told([(float(k), 0.0) for k in range(6)], notes=notes))
    assert values.foreseen.tolist() == [False] * 5 + [True]
    assert values.expected[-1].tolist() == [[5, 4, 6], [1, 0, 2]]
    assert np.isnan(values.chance[:5]).all()


def test_predictions_stand_for_what_is_expected() -> None:
    note = {
        "predicted": {
            "latency": {"mean": 4.0, "lower": 3.0, "upper": 5.0},
            "accuracy": {"mean": 90.0, "lower": 89.0, "upper": 91.0},
            "latency@Pixel 3": {"mean": 9.0, "lower": 8.0, "upper": 10.0},
        }
    }
    study = told([(90.5, 6.0)], notes=[note])
    assert study_values(study).expected[0].tolist() == [[90, 89, 91], [4, 3, 5]]
    study = told([(6.0, 90.5)], ("minimize", "maximize"), notes=[note])
    assert study_values(study).expected[0].tolist() == [[4, 3, 5], [90, 89, 91]]
    # Two values of one direction: which of them is the latency, only a name can tell.
    study = told([(6.0, 1.0)], ("minimize", "minimize"), notes=[note])
    assert not study_values(study).foreseen.any()
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study.set_metric_names(["energy", "latency_ms"])
    assert study_values(study).expected[0, 1].tolist() == [4, 3, 5]
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study.set_metric_names(["latency_ms@Pixel 3", "latency"])
    assert study_values(study).expected[0].tolist() == [[9, 8, 10], [4, 3, 5]]


def test_trials_without_finite_values_are_lost() -> None:
    study = told([(1.0, 2.0), (float("inf"), 2.0)])
    study.add_trial(create_trial(state=TrialState.PRUNED))
    study.add_trial(create_trial(state=TrialState.RUNNING))
    values = study_values(study)
    assert values.numbers.tolist() == [0]
    assert values.lost.tolist() == [1, 2]
