"""Optuna's own cases for samplers, run on a sampler that learns from the study's trials."""

from __future__ import annotations

from collections.abc import Callable

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)

from nasplug.sampling.sampler import PredictorSampler
from nasplug.search_spaces import space
from nasplug.searching.objectives import suggest

NB201 = space("nb201")
# About half of all cells have more parameters.
LIMIT = 320_000


class TestLearning(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    """All three suites, for studies that have none of the space's parameters."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: PredictorSampler("nb201", warn_independent_sampling=False)


def counted(trial: optuna.Trial) -> tuple[float, float]:
    """Parameters and idle edges of a cell, as a user's own two values."""
    arch = NB201.from_params(suggest(trial, NB201.distributions()))
    graph = NB201.to_graph(arch)
    return graph.total("params"), float(graph.ops.count("skip_connect"))


def run(sampler: PredictorSampler, trials: int, objective: object = counted) -> optuna.Study:
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.optimize(objective, n_trials=trials)  # type: ignore[arg-type]
    return study


def ids(study: optuna.Study) -> list[str]:
    return [NB201.from_params(trial.params).arch_id for trial in study.trials]


@pytest.fixture
def learner() -> Callable[..., PredictorSampler]:
    return lambda **options: PredictorSampler("nb201", **{"seed": 0, **options})


def test_a_resumed_study_makes_the_same_decisions(learner: Callable[..., PredictorSampler]) -> None:
    whole = run(learner(), 14)
    half = run(learner(), 10)
    half.sampler = learner()
    half.optimize(counted, n_trials=4)
    assert [t.params for t in half.trials] == [t.params for t in whole.trials]
    assert len(set(ids(whole))) == 14


def test_failures_nan_and_infinity_do_not_stop_a_study(
    learner: Callable[..., PredictorSampler],
) -> None:
    def broken(trial: optuna.Trial) -> tuple[float, float]:
        first, second = counted(trial)
        if trial.number % 4 == 1:
            return float("nan"), second
        if trial.number % 4 == 2:
            return float("-inf"), second
        if trial.number == 7:
            raise ValueError("diverged")
        return first, second

    study = optuna.create_study(directions=["maximize", "minimize"], sampler=learner())
    study.optimize(broken, n_trials=16, catch=(ValueError,))
    states = [trial.state.name for trial in study.trials]
    assert states.count("FAIL") == 5
    done = [name for name, state in zip(ids(study), states, strict=True) if state == "COMPLETE"]
    assert len(set(done)) == len(done)


def test_what_fails_always_is_given_up(learner: Callable[..., PredictorSampler]) -> None:
    def fails(trial: optuna.Trial) -> tuple[float, float]:
        counted(trial)
        raise ValueError("never works")

    study = optuna.create_study(directions=["maximize", "minimize"], sampler=learner())
    study.optimize(fails, n_trials=12, catch=(ValueError,))
    tried = ids(study)
    assert max(tried.count(name) for name in tried) <= 2


def test_jobs_under_way_are_neither_repeated_nor_ignored(
    learner: Callable[..., PredictorSampler],
) -> None:
    study = run(learner(), 10)
    asked = [study.ask() for _ in range(4)]
    for trial in asked:
        suggest(trial, NB201.distributions())
    assert len(set(ids(study))) == 14


def test_learned_constraints_are_kept_more_often_than_by_chance(
    learner: Callable[..., PredictorSampler],
) -> None:
    def limited(trial: optuna.Trial) -> float:
        params, idle = counted(trial)
        trial.set_constraint("params", params - LIMIT)
        return params + idle

    def missed(sampler: optuna.samplers.BaseSampler) -> float:
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.optimize(limited, n_trials=30)
        return sum(t.constraints["params"] > 0 for t in study.trials) / 30

    assert missed(learner(probability=0.9)) < missed(optuna.samplers.RandomSampler(0)) / 2


def test_three_values_are_learned_too() -> None:
    sampler = PredictorSampler("nb201", seed=0)
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=sampler)
    study.optimize(lambda trial: (*counted(trial), float(trial.number)), n_trials=12)
    assert len(set(ids(study))) == 12


def test_the_study_says_what_its_prior_is() -> None:
    study = optuna.create_study(
        direction="maximize", sampler=PredictorSampler("nb201", prior="zoo", seed=0)
    )
    study.optimize(lambda trial: counted(trial)[0], n_trials=5)
    assert study.user_attrs["nasplug:prior"] == {"accuracy": "nb201-accuracy"}
    noted = study.trials[-1].user_attrs["nasplug"]
    assert noted["predicted"]["accuracy"]["mean"] > 0
    assert len(noted["expected"]["losses"]) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prior": "mine"}, "unknown prior 'mine'"),
        ({"prior": "zoo", "objectives": "accuracy"}, "leave objectives"),
        ({"equivalents": "never"}, "unknown equivalents 'never'"),
        ({"probability": 1.0}, "strictly between"),
    ],
)
def test_bad_arguments(options: dict[str, object], said: str) -> None:
    from nasplug.search_spaces import InputError

    with pytest.raises(InputError, match=said):
        PredictorSampler("nb201", **options)  # type: ignore[arg-type]


def test_a_space_that_cannot_be_listed_is_learned_too() -> None:
    nets = space("nnlqp:mobilenetv2")

    def flops(trial: optuna.Trial) -> float:
        arch = nets.from_params(suggest(trial, nets.distributions()))
        return nets.to_graph(arch).total("flops")

    def made() -> optuna.Study:
        sampler = PredictorSampler(nets, pool_size=120, seed=0)
        return optuna.create_study(direction="minimize", sampler=sampler)

    whole, half = made(), made()
    whole.optimize(flops, n_trials=12)
    half.optimize(flops, n_trials=8)
    half.sampler = PredictorSampler(nets, pool_size=120, seed=0)
    half.optimize(flops, n_trials=4)
    assert [t.params for t in half.trials] == [t.params for t in whole.trials]
    first = min(trial.value for trial in whole.trials[:5])
    assert whole.best_value < first
