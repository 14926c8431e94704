"""A user's own Optuna study over a space of whole networks, whose candidates are a pool."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
from counting_predictors import sum_latency
from optuna.trial import TrialState

from nasplug.pareto import pareto_mask
from nasplug.sampling.candidate_features import CandidateFeatures
from nasplug.sampling.sampler import PredictorSampler
from nasplug.search_spaces import SearchSpace, space
from nasplug.searching.objectives import PredictedObjective, SuggestedParams, suggest

NETS = space("nnlqp:mobilenetv2")
POOL = 80


def sampler(of: SearchSpace = NETS, **options: Any) -> PredictorSampler:
    given = {"hardware": "RTX 3090", "objectives": ("more flops", "latency"), "seed": 0}
    predictors = {"latency": sum_latency(of)}
    return PredictorSampler(of, predictors=predictors, pool_size=POOL, **{**given, **options})


def study_of(one: PredictorSampler) -> optuna.Study:
    return optuna.create_study(directions=["maximize", "minimize"], sampler=one)


def measured(trial: optuna.Trial) -> tuple[float, float]:
    """Asks for every parameter, though some of them do not count."""
    arch = NETS.from_params(suggest(trial, NETS.distributions()))
    graph = NETS.to_graph(arch)
    return graph.total("flops"), 0.01 * len(graph)


def test_all_parameters_may_be_asked_for() -> None:
    one = sampler(constraints="latency<=2ms")
    study = study_of(one)
    study.optimize(measured, n_trials=8)
    archs = [NETS.from_params(trial.params) for trial in study.trials]
    assert len({arch.arch_id for arch in archs}) == 8
    assert all(one.candidates.find(arch) is not None for arch in archs)
    assert len(one.candidates) == POOL


def test_counts_and_predictions_may_be_objectives_together() -> None:
    one = sampler(objectives=("more flops", "latency", "params"))
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=one)
    # What runs counts as if it had ended as predicted.
    running = [study.ask(NETS.distributions()) for _ in range(4)]
    assert len({NETS.from_params(trial.params).arch_id for trial in running}) == 4
    study.optimize(PredictedObjective(one.candidates, one.objectives), n_trials=12)
    signs = np.array([-1.0, 1.0, 1.0])
    means = one.candidates.means(one.objectives) * signs
    done = np.array([trial.values for trial in study.trials[4:]]) * signs
    # Where nothing is uncertain, all trials are of the front.
    assert pareto_mask(np.vstack([done, means]))[: len(done)].all()


def test_another_seed_goes_on_with_the_study() -> None:
    first, other = sampler(), sampler(seed=1)
    study = study_of(first)
    study.optimize(PredictedObjective(first.candidates, first.objectives), n_trials=5)
    study.sampler = other
    study.optimize(PredictedObjective(other.candidates, other.objectives), n_trials=5)
    archs = [NETS.from_params(trial.params) for trial in study.trials]
    assert len({arch.arch_id for arch in archs}) == 10
    # What the other seed's pool did not hold was scored and added.
    assert len(other.candidates) > POOL
    assert all(other.candidates.find(arch) is not None for arch in archs)


def test_a_network_that_no_pool_holds_can_be_enqueued() -> None:
    one = sampler()
    study = study_of(one)
    mine = NETS.sample(np.random.default_rng(77))
    assert one.candidates.find(mine) is None
    study.enqueue_trial(NETS.to_params(mine))
    study.optimize(PredictedObjective(one.candidates, one.objectives), n_trials=3)
    first = study.trials[0]
    assert first.user_attrs["nasplug"]["arch_id"] == mine.arch_id
    assert first.values[0] == NETS.to_graph(mine).total("flops")
    rest = [NETS.from_params(trial.params).arch_id for trial in study.trials[1:]]
    assert mine.arch_id not in rest


def test_fixed_parameters_are_kept_and_the_rest_fits_them() -> None:
    one = sampler(constraints="latency<=3ms")
    study = study_of(one)
    fixed = {"k_0": 7, "d_2": 4, "k_2_4": 5, "w_6": 1.75}
    objective = PredictedObjective(one.candidates, one.objectives)
    for _ in range(4):
        study.enqueue_trial(fixed)
        trial = study.ask()
        # What is proposed has them already, so that the rest was chosen for them.
        assert {name: trial.relative_params[name] for name in fixed} == fixed
        study.tell(trial, objective(trial))
    ids = set()
    for done in study.trials:
        assert {name: done.params[name] for name in fixed} == fixed
        assert done.constraints["latency<=3ms"] <= 0
        arch = NETS.from_params(done.params)
        assert done.user_attrs["nasplug"]["arch"] == arch.text
        ids.add(arch.arch_id)
    assert len(ids) == 4


def test_a_union_asks_for_one_family_alone() -> None:
    union = space("nnlqp")
    one = sampler(union)
    study = study_of(one)
    study.optimize(PredictedObjective(one.candidates, one.objectives), n_trials=5)
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)
    for trial in study.trials:
        family = trial.params["family"]
        assert all(name == "family" or name.startswith(f"{family}.") for name in trial.params)


def test_parameters_are_suggested_when_they_are_read() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    trial = study.ask()
    params = SuggestedParams(trial, NETS.distributions())
    assert "k_0" in params
    assert "nothing" not in params
    assert len(params) == len(NETS.distributions())
    assert trial.params == {}
    value = params["k_0"]
    assert params["k_0"] == value
    assert trial.params == {"k_0": value}


def test_a_pool_keeps_what_was_tried_alone() -> None:
    one = PredictorSampler(NETS, seed=0, pool_size=POOL, warn_independent_sampling=False)
    study = study_of(one)
    study.optimize(measured, n_trials=14)
    tried = {NETS.from_params(trial.params).arch_id for trial in study.trials}
    first = one.pool_size // 4
    assert len(one.candidates) <= first + len(tried)
    assert tried - {arch.arch_id for arch in one.candidates.architectures[:first]}
    # What the process has seen before does not matter.
    again = PredictorSampler(NETS, seed=0, pool_size=POOL, warn_independent_sampling=False)
    resumed = study_of(again)
    resumed.add_trials(study.trials[:10])
    resumed.optimize(measured, n_trials=4)
    assert [t.params for t in resumed.trials] == [t.params for t in study.trials]


def test_totals_of_networks_lie_around_zero() -> None:
    rng = np.random.default_rng(0)
    archs = [NETS.sample(rng) for _ in range(30)]
    features = CandidateFeatures(NETS, archs, "imagenet")
    # Of squares far from zero the distances would be rounding errors.
    np.testing.assert_allclose(features.first["counts"].mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_array_equal(features(archs)["both"], features.first["both"])
