from __future__ import annotations

import logging
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from optuna.trial import TrialState, create_trial
from table_predictors import TablePredictor

from nasplug.sampling.sampler import PredictorSampler
from nasplug.search_spaces import FiniteSpace, InputError, space
from nasplug.searching.objectives import PredictedObjective, suggest, suggest_architecture
from nasplug.studies.evaluation_table import Members

NB201 = space("nb201")
DISTRIBUTIONS = NB201.distributions()
BOTH = ["maximize", "minimize"]


class TestOptunaContract(
    BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase
):
    """Optuna's own suites, for studies that have none of the space's parameters."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: PredictorSampler("nb201", warn_independent_sampling=False)


@pytest.fixture(scope="module")
def tables(nb201_cache: Path) -> dict[str, TablePredictor]:
    return {q: TablePredictor(q) for q in ("accuracy", "latency")}


@pytest.fixture
def make(tables: dict[str, TablePredictor]) -> Callable[..., PredictorSampler]:
    def made(**options: Any) -> PredictorSampler:
        return PredictorSampler(
            "nb201", **{"hardware": "GTX 1080 Ti", "predictors": tables, "seed": 0, **options}
        )

    return made


def arch_ids(study: optuna.Study, states: tuple[TrialState, ...] | None = None) -> list[str]:
    return [NB201.from_params(t.params).arch_id for t in study.get_trials(states=states)]


def run(
    sampler: PredictorSampler, n_trials: int, storage: Any = None, n_jobs: int = 1
) -> optuna.Study:
    study = optuna.create_study(directions=BOTH, sampler=sampler, storage=storage)
    objective = PredictedObjective(sampler.candidates, sampler.objectives)
    study.optimize(objective, n_trials=n_trials, n_jobs=n_jobs)
    return study


def test_proposals_are_feasible_and_distinct(make: Callable[..., PredictorSampler]) -> None:
    study = run(make(constraints=["latency<=8ms", "params<=1M"]), 40)
    ids = arch_ids(study)
    assert len(set(ids)) == 40
    assert all(v <= 0 for t in study.trials for v in t.constraints.values())
    assert set(study.trials[0].constraints) == {"latency<=8ms", "params<=1000000"}


def test_scores_once(tables: dict[str, TablePredictor], make: Callable[..., Any]) -> None:
    before = tables["accuracy"].calls, tables["latency"].calls
    run(make(), 5)
    assert (tables["accuracy"].calls, tables["latency"].calls) == (before[0] + 1, before[1] + 1)


def test_takes_the_cheapest_of_equivalent_cells(make: Callable[..., PredictorSampler]) -> None:
    sampler = make()
    latency = sampler.candidates.quantities["latency"].mean
    for trial in run(sampler, 10).trials:
        arch = NB201.from_params(trial.params)
        same = [NB201.index(a) for a in NB201.equivalents(arch)]  # type: ignore[attr-defined]
        assert latency[NB201.index(arch)] == latency[same].min()  # type: ignore[attr-defined]


def test_what_a_trial_holds(make: Callable[..., PredictorSampler]) -> None:
    # So few are feasible that what is free again must come back soon.
    sampler = make(constraints="latency<=3.9ms")
    study = optuna.create_study(directions=BOTH, sampler=sampler)

    def ask() -> tuple[optuna.trial.Trial, str]:
        trial = study.ask()
        return trial, NB201.from_params(suggest(trial, DISTRIBUTIONS)).arch_id

    first, held = ask()
    second, other = ask()
    assert other != held  # held by a running trial
    study.tell(second, state=TrialState.PRUNED)
    study.tell(first, state=TrialState.FAIL)
    count = int(sampler.candidates.feasible[sampler.candidates.cheapest()].sum())
    proposed = [ask()[1] for _ in range(count)]
    assert held in proposed  # a failed trial frees it
    assert other not in proposed
    assert len(set(proposed)) == count


def test_waiting_trials_hold_theirs(make: Callable[..., PredictorSampler]) -> None:
    sampler = make()
    wanted = arch_ids(run(make(), 1))[0]
    study = optuna.create_study(directions=BOTH, sampler=sampler)
    asked = study.ask()  # running, so that the queue below stays in wait
    cell = next(a for a in NB201 if a.arch_id == wanted)  # type: ignore[attr-defined]
    study.tell(asked, state=TrialState.FAIL)
    study.enqueue_trial(NB201.to_params(cell))
    frozen = study._storage.get_trial(study._storage.create_new_trial(study._study_id))
    params = sampler.sample_relative(study, frozen, DISTRIBUTIONS)
    assert NB201.from_params(params).arch_id != wanted


def test_infeasible_ones_come_last_and_nearest_first(make: Callable[..., Any]) -> None:
    sampler = make(constraints="latency<=3.9ms")
    count = int(sampler.candidates.feasible[sampler.candidates.cheapest()].sum())
    assert 0 < count < 30
    study = run(sampler, count + 4)
    violations = [t.constraints["latency<=3.9ms"] for t in study.trials]
    assert all(v <= 0 for v in violations[:count])
    assert 0 < violations[count] <= violations[count + 1] <= violations[count + 2]


def test_limits_that_nothing_meets_are_named_once(
    make: Callable[..., PredictorSampler], caplog: pytest.LogCaptureFixture
) -> None:
    run(make(constraints="latency<=0.1ms"), 2)
    (text,) = [r.getMessage() for r in caplog.records if "meets latency<=0.1ms" in r.getMessage()]
    assert "no nb201 architecture" in text
    assert "the smallest reachable bound is latency<=" in text


def test_goes_on_when_all_is_tried(make: Callable[..., PredictorSampler]) -> None:
    sampler = make()
    study = optuna.create_study(directions=BOTH, sampler=sampler)
    cells = sampler.candidates.architectures
    study.add_trials(
        create_trial(
            params=NB201.to_params(cells[k]), distributions=DISTRIBUTIONS, state=TrialState.PRUNED
        )
        for k in sampler.candidates.cheapest()
    )
    assert NB201.from_params(suggest(study.ask(), DISTRIBUTIONS)) in cells


def test_seed_repeats_and_matters(make: Callable[..., PredictorSampler]) -> None:
    assert arch_ids(run(make(), 12)) == arch_ids(run(make(seed=1), 12))

    def first(sampler: PredictorSampler) -> str:
        study = optuna.create_study(sampler=sampler)
        return NB201.from_params(study.ask(NB201.distributions()).params).arch_id

    # Predictions decide alone; where nothing is predicted the seed does.
    samplers = [PredictorSampler("nb201", seed=seed) for seed in (0, 0, 1, 2)]
    ids = [first(sampler) for sampler in samplers]
    assert ids[0] == ids[1]
    assert len(set(ids)) > 1
    reseeded = [PredictorSampler("nb201", seed=0) for _ in range(4)]
    assert len({first(sampler) for sampler in reseeded if not sampler.reseed_rng()}) > 1  # type: ignore[func-returns-value]


def test_state_is_read_from_the_study(make: Callable[..., PredictorSampler]) -> None:
    whole = run(make(), 12)
    study = run(make(), 5)
    study.sampler = pickle.loads(pickle.dumps(make()))
    objective = PredictedObjective(study.sampler.candidates, study.sampler.objectives)
    study.optimize(objective, n_trials=7)
    assert [t.params for t in study.trials] == [t.params for t in whole.trials]


def test_a_pickled_sampler_is_small() -> None:
    one = PredictorSampler("nb201", seed=0, warn_independent_sampling=False)
    study = optuna.create_study(sampler=one)
    cells = space("nb201")

    def params(trial: optuna.Trial) -> float:
        arch = cells.from_params(suggest(trial, cells.distributions()))
        return cells.to_graph(arch).total("params")

    study.optimize(params, n_trials=12)
    content = pickle.dumps(one)
    assert len(content) < 100_000
    other = pickle.loads(content)
    study.optimize(params, n_trials=2)
    copy = optuna.create_study(sampler=other)
    copy.add_trials(study.trials[:12])
    copy.optimize(params, n_trials=2)
    assert [t.params for t in copy.trials] == [t.params for t in study.trials]


def test_same_in_another_process(make: Callable[..., PredictorSampler]) -> None:
    script = (
        "from table_predictors import TablePredictor; from nasplug.sampling.sampler import *;"
        "from nasplug.searching.objectives import *; import optuna;"
        "s = PredictorSampler('nb201', 'GTX 1080 Ti', seed=0, predictors="
        "{q: TablePredictor(q) for q in ('accuracy', 'latency')});"
        "study = optuna.create_study(directions=['maximize', 'minimize'], sampler=s);"
        "study.optimize(PredictedObjective(s.candidates, s.objectives), n_trials=6);"
        "print([t.params for t in study.trials])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    assert done.stdout.strip() == str([t.params for t in run(make(), 6).trials])


def test_threads_share_without_repeats(make: Callable[..., PredictorSampler]) -> None:
    study = run(make(), 24, n_jobs=3)
    assert len(set(arch_ids(study))) == 24


def test_a_claim_made_in_the_same_moment_gives_way(make: Callable[..., Any]) -> None:
    sampler = make()
    study = optuna.create_study(directions=BOTH, sampler=sampler)
    wanted = arch_ids(run(make(), 1))[0]
    cell = next(k for k, a in enumerate(sampler.candidates.architectures) if a.arch_id == wanted)
    rival = study._storage.create_new_trial(study._study_id)
    claim = sampler._claim

    def late_rival(study: Any, trial: Any, chosen: int, expected: Any) -> None:
        claim(study, trial, chosen, expected)
        study._storage.set_trial_user_attr(rival, "nasplug", sampler.candidates.summary(cell))

    sampler._claim = late_rival
    assert NB201.from_params(suggest(study.ask(), DISTRIBUTIONS)).arch_id != wanted


def test_user_attribute_tells_what_was_tried(make: Callable[..., PredictorSampler]) -> None:
    sampler = make()
    study = optuna.create_study(directions=BOTH, sampler=sampler)
    cell = NB201[77]  # type: ignore[index]
    study.enqueue_trial(NB201.to_params(cell))
    study.optimize(PredictedObjective(sampler.candidates, sampler.objectives), n_trials=2)
    noted = study.trials[0].user_attrs["nasplug"]
    assert (noted["arch"], noted["arch_id"]) == (cell.text, cell.arch_id)
    latency = noted["predicted"]["latency"]
    assert latency["lower"] < latency["mean"] < latency["upper"]
    assert latency["mean"] == study.trials[0].values[1]
    assert set(noted["predicted"]) == {"accuracy", "latency"}


def test_fixed_parameters(make: Callable[..., PredictorSampler]) -> None:
    sampler = make()
    study = optuna.create_study(directions=BOTH, sampler=sampler)
    study.enqueue_trial({"op_0_1": "none", "op_2_3": "avg_pool_3x3"})
    objective = PredictedObjective(sampler.candidates, sampler.objectives)
    study.optimize(objective, n_trials=1)
    assert study.trials[0].params["op_0_1"] == "none"
    assert study.trials[0].params["op_2_3"] == "avg_pool_3x3"
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study.sampler = optuna.samplers.PartialFixedSampler({"op_0_1": "skip_connect"}, sampler)
    study.optimize(objective, n_trials=3)
    for trial in study.trials[1:]:
        assert trial.params["op_0_1"] == "skip_connect"
        assert trial.user_attrs["nasplug"]["arch"] == NB201.from_params(trial.params).text


def test_values_are_builtin(make: Callable[..., PredictorSampler]) -> None:
    sampler = make()
    study = optuna.create_study(directions=BOTH, sampler=sampler)
    trial = study._storage.get_trial(study._storage.create_new_trial(study._study_id))
    searched = sampler.infer_relative_search_space(study, trial)
    assert searched == DISTRIBUTIONS
    params = sampler.sample_relative(study, trial, searched)
    assert all(type(value) is str for value in params.values())


def test_own_training_on_another_scale(make: Callable[..., PredictorSampler]) -> None:
    sampler = make()
    candidates = sampler.candidates
    study = optuna.create_study(directions=BOTH, sampler=sampler)
    predicted = PredictedObjective(candidates, sampler.objectives)
    noise = np.random.default_rng(0)

    def trained(trial: optuna.trial.Trial) -> tuple[float, float]:
        accuracy, latency = predicted(trial)
        return 0.5 * accuracy + noise.normal(0, 0.1), 3 * latency + noise.normal(0, 0.1)

    study.optimize(trained, n_trials=30)
    assert len(set(arch_ids(study))) == 30
    best = max(NB201_accuracy(candidates, t) for t in study.trials)
    assert best > 93.5


def NB201_accuracy(candidates: Any, trial: Any) -> float:
    cell = NB201.index(NB201.from_params(trial.params))  # type: ignore[attr-defined]
    return float(candidates.quantities["accuracy"].mean[cell])


def test_one_objective(make: Callable[..., PredictorSampler]) -> None:
    sampler = make(objectives="accuracy", hardware=None)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(PredictedObjective(sampler.candidates, ("accuracy",)), n_trials=5)
    values = [t.value for t in study.trials]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(
    ("directions", "options", "said"),
    [
        (["maximize"], {}, "need maximize, minimize"),
        (["minimize", "minimize"], {}, "need maximize, minimize"),
        (BOTH, {"hardware": None}, "latency needs hardware"),
    ],
)
def test_study_that_does_not_fit(
    make: Callable[..., PredictorSampler], directions: Any, options: Any, said: str
) -> None:
    study = optuna.create_study(directions=directions, sampler=make(**options))
    with pytest.raises(InputError, match=said):
        suggest(study.ask(), DISTRIBUTIONS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"objectives": ("accuracy", "beauty")}, "unknown objective 'beauty'"),
        ({"objectives": ("accuracy", "accuracy")}, "up to 4 different ones"),
        ({"objectives": ()}, "choose one"),
        ({"batch_size": 0}, "batch size 0"),
        ({"dataset": "mnist"}, "unknown image set 'mnist'"),
        ({"hardware": "RTX 9999"}, "not in the catalogue"),
        ({"hardware": None, "constraints": "latency<=5ms"}, "needs a device"),
        ({"constraints": "latency<=5"}, "has no unit"),
    ],
)
def test_bad_arguments(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        PredictorSampler("nb201", **{"hardware": "RTX 3090", **options})


def test_unknown_space() -> None:
    with pytest.raises(InputError, match="unknown search space 'nb202'"):
        PredictorSampler("nb202")


def test_other_parameters_are_random_and_told_once(
    make: Callable[..., PredictorSampler], caplog: pytest.LogCaptureFixture
) -> None:
    sampler = make()
    study = optuna.create_study(directions=BOTH, sampler=sampler)
    predicted = PredictedObjective(sampler.candidates, sampler.objectives)

    def objective(trial: optuna.trial.Trial) -> tuple[float, ...]:
        trial.suggest_float("learning_rate", 1e-3, 1, log=True)
        trial.suggest_int("epochs", 1, 9)
        return predicted(trial)

    with caplog.at_level(logging.WARNING, "nasplug.sampling.sampler"):
        study.optimize(objective, n_trials=3)
    (record,) = [r for r in caplog.records if r.name == "nasplug.sampling.sampler"]
    assert "'learning_rate' of trial 0" in record.getMessage()
    assert len(set(arch_ids(study))) == 3


def test_study_of_other_parameters_is_left_alone(tables: dict[str, TablePredictor]) -> None:
    before = tables["accuracy"].calls
    sampler = PredictorSampler("nb201", predictors=tables, warn_independent_sampling=False)
    study = optuna.create_study(directions=BOTH, sampler=sampler)
    study.optimize(lambda t: (t.suggest_float("x", 0, 1), 1.0), n_trials=3)
    assert tables["accuracy"].calls == before


def test_trials_overrule_predictions_that_meet_no_limit() -> None:
    nb201 = space("nb201")
    assert isinstance(nb201, FiniteSpace)
    some = Members(nb201, [arch for k, arch in enumerate(nb201) if k % 331 == 5])
    limit = "latency<=1ms"
    sampler = PredictorSampler(some, "RTX 3090", limit, seed=0)
    assert not sampler.candidates.feasible.any()
    study = optuna.create_study(direction="maximize", sampler=sampler)

    def objective(trial: optuna.Trial) -> float:
        arch = suggest_architecture(trial, some, some.distributions())
        convolutions = arch.text.count("nor_conv")
        trial.set_constraint("latency_ms<=1", 0.2 * convolutions - 0.9)
        return convolutions

    study.optimize(objective, n_trials=24)
    assert study.best_value == 4
