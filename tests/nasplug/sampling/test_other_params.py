"""Parameters beside the architecture are learned with it."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import PartialFixedSampler

from nasplug.sampling.other_params import OtherParams
from nasplug.sampling.sampler import PredictorSampler
from nasplug.search_spaces import space
from nasplug.searching.objectives import suggest

NB201 = space("nb201")
PARAMS = {
    "batch": IntDistribution(16, 256, log=True),
    "depth": IntDistribution(2, 8, step=2),
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "momentum": FloatDistribution(0.0, 0.9),
    "optimizer": CategoricalDistribution(("sgd", "adam")),
}


def values(params: dict[str, Any]) -> float:
    """Logarithm of a cell's FLOPs, less the distance from a learning rate of 0.03."""
    arch = NB201.from_params({name: params[name] for name in NB201.distributions()})
    flops = float(np.log10(NB201.to_graph(arch).total("flops")))
    return flops - 0.5 * (np.log10(params["lr"]) + 1.5) ** 2


def trained(trial: optuna.Trial) -> float:
    suggest(trial, NB201.distributions())
    trial.suggest_float("lr", 1e-4, 1.0, log=True)
    return values(trial.params)


def test_points_are_values_and_back() -> None:
    others = OtherParams(PARAMS, {}, [])
    params = {"batch": 64, "depth": 6, "lr": 0.01, "momentum": 0.5, "optimizer": "adam"}
    point = others.encode(params)
    assert point == pytest.approx([0.5, 2 / 3, 0.5, 0.5 / 0.9, 1.0])
    back = others.decode(point)
    assert (back["batch"], back["depth"], back["optimizer"]) == (64, 6, "adam")
    assert back["lr"] == pytest.approx(0.01)
    rng = np.random.default_rng(0)
    for row in [*others.sample(20, rng), *others.near(point[None], 20, rng)]:
        drawn = others.decode(row)
        for name, distribution in PARAMS.items():
            assert distribution._contains(distribution.to_internal_repr(drawn[name]))
    settled = OtherParams(PARAMS, {"lr": 0.3}, [])
    assert {settled.decode(p)["lr"] for p in settled.sample(5, rng)} == {0.3}


def test_a_parameter_that_depends_on_a_choice_is_there_with_it_alone() -> None:
    seen = [{"optimizer": "adam", "lr": 0.1}, {"optimizer": "sgd", "lr": 0.1, "momentum": 0.5}]
    others = OtherParams(PARAMS, {}, seen)
    for point in others.sample(30, np.random.default_rng(0)):
        params = others.decode(point)
        assert ("momentum" in params) == (params["optimizer"] == "sgd")


def test_a_learning_rate_is_learned_with_the_architecture(
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = optuna.create_study(direction="maximize", sampler=PredictorSampler("nb201", seed=0))
    with caplog.at_level(logging.WARNING, "nasplug.sampling.sampler"):
        study.optimize(trained, n_trials=30)
    assert not [r for r in caplog.records if r.name == "nasplug.sampling.sampler"]
    # The best cell has 8.343.
    assert study.best_value > 8.25
    rates = np.log10([trial.params["lr"] for trial in study.trials])
    assert np.median(np.abs(rates[15:] + 1.5)) < 0.3
    ids = {NB201.from_params(trial.params).arch_id for trial in study.trials}
    assert len(ids) == 30
    # A study that was stopped goes on alike, as far as its first trial was not drawn anew.
    again = optuna.create_study(direction="maximize", sampler=PredictorSampler("nb201", seed=0))
    again.add_trials(study.trials[:12])
    again.optimize(trained, n_trials=2)
    assert [t.params for t in again.trials] == [t.params for t in study.trials[:14]]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_fixed_ones_are_kept_and_a_fixed_architecture_is_tuned() -> None:
    cell = {name: "nor_conv_3x3" for name in NB201.distributions()}
    sampler = PartialFixedSampler(cell, PredictorSampler("nb201", seed=0))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(trained, n_trials=15)
    assert study.best_value > 8.33
    study.enqueue_trial({"lr": 0.5})
    study.optimize(trained, n_trials=1)
    assert study.trials[-1].params["lr"] == 0.5


@pytest.mark.slow
def test_several_kinds_constraints_and_two_values() -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        # A parameter that is asked for before the architecture.
        lr = trial.suggest_float("lr", 1e-4, 1.0, log=True)
        arch = NB201.from_params(suggest(trial, NB201.distributions()))
        batch = trial.suggest_int("batch", 16, 256, log=True)
        if trial.suggest_categorical("optimizer", ["sgd", "adam"]) == "sgd":
            trial.suggest_float("momentum", 0.0, 0.9)
        if trial.number == 6:
            raise ValueError("diverged")
        trial.set_constraint("memory", batch - 200)
        flops = NB201.to_graph(arch).total("flops")
        return float(np.log10(flops)) - (np.log10(lr) + 2) ** 2, flops / batch

    sampler = PredictorSampler("nb201", seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.optimize(objective, n_trials=16, catch=(ValueError,))
    assert sum(trial.state.is_finished() for trial in study.trials) == 16
    assert "expected" in study.trials[-1].user_attrs["nasplug"]


def test_they_are_part_of_the_relative_search_space() -> None:
    study = optuna.create_study(direction="maximize", sampler=PredictorSampler("nb201", seed=0))
    study.optimize(trained, n_trials=4)
    trial = study.ask()
    assert trial.relative_params.keys() == {*NB201.distributions(), "lr"}
    assert trial.suggest_float("lr", 1e-4, 1.0, log=True) == trial.relative_params["lr"]
    assert trial.suggest_int("new", 1, 5) in range(1, 6)
