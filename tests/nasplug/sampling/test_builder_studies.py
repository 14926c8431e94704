"""Studies of a user's own builder: what is proposed, fixed, restricted and continued."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import optuna
import pytest
import torch
from networks_by_trial import EXAMPLE, build, build_small
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)

import nasplug
from nasplug.search_spaces.builders import BuilderSpace

# Few candidates: a test need not find the best.
OPTIONS: dict[str, Any] = {"seed": 0, "pool_size": 120, "warn_independent_sampling": False}


@pytest.fixture(scope="module")
def space() -> BuilderSpace:
    return nasplug.space(build, example=EXAMPLE)


@pytest.fixture(scope="module")
def small() -> BuilderSpace:
    return nasplug.space(build_small, EXAMPLE)


class TestSampler(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    """All of Optuna's suites, for a sampler of a builder's space."""

    @pytest.fixture
    def sampler(self, small: BuilderSpace) -> Callable[[], BaseSampler]:
        return lambda: nasplug.PredictorSampler(small, warn_independent_sampling=False)


def train(model: torch.nn.Module, lr: float) -> float:
    """Stands for a training: more parameters and a certain learning rate are better."""
    count = sum(parameter.numel() for parameter in model.parameters())
    return math.log10(count) - abs(math.log10(lr) + 2)


def objective(space: BuilderSpace) -> Callable[[optuna.Trial], float]:
    return lambda trial: train(
        space.model(trial), lr=trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    )


def check_notes(space: BuilderSpace, study: optuna.Study) -> list[str]:
    """Check that each trial names the architecture that it ran; their ids."""
    archs = [space.from_params(trial.params) for trial in study.trials]
    named = [trial.user_attrs["nasplug"]["arch"] for trial in study.trials]
    assert [arch.arch_id for arch in archs] == [space.parse(text).arch_id for text in named]
    return [arch.arch_id for arch in archs]


def test_the_documented_snippet_meets_the_limit() -> None:
    space = nasplug.space(build, example=torch.zeros(1, 3, 32, 32))
    sampler = nasplug.PredictorSampler(
        space, hardware="Jetson Orin Nano", constraints="latency<=0.7ms", **OPTIONS
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective(space), n_trials=12)
    assert len(set(check_notes(space, study))) == 12
    for trial in study.trials:
        assert trial.user_attrs["nasplug"]["predicted"]["latency"]["mean"] <= 0.7
        assert 1e-4 <= trial.params["lr"] <= 1e-1
    assert len(pickle.dumps(sampler)) < 100_000


def test_a_study_goes_on_in_another_process(space: BuilderSpace) -> None:
    storage = optuna.storages.InMemoryStorage()
    options = {"study_name": "own", "storage": storage, "load_if_exists": True}
    for _ in range(2):
        other = nasplug.space(build, example=EXAMPLE)
        sampler = pickle.loads(pickle.dumps(nasplug.PredictorSampler(other, **OPTIONS)))
        study = optuna.create_study(direction="maximize", sampler=sampler, **options)
        study.optimize(objective(other), n_trials=5)
    assert len(set(check_notes(space, study))) == 10


def test_a_listed_space_is_tried_whole_before_anything_twice(small: BuilderSpace) -> None:
    study = optuna.create_study(
        direction="maximize", sampler=nasplug.PredictorSampler(small, **OPTIONS)
    )
    study.optimize(objective(small), n_trials=6)
    assert len(set(check_notes(small, study))) == 6


def test_enqueued_trials_are_run_as_they_are_asked(space: BuilderSpace) -> None:
    study = optuna.create_study(
        direction="maximize", sampler=nasplug.PredictorSampler(space, **OPTIONS)
    )
    whole = {"width": 16, "depth": 2, "kernel0": 3, "kernel1": 7, "lr": 0.01}
    study.enqueue_trial({"depth": 3, "kernel2": 5})
    study.enqueue_trial(whole)
    study.optimize(objective(space), n_trials=4)
    assert study.trials[0].params.items() >= {"depth": 3, "kernel2": 5}.items()
    assert study.trials[1].params == whole
    assert len(set(check_notes(space, study))) == 4


def test_a_fixed_part_is_searched_without_repetition(space: BuilderSpace) -> None:
    part = space.fix(kernel0=3, depth=2).restrict(width=(16, 32, 48))
    study = optuna.create_study(
        direction="maximize", sampler=nasplug.PredictorSampler(part, **OPTIONS)
    )
    study.optimize(objective(part), n_trials=9)
    ids = check_notes(part, study)
    assert len(set(ids)) == 9
    assert {trial.params["kernel0"] for trial in study.trials} == {3}
    assert {trial.params["width"] for trial in study.trials} == {16, 32, 48}


def test_trials_of_other_samplers_count(space: BuilderSpace) -> None:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0))
    study.optimize(objective(space), n_trials=4)
    study.sampler = nasplug.PredictorSampler(space, **OPTIONS)
    study.optimize(objective(space), n_trials=4)
    named = [trial.user_attrs["nasplug"]["arch_id"] for trial in study.trials[4:]]
    earlier = {space.from_params(trial.params).arch_id for trial in study.trials[:4]}
    assert len(set(named) - earlier) == 4


def test_a_builder_that_fails_fails_its_trial(space: BuilderSpace) -> None:
    def failing(trial: optuna.Trial) -> float:
        space.model(trial)
        if trial.number == 1:
            raise RuntimeError("out of memory")
        return float(trial.params["width"])

    study = optuna.create_study(sampler=nasplug.PredictorSampler(space, **OPTIONS))
    study.optimize(failing, n_trials=4, catch=(RuntimeError,))
    assert [trial.state.name for trial in study.trials].count("FAIL") == 1
