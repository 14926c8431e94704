"""The sampler where all of a space of hundreds of thousands compete: NAS-Bench-101."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from coded_table import DEVICE, NB, SPREAD, Table, front, totals, truth
from counting_predictors import LEVELS, QUANTILES

from nasplug import PredictorSampler
from nasplug.searching.objectives import suggest

optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_a_search_by_prediction_over_all_of_the_space() -> None:
    sampler = PredictorSampler(
        NB,
        DEVICE,
        objectives=("more flops", "latency"),
        predictors={"latency": Table()},
        seed=0,
    )
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    flops = totals()["flops"]
    tried = []

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        row = NB.index(NB.from_params(suggest(trial, NB.distributions())))  # type: ignore[attr-defined]
        tried.append(row)
        return float(flops[row]), float(truth()[row])

    study.optimize(objective, n_trials=25)
    assert len(set(tried)) == 25
    assert len(front(np.array(tried))) >= 20
    claim = study.trials[3].user_attrs["nasplug"]
    said = claim["predicted"]["latency"]["mean"]
    assert said == pytest.approx(truth()[tried[3]], rel=1e-9)


def learn(sampler: PredictorSampler, count: int, study: optuna.Study | None = None) -> Any:
    """A study whose value is how little a cell has of what a made-up task does not want."""
    counts = NB.counts()  # type: ignore[attr-defined]
    weights = np.random.default_rng(5).normal(size=counts.shape[1])

    def objective(trial: optuna.Trial) -> float:
        row = NB.index(NB.from_params(suggest(trial, NB.distributions())))  # type: ignore[attr-defined]
        return float(counts[row] @ weights)

    made = study or optuna.create_study(sampler=sampler)
    made.sampler = sampler
    made.optimize(objective, n_trials=count)
    return made, counts @ weights


def archs(study: optuna.Study) -> list[str]:
    return [NB.from_params(trial.params).arch_id for trial in study.trials]


def test_a_study_learns_over_all_of_the_space() -> None:
    study, values = learn(PredictorSampler("nb101", seed=0), 20)
    assert len(set(archs(study))) == 20
    # One of the best percent, where the best of 20 cells at random is one of the best five.
    assert (values < study.best_value).mean() < 0.01
    # A seed repeats, and a study goes on as if it had not been broken off.
    again, _ = learn(PredictorSampler("nb101", seed=0), 9)
    assert archs(again) == archs(study)[:9]
    resumed, _ = learn(PredictorSampler("nb101", seed=0), 3, again)
    assert archs(resumed) == archs(study)[:12]


def test_a_learning_study_keeps_predicted_limits() -> None:
    bound = float(np.quantile(truth(), 0.2))
    sampler = PredictorSampler(
        "nb101", DEVICE, f"latency<={bound:.6f}ms", predictors={"latency": Table()}, seed=1
    )
    # One of accuracy is not known, and the values are learned.
    study, _ = learn(sampler, 10)
    rows = [NB.index(NB.from_params(t.params)) for t in study.trials]  # type: ignore[attr-defined]
    reach = float(np.exp(SPREAD * np.interp(0.9, LEVELS, QUANTILES)))
    assert (truth()[rows] * reach <= bound).all()
