"""Pictures of an Optuna study: its progress, and its sampler's predictions against the trials.

The room knows studies and Pareto fronts, and no search.

Example:
    >>> import optuna
    >>> from nasplug import plots
    >>> study = optuna.create_study(study_name="mine")
    >>> study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=3)
    >>> plots.hypervolume(study).savefig("progress.png")
"""

from __future__ import annotations

from nasplug.plots.pictures import calibration, hypervolume, predicted_observed
from nasplug.plots.study_fronts import pairs, parallel

__all__ = ["calibration", "hypervolume", "pairs", "parallel", "predicted_observed"]
