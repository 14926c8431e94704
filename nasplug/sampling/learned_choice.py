"""The next architecture of a study whose values are learned from its trials."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.candidates.pool import first_members, is_listed
from nasplug.candidates.scored import Candidates
from nasplug.candidates.scoring import OBJECTIVES, Scoring
from nasplug.sampling.acquisition import pareto_mask
from nasplug.sampling.candidate_features import CandidateFeatures
from nasplug.sampling.expectations import expectation
from nasplug.sampling.learning import (
    Evidence,
    Learner,
    in_layers,
    normal_scores,
    spread_design,
)
from nasplug.search_spaces import Architecture, CodedSpace, SearchSpace

__all__ = ["LearnedChoice", "Tried", "learned_candidates"]

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
# Share of the pool's size that is drawn at random.
DRAWN = 0.25
# Tell the generators of the pool and of the design from those of the trials.
POOL, FIRST, CHILD = 0x706F6F6C, 0x66697273, 0x6368696C


@dataclass(frozen=True, eq=False)
class Tried:
    """A trial of an architecture.

    Attributes:
        arch: The architecture.
        losses: The trial's values as losses; None while it runs, or if it has none.
        violations: Name of a constraint to how far the trial misses it.
        runs: Whether it is under way.
        outside: Of each loss whether it lay outside of the interval announced before the trial;
            None if none was.
    """

    arch: Architecture
    losses: tuple[float, ...] | None
    violations: Mapping[str, float]
    runs: bool
    outside: tuple[bool, ...] | None = None

    @property
    def missed(self) -> float:
        """By how much all limits together are missed."""
        return sum(max(value, 0.0) for value in self.violations.values())


def learned_candidates(scoring: Scoring, generators: Generators, size: int) -> Candidates:
    """The candidates of a space of which nothing is predicted that could guide a pool.

    All of a space that can be listed; else its published networks, and random ones up to a quarter
    of `size`. Children of what was tried join them later.
    """
    space = scoring.space
    if isinstance(space, CodedSpace):
        from nasplug.sampling.coded_choice import coded_candidates

        return coded_candidates(scoring)
    if is_listed(space):
        if not (scoring.wanted or scoring.hardware or scoring.constraints):
            # Nothing but counts is known of them, and that is the same for all samplers.
            return _listed_candidates(space, scoring.dataset)
        return Candidates(scoring, list(space), whole=True)  # type: ignore[call-overload]
    first = first_members(space, generators(POOL), size, DRAWN)
    return Candidates(scoring, first, whole=False)


@lru_cache(maxsize=4)
def _listed_candidates(space: SearchSpace, dataset: str) -> Candidates:
    scoring = Scoring(space, (), None, (), 1, dataset, {})
    return Candidates(scoring, list(space), whole=True)  # type: ignore[call-overload]


@lru_cache(maxsize=4)
def _listed_features(space: SearchSpace, task: str) -> CandidateFeatures:
    return CandidateFeatures(space, list(space), task)  # type: ignore[call-overload]


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
            self._features = CandidateFeatures(candidates.space, candidates.cells, task)
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
        lasting = self._candidates
        if lasting.whole:
            return self._chosen(tried, objectives, held, allowed)
        lasting.positions([one.arch for one in tried])
        self._update()
        before = self._blocks, self._numbers, dict(self._places)
        self._lasting = len(lasting)
        # Children are for this trial alone: thousands of trials would leave hundreds of thousands.
        self._candidates = lasting.extended(self._children(tried, len(held)))
        try:
            cell, is_free, expected = self._chosen(tried, objectives, held, allowed)
            (cell,) = lasting.positions([self._candidates.cells[cell]])
        finally:
            self._candidates = lasting
            self._blocks, self._numbers, self._places = before
        return cell, is_free, expected

    def _update(self) -> None:
        """Learn features and identities of the candidates that have come since the last time."""
        new = self._candidates.cells[len(self._numbers) :]
        numbers = [self._places.setdefault(self._identity(a), len(self._places)) for a in new]
        self._numbers = np.concatenate([self._numbers, np.array(numbers, np.intp)])
        start = len(self._blocks["structure"])
        if start < len(self._candidates):
            more = self._features(self._candidates.cells[start:])
            self._blocks = {
                name: np.concatenate([rows, more[name]]) for name, rows in self._blocks.items()
            }

    def _chosen(
        self,
        tried: Sequence[Tried],
        objectives: int,
        held: Collection[str],
        allowed: Mask | None,
    ) -> tuple[int, bool, dict[str, Any]]:
        step = len(held)
        candidates = self._candidates
        self._update()
        narrow = objectives == 1 and not any(one.violations for one in tried)
        pool, learner = self._learner(narrow, tried, objectives, step)
        mask = np.zeros(len(candidates), np.bool_)
        mask[pool] = True
        if allowed is not None and allowed.any():
            # What is fixed may leave none of the pool.
            inside = mask[: len(allowed)] & allowed
            if not inside.any():
                return int(np.flatnonzero(allowed)[0]), False, {}
            mask[: len(allowed)] = inside
            mask[len(allowed) :] = False
        within = np.flatnonzero(mask[pool])
        free = within[~self._taken(held)[pool[within]]]
        if not len(free):
            return int(pool[self._generators(step).choice(within)]), False, {}
        feasible = free[self._within_limits(tried)[pool[free]]]
        if not len(feasible):
            missed = np.maximum(candidates.violations()[:, pool[free]], 0.0).sum(axis=0)
            missed = np.where(candidates.scores.connected[pool[free]], missed, np.inf)
            return int(pool[free[np.argmin(missed)]]), True, {}
        evidence = self._evidence(tried, pool, objectives)
        design = DESIGN[2] if self._prior else DESIGN[min(objectives, 2) - 1]
        if len(evidence.rows) < design:
            return (
                int(pool[self._first(learner, pool, feasible, design, objectives, step)]),
                True,
                {},
            )
        row, outlook = learner.choose(evidence, feasible, self._probability, self._generators(step))
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

    def _learner(
        self, narrow: bool, tried: Sequence[Tried], objectives: int, step: int
    ) -> tuple[Indices, Learner]:
        candidates = self._candidates
        if candidates.whole:
            if narrow not in self._learners:
                # One value of a function needs one architecture of each function.
                pool = candidates.cheapest() if narrow else np.arange(len(candidates))
                # Once a trial has told of a limit, all of them compete.
                self._learners = {narrow: (pool, self._learner_of(pool))}
            return self._learners[narrow]
        known = candidates.positions([one.arch for one in tried])
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

    def _children(self, tried: Sequence[Tried], step: int) -> list[Architecture]:
        """Mutations of the best trials so far; a function of the trials and the seed alone."""
        space, rng = self._candidates.space, self._generators(CHILD, step)
        known = [one for one in tried if one.losses is not None]
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
        objectives: int,
        step: int,
    ) -> int:
        """A candidate before anything is learned: of the best predicted, or of a spread design."""
        quantities = self._candidates.quantities
        if self._prior:
            names = [n for n in ("accuracy", "latency")[:objectives] if n in quantities]
            sign = np.array([OBJECTIVES[name].sign for name in names])
            means = self._candidates.means(names)[pool[feasible]] * sign
            return int(self._generators(step).choice(feasible[pareto_mask(means)]))
        every = np.flatnonzero(self._candidates.feasible[pool])
        planned = spread_design(learner.block("structure"), every, design, self._generators(FIRST))
        left = set(feasible.tolist())
        return next(
            (row for row in planned if row in left), int(self._generators(step).choice(feasible))
        )


def held_twice(failed: Collection[str]) -> set[str]:
    """What failed more than once, and is not tried again."""
    seen: set[str] = set()
    twice: set[str] = set()
    for one in failed:
        (twice if one in seen else seen).add(one)
    return twice
