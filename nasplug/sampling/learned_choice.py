"""The next architecture of a study whose values are learned from its trials."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from nasplug.arrays import Array, Indices, Mask
from nasplug.candidates.candidates import Candidates
from nasplug.objectives import OBJECTIVES
from nasplug.pareto import pareto_mask
from nasplug.sampling.announced_intervals import announced_values
from nasplug.sampling.fixed_params import Adapted
from nasplug.sampling.joint_choice import JointTrials, choose_jointly
from nasplug.sampling.learning_curves import estimated_finals
from nasplug.sampling.other_params import OtherParams
from nasplug.sampling.trial_model import Observations, TrialModel, spread_design
from nasplug.sampling.tried import Tried

__all__ = ["Allowed", "Choice", "Generators", "LearnedChoice", "Step"]

# Makes the generator of a step from the sampler's seed and some integers, so that a resumed study
# repeats its draws.
Generators = Callable[..., np.random.Generator]
# Trials before anything is learned: with one value, with several, and with a prior.
DESIGN = (3, 8, 3)
# Trials that tell of a constraint before they outweigh its prediction, and the share of the bound
# by which it may be predicted to be missed from then on.
TOLD, SLACK = 10, 0.1
# Tells the generator of the design from those of the trials.
FIRST = 0x66697273
# Tells the generator of other parameters from those of the trials.
OTHERS = 0x6F746865


@dataclass(frozen=True)
class Choice:
    """A chosen candidate.

    Attributes:
        index: Its index.
        is_free: Whether no trial holds it.
        announced: Announced values of its trial.
        others: Parameters of its trial that are not the space's.
    """

    index: int
    is_free: bool
    announced: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)


class Allowed(NamedTuple):
    """Candidates that have fixed parameters.

    Attributes:
        mask: Mask of them, `(n,)`; those that have come since are not in it.
        adapted: Gives an architecture the parameters.
    """

    mask: Mask
    adapted: Adapted


@dataclass(frozen=True, eq=False)
class Step:
    """The state of a study in which the next candidate is chosen.

    Attributes:
        tried: The other trials, in their order.
        objectives: Number of values of a trial.
        held: Identities that trials hold.
        allowed: Candidates to choose from, `(n,)`; None for all.
        adapted: Gives an architecture what makes it allowed; None if all are.
        others: Parameters to choose beside the candidate; None if there are none.
        repeat: Trials that may have one architecture.
    """

    tried: Sequence[Tried]
    objectives: int
    held: Collection[str]
    allowed: Mask | None
    adapted: Adapted | None = None
    others: OtherParams | None = None
    repeat: int = 1

    @property
    def number(self) -> int:
        """Number of the step; a resumed study has the same steps."""
        return len(self.held) if self.repeat == 1 else len(self.tried)

    @property
    def is_narrow(self) -> bool:
        """Whether trials have one value and no constraint, so that equal functions are one."""
        return self.objectives == 1 and not any(trial.violations for trial in self.tried)


class _Ended(NamedTuple):
    """Trials with losses, under way, and failed, as in the rows of `Observations`."""

    done: Sequence[Tried]
    pending: Sequence[Tried]
    failed: Sequence[Tried]


def _with_points(observations: Observations, ended: _Ended, others: OtherParams) -> JointTrials:
    """The trials with the points of their other parameters."""
    points = [
        np.array([others.encode(trial.others) for trial in trials]).reshape(-1, len(others))
        for trials in ended
    ]
    together = np.column_stack([observations.rows, np.nan_to_num(points[0], nan=-1.0)])
    settings = np.unique(together, axis=0, return_inverse=True)[1].ravel()
    return JointTrials(replace(observations, settings=settings), *points)


def _tells(name: str, quantity: str) -> bool:
    """Whether a constraint of a trial, such as `latency_ms<=5`, is on a quantity."""
    base, at, device = quantity.partition("@")
    told = re.split("[<>]", name, maxsplit=1)[0]
    return name.startswith(base) and (not at or told.partition("@")[2] == device)


class LearnedChoice(ABC):
    """Chooses candidates by a model of the trials.

    An implementation finds the pool of candidates that compete and the model of their values; the
    decision among them is the same for all.

    Args:
        candidates: The candidates; the predictions that they carry are priors.
        task: Image set of the networks.
        generators: Makes the generator of a step.
        by_id: Whether the `arch_id` must differ between trials, and not only the text.
        probability: Probability with which learned constraints are to hold.
        prior: Whether the first trials are the best by predicted accuracy.
    """

    def __init__(
        self,
        candidates: Candidates,
        task: str,
        generators: Generators,
        by_id: bool,
        probability: float,
        prior: bool,
    ) -> None:
        self._candidates, self._generators, self._by_id = candidates, generators, by_id
        self._probability, self._prior = probability, prior
        self._prepare(task)

    def __call__(
        self,
        tried: Sequence[Tried],
        objectives: int,
        held: Collection[str],
        allowed: Allowed | None,
        others: OtherParams | None = None,
        repeat: int = 1,
    ) -> Choice:
        """Choose the next candidate; see `Step`."""
        if others is not None and not len(others):
            others = None
        tried = estimated_finals(tried)
        mask, adapted = (None, None) if allowed is None else allowed
        return self._next(Step(tried, objectives, held, mask, adapted, others, repeat))

    @abstractmethod
    def _prepare(self, task: str) -> None:
        """Make the features of the candidates as they are at first."""

    @abstractmethod
    def _next(self, step: Step) -> Choice:
        """Find the pool and its model, and choose by `_choose`."""

    def _choose(
        self, candidates: Candidates, step: Step, pool: Indices, model: TrialModel
    ) -> Choice:
        """Choose among a pool of ascending indices, `(p,)`, of which the model has a row each."""
        rows = self._allowed_rows(pool, step)
        generator = self._generators(step.number)
        drawn = {} if step.others is None else self._drawn(step)
        if not len(rows):
            assert step.allowed is not None
            return Choice(int(np.flatnonzero(step.allowed)[0]), False, others=drawn)
        free = rows[candidates.free(pool[rows], step.held, self._by_id)]
        is_free = bool(len(free))
        if not is_free and step.others is None:
            return Choice(int(pool[generator.choice(rows)]), False)
        if not is_free:
            # The architecture is fixed, and the parameters beside it are searched.
            free = rows
        feasible = free[self._within_constraints(candidates, step.tried)[pool[free]]]
        if not len(feasible):
            missed = np.maximum(candidates.violations()[:, pool[free]], 0.0).sum(axis=0)
            missed = np.where(candidates.scores.connected[pool[free]], missed, np.inf)
            return Choice(int(pool[free[np.argmin(missed)]]), is_free, others=drawn)
        observations, ended = self._observations(candidates, step, pool)
        design = DESIGN[2] if self._prior else DESIGN[min(step.objectives, 2) - 1]
        if len(observations.rows) < design:
            row = self._unlearned(candidates, step, pool, model, feasible, design)
            return Choice(int(pool[row]), is_free, others=drawn)
        if step.others is not None:
            trials = _with_points(observations, ended, step.others)
            row, others, posterior = choose_jointly(
                model, trials, feasible, step.others, self._probability, generator
            )
            announced = announced_values(posterior, 0, observations, step.tried)
            return Choice(int(pool[row]), is_free, announced, others)
        row, posterior = model.choose(observations, feasible, self._probability)
        announced = announced_values(posterior, row, observations, step.tried)
        return Choice(int(pool[row]), True, announced)

    def _drawn(self, step: Step) -> Mapping[str, Any]:
        """Parameters beside the architecture, at random."""
        assert step.others is not None
        generator = self._generators(OTHERS, step.number)
        return step.others.decode(step.others.sample(1, generator)[0])

    @staticmethod
    def _allowed_rows(pool: Indices, step: Step) -> Indices:
        """Rows of a pool that may be chosen; candidates newer than the mask may not."""
        if step.allowed is None:
            return np.arange(len(pool))
        is_old = pool < len(step.allowed)
        return np.flatnonzero(is_old)[step.allowed[pool[is_old]]]

    def _within_constraints(self, candidates: Candidates, tried: Sequence[Tried]) -> Mask:
        """Mask of the candidates that are predicted to meet the constraints, `(n,)`.

        Trials tell how far they miss a constraint under the name of its quantity, such as
        `latency_ms`. Once enough of them have, they decide on candidates near the bound.
        """
        scores = candidates.scores
        within = np.array(scores.connected)
        if not candidates.constraints:
            return within
        names = [name for trial in tried if trial.losses is not None for name in trial.violations]
        for k, constraint in enumerate(candidates.constraints):
            if sum(_tells(name, constraint.name) for name in names) < TOLD:
                within &= scores.met[k]
                continue
            near = candidates.violations()[k] <= SLACK
            # Where the predictions rule all out, what trials told decides alone.
            within &= near | ~near.any()
        return within

    @staticmethod
    def _priors(candidates: Candidates, pool: Indices) -> dict[str, Array]:
        """Predicted means of the candidates of a pool, by quantity."""
        quantities = candidates.quantities
        names = (name for name in ("accuracy", "latency") if name in quantities)
        return {name: quantities[name].mean[pool] for name in names}

    def _observations(
        self, candidates: Candidates, step: Step, pool: Indices
    ) -> tuple[Observations, _Ended]:
        """The trials by rows of a pool; one outside of it gets the row of an equal function."""
        tried = step.tried
        row_of = np.full(len(candidates), -1)
        row_of[pool] = np.arange(len(pool))
        row_of_group = np.full(len(candidates.ids), -1)
        row_of_group[candidates.group[pool]] = np.arange(len(pool))
        indices = candidates.indices([trial.arch for trial in tried])
        rows = [
            int(row_of[k]) if row_of[k] >= 0 else int(row_of_group[candidates.group[k]])
            for k in indices
        ]
        inside = [k for k in range(len(tried)) if rows[k] >= 0]
        done = [k for k in inside if tried[k].losses is not None]
        pending = [k for k in inside if tried[k].runs]
        failed = [k for k in inside if tried[k].failed]
        names = sorted({name for k in done for name in tried[k].violations})
        noise = np.array([tried[k].noise for k in done])
        estimated = np.array([tried[k].pruned for k in done], np.bool_)
        observations = Observations(
            rows=np.array([rows[k] for k in done], np.intp),
            losses=np.array([tried[k].losses for k in done], np.float64).reshape(
                -1, step.objectives
            ),
            violations={
                name: np.array([tried[k].violations.get(name, np.nan) for k in done])
                for name in names
            },
            pending=np.array([rows[k] for k in pending], np.intp),
            noise=noise if noise.any() else None,
            estimated=estimated if estimated.any() else None,
            failed=np.array([rows[k] for k in failed], np.intp),
        )
        ended = _Ended(*([tried[k] for k in chosen] for chosen in (done, pending, failed)))
        return observations, ended

    def _unlearned(
        self,
        candidates: Candidates,
        step: Step,
        pool: Indices,
        model: TrialModel,
        feasible: Indices,
        design: int,
    ) -> int:
        """A row of the pool before anything is learned: of the best predicted, or spread out."""
        if self._prior:
            quantities = candidates.quantities
            names = [n for n in ("accuracy", "latency")[: step.objectives] if n in quantities]
            sign = np.array([OBJECTIVES[name].sign for name in names])
            means = candidates.means(names)[pool[feasible]] * sign
            return int(self._generators(step.number).choice(feasible[pareto_mask(means)]))
        every = np.flatnonzero(candidates.feasible[pool])
        planned = spread_design(model.block("structure"), every, design, self._generators(FIRST))
        left = set(feasible.tolist())
        return next(
            (row for row in planned if row in left),
            int(self._generators(step.number).choice(feasible)),
        )
