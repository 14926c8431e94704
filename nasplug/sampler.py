"""The Optuna sampler that is driven by predicted accuracy and latency."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState

from nasplug._checks import (
    checked_count,
    checked_dataset,
    checked_hardware,
    checked_objectives,
    checked_space,
)
from nasplug.candidates import OBJECTIVES, Candidates, Scorer, score
from nasplug.constraints import Constraint, parse_constraints
from nasplug.predictors.hardware import Hardware
from nasplug.ranking import best_candidate, relate
from nasplug.search_spaces import InputError, SearchSpace

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

__all__ = ["ATTRIBUTE", "PredictorSampler"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# The one user attribute of a trial: a small object with the architecture and its predictions.
ATTRIBUTE = "nasplug"
# A failed trial frees its architecture; every other one holds it.
_HOLDING = (TrialState.COMPLETE, TrialState.RUNNING, TrialState.WAITING, TrialState.PRUNED)
# Times to choose again when another process claims the same architecture at the same moment.
_CLAIMS = 20

_logger = logging.getLogger(__name__)


class PredictorSampler(BaseSampler):
    """Sampler that proposes the architectures a neural predictor expects most of.

    All architectures of the space are scored once, before the first trial. Those that would miss a
    constraint are never proposed while others are left, and no architecture is proposed twice: what
    a trial of the study holds already (under any equivalent spelling) is out, unless that trial
    failed. Among the rest the sampler takes the largest expected improvement over the trials so
    far, of the dominated hypervolume if there are two objectives. Everything but the predictions is
    read from the study's storage, so a study can be resumed, and shared by several processes.

    Parameters that are not the space's own are sampled at random. With `n_jobs > 1` or several
    processes the order of trials, and with it a seeded run, is not reproducible.

    Example:
        A study of `nb201` that trains each proposal::

            sampler = nasplug.PredictorSampler(
                "nb201", hardware="RTX 3090", constraints=["latency<=5ms"], seed=0
            )
            study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
            study.optimize(train_and_time, n_trials=50)  # returns accuracy in %, latency in ms

    Args:
        space: A finite search space, or its name.
        hardware: Device to predict the latency for: a name, the path of a .toml file, a `Hardware`,
            or None if neither an objective nor a constraint is a latency.
        constraints: Limits such as `"latency<=5ms"`, on predicted quantities.
        objectives: What the study's values are, in its order: one or two of `"accuracy"`
            (maximised), `"latency"`, `"flops"` and `"params"` (minimised).
        batch_size: Images a forward pass, for the latency.
        dataset: Image set whose accuracy is meant, such as `"cifar10"`; the space's first if None.
        probability: Probability with which a constraint given as text is to hold.
        seed: Seed for the first trial, for ties, and for parameters that are sampled at random.
        predictors: Predictors to use for `"accuracy"` and `"latency"` instead of the package's own.
        warn_independent_sampling: Whether to warn, once, when a parameter is sampled at random.

    Raises:
        InputError: If one of the arguments names nothing known, or a latency is asked for without
            hardware.
    """

    def __init__(
        self,
        space: str | SearchSpace,
        hardware: str | os.PathLike[str] | Hardware | None = None,
        constraints: str | Constraint | Iterable[str | Constraint] | None = None,
        *,
        objectives: Sequence[str] = ("accuracy", "latency"),
        batch_size: int = 1,
        dataset: str | None = None,
        probability: float = 0.9,
        seed: int | None = None,
        predictors: Mapping[str, Scorer] | None = None,
        warn_independent_sampling: bool = True,
    ) -> None:
        self.space = checked_space(space)
        self.constraints = parse_constraints(constraints, probability)
        self.hardware = checked_hardware(hardware, self.constraints)
        self.objectives = checked_objectives(objectives)
        self.batch_size = checked_count(batch_size, "batch size")
        self.dataset = checked_dataset(self.space, dataset)
        self._predictors = dict(predictors or {})
        self._distributions = self.space.distributions()
        self._candidates: Candidates | None = None
        self._lock = threading.RLock()
        self._entropy = seed
        self._random = RandomSampler(seed)
        self._warn = warn_independent_sampling

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.RLock())

    @property
    def candidates(self) -> Candidates:
        """All architectures with their predictions; scored on first use, which takes seconds."""
        with self._lock:
            if self._candidates is None:
                self._candidates = score(
                    self.space,
                    self.objectives,
                    hardware=self.hardware,
                    constraints=self.constraints,
                    batch_size=self.batch_size,
                    dataset=self.dataset,
                    predictors=self._predictors,
                )
            return self._candidates

    def reseed_rng(self) -> None:
        """Forget the seed, as Optuna asks of a sampler that is shared by several jobs."""
        self._entropy = None
        self._random.reseed_rng()

    def _generator(self, step: int) -> np.random.Generator:
        """The generator of a step: a function of seed and step, so that a resumed study agrees."""
        # Entropy is drawn on first use, so that copies of an unseeded sampler do not agree.
        if self._entropy is None:
            self._entropy = int(np.random.SeedSequence().generate_state(1)[0])
        return np.random.default_rng([self._entropy, step])

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The space's own parameters, from the first trial on."""
        completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if completed and not any(n in t.params for t in completed for n in self._distributions):
            return {}
        seen: dict[str, BaseDistribution] = {}
        for one in completed:
            seen.update(one.distributions)
        return {
            name: distribution
            for name, distribution in self._distributions.items()
            if not distribution.single() and seen.get(name, distribution) == distribution
        }

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters of the next architecture; others of `search_space` at random."""
        own = {n for n, d in search_space.items() if self._distributions.get(n) == d}
        params: dict[str, Any] = {}
        # With a mismatch the parameters are left open: sample_independent explains it if they are
        # ever asked for, and a study that has none of them goes on.
        if own and self._mismatch(study) is None:
            proposal = self.space.to_params(self.candidates.cells[self._propose(study, trial)])
            params = {name: value for name, value in proposal.items() if name in own}
        for name, distribution in search_space.items():
            if name not in own:
                params[name] = self._random.sample_independent(study, trial, name, distribution)
        return params

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A random value, for a parameter that the predictor knows nothing of.

        Raises:
            InputError: If the parameter is the space's own and the study has other objectives.
        """
        if self._distributions.get(param_name) == param_distribution:
            mismatch = self._mismatch(study)
            if mismatch is not None:
                raise InputError(mismatch)
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
        cell = self._cell(trial)
        if cell is not None:
            self._claim(study, trial, cell)

    def _mismatch(self, study: Study) -> str | None:
        """Why the study's values cannot be this sampler's objectives, in one sentence."""
        if self.hardware is None and "latency" in self.objectives:
            return (
                "the objective latency needs hardware; give the sampler hardware, or "
                'objectives=("accuracy", "flops")'
            )
        wanted = [OBJECTIVES[name].direction for name in self.objectives]
        given = [direction.name.lower() for direction in study.directions]
        if wanted == given:
            return None
        return (
            f"the study has directions {', '.join(given)}, but the sampler's objectives "
            f"{', '.join(self.objectives)} need {', '.join(wanted)}; create the study with these "
            "directions or give the sampler other objectives"
        )

    def _cell(self, trial: FrozenTrial) -> int | None:
        """The cell that a trial's parameters make up, or that a running trial has claimed."""
        params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        claim = trial.user_attrs.get(ATTRIBUTE)
        try:
            if all(name in params for name in self._distributions):
                return self.space.index(self.space.from_params(params))
            if isinstance(claim, dict) and not trial.state.is_finished():
                return self.space.index(self.space.parse(str(claim.get("arch"))))
        except InputError:
            pass  # parameters of these names, but not of this space
        return None

    def _claim(self, study: Study, trial: FrozenTrial, cell: int) -> None:
        summary = self.candidates.summary(cell)
        if trial.user_attrs.get(ATTRIBUTE) != summary:
            # A sampler is handed frozen trials, so the storage is the only way to write.
            study._storage.set_trial_user_attr(trial._trial_id, ATTRIBUTE, summary)

    def _propose(self, study: Study, trial: FrozenTrial) -> int:
        """Choose a cell and claim it, so that no other thread or process takes it too."""
        candidates = self.candidates
        fixed = {
            name: value
            for name, value in trial.system_attrs.get("fixed_params", {}).items()
            if name in self._distributions
        }
        allowed = None
        if fixed:
            rows = [self.space.to_params(cell) for cell in candidates.cells]
            allowed = np.array([all(row[n] == v for n, v in fixed.items()) for row in rows])
        with self._lock:
            others, held = self._held(study, trial)
            for _ in range(_CLAIMS):
                cell, is_free = self._choose(study, others, held, allowed)
                self._claim(study, trial, cell)
                # Whoever claims last sees the other's claim here and gives way.
                others, held = self._held(study, trial)
                if not is_free or candidates.cells[cell].arch_id not in held:
                    break
        return cell

    def _held(self, study: Study, trial: FrozenTrial) -> tuple[list[FrozenTrial], set[str]]:
        """The other trials that hold an architecture, and the `arch_id`s they hold."""
        trials = study.get_trials(deepcopy=False, states=_HOLDING)
        others = [other for other in trials if other.number != trial.number]
        cells = [self._cell(other) for other in others]
        return others, {self.candidates.cells[k].arch_id for k in cells if k is not None}

    def _choose(
        self, study: Study, others: Sequence[FrozenTrial], held: set[str], allowed: Mask | None
    ) -> tuple[int, bool]:
        """The next cell, and whether it is one that no trial holds."""
        candidates = self.candidates
        chosen = candidates.cheapest(allowed if allowed is not None and allowed.any() else None)
        generator = self._generator(len(held))
        free = np.array([candidates.ids[candidates.group[k]] not in held for k in chosen])
        feasible = candidates.feasible[chosen]
        pool = chosen[free & feasible]
        if not len(pool):
            rest = chosen[free]
            if not len(rest):
                return int(generator.choice(chosen)), False
            missed = np.maximum(candidates.violations()[:, rest], 0.0).sum(axis=0)
            return int(rest[np.argmin(missed)]), True
        mean, std, observed = self._on_observed_scale(study, others)
        horizon = mean[chosen[feasible]]
        return int(pool[best_candidate(mean[pool], std[pool], observed, generator, horizon)]), True

    def _on_observed_scale(
        self, study: Study, others: Sequence[FrozenTrial]
    ) -> tuple[Array, Array, Array]:
        """Predictions of all cells, and the trials so far, as values to be minimised."""
        mean, std = self.candidates.means(self.objectives), self.candidates.stds(self.objectives)
        predicted, paired, front, pending = [], [], [], []
        for trial in others:
            cell = self._cell(trial)
            if trial.state == TrialState.COMPLETE and np.isfinite(trial.values).all():
                if cell is not None:
                    predicted.append(mean[cell])
                    paired.append(trial.values)
                if all(value <= 0 for value in trial.constraints.values()):
                    front.append(trial.values)
            elif trial.state == TrialState.RUNNING and cell is not None:
                pending.append(cell)
        sign = np.array([OBJECTIVES[name].sign for name in self.objectives])
        p, o = np.array(predicted), np.array(paired)
        columns = [
            relate(mean[:, k], std[:, k], p[:, k] if len(p) else p, o[:, k] if len(o) else o)
            for k in range(len(sign))
        ]
        mean = np.stack([m for m, _ in columns], axis=1) * sign
        std = np.stack([s for _, s in columns], axis=1)
        observed = np.array(front).reshape(-1, len(sign)) * sign
        # A running trial counts as if it had ended as predicted, so that jobs spread out.
        return mean, std, np.vstack([observed, mean[pending]])
