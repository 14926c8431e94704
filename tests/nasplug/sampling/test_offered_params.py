"""Parts of a space: fixed and enqueued parameters, offered choices, trials of other studies."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from networks_by_trial import EXAMPLE, build
from optuna.samplers import PartialFixedSampler, RandomSampler

import nasplug
from nasplug.sampling.sampler import PredictorSampler
from nasplug.search_spaces import InputError, space
from nasplug.searching.objectives import suggest_architecture

NB201 = space("nb201")
NAMES = list(NB201.distributions())
CHOICES = NB201.distributions()["op_0_1"].choices
CONV, SKIP, POOL = "nor_conv_3x3", "skip_connect", "avg_pool_3x3"


def log_flops(params: dict[str, Any]) -> float:
    return float(np.log10(NB201.to_graph(NB201.from_params(params)).total("flops")))


def offering(choices: Sequence[str]) -> Callable[[optuna.Trial], float]:
    """An objective that offers these choices for each edge."""

    def objective(trial: optuna.Trial) -> float:
        params = {name: trial.suggest_categorical(name, choices) for name in NAMES}
        frozen = trial.storage.get_trial(trial._trial_id)
        claim, fixed = frozen.user_attrs.get("nasplug"), frozen.system_attrs.get("fixed_params", {})
        if claim is not None and len(fixed) < len(NAMES):
            # What the trial holds while it runs.
            assert claim["arch"] == NB201.from_params(params).text
        return log_flops(params)

    return objective


def ids(study: optuna.Study) -> list[str]:
    return [NB201.from_params(trial.params).arch_id for trial in study.trials]


def named_right(study: optuna.Study) -> bool:
    return all(
        trial.user_attrs["nasplug"]["arch"] == NB201.from_params(trial.params).text
        for trial in study.trials
    )


def run(sampler: optuna.samplers.BaseSampler, count: int, **options: Any) -> optuna.Study:
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(offering(options.pop("choices", CHOICES)), n_trials=count)
    return study


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_fixed_slice_is_searched_without_repetitions() -> None:
    fixed = {"op_0_1": CONV, "op_0_2": SKIP, "op_2_3": POOL}
    study = run(PartialFixedSampler(fixed, PredictorSampler("nb201", seed=0)), 30)
    assert len(set(ids(study))) == 30
    every = (
        log_flops({**fixed, "op_1_2": a, "op_0_3": b, "op_1_3": c})
        for a in CHOICES
        for b in CHOICES
        for c in CHOICES
    )
    assert study.best_value == max(every) == pytest.approx(8.174, abs=1e-3)
    assert named_right(study)
    # Two samplers that fix parameters, one around the other.
    inner = PartialFixedSampler({"op_0_1": CONV}, PredictorSampler("nb201", seed=0))
    study = run(PartialFixedSampler({"op_0_2": SKIP}, inner), 6)
    assert all(t.params["op_0_1"] == CONV and t.params["op_0_2"] == SKIP for t in study.trials)
    assert len(set(ids(study))) == 6
    assert named_right(study)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_slice_is_tried_to_its_end_before_one_is_repeated() -> None:
    fixed = {name: CONV for name in NAMES[:5]}
    study = run(PartialFixedSampler(fixed, PredictorSampler("nb201", seed=0)), 7)
    assert sorted(ids(study)[:5]) == sorted(
        {NB201.from_params({**fixed, NAMES[5]: choice}).arch_id for choice in CHOICES}
    )


def test_a_part_of_the_choices_restricts_the_space() -> None:
    study = run(PredictorSampler("nb201", seed=0), 25, choices=CHOICES[1:])
    assert len(set(ids(study))) == 25
    assert all(CHOICES[0] not in trial.params.values() for trial in study.trials)
    assert study.best_value == max(log_flops(dict.fromkeys(NAMES, c)) for c in CHOICES[1:])
    assert named_right(study)


def test_a_study_resumed_with_fewer_or_more_choices_goes_on() -> None:
    before = run(PredictorSampler("nb201", seed=0), 8)
    for choices in (CHOICES[1:], (*CHOICES, "mine")):
        study = optuna.create_study(direction="maximize", sampler=PredictorSampler("nb201", seed=0))
        study.add_trials(before.trials)
        study.optimize(offering(choices), n_trials=8)
        assert len(set(ids(study))) == 16
        assert all(set(t.params.values()) <= set(choices) for t in study.trials[8:])


def test_choices_that_the_space_does_not_have_are_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match=r"'op_0_1' is offered with .*'mine'.* no value"):
        run(PredictorSampler("nb201", seed=0), 1, choices=("mine", "yours"))


def test_enqueued_trials_are_named_and_not_repeated() -> None:
    sampler = PredictorSampler("nb201", seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(NB201.to_params(NB201[77]))  # type: ignore[index]
    study.enqueue_trial({"op_0_1": "none", "op_1_3": SKIP})
    study.optimize(offering(CHOICES), n_trials=12)
    assert study.trials[0].params == NB201.to_params(NB201[77])  # type: ignore[index]
    assert (study.trials[1].params["op_0_1"], study.trials[1].params["op_1_3"]) == ("none", SKIP)
    assert len(set(ids(study))) == 12
    assert named_right(study)


def test_trials_of_another_space_are_left_out_and_this_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = optuna.create_study(direction="maximize", sampler=RandomSampler(0))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=5)
    study.sampler = PredictorSampler("nb201", seed=0)
    with caplog.at_level(logging.WARNING, "nasplug.sampling.sampler"):
        study.optimize(offering(CHOICES), n_trials=8)
    (record,) = [r for r in caplog.records if r.name == "nasplug.sampling.sampler"]
    assert "5 trials of study" in record.getMessage()
    assert "no architecture of space nb201" in record.getMessage()
    # The same choices as in a study of its own, from the first trial on.
    assert [t.params for t in study.trials[5:]] == [
        t.params for t in run(PredictorSampler("nb201", seed=0), 8).trials
    ]


def test_trials_of_other_samplers_are_learned_from() -> None:
    study = run(RandomSampler(0), 6)
    study.sampler = PredictorSampler("nb201", seed=0)
    study.optimize(offering(CHOICES), n_trials=6)
    assert len(set(ids(study))) == len(set(ids(study)[:6])) + 6
    # No trial is spent on a design, as enough are known.
    assert "expected" in study.trials[6].user_attrs["nasplug"]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_part_of_a_pool_gets_new_members_when_all_known_ones_were_tried() -> None:
    nets = space("nnlqp")

    def flops(trial: optuna.Trial) -> float:
        return nets.to_graph(suggest_architecture(trial, nets, nets.distributions())).total("flops")

    sampler = PredictorSampler("nnlqp", seed=0, pool_size=40)
    study = optuna.create_study(sampler=PartialFixedSampler({"family": "squeezenet"}, sampler))
    study.optimize(flops, n_trials=9)
    archs = [nets.from_params(trial.params) for trial in study.trials]
    assert {nets.family_of(arch) for arch in archs} == {"squeezenet"}
    assert len({arch.arch_id for arch in archs}) == 9


def test_narrower_numbers_of_a_builder_restrict_its_space() -> None:
    nets = nasplug.space(build, example=EXAMPLE)

    def objective(trial: optuna.Trial) -> float:
        # Narrower than the builder's own, and kernels that exist with enough depth alone.
        trial.suggest_int("width", 16, 32, step=8)
        for k in range(trial.suggest_int("depth", 2, 3)):
            trial.suggest_categorical(f"kernel{k}", (3, 5, 7))
        return nets.to_graph(nets.from_params(trial.params)).total("params")

    sampler = PredictorSampler(nets, seed=0, pool_size=60)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=14)
    archs = [nets.from_params(trial.params) for trial in study.trials]
    assert len({arch.arch_id for arch in archs}) == 14
    assert study.best_params == {"width": 32, "depth": 3, **{f"kernel{k}": 7 for k in range(3)}}
