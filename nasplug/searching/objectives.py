"""How a trial of the search is evaluated: by prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nasplug.candidates.scored import Candidates

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

__all__ = ["Asked", "PredictedObjective", "suggest"]


def suggest(trial: Trial, distributions: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """Ask a trial for all parameters of a space."""
    return dict(Asked(trial, distributions))


class Asked(Mapping[str, Any]):
    """A space's parameters, each asked of a trial when it is first read.

    `space.from_params(Asked(trial, space.distributions()))` asks for those alone that count: not
    for the kernel of a block that is not there, nor for the choices of another family.

    Args:
        trial: The trial.
        distributions: Of the parameters.
    """

    def __init__(self, trial: Trial, distributions: Mapping[str, BaseDistribution]) -> None:
        self._trial = trial
        self._distributions = distributions
        self._values: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            self._values[name] = _suggested(self._trial, name, self._distributions[name])
        return self._values[name]

    def __contains__(self, name: object) -> bool:
        return name in self._distributions

    def __iter__(self) -> Iterator[str]:
        return iter(self._distributions)

    def __len__(self) -> int:
        return len(self._distributions)


def _suggested(trial: Trial, name: str, d: BaseDistribution) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(d, CategoricalDistribution):
        return trial.suggest_categorical(name, d.choices)
    if isinstance(d, IntDistribution):
        return trial.suggest_int(name, d.low, d.high, step=d.step, log=d.log)
    if isinstance(d, FloatDistribution):
        return trial.suggest_float(name, d.low, d.high, step=d.step, log=d.log)
    raise TypeError(f"parameter {name!r} has a distribution of unknown kind, {d}")


class PredictedObjective:
    """An Optuna objective whose values are the predicted means.

    Each constraint is set on the trial, under its text, as the relative distance to its bound: ≤ 0
    if the bound is met with the stated probability, 0.1 if it is missed by 10 %.

    Args:
        candidates: The scored candidates; what a trial has beside them is scored too.
        objectives: Names of the values to return, in the study's order.
    """

    def __init__(self, candidates: Candidates, objectives: Sequence[str]) -> None:
        self._candidates = candidates
        self._names = tuple(objectives)
        self._distributions = candidates.space.distributions()

    def __call__(self, trial: Trial) -> tuple[float, ...]:
        """Evaluate a trial; the values are in the units of the objectives."""
        candidates = self._candidates
        arch = candidates.space.from_params(Asked(trial, self._distributions))
        (cell,) = candidates.positions([arch])
        for constraint, row in zip(candidates.constraints, candidates.violations(), strict=True):
            trial.set_constraint(str(constraint), float(row[cell]))
        return tuple(float(candidates.quantities[name].mean[cell]) for name in self._names)
