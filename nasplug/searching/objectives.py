"""The architecture that a sampler suggests for a trial, and its evaluation by prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from nasplug.candidates.candidates import Candidates
from nasplug.search_spaces import Architecture, SearchSpace

__all__ = ["PredictedObjective", "SuggestedParams", "suggest", "suggest_architecture"]


def suggest(trial: Trial, distributions: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """Have the study's sampler choose all parameters of a space for a trial."""
    return {name: _suggest(trial, name, d) for name, d in distributions.items()}


def suggest_architecture(
    trial: Trial, space: SearchSpace, distributions: Mapping[str, BaseDistribution]
) -> Architecture:
    """Have the study's sampler choose an architecture for a trial.

    Parameters are suggested one by one, as `space.from_params` reads them, so that those of a
    block which is not there, or of another family, are never suggested. The first one makes Optuna
    call the sampler's `sample_relative`, which settles the whole architecture.
    """
    return space.from_params(SuggestedParams(trial, distributions))


class SuggestedParams(Mapping[str, Any]):
    """The parameters of a trial; reading one for the first time calls `trial.suggest_…`."""

    def __init__(self, trial: Trial, distributions: Mapping[str, BaseDistribution]) -> None:
        self._trial = trial
        self._distributions = distributions
        self._suggested: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._suggested:
            self._suggested[name] = _suggest(self._trial, name, self._distributions[name])
        return self._suggested[name]

    def __contains__(self, name: object) -> bool:
        return name in self._distributions

    def __iter__(self) -> Iterator[str]:
        return iter(self._distributions)

    def __len__(self) -> int:
        return len(self._distributions)


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    d = distribution
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
    An architecture that is not among the candidates is scored too.
    """

    def __init__(self, candidates: Candidates, objectives: Sequence[str]) -> None:
        self._candidates = candidates
        self._names = tuple(objectives)
        self._distributions = candidates.space.distributions()

    def __call__(self, trial: Trial) -> tuple[float, ...]:
        """Evaluate a trial; the values are in the units of the objectives."""
        candidates = self._candidates
        arch = suggest_architecture(trial, candidates.space, self._distributions)
        (index,) = candidates.indices([arch])
        for constraint, row in zip(candidates.constraints, candidates.violations(), strict=True):
            trial.set_constraint(str(constraint), float(row[index]))
        return tuple(float(candidates.quantities[name].mean[index]) for name in self._names)
