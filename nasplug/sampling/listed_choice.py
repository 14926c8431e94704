"""The next architecture of a study that learns, among candidates that are held one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from nasplug.arrays import Array, Indices
from nasplug.candidates.listed import ListedCandidates
from nasplug.sampling.candidate_features import CandidateFeatures
from nasplug.sampling.learned_choice import Choice, LearnedChoice, Step
from nasplug.sampling.trial_model import TrialModel, in_layers, normal_scores
from nasplug.search_spaces import Architecture, SearchSpace

__all__ = ["ListedChoice"]

# Children of the best trials so far that join the pool of a space that cannot be listed.
CHILDREN = 150
PARENTS = 10
# Random members that are drawn, at most, where trials hold all that are known.
FRUITLESS = 1_000
# Models of a whole space that are kept: of all, and of a part that is searched.
MODELS = 2
# Tells the generator of children from those of the trials.
CHILD = 0x6368696C


@lru_cache(maxsize=4)
def _features_of(space: SearchSpace, task: str) -> CandidateFeatures:
    return CandidateFeatures(space, list(space), task)  # type: ignore[call-overload]


class ListedChoice(LearnedChoice):
    """`LearnedChoice` among all members of a small space, or a pool with children of its best."""

    def _prepare(self, task: str) -> None:
        candidates = self._candidates
        if candidates.whole:
            self._features = _features_of(candidates.space, task)
        else:
            self._features = CandidateFeatures(candidates.space, candidates.architectures, task)
        self._blocks = self._features.first
        self._pool_size = len(candidates)
        # The pool of a whole space and its model, by whether one architecture stands for each id,
        # and by the pool.
        self._models: dict[tuple[bool, bytes], tuple[Indices, TrialModel]] = {}

    def _next(self, step: Step) -> Choice:
        candidates = self._candidates
        if candidates.whole:
            return self._choose(candidates, step, *self._whole_pool(step))
        assert isinstance(candidates, ListedCandidates)
        tried = candidates.indices([trial.arch for trial in step.tried])
        self._blocks = self._extended_blocks(candidates.architectures)
        # Children are for this trial alone: thousands of trials would leave hundreds of thousands.
        extended = candidates.extended(self._children(step))
        if step.allowed is None:
            self._add_free(extended, step)
        blocks = self._extended_blocks(extended.architectures)
        children = np.arange(len(self._blocks["structure"]), len(extended))
        first = np.arange(self._pool_size)
        parts = [first, children, np.array(tried, np.intp)]
        if step.allowed is not None:
            parts.append(np.flatnonzero(step.allowed))
            # Children have the fixed parameters; others that have come since are not known to.
            mask = np.zeros(len(extended), np.bool_)
            mask[: len(step.allowed)], mask[children] = step.allowed, True
            step = replace(step, allowed=mask)
        pool = np.unique(np.concatenate(parts))
        model = TrialModel(_rows(blocks, pool), self._priors(extended, pool))
        choice = self._choose(extended, step, pool, model)
        (index,) = candidates.indices([extended.architectures[choice.index]])
        return replace(choice, index=index)

    def _whole_pool(self, step: Step) -> tuple[Indices, TrialModel]:
        """All candidates, or the cheapest of each id, and their model."""
        candidates, is_narrow = self._candidates, step.is_narrow
        more = np.empty(0, np.intp)
        is_open = step.allowed is not None and (step.allowed.sum() > 1 or step.others is not None)
        if is_narrow and is_open:
            # An id may be allowed without its cheapest architecture.
            more = np.setdiff1d(candidates.cheapest(step.allowed), candidates.cheapest())
        key = is_narrow, more.tobytes()
        if key not in self._models:
            # One value of a function needs one architecture of each function.
            pool = candidates.cheapest() if is_narrow else np.arange(len(candidates))
            pool = np.union1d(pool, more) if len(more) else pool
            model = TrialModel(_rows(self._blocks, pool), self._priors(candidates, pool))
            # Once a trial has told of a constraint, all of them compete for good.
            others = [(k, m) for k, m in self._models.items() if k[0] == is_narrow]
            self._models = dict([*others[1 - MODELS :], (key, (pool, model))])
        return self._models[key]

    def _add_free(self, candidates: ListedCandidates, step: Step) -> None:
        """Add random members until no trial holds one, or none is found."""
        space, rng = candidates.space, self._generators(CHILD, step.number, 1)
        for _ in range(FRUITLESS):
            if candidates.free(np.arange(len(candidates)), step.held, self._by_id).any():
                return
            candidates.add([space.sample(rng)])

    def _extended_blocks(self, archs: Sequence[Architecture]) -> dict[str, Array]:
        """The features of more architectures, of which the first are known; `(archs, d)` each."""
        start = len(self._blocks["structure"])
        if start == len(archs):
            return self._blocks
        more = self._features(archs[start:])
        return {name: np.concatenate([rows, more[name]]) for name, rows in self._blocks.items()}

    def _children(self, step: Step) -> list[Architecture]:
        """Mutations of the best trials so far; a function of the trials and the seed alone."""
        space, rng = self._candidates.space, self._generators(CHILD, step.number)
        done = [trial for trial in step.tried if trial.losses is not None]
        if not done:
            return []
        losses = np.array([trial.losses for trial in done])
        missed = np.array([trial.missed for trial in done])
        scores = np.stack([normal_scores(column) for column in losses.T], axis=1)
        rows = np.flatnonzero(missed <= 0)
        rows = rows if len(rows) else np.argsort(missed, kind="stable")[:PARENTS]
        parents = rows[in_layers(scores[rows], PARENTS)]
        children: dict[str, Architecture] = {}
        for _ in range(min(CHILDREN, max(10, self._pool_size // 5))):
            child = done[parents[int(rng.integers(len(parents)))]].arch
            for _ in range(int(rng.integers(1, 4))):
                child = space.mutate(child, rng)
            adapted = child if step.adapted is None else step.adapted(child)
            if adapted is not None:
                children.setdefault(adapted.arch_id, adapted)
        return list(children.values())


def _rows(blocks: dict[str, Array], pool: Indices) -> dict[str, Array]:
    return {name: rows[pool] for name, rows in blocks.items()}
