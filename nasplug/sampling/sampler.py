"""The Optuna sampler that is driven by predicted accuracy and latency."""

from __future__ import annotations

import logging
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
from nasplug.candidates.candidates import Candidates
from nasplug.candidates.constraints import (
    Constraint,
    Devices,
    checked_devices,
    for_devices,
    parse_constraints,
)
from nasplug.candidates.pool import POOL_SIZE, candidates_of
from nasplug.candidates.scoring import Scoring
from nasplug.objectives import canonical_name, checked_objectives
from nasplug.predicting.zoo import Scorer
from nasplug.predictors.features.runtimes import asked_way
from nasplug.predictors.hardware import Hardware
from nasplug.quantities import QUANTITIES, quantity_named
from nasplug.sampling.learned_candidates import learned_candidates
from nasplug.sampling.learned_choice import Choice
from nasplug.sampling.next_choice import ChoiceOptions, NextChoice
from nasplug.sampling.offered_params import OfferedParams, settled_params, whole_study
from nasplug.sampling.other_params import contains
from nasplug.sampling.predicted_choice import mismatch
from nasplug.sampling.study_trials import StudyTrials, all_trials
from nasplug.sampling.trial_notes import write_notes
from nasplug.search_spaces import InputError, SearchSpace
from nasplug.studies.values import ATTRIBUTE

__all__ = ["ATTRIBUTE", "PredictorSampler"]

EQUIVALENTS = ("once", "apart")
# Attributes of a sampler that are None until they are needed.
_MADE_ON_USE = ("_candidates", "_next")

_WARNING = (
    "Parameter %r of trial %d is sampled at random, because space %s has no such parameter; pass "
    "warn_independent_sampling=False to silence this warning."
)
_UNMET = "%s; architectures are proposed that miss it by least."
# No value of any parameter.
_NOTHING = object()

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
    does not have, and may offer a part of the choices alone.

    Parameters that are not the space's own, such as a learning rate, are learned with the
    architecture, and chosen with it; with `objectives` they are sampled at random. What pruned
    trials reported is learned from, and architectures like those of failed trials come later. With
    `n_jobs > 1` or several processes the order of trials, and with it a seeded run, is not
    reproducible.

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
            or None if no latency is to be predicted; or several of them. A quantity of one of
            several devices has its name, as in `"latency@RTX 3090<=5ms"`; without a name it is
            that on each.
        constraints: Constraints such as `"latency<=5ms"` on predicted quantities. Those that trials
            set by `trial.set_constraint` are learned, and need not be given.
        objectives: None to learn whatever the study's values are. Else what they are, in its
            order: one to four of `"accuracy"` and `"throughput"` (maximised), `"latency"`,
            `"memory"`, `"size"`, `"flops"` and `"params"` (minimised), `"more flops"` and
            `"more params"` (maximised, as proxies where no accuracy is known), each predicted or
            counted; `"memory:max"` says another direction.
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
        warn_independent_sampling: Whether to warn, once, when a parameter is sampled at random that
            cannot be learned.
        pool_size: Architectures to score of a space that cannot be listed.
        repeat: Most trials of one architecture. More than one are repeated measurements, whose
            values are averaged.
        precision: Precision for memory and file size; that of the latency's predictor if left out.
        quantities: Further quantities to predict or count, such as `"memory"`, which the notes of
            trials and results show.

    Raises:
        InputError: If one of the arguments names nothing known, or a latency is asked for without
            hardware.
    """

    _candidates: Candidates | None
    _next: NextChoice | None

    def __init__(
        self,
        space: str | SearchSpace,
        hardware: Devices = None,
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
        repeat: int = 1,
        precision: str | None = None,
        quantities: Sequence[str] = (),
    ) -> None:
        self.space = checked_space(space)
        self.constraints = parse_constraints(constraints, probability)
        self.devices = checked_devices(hardware, self.constraints)
        self.constraints = for_devices(self.constraints, self.devices)
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
        if self.devices:
            self._objectives = for_devices(self._objectives, self.devices)
        self.objectives = tuple(objective.name for objective in self._objectives)
        self.batch_size = checked_count(batch_size, "batch size")
        self.dataset = checked_dataset(self.space, dataset)
        self.pool_size = checked_count(pool_size, "pool size")
        self._predictors = dict(predictors or {})
        self.repeat = checked_count(repeat, "repeat")
        way = asked_way(precision=precision)
        self.precision = "" if way is None else way.precision
        unknown = next((q for q in quantities if quantity_named(q) is None), None)
        if unknown is not None:
            raise InputError(f"unknown quantity {unknown!r}; known: {', '.join(QUANTITIES)}")
        self.quantities = tuple(map(canonical_name, quantities))
        self._distributions = self.space.distributions()
        self._entropy = seed
        self._begin()
        self._random = RandomSampler(seed)
        self._warn = warn_independent_sampling
        self._warn_unmet = bool(self.constraints)

    @property
    def hardware(self) -> Hardware | None:
        """The first device."""
        return self.devices[0] if self.devices else None

    def _begin(self) -> None:
        """Set what follows from the storage and the predictors."""
        self.__dict__.update(dict.fromkeys(_MADE_ON_USE))
        self._trials = StudyTrials(self.space, self.equivalents, self.learns, self.repeat)
        self._offered = OfferedParams(self._distributions, self.space.name)
        # Parameters that were chosen for trials that have not ended, and trials that Optuna began.
        self._proposals: dict[int, dict[str, Any]] = {}
        self._begun: set[int] = set()
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        derived = {"_lock", "_trials", "_offered", "_proposals", "_begun", *_MADE_ON_USE}
        state = {name: value for name, value in self.__dict__.items() if name not in derived}
        if is_registered(self.space):
            state["space"] = self.space.name
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.space = checked_space(self.space)
        self._begin()

    @property
    def learns(self) -> bool:
        """Whether the study's values are learned from its trials."""
        return not self._objectives

    @property
    def candidates(self) -> Candidates:
        """Architectures with their predictions; scored on first use, which takes seconds."""
        with self._lock:
            if self._candidates is None:
                wanted = ("accuracy",) if self.learns and self.prior else self.objectives
                scoring = Scoring(
                    space=self.space,
                    wanted=(*wanted, *self.quantities),
                    hardware=self.hardware,
                    constraints=self.constraints,
                    batch_size=self.batch_size,
                    dataset=self.dataset,
                    predictors=self._predictors,
                    precision=self.precision,
                    others=self.devices[1:],
                )
                if self.learns:
                    self._candidates = learned_candidates(scoring, self._generator, self.pool_size)
                else:
                    self._candidates = candidates_of(
                        scoring, self._objectives, seed=self._seed(), size=self.pool_size
                    )
            return self._candidates

    @property
    def _choices(self) -> NextChoice:
        with self._lock:
            if self._next is None:
                options = ChoiceOptions(
                    objectives=self._objectives,
                    dataset=self.dataset,
                    probability=self.probability,
                    has_prior=self.prior is not None,
                    repeat=self.repeat,
                )
                self._next = NextChoice(
                    self.candidates, options, self._generator, self._trials, self._offered
                )
                self._check_limits()
            return self._next

    def _check_limits(self) -> None:
        """Warn, once, if no architecture is predicted to meet the constraints."""
        try:
            self.candidates.check_reachable(self.hardware)
        except InputError as error:
            if self._warn_unmet:
                self._warn_unmet = False
                _logger.warning(_UNMET, error)

    def use_hardware(self, hardware: Hardware) -> None:
        """Predict latencies for another description of the device from the next trial on.

        A callback does so that has calibrated the device, such as `LatencyCallback`.
        """
        with self._lock:
            checked_devices(hardware, self.constraints)
            # The first device, unless another one has the name.
            names = [device.name for device in self.devices]
            position = names.index(hardware.name) if hardware.name in names else 0
            self.devices = (
                *self.devices[:position],
                hardware,
                *self.devices[position + 1 :],
            )
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

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Note that Optuna has begun a trial, and will ask for its parameters one by one."""
        self._begun.add(trial._trial_id)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The space's own parameters, as the objective offers them, and those learned with them.

        In the first trial of a process it is empty, unless the trial was enqueued: what is offered
        is seen when it is suggested.
        """
        study = whole_study(study)
        if self._offered.is_known(study):
            own = self._offered.own(study)
            others = self._offered.others(study) if own and self.learns else {}
            return {n: d for n, d in (own | others).items() if not d.single()}
        if trial._trial_id in self._begun and not self._trials.fixed(trial):
            return {}
        completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if completed and not any(n in t.params for t in completed for n in self._distributions):
            return {}
        return {name: d for name, d in self._distributions.items() if not d.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters of the next trial; those of `search_space` that cannot be learned random.

        The space's own are left open where the study does not fit: `sample_independent` explains
        it if they are ever asked for, and a study that has none of them goes on.
        """
        study, params = whole_study(study), {}
        if self._names(search_space) and self._mismatch(study) is None:
            offered = {n: search_space[n] for n in self._names(search_space)}
            params = self._propose(study, trial, offered)
            params = {
                n: v
                for n, v in params.items()
                if n in search_space and contains(search_space[n], v)
            }
        for name, distribution in search_space.items():
            if name not in self._distributions and name not in params:
                params[name] = self._random.sample_independent(study, trial, name, distribution)
        return params

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The value of a parameter that is suggested for the first time, or in another form.

        Raises:
            InputError: If the parameter is the space's own and the study has other objectives, or
                none of its values is offered.
        """
        study = whole_study(study)
        is_first = not self._offered.is_known(study)
        self._offered.check(param_name, param_distribution)
        self._offered.note(study, param_name, param_distribution)
        is_own = param_name in self._distributions
        if is_own and (reason := self._mismatch(study)) is not None:
            raise InputError(reason)
        settled = settled_params(study, trial, self._distributions)
        if contains(param_distribution, settled.get(param_name, _NOTHING)):
            return settled[param_name]
        if is_own or (self.learns and self._is_other(study, trial, param_name)):
            params = self._proposals.get(trial._trial_id)
            offered = {param_name: param_distribution}
            if params is None:
                params = self._propose(study, trial, offered if is_own else {})
            value = params.get(param_name, _NOTHING)
            if is_own and not contains(param_distribution, value):
                value = self._propose(study, trial, offered).get(param_name, _NOTHING)
            if contains(param_distribution, value):
                return value
        is_learned = self.learns and (is_first or bool(self._offered.own(study)))
        if self._warn and not is_own and not is_learned and not param_distribution.single():
            self._warn = False
            _logger.warning(_WARNING, param_name, trial.number, self.space.name)
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _names(self, search_space: Mapping[str, Any]) -> set[str]:
        """The space's own parameters of a search space."""
        return {name for name in search_space if name in self._distributions}

    def _is_other(self, study: Study, trial: FrozenTrial, name: str) -> bool:
        """Whether a parameter that is not the space's is learned with the architecture."""
        if trial._trial_id in self._proposals:
            return True
        has_arch = any(
            self._trials.arch(t) is not None for t in all_trials(study) if t.state.is_finished()
        )
        return has_arch and name in self._offered.others(study)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Keep the architecture that was tried, which fixed parameters may have changed."""
        study = whole_study(study)
        self._proposals.pop(trial._trial_id, None)
        self._begun.discard(trial._trial_id)
        for name, distribution in trial.distributions.items():
            self._offered.note(study, name, distribution)
        arch = None if self._mismatch(study) is not None else self._trials.arch(trial)
        if arch is None or not self._names(trial.params):
            return
        claim = trial.user_attrs.get(ATTRIBUTE)
        if self._candidates is None:
            # Nothing was chosen: all was fixed.
            summary = {"arch": arch.text, "arch_id": arch.arch_id, "predicted": {}}
            self._trials.claim(study, trial, summary)
            return
        (index,) = self.candidates.indices([arch])
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

    def _propose(
        self, study: Study, trial: FrozenTrial, offered: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Choose the parameters of a trial, and claim the architecture.

        So no other thread or process takes it too.

        Args:
            study: The study.
            trial: The trial.
            offered: Distributions of some of the space's parameters, as they are offered.
        """
        candidates = self.candidates
        settled = settled_params(study, trial, self._distributions)
        with self._lock:
            others, held = self._trials.held(study, trial)
            allowed = self._choices.allowed(study, settled, offered, held)
            # A trial that is tried again comes with the claim of the one that was lost.
            is_new = allowed is None and trial._trial_id not in self._proposals
            arch = self._trials.claimed(trial) if is_new else None
            choice: Choice | None = None
            if arch is not None and self._trials.identity(arch) not in held:
                (index,) = candidates.indices([arch])
                beside = {n: v for n, v in settled.items() if n not in self._distributions}
                choice = Choice(index, True, others=beside)
            while True:
                if choice is None:
                    choice = self._choices(study, trial, others, held, allowed, settled)
                self._claim(study, trial, choice.index, choice.announced)
                arch = candidates.architectures[choice.index]
                identity = self._trials.identity(arch)
                others, held = self._trials.held_after_claim(study, trial, identity)
                if not choice.is_free or identity not in held:
                    break
                choice = None
            params = {**self.space.to_params(arch), **choice.others}
            self._proposals[trial._trial_id] = params
            return params
