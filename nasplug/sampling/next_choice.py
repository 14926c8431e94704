"""The next architecture of a study: by predictions alone, or by what its trials taught."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from nasplug.candidates.candidates import Candidates
from nasplug.candidates.enumerated import EnumeratedCandidates
from nasplug.objectives import Objective
from nasplug.predicting.zoo import zoo_name
from nasplug.sampling.enumerated_choice import EnumeratedChoice
from nasplug.sampling.fixed_params import FixedParams
from nasplug.sampling.learned_choice import Allowed, Choice, Generators, LearnedChoice
from nasplug.sampling.listed_choice import ListedChoice
from nasplug.sampling.offered_params import OfferedParams
from nasplug.sampling.other_params import OtherParams
from nasplug.sampling.predicted_choice import PredictedChoice
from nasplug.sampling.study_trials import StudyTrials

__all__ = ["ChoiceOptions", "NextChoice"]

# User attribute of a study with the predictors whose values were a prior.
PRIOR = "nasplug:prior"
_FOREIGN = (
    "%d trials of study %r have parameters, but no architecture of space %s; nothing is learned "
    "from them."
)

_logger = logging.getLogger("nasplug.sampling.sampler")


@dataclass(frozen=True)
class ChoiceOptions:
    """Options of a sampler that decide its choices; see `PredictorSampler`.

    Attributes:
        objectives: Predicted objectives; none to learn the study's values.
        dataset: Image set of the networks.
        probability: Probability with which learned constraints are to hold.
        has_prior: Whether predicted accuracies are a prior.
        repeat: Most trials of one architecture.
    """

    objectives: tuple[Objective, ...]
    dataset: str
    probability: float
    has_prior: bool
    repeat: int


class NextChoice:
    """Chooses candidates for the trials of studies.

    Args:
        candidates: The candidates.
        options: Options of the sampler.
        generators: Makes the generator of a step.
        trials: Architectures of the study's trials.
        offered: Distributions that objectives offer.
    """

    def __init__(
        self,
        candidates: Candidates,
        options: ChoiceOptions,
        generators: Generators,
        trials: StudyTrials,
        offered: OfferedParams,
    ) -> None:
        self._candidates, self._options = candidates, options
        self._generators, self._trials, self._offered = generators, trials, offered
        self._fixed_params = FixedParams(candidates, options.objectives)
        self._learned: LearnedChoice | None = None

    def allowed(
        self,
        study: Study,
        settled: Mapping[str, Any],
        offered: Mapping[str, BaseDistribution],
        held: set[str],
    ) -> Allowed | None:
        """The candidates that have the settled parameters and offered values.

        None if all are allowed, or if no value is possible.
        """
        candidates, own = self._candidates, self._candidates.space.distributions()
        fixed = {name: value for name, value in settled.items() if name in own}
        narrowed = {**self._offered.narrowed(study), **offered}
        narrowed = {name: d for name, d in narrowed.items() if d != own.get(name)}
        if not fixed and not narrowed:
            return None
        by_id = self._trials.by_id
        mask = self._fixed_params(
            fixed, narrowed, lambda indices: candidates.free(indices, held, by_id)
        )
        if mask is None:
            return None
        return Allowed(mask, self._fixed_params.adapted(fixed, narrowed))

    def __call__(
        self,
        study: Study,
        trial: FrozenTrial,
        others: Sequence[FrozenTrial],
        held: set[str],
        allowed: Allowed | None,
        settled: Mapping[str, Any],
    ) -> Choice:
        """Choose a candidate, and the parameters that are learned with it.

        Args:
            study: The study.
            trial: The trial.
            others: The other trials that have not failed.
            held: Identities that trials hold.
            allowed: Candidates to choose from; None for all.
            settled: Parameters of the trial that are fixed.
        """
        candidates, options = self._candidates, self._options
        if options.objectives:
            predicted = PredictedChoice(
                candidates, options.objectives, self._generators, self._trials
            )
            return Choice(*predicted(others, held, None if allowed is None else allowed.mask))
        if self._learned is None:
            self._learned = self._begun(study)
        told = {str(constraint) for constraint in candidates.constraints}
        tried = self._trials.tried(study, trial, told)
        seen = [t.others for t in tried if t.others]
        beside = {
            name: distribution
            for name, distribution in self._offered.others(study).items()
            if any(name in params for params in seen)
        }
        params = OtherParams(beside, settled, seen)
        count = len(study.directions)
        return self._learned(tried, count, held, allowed, params, options.repeat)

    def _begun(self, study: Study) -> LearnedChoice:
        """Make the choice that learns, and say what a user must know of the study."""
        candidates, options = self._candidates, self._options
        if options.has_prior and PRIOR not in study.user_attrs:
            study.set_user_attr(PRIOR, {"accuracy": zoo_name(candidates.space, "accuracy")})
        if foreign := self._trials.foreign(study):
            _logger.warning(_FOREIGN, foreign, study.study_name, candidates.space.name)
        is_enumerated = isinstance(candidates, EnumeratedCandidates)
        kind = EnumeratedChoice if is_enumerated else ListedChoice
        return kind(
            candidates,
            options.dataset,
            self._generators,
            self._trials.by_id,
            options.probability,
            options.has_prior,
        )
