"""The Optuna sampler that is driven by predicted accuracy and latency."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nasplug.arguments import (
    checked_count,
    checked_dataset,
    checked_probability,
    checked_space,
    is_registered,
)
from nasplug.arrays import Mask
from nasplug.candidates.candidates import Candidates
from nasplug.candidates.constraints import Constraint, checked_hardware, parse_constraints
from nasplug.candidates.enumerated import EnumeratedCandidates
from nasplug.candidates.pool import POOL_SIZE, candidates_of
from nasplug.candidates.scoring import Scoring
from nasplug.objectives import checked_objectives
from nasplug.predicting.zoo import Scorer, zoo_name
from nasplug.predictors.hardware import Hardware
from nasplug.sampling.enumerated_choice import EnumeratedChoice
from nasplug.sampling.fixed_params import FixedParams
from nasplug.sampling.learned_candidates import learned_candidates
from nasplug.sampling.learned_choice import Choice, LearnedChoice
from nasplug.sampling.listed_choice import ListedChoice
from nasplug.sampling.predicted_choice import PredictedChoice, mismatch
from nasplug.sampling.study_trials import StudyTrials
from nasplug.sampling.trial_notes import write_notes
from nasplug.search_spaces import InputError, SearchSpace
from nasplug.studies.values import ATTRIBUTE, RETRY

__all__ = ["ATTRIBUTE", "PredictorSampler"]

EQUIVALENTS = ("once", "apart")
# User attribute of a study with the predictors whose values were a prior.
PRIOR = "nasplug:prior"
# Attributes of a sampler that are None until they are needed.
_MADE_ON_USE = ("_candidates", "_learned_choice", "_predicted_choice", "_fixed_params")

_logger = logging.getLogger(__name__)


class PredictorSampler(BaseSampler):
    """Sampler that finds the best architectures of a space in few trials.

    It learns from the study's trials: a Gaussian process for each of their values, and for each
    constraint that they set, over features of the architectures (see `trial_model`). Next comes
    the architecture of the largest expected improvement, of the dominated hypervolume if there are
    several values, times the probability of feasibility; all architectures of the space compete, or
    where they cannot be listed a pool that evolves with the trials. Values may be anything: the
    directions are the study's. With `hardware` the predicted latency is known from the first trial,
    with `prior="zoo"` the predicted accuracy is too; both are starting points that trials correct.

    With `objectives` the study's values are quantities that predictors know, and the largest
    expected improvement is by their predictions, brought to the scale of the trials by a line.

    In both cases an architecture that is predicted to miss one of `constraints` is not proposed
    while others are left, and none is proposed twice: one that a trial of the study holds already,
    under any equivalent spelling, is out, unless that trial failed. Everything but the predictions
    is read from the study's storage, so a study can be resumed, and shared by several processes. An
    objective may leave out parameters that do not count, such as those of a block that the network
    does not have.

    Parameters that are not the space's own are sampled at random. With `n_jobs > 1` or several
    processes the order of trials, and with it a seeded run, is not reproducible.

    Example:
        >>> import optuna
        >>> import nasplug
        >>> sampler = nasplug.PredictorSampler("nb201", "RTX 3090", ["latency<=5ms"], seed=0)
        >>> study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        >>> trial = study.ask(nasplug.space("nb201").distributions())
        >>> arch = nasplug.space("nb201").from_params(trial.params)  # to be trained and timed
        >>> study.tell(trial, [91.5, 4.2]).values  # accuracy in percent, latency in ms
        [91.5, 4.2]

    Args:
        space: A search space, or its name.
        hardware: Device to predict the latency for: a name, the path of a .toml file, a `Hardware`,
            or None if no latency is to be predicted.
        constraints: Constraints such as `"latency<=5ms"` on predicted quantities. Those that trials
            set by `trial.set_constraint` are learned, and need not be given.
        objectives: None to learn whatever the study's values are. Else what they are, in its
            order: one or two of `"accuracy"` (maximised), `"latency"`, `"flops"` and `"params"`
            (minimised), `"more flops"` and `"more params"` (maximised, as proxies where no accuracy
            is known), each taken from its predictor.
        batch_size: Images a forward pass, for the latency.
        dataset: Image set whose accuracy is meant, such as `"cifar10"`; the space's first if None.
        probability: Probability with which a constraint is to hold: one given as text, by
            prediction; one that trials set, by what they taught.
        seed: Seed for the pool, the first trials, ties, and parameters that are sampled at random.
        predictors: Predictors to use for `"accuracy"` and `"latency"` instead of the package's own.
            With one of accuracy, the objectives are those two if they are left out.
        prior: `"zoo"` to start from the accuracies that the zoo predicts, which the study's user
            attributes then say; None to start from nothing.
        equivalents: `"once"` to propose one of all architectures of equal function; `"apart"` to
            count them as different, as they are where each was trained or timed by itself.
        warn_independent_sampling: Whether to warn, once, when a parameter is sampled at random.
        pool_size: Architectures to score of a space that cannot be listed.

    Raises:
        InputError: If one of the arguments names nothing known, or a latency is asked for without
            hardware.
    """

    _candidates: Candidates | None
    _learned_choice: LearnedChoice | None
    _predicted_choice: PredictedChoice | None
    _fixed_params: FixedParams | None

    def __init__(
        self,
        space: str | SearchSpace,
        hardware: str | os.PathLike[str] | Hardware | None = None,
        constraints: str | Constraint | Iterable[str | Constraint] | None = None,
        *,
        objectives: str | Sequence[str] | None = None,
        batch_size: int = 1,
        dataset: str | None = None,
        probability: float = 0.9,
        seed: int | None = None,
        predictors: Mapping[str, Scorer] | None = None,
        prior: str | None = None,
        equivalents: str = "once",
        warn_independent_sampling: bool = True,
        pool_size: int = POOL_SIZE,
    ) -> None:
        self.space = checked_space(space)
        self.constraints = parse_constraints(constraints, probability)
        self.hardware = checked_hardware(hardware, self.constraints)
        self.probability = checked_probability(probability)
        if objectives is None and predictors is not None and "accuracy" in predictors:
            objectives = ("accuracy", "latency")
        if prior not in (None, "zoo"):
            raise InputError(f"unknown prior {prior!r}; use 'zoo' or None")
        if prior is not None and objectives is not None:
            raise InputError(
                "a prior needs a sampler that learns from trials; leave objectives and "
                "predictors out, or the prior"
            )
        if equivalents not in EQUIVALENTS:
            raise InputError(f"unknown equivalents {equivalents!r}; use 'once' or 'apart'")
        self.prior, self.equivalents = prior, equivalents
        self._objectives = () if objectives is None else checked_objectives(objectives)
        self.objectives = tuple(objective.name for objective in self._objectives)
        self.batch_size = checked_count(batch_size, "batch size")
        self.dataset = checked_dataset(self.space, dataset)
        self.pool_size = checked_count(pool_size, "pool size")
        self._predictors = dict(predictors or {})
        self._distributions = self.space.distributions()
        self.__dict__.update(dict.fromkeys(_MADE_ON_USE))
        self._trials = StudyTrials(self.space, equivalents, self.learns)
        self._lock = threading.RLock()
        self._entropy = seed
        self._random = RandomSampler(seed)
        self._warn = warn_independent_sampling

    def __getstate__(self) -> dict[str, Any]:
        # All that follows from the storage and the predictors is left out.
        derived = {"_lock", "_trials", *_MADE_ON_USE}
        state = {name: value for name, value in self.__dict__.items() if name not in derived}
        if is_registered(self.space):
            state["space"] = self.space.name
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, **dict.fromkeys(_MADE_ON_USE), _lock=threading.RLock())
        self.space = checked_space(self.space)
        self._trials = StudyTrials(self.space, self.equivalents, self.learns)

    @property
    def learns(self) -> bool:
        """Whether the study's values are learned from its trials."""
        return not self._objectives

    @property
    def candidates(self) -> Candidates:
        """Architectures with their predictions; scored on first use, which takes seconds."""
        with self._lock:
            if self._candidates is None:
                scoring = Scoring(
                    space=self.space,
                    wanted=("accuracy",) if self.learns and self.prior else self.objectives,
                    hardware=self.hardware,
                    constraints=self.constraints,
                    batch_size=self.batch_size,
                    dataset=self.dataset,
                    predictors=self._predictors,
                )
                if self.learns:
                    self._candidates = learned_candidates(scoring, self._generator, self.pool_size)
                else:
                    self._candidates = candidates_of(
                        scoring, self._objectives, seed=self._seed(), size=self.pool_size
                    )
            return self._candidates

    def use_hardware(self, hardware: Hardware) -> None:
        """Predict latencies for another description of the device from the next trial on.

        A callback does so that has calibrated the device, such as `LatencyCallback`.
        """
        with self._lock:
            self.hardware = checked_hardware(hardware, self.constraints)
            self.__dict__.update(dict.fromkeys(_MADE_ON_USE))

    def reseed_rng(self) -> None:
        """Forget the seed, as Optuna asks of a sampler that is shared by several jobs."""
        self._entropy = None
        self._random.reseed_rng()

    def _seed(self) -> int:
        # Entropy is drawn on first use, so that copies of an unseeded sampler do not agree.
        if self._entropy is None:
            self._entropy = int(np.random.SeedSequence().generate_state(1)[0])
        return self._entropy

    def _generator(self, *step: int) -> np.random.Generator:
        """The generator of a step: a function of seed and step, so that a resumed study agrees."""
        return np.random.default_rng([self._seed(), *step])

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The space's own parameters, from the first trial on."""
        completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if completed and not any(n in t.params for t in completed for n in self._distributions):
            return {}
        seen: dict[str, BaseDistribution] = {}
        for other in reversed(completed):
            if len(seen) == len(self._distributions):
                break
            used = other.distributions
            seen |= {n: used[n] for n in self._distributions if n in used and n not in seen}
        return {
            name: distribution
            for name, distribution in self._distributions.items()
            if not distribution.single() and seen.get(name, distribution) == distribution
        }

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters of the next architecture; others of `search_space` at random."""
        of_space = {n for n, d in search_space.items() if self._distributions.get(n) == d}
        params: dict[str, Any] = {}
        # With a mismatch the parameters are left open: sample_independent explains it if they are
        # ever asked for, and a study that has none of them goes on.
        if of_space and self._mismatch(study) is None:
            arch = self.candidates.architectures[self._propose(study, trial)]
            proposal = self.space.to_params(arch)
            params = {name: value for name, value in proposal.items() if name in of_space}
        for name, distribution in search_space.items():
            if name not in of_space:
                params[name] = self._random.sample_independent(study, trial, name, distribution)
        return params

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A random value, for a parameter that is not the space's own.

        Raises:
            InputError: If the parameter is the space's own and the study has other objectives.
        """
        if self._distributions.get(param_name) == param_distribution:
            reason = self._mismatch(study)
            if reason is not None:
                raise InputError(reason)
        retried = trial.system_attrs.get(RETRY, {})
        if param_name in retried:
            with contextlib.suppress(ValueError):
                value = retried[param_name]
                if param_distribution._contains(param_distribution.to_internal_repr(value)):
                    return value
        if self._warn and not param_distribution.single():
            self._warn = False
            _logger.warning(
                "Parameter %r of trial %d is sampled at random, because space %s has no such "
                "parameter; pass warn_independent_sampling=False to silence this warning.",
                param_name,
                trial.number,
                self.space.name,
            )
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Keep the architecture that was tried, which fixed parameters may have changed."""
        if self._candidates is None or self._mismatch(study) is not None:
            return
        arch = self._trials.arch(trial)
        if arch is not None:
            (index,) = self.candidates.indices([arch])
            claim = trial.user_attrs.get(ATTRIBUTE)
            text = self.candidates.architectures[index].text
            if not isinstance(claim, dict) or claim.get("arch") != text:
                self._claim(study, trial, index)
                claim = self.candidates.summary(index)
            write_notes(study, trial, {**claim, "arch": arch.text})

    def _mismatch(self, study: Study) -> str | None:
        """Sentence on why a study's values are not this sampler's objectives; None if they are."""
        if self.learns:
            return None
        return mismatch(study, self._objectives, self.hardware is not None)

    def _claim(
        self,
        study: Study,
        trial: FrozenTrial,
        index: int,
        announced: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a candidate, and the values announced for it, into its trial."""
        summary = self.candidates.summary(index)
        if announced:
            summary["expected"] = announced
        self._trials.claim(study, trial, summary)

    def _propose(self, study: Study, trial: FrozenTrial) -> int:
        """Choose a candidate and claim it, so that no other thread or process takes it too."""
        candidates = self.candidates
        fixed = self._trials.fixed(trial)
        with self._lock:
            allowed = self._with_fixed(fixed) if fixed else None
            others, held = self._trials.held(study, trial)
            # A trial that is tried again comes with the claim of the one that was lost.
            arch = None if fixed else self._trials.claimed(trial)
            index: int | None = None
            is_free, announced = True, None
            if arch is not None and self._trials.identity(arch) not in held:
                (index,) = candidates.indices([arch])
            while True:
                if index is None:
                    index, is_free, announced = self._choose(study, others, held, allowed)
                self._claim(study, trial, index, announced)
                identity = self._trials.identity(candidates.architectures[index])
                others, held = self._trials.held_after_claim(study, trial, identity)
                if not is_free or identity not in held:
                    return index
                index = None

    def _with_fixed(self, fixed: dict[str, Any]) -> Mask | None:
        """Mask of the candidates that have fixed parameters; None if no value is possible."""
        if self._fixed_params is None:
            self._fixed_params = FixedParams(self.candidates, self._objectives)
        return self._fixed_params(fixed)

    def _choose(
        self, study: Study, others: Sequence[FrozenTrial], held: set[str], allowed: Mask | None
    ) -> Choice:
        """Choose the next candidate, by predictions or by what trials taught."""
        if not self.learns:
            if self._predicted_choice is None:
                self._predicted_choice = PredictedChoice(
                    self.candidates, self._objectives, self._generator, self._trials
                )
            index, is_free = self._predicted_choice(others, held, allowed)
            return index, is_free, {}
        if self._learned_choice is None:
            is_enumerated = isinstance(self.candidates, EnumeratedCandidates)
            kind = EnumeratedChoice if is_enumerated else ListedChoice
            self._learned_choice = kind(
                self.candidates,
                self.dataset,
                self._generator,
                self._trials.by_id,
                self.probability,
                self.prior is not None,
            )
            if self.prior and PRIOR not in study.user_attrs:
                study.set_user_attr(PRIOR, {"accuracy": zoo_name(self.space, "accuracy")})
        predicted = {str(constraint) for constraint in self.constraints}
        tried = self._trials.tried(study, others, predicted)
        return self._learned_choice(tried, len(study.directions), held, allowed)
