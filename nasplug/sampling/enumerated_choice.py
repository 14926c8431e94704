"""The next architecture of a study that learns, where all members of a `CodedSpace` compete.

Each trial brings one Gaussian process up to date for all members: one kernel over counts of pieces
and costs. The few hundred members that it finds most promising, with some spread over the space,
are the pool in which `LearnedChoice` decides by the models of all values and constraints.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from nasplug.arrays import Array, Indices, Single
from nasplug.candidates.enumerated import EnumeratedCandidates
from nasplug.candidates.fast_model import standardised_logs
from nasplug.pareto import improving_points, smallest
from nasplug.sampling.boxes import proper_front, rows_beyond
from nasplug.sampling.incremental_process import IncrementalProcess, Kernel, median_distance
from nasplug.sampling.learned_choice import Choice, LearnedChoice, Step
from nasplug.sampling.trial_model import (
    PIECE_KERNELS,
    TrialModel,
    normal_scores,
)
from nasplug.search_spaces import CodedSpace, SearchSpace

__all__ = ["EnumeratedChoice"]

# The process over all members: its kernel, the variance of one value, and how many features it
# reads at most (principal components, as it reads hundreds of thousands of members each trial).
KERNEL: Kernel = ((1.0, "all", 0.9),)
NOISE = 0.02
COMPONENTS = 48
# Members of a pool that are spread over the space, and promising ones for each of `HOPES`.
SPREAD, PROMISING = 400, 200
# Points of a front with which all members are compared before the others.
FEW = 30
# Standard deviations by which a promising member turns out better than expected.
HOPES = (0.5, 2.0)
# Weight of a predicted accuracy among the features.
PRIOR = 1.0
# Choices in succession that the fast model believes within the constraints, and the predictor not.
_LOOKS = 20
_STREAM = 0x73776570


class _Features:
    """Features of all members; the same for every study.

    Attributes:
        counts: Occurrences of each piece in each member, `(members, pieces)`.
        costs: Logarithms of totals, standardised, `(members, 3)`.
        components: Principal components of both in units of their median distances,
            `(members, COMPONENTS)`.
    """

    def __init__(self, space: CodedSpace) -> None:
        counts = space.counts()
        self.counts = counts[:, counts.any(axis=0)]
        self.costs = standardised_logs(space.totals())
        every = slice(None, None, max(1, len(counts) // 2_000))
        self.units = {name: median_distance(self._raw(name, every)) for name in _RAW}
        self.components = self._principal_components()

    def _raw(self, name: str, rows: Indices | slice) -> Array:
        if name == "structure":
            return self.counts[rows].astype(np.float64)
        return self.costs[rows]

    def blocks(self, rows: Indices) -> dict[str, Array]:
        """The blocks that a `TrialModel` reads, of some members; `(rows, d)` each."""
        blocks = {name: self._raw(name, rows) / self.units[name] for name in _RAW}
        both = [blocks["structure"], blocks["counts"]]
        return blocks | {"both": np.concatenate(both, axis=1) / np.sqrt(2)}

    def _principal_components(self) -> Single:
        wide = self.counts.shape[1]
        scale = np.repeat([self.units["structure"], self.units["counts"]], [wide, 3])
        scale = np.sqrt(2) * scale
        mean = np.concatenate([self.counts.mean(axis=0), self.costs.mean(axis=0)])
        gram = np.zeros((wide + 3, wide + 3))
        parts = [slice(k, k + 50_000) for k in range(0, len(self.counts), 50_000)]

        def rows(part: slice) -> Single:
            both = np.concatenate([self.counts[part], self.costs[part]], axis=1)
            result: Single = ((both - mean) / scale).astype(np.float32)
            return result

        for part in parts:
            chunk = rows(part)
            gram += chunk.T @ chunk
        _, vectors = np.linalg.eigh(gram)
        axes = vectors[:, ::-1][:, :COMPONENTS].astype(np.float32)
        return np.concatenate([rows(part) @ axes for part in parts])


def _improving(known: Array, hoped: Array) -> Indices:
    """Up to `PROMISING` rows of the hoped values that lie beyond the front of the known ones."""
    if hoped.shape[1] <= 2:
        return improving_points(known, hoped, PROMISING)
    # Most members lie behind a few points of the front already.
    infinite = np.full(hoped.shape[1], np.inf)
    front = proper_front(known, infinite)
    rows = rows_beyond(hoped, front[:: max(1, len(front) // FEW)], infinite)
    return rows[improving_points(known, hoped[rows], PROMISING)]


_RAW = ("structure", "counts")


@lru_cache(maxsize=2)
def _features_of(space: SearchSpace) -> _Features:
    assert isinstance(space, CodedSpace)
    return _Features(space)


class EnumeratedChoice(LearnedChoice):
    """`LearnedChoice` among all members of a `CodedSpace`."""

    def _prepare(self, task: str) -> None:
        candidates = self._candidates
        self._features = _features_of(candidates.space)
        features = self._features.components
        if "accuracy" in candidates.quantities:
            predicted = normal_scores(candidates.quantities["accuracy"].mean)[:, None]
            features = np.concatenate([features, PRIOR * predicted], axis=1, dtype=np.float32)
        # One process over all members, which chooses the pool.
        self._process = IncrementalProcess({"all": features}, [KERNEL], [NOISE])
        count = len(candidates)
        spread = self._generators(_STREAM).choice(count, min(SPREAD, count), replace=False)
        self._spread: Indices = np.sort(spread).astype(np.intp)

    def _next(self, step: Step) -> Choice:
        """Choose until the predictors themselves find the choice within the constraints."""
        candidates = self._candidates
        assert isinstance(candidates, EnumeratedCandidates)
        for _ in range(_LOOKS):
            pool = self._pool(step)
            priors = self._priors(candidates, pool)
            model = TrialModel(self._features.blocks(pool), priors, PIECE_KERNELS)
            choice = self._choose(candidates, step, pool, model)
            candidates.settle(np.array([choice.index]))
            within = self._within_constraints(candidates, step.tried)
            if not choice.is_free or within[choice.index]:
                break
        return choice

    def _pool(self, step: Step) -> Indices:
        """Members that are promising, spread over the space, or tried; ascending."""
        tried = self._candidates.indices([trial.arch for trial in step.tried])
        promising = self._promising(step, tried)
        spread = self._spread
        if step.allowed is not None:
            # Few members have the fixed parameters: all of them are the pool, or a part.
            rows = np.flatnonzero(step.allowed)
            spread = rows[:: max(1, len(rows) // SPREAD)]
        return np.unique(np.concatenate([spread, promising, np.array(tried, np.intp)]))

    def _promising(self, step: Step, tried: Sequence[int]) -> Indices:
        """Members that may be better than all members `tried`, by the process over all of them."""
        done = [k for k, trial in enumerate(step.tried) if trial.losses is not None]
        if len(done) < 2:
            return np.empty(0, np.intp)
        free = self._eligible(step)
        if not len(free):
            return free
        rows = np.array([tried[k] for k in done], np.intp)
        missed = np.array([step.tried[k].missed for k in done])
        scores = self._scores_of(step, done)
        noise = np.array([step.tried[k].noise for k in done])
        posteriors = [self._process.posterior(rows, column, noise) for column in scores.T]
        mean = np.stack([mean for mean, _ in posteriors], axis=1)[free]
        std = np.stack([std for _, std in posteriors], axis=1)[free]
        if (missed > 0).any():
            # What is expected to miss a constraint as far as half of the trials did comes last.
            expected, _ = self._process.posterior(rows, normal_scores(missed), noise)
            mean = mean + np.maximum(expected[free], 0.0)[:, None]
        feasible = scores[missed <= 0] if (missed <= 0).any() else scores
        promising = []
        for hope in HOPES:
            hoped = mean - hope * std
            chosen = _improving(feasible, hoped)
            if len(chosen) < PROMISING:
                more = smallest(hoped.sum(axis=1), PROMISING - len(chosen))
                chosen = np.concatenate([chosen, more])
            promising.append(free[chosen])
        return np.unique(np.concatenate(promising))

    def _eligible(self, step: Step) -> Indices:
        """Members that are allowed, free, and predicted to meet the constraints."""
        candidates = self._candidates
        mask = self._within_constraints(candidates, step.tried)
        mask &= candidates.free(np.arange(len(candidates)), step.held, self._by_id)
        if step.allowed is not None:
            mask &= step.allowed
        return np.flatnonzero(mask)

    def _scores_of(self, step: Step, done: Sequence[int]) -> Array:
        """Normal scores of the losses of finished trials, `(done, m)`."""
        losses = np.array([step.tried[k].losses for k in done], np.float64)
        return np.stack([normal_scores(column) for column in losses.T], axis=1)
