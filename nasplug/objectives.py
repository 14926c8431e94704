"""How a trial of the search is evaluated: by prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nasplug.candidates import Candidates

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

__all__ = ["PredictedObjective", "suggest"]


def suggest(trial: Trial, distributions: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """Ask a trial for all parameters of a space."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    params: dict[str, Any] = {}
    for name, d in distributions.items():
        if isinstance(d, CategoricalDistribution):
            params[name] = trial.suggest_categorical(name, d.choices)
        elif isinstance(d, IntDistribution):
            params[name] = trial.suggest_int(name, d.low, d.high, step=d.step, log=d.log)
        elif isinstance(d, FloatDistribution):
            params[name] = trial.suggest_float(name, d.low, d.high, step=d.step, log=d.log)
        else:
            raise TypeError(f"parameter {name!r} has a distribution of unknown kind, {d}")
    return params


class PredictedObjective:
    """An Optuna objective whose values are the predicted means.

    Each constraint is set on the trial, under its text, as the relative distance to its bound: ≤ 0
    if the bound is met with the stated probability, 0.1 if it is missed by 10 %.

    Args:
        candidates: The scored space.
        objectives: Names of the values to return, in the study's order.
    """

    def __init__(self, candidates: Candidates, objectives: Sequence[str]) -> None:
        self._candidates = candidates
        self._distributions = candidates.space.distributions()
        self._means = candidates.means(objectives)
        self._violations = candidates.violations()

    def __call__(self, trial: Trial) -> tuple[float, ...]:
        """Evaluate a trial; the values are in the units of the objectives."""
        space = self._candidates.space
        cell = space.index(space.from_params(suggest(trial, self._distributions)))
        for constraint, row in zip(self._candidates.constraints, self._violations, strict=True):
            trial.set_constraint(str(constraint), float(row[cell]))
        return tuple(float(value) for value in self._means[cell])
