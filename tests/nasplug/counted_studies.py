"""Studies for the tests of values and pictures: learned ones, and ones of given values."""

from __future__ import annotations

from functools import cache
from typing import Any

import optuna
from optuna.trial import create_trial

from nasplug import PredictorSampler, space
from nasplug.searching.objectives import suggest

NB201: Any = space("nb201")
LIMIT = 3.0


def counted(params: dict[str, Any]) -> tuple[float, float]:
    """Something to maximise and something to minimise, of the operations of a cell."""
    ops = list(params.values())
    return 10.0 * ops.count("nor_conv_3x3") + ops.count("nor_conv_1x1"), float(
        5 * ops.count("nor_conv_3x3") + 2 * ops.count("avg_pool_3x3")
    )


@cache
def learned(objectives: int, trials: int, limited: bool = False) -> optuna.Study:
    """A study in which `PredictorSampler` learns counts of operations; its trial 3 failed."""
    sampler = PredictorSampler("nb201", seed=0, probability=0.5, equivalents="apart")
    study = optuna.create_study(
        directions=["maximize", "minimize"][:objectives], sampler=sampler, study_name="mine"
    )

    def objective(trial: optuna.Trial) -> Any:
        params = suggest(trial, NB201.distributions())
        if trial.number == 3:
            raise RuntimeError("diverged")
        if limited:
            trial.set_constraint("convs", list(params.values()).count("nor_conv_3x3") - LIMIT)
        return counted(params)[:objectives]

    study.optimize(objective, n_trials=trials, catch=(RuntimeError,))
    return study


def told(
    rows: list[tuple[float, ...]],
    directions: tuple[str, ...] = ("maximize", "minimize"),
    **more: Any,
) -> optuna.Study:
    """A study of given values; `notes`, `missed`: of each trial."""
    study = optuna.create_study(directions=list(directions), study_name="told")
    for k, row in enumerate(rows):
        note = more.get("notes", [None] * len(rows))[k]
        missed = more.get("missed", [None] * len(rows))[k]
        study.add_trial(
            create_trial(
                values=list(row),
                user_attrs={} if note is None else {"nasplug": note},
                constraints=None if missed is None else {"c": missed},
            )
        )
    return study
