"""The next architecture of a study whose values are learned from its trials."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.candidates.candidates import Candidates
from nasplug.candidates.listed import ListedCandidates
from nasplug.objectives import OBJECTIVES
from nasplug.pareto import pareto_mask
from nasplug.sampling.candidate_features import CandidateFeatures
from nasplug.sampling.expectations import expectation
from nasplug.sampling.learning import (
    Evidence,
    Learner,
    in_layers,
    normal_scores,
    spread_design,
)
from nasplug.sampling.tried import Tried
from nasplug.search_spaces import Architecture, SearchSpace

__all__ = ["LearnedChoice"]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]
Generators = Callable[..., np.random.Generator]

# Trials before anything is learned: with one value, with several, and with a prior.
DESIGN = (3, 8, 3)
# Trials that tell of a limit, after which they decide on what is predicted to miss it by less than
# a share of the limit.
TOLD, SLACK = 10, 0.1
# Children of the best trials so far that join the pool of a space that cannot be listed.
CHILDREN = 150
PARENTS = 10
# Tell the generators of the design and of children from those of the trials.
FIRST, CHILD = 0x66697273, 0x6368696C


@lru_cache(maxsize=4)
def _listed_features(space: SearchSpace, task: str) -> CandidateFeatures:
    return CandidateFeatures(space, list(space), task)  # type: ignore[call-overload]


@dataclass(frozen=True, eq=False)
class Step:
    """The state of a study in which the next candidate is chosen.

    Attributes:
        tried: The other trials, in their order.
        objectives: How many values a trial has.
        held: Identities that trials hold.
        allowed: Candidates to choose from, `(cells,)`; None for all.
    """

    tried: Sequence[Tried]
    objectives: int
    held: Collection[str]
    allowed: Mask | None

    @property
    def number(self) -> int:
        """Number of the step; a resumed study has the same steps."""
        return len(self.held)


class LearnedChoice:
    """Chooses candidates by what trials taught.

    Args:
        candidates: The candidates; the predictions that they carry are priors.
        task: Image set of the networks.
        generators: Makes the generator of a step, of the seed and of some numbers.
        identity: What no two trials are to have in common.
        probability: With which learned constraints are to hold.
        prior: Whether the first trials are the best by predicted accuracy.
    """

    def __init__(
        self,
        candidates: Candidates,
        task: str,
        generators: Generators,
        identity: Callable[[Architecture], str],
        probability: float,
        prior: bool,
    ) -> None:
        self._candidates, self._generators, self._identity = candidates, generators, identity
        self._probability, self._prior = probability, prior
        self._prepare(task)

    def _prepare(self, task: str) -> None:
        """What is made once, of the candidates as they are at first."""
        candidates = self._candidates
        # What the pool began with, and what is in it that is not for one trial alone.
        self._base = self._lasting = len(candidates)
        if candidates.whole:
            self._features = _listed_features(candidates.space, task)
        else:
            self._features = CandidateFeatures(candidates.space, candidates.architectures, task)
        self._blocks = self._features.first
        # A number of each identity, and that of each candidate.
        self._places: dict[str, int] = {}
        self._numbers: Indices = np.empty(0, np.intp)
        self._learners: dict[bool, tuple[Indices, Learner]] = {}

    def __call__(
        self,
        tried: Sequence[Tried],
        objectives: int,
        held: Collection[str],
        allowed: Mask | None,
    ) -> tuple[int, bool, dict[str, Any]]:
        """The next candidate, whether no trial holds it, and what is expected of it.

        Args:
            tried: The other trials, in their order.
            objectives: How many values a trial has.
            held: Identities that trials hold.
            allowed: Candidates to choose from, `(cells,)`; all if left out.
        """
        if allowed is not None and not allowed.any():
            allowed = None
        return self._next(Step(tried, objectives, held, allowed))

    def _next(self, step: Step) -> tuple[int, bool, dict[str, Any]]:
        lasting = self._candidates
        if lasting.whole:
            return self._chosen(step)
        assert isinstance(lasting, ListedCandidates)
        lasting.positions([one.arch for one in step.tried])
        self._update()
        before = self._blocks, self._numbers, dict(self._places)
        self._lasting = len(lasting)
        # Children are for this trial alone: thousands of trials would leave hundreds of thousands.
        self._candidates = lasting.extended(self._children(step))
        try:
            cell, is_free, expected = self._chosen(step)
            (cell,) = lasting.positions([self._candidates.architectures[cell]])
        finally:
            self._candidates = lasting
            self._blocks, self._numbers, self._places = before
        return cell, is_free, expected

    def _update(self) -> None:
        """Learn features and identities of the candidates that have come since the last time."""
        new = self._candidates.architectures[len(self._numbers) :]
        numbers = [self._places.setdefault(self._identity(a), len(self._places)) for a in new]
        self._numbers = np.concatenate([self._numbers, np.array(numbers, np.intp)])
        start = len(self._blocks["structure"])
        if start < len(self._candidates):
            more = self._features(self._candidates.architectures[start:])
            self._blocks = {
                name: np.concatenate([rows, more[name]]) for name, rows in self._blocks.items()
            }

    def _chosen(self, step: Step) -> tuple[int, bool, dict[str, Any]]:
        tried, objectives, allowed = step.tried, step.objectives, step.allowed
        candidates = self._candidates
        self._update()
        narrow = objectives == 1 and not any(one.violations for one in tried)
        pool, learner = self._learner(narrow, step)
        mask = np.zeros(len(candidates), np.bool_)
        mask[pool] = True
        if allowed is not None:
            # What is fixed may leave none of the pool.
            inside = mask[: len(allowed)] & allowed
            if not inside.any():
                return int(np.flatnonzero(allowed)[0]), False, {}
            mask[: len(allowed)] = inside
            mask[len(allowed) :] = False
        within = np.flatnonzero(mask[pool])
        free = within[~self._taken(step.held)[pool[within]]]
        if not len(free):
            return int(pool[self._generators(step.number).choice(within)]), False, {}
        feasible = free[self._within_limits(tried)[pool[free]]]
        if not len(feasible):
            missed = np.maximum(candidates.violations()[:, pool[free]], 0.0).sum(axis=0)
            missed = np.where(candidates.scores.connected[pool[free]], missed, np.inf)
            return int(pool[free[np.argmin(missed)]]), True, {}
        evidence = self._evidence(tried, pool, objectives)
        design = DESIGN[2] if self._prior else DESIGN[min(objectives, 2) - 1]
        if len(evidence.rows) < design:
            return int(pool[self._first(learner, pool, feasible, design, step)]), True, {}
        rng = self._generators(step.number)
        row, outlook = learner.choose(evidence, feasible, self._probability, rng)
        return int(pool[row]), True, expectation(outlook, row, evidence, tried)

    def _within_limits(self, tried: Sequence[Tried]) -> Mask:
        """Which candidates are predicted to meet the limits, `(cells,)`.

        Once trials have told often enough how far they miss a limit, by a constraint under the name
        of the quantity such as `latency_ms`, they decide near it.
        """
        scores = self._candidates.scores
        within = np.array(scores.connected)
        if not self._candidates.constraints:
            return within
        told = [name for one in tried if one.losses is not None for name in one.violations]
        for k, limit in enumerate(self._candidates.constraints):
            if sum(name.startswith(limit.name) for name in told) < TOLD:
                within &= scores.met[k]
            else:
                within &= self._candidates.violations()[k] <= SLACK
        return within

    def _taken(self, held: Collection[str]) -> Mask:
        """Which candidates trials hold, `(cells,)`."""
        taken = np.zeros(len(self._places), np.bool_)
        taken[[self._places[name] for name in held if name in self._places]] = True
        return np.asarray(taken[self._numbers])

    def _learner(self, narrow: bool, step: Step) -> tuple[Indices, Learner]:
        candidates = self._candidates
        if candidates.whole:
            if narrow not in self._learners:
                # One value of a function needs one architecture of each function.
                pool = candidates.cheapest() if narrow else np.arange(len(candidates))
                # Once a trial has told of a limit, all of them compete.
                self._learners = {narrow: (pool, self._learner_of(pool))}
            return self._learners[narrow]
        known = candidates.positions([one.arch for one in step.tried])
        children = np.arange(self._lasting, len(candidates))
        pool = np.unique(
            np.concatenate([np.arange(self._base), children, np.array(known, np.intp)])
        )
        return pool, self._learner_of(pool)

    def _learner_of(self, pool: Indices) -> Learner:
        blocks = {name: rows[pool] for name, rows in self._blocks.items()}
        return Learner(blocks, self._priors(pool))

    def _priors(self, pool: Indices) -> dict[str, Array]:
        """What was predicted of the candidates of a pool."""
        quantities = self._candidates.quantities
        names = (name for name in ("accuracy", "latency") if name in quantities)
        return {name: quantities[name].mean[pool] for name in names}

    def _children(self, step: Step) -> list[Architecture]:
        """Mutations of the best trials so far; a function of the trials and the seed alone."""
        space, rng = self._candidates.space, self._generators(CHILD, step.number)
        known = [one for one in step.tried if one.losses is not None]
        if not known:
            return []
        losses = np.array([one.losses for one in known])
        missed = np.array([one.missed for one in known])
        scores = np.stack([normal_scores(column) for column in losses.T], axis=1)
        rest = np.flatnonzero(missed <= 0)
        rest = rest if len(rest) else np.argsort(missed, kind="stable")[:PARENTS]
        order = rest[in_layers(scores[rest], PARENTS)]
        children: dict[str, Architecture] = {}
        for _ in range(min(CHILDREN, max(10, self._base // 5))):
            child = known[order[int(rng.integers(len(order)))]].arch
            for _ in range(int(rng.integers(1, 4))):
                child = space.mutate(child, rng)
            children.setdefault(child.arch_id, child)
        return list(children.values())

    def _evidence(self, tried: Sequence[Tried], pool: Indices, objectives: int) -> Evidence:
        candidates = self._candidates
        row_of = np.full(len(candidates), -1)
        row_of[pool] = np.arange(len(pool))
        of_group = np.full(len(candidates.ids), -1)
        of_group[candidates.group[pool]] = np.arange(len(pool))
        places = candidates.positions([one.arch for one in tried])
        rows = [
            int(row_of[k]) if row_of[k] >= 0 else int(of_group[candidates.group[k]]) for k in places
        ]
        done = [k for k, one in enumerate(tried) if one.losses is not None and rows[k] >= 0]
        names = sorted({name for k in done for name in tried[k].violations})
        losses = np.array([tried[k].losses for k in done], np.float64).reshape(-1, objectives)
        return Evidence(
            np.array([rows[k] for k in done], np.intp),
            losses,
            {n: np.array([tried[k].violations.get(n, np.nan) for k in done]) for n in names},
            np.array([rows[k] for k, one in enumerate(tried) if one.runs], np.intp),
        )

    def _first(
        self,
        learner: Learner,
        pool: Indices,
        feasible: Indices,
        design: int,
        step: Step,
    ) -> int:
        """A candidate before anything is learned: of the best predicted, or of a spread design."""
        quantities = self._candidates.quantities
        if self._prior:
            names = [n for n in ("accuracy", "latency")[: step.objectives] if n in quantities]
            sign = np.array([OBJECTIVES[name].sign for name in names])
            means = self._candidates.means(names)[pool[feasible]] * sign
            return int(self._generators(step.number).choice(feasible[pareto_mask(means)]))
        every = np.flatnonzero(self._candidates.feasible[pool])
        planned = spread_design(learner.block("structure"), every, design, self._generators(FIRST))
        left = set(feasible.tolist())
        return next(
            (row for row in planned if row in left),
            int(self._generators(step.number).choice(feasible)),
        )
