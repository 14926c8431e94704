"""Limits on latencies in anyone's objective."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from torch import nn, zeros

import nasplug
from nasplug.sampling.latency_limit import PREDICTED, network_of, probability_at_most
from nasplug.search_spaces import InputError

EXAMPLE = zeros(1, 3, 32, 32)


def network(width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3))


def objective(trial: optuna.Trial, **options: Any) -> float:
    model = network(trial.suggest_categorical("width", (8, 2048)))
    predicted = nasplug.latency_constraint(
        trial, model, EXAMPLE, "Raspberry Pi 4", "latency <= 100 ms", **options
    )
    assert predicted.mean <= 100
    return float(trial.params["width"])


@pytest.mark.parametrize("sampler", [optuna.samplers.TPESampler, optuna.samplers.RandomSampler])
def test_networks_beyond_the_limit_are_not_trained(sampler: Any) -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler(seed=0))
    study.enqueue_trial({"width": 8})
    study.enqueue_trial({"width": 2048})
    study.optimize(objective, n_trials=2)
    small, large = study.trials
    assert small.state.name == "COMPLETE"
    assert large.state.name == "PRUNED"
    assert small.constraints["latency<=100ms"] < 0 < large.constraints["latency<=100ms"]
    told = large.user_attrs[PREDICTED]
    assert 100 < told["lower"] < told["mean"] < told["upper"]
    assert told["hardware"] == "Raspberry Pi 4"
    graph = network_of(told["network"])
    assert graph is not None
    assert graph.total("flops") > 1e9


def test_several_values_are_pruned_too() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.enqueue_trial({"width": 2048})
    study.optimize(lambda trial: (objective(trial), 1.0), n_trials=1)
    assert study.trials[0].state.name == "PRUNED"


def test_a_fixed_trial_is_told_as_well() -> None:
    with pytest.raises(optuna.TrialPruned, match=r"missed with probability 1\.00.*Raspberry Pi 4"):
        objective(optuna.trial.FixedTrial({"width": 2048}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("constraint", "missed"),
    [
        ("fps>=1", "fps>=100000"),
        ("memory<=10MB", "memory<=10kB"),
        ("params<=1M", "params<=100"),
        ("size<=1MB", "size<=1kB"),
    ],
)
def test_other_quantities_are_limited_too(constraint: str, missed: str) -> None:
    study = optuna.create_study()
    trial = study.ask()
    nasplug.latency_constraint(trial, network(8), EXAMPLE, "Raspberry Pi 4", constraint)
    (distance,) = study.trials[0].constraints.values()
    assert distance < 0
    with pytest.raises(optuna.TrialPruned, match="is missed"):
        nasplug.latency_constraint(trial, network(8), EXAMPLE, "Raspberry Pi 4", missed)


@pytest.mark.parametrize(
    ("constraint", "reason"),
    [
        ("accuracy>=5%", "neither an upper limit on a latency, nor a lower one on a throughput"),
        ("fps<=4", "neither an upper limit on a latency, nor a lower one on a throughput"),
        ("latency>=4ms", "neither an upper limit on a latency, nor a lower one on a throughput"),
        ("latency<4ms", "use <= or >="),
    ],
)
def test_other_constraints_are_refused(constraint: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        nasplug.latency_constraint(
            optuna.trial.FixedTrial({}), network(8), EXAMPLE, "RTX 3090", constraint
        )


def test_probabilities_follow_the_interval() -> None:
    predicted: Any = SimpleNamespace(mean=2.0, lower=1.0, upper=8.0)
    expected = {1.0: 0.05, 2.0: 0.5, 8.0: 0.95}
    for bound, probability in expected.items():
        assert math.isclose(probability_at_most(predicted, bound), probability, abs_tol=1e-6)
    certain: Any = SimpleNamespace(mean=2.0, lower=2.0, upper=2.0)
    assert [probability_at_most(certain, bound) for bound in (1.9, 2.0, 2.1)] == [0.0, 1.0, 1.0]
    open_end: Any = SimpleNamespace(mean=2.0, lower=0.0, upper=8.0)
    assert probability_at_most(open_end, 1.0) == 0.5


def test_an_interval_that_says_nothing_is_told_as_orders_of_magnitude() -> None:
    study = optuna.create_study()
    with pytest.raises(optuna.TrialPruned, match=r"to take \w+ of ms \(\w+ to \w+\) on RK3588"):
        nasplug.latency_constraint(
            study.ask(), network(8), EXAMPLE, "RK3588", "latency<=0.001ms", unit="npu"
        )
