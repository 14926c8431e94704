"""The next architecture of a study that learns, where all of a space of numbers compete.

Each trial brings one Gaussian process up to date for all members: one kernel over what they are
made of. The few hundred that it finds most promising, with some spread over the space, are the pool
in which `learned_choice` decides with all that it knows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.candidates.candidates import Candidates
from nasplug.candidates.enumerated import EnumeratedCandidates
from nasplug.pareto import improving_points, smallest
from nasplug.sampling.learned_choice import LearnedChoice, Step
from nasplug.sampling.learning import Learner, normal_scores
from nasplug.sampling.surrogate import Kernel, Surrogate, median_distance
from nasplug.search_spaces import CodedSpace, SearchSpace

__all__ = ["CodedChoice", "choice_of"]

Array = NDArray[np.float64]
Single = NDArray[np.float32]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]

# The process over all members: its kernel, the variance of one value, and how many features it
# reads at most (principal components, as it reads hundreds of thousands of members each trial).
KERNEL: Kernel = ((1.0, "all", 0.9),)
NOISE = 0.02
COMPONENTS = 48
# Members of a pool: spread over the space; promising if they turn out a little or much better than
# expected, so many of each.
SPREAD, PROMISING = 400, 200
HOPES = (0.5, 2.0)
# Weight of a predicted accuracy among the features.
PRIOR = 1.0
# Choices in succession that the fast model believes within the limits, and the predictor does not.
_LOOKS = 20
_STREAM = 0x73776570


def choice_of(candidates: Candidates) -> type[LearnedChoice]:
    """How the next of these candidates is chosen by what trials taught."""
    return CodedChoice if isinstance(candidates, EnumeratedCandidates) else LearnedChoice


class _Features:
    """Features of all members; the same for every study.

    Attributes:
        counts: How often each piece that occurs at all is in each member, `(members, pieces)`.
        costs: Logarithms of totals, standardised, `(members, 3)`.
        swept: Both together in fewer columns, in units of their median distance.
    """

    def __init__(self, space: CodedSpace) -> None:
        counts = space.counts()
        self.counts = counts[:, counts.any(axis=0)]
        totals = space.totals()
        logs = np.stack([np.log(np.maximum(totals[name], 1.0)) for name in sorted(totals)], axis=1)
        spread = logs.std(axis=0)
        self.costs = (logs - logs.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        every = slice(None, None, max(1, len(counts) // 2_000))
        self.units = {name: median_distance(self._raw(name, every)) for name in _RAW}
        self.swept = self._components()

    def _raw(self, name: str, rows: Indices | slice) -> Array:
        if name == "structure":
            return self.counts[rows].astype(np.float64)
        return self.costs[rows]

    def blocks(self, rows: Indices) -> dict[str, Array]:
        """The blocks that a `Learner` reads, of some members; `(rows, d)` each."""
        found = {name: self._raw(name, rows) / self.units[name] for name in _RAW}
        found["both"] = np.concatenate([found["structure"], found["counts"]], axis=1) / np.sqrt(2)
        return found

    def _components(self) -> Single:
        wide = self.counts.shape[1]
        scale = np.repeat([self.units["structure"], self.units["counts"]], [wide, 3])
        scale = np.sqrt(2) * scale
        middle = np.concatenate([self.counts.mean(axis=0), self.costs.mean(axis=0)])
        gram = np.zeros((wide + 3, wide + 3))
        parts = [slice(k, k + 50_000) for k in range(0, len(self.counts), 50_000)]

        def rows(part: slice) -> Single:
            both = np.concatenate([self.counts[part], self.costs[part]], axis=1)
            return ((both - middle) / scale).astype(np.float32)

        for part in parts:
            cut = rows(part)
            gram += cut.T @ cut
        _, vectors = np.linalg.eigh(gram)
        turned = vectors[:, ::-1][:, :COMPONENTS].astype(np.float32)
        return np.concatenate([rows(part) @ turned for part in parts])


_RAW = ("structure", "counts")


@lru_cache(maxsize=2)
def _features_of(space: SearchSpace) -> _Features:
    assert isinstance(space, CodedSpace)
    return _Features(space)


class CodedChoice(LearnedChoice):
    """`LearnedChoice` for all members of a `CodedSpace`; see there."""

    def _prepare(self, task: str) -> None:
        candidates = self._candidates
        self._made = _features_of(candidates.space)
        swept = self._made.swept
        if "accuracy" in candidates.quantities:
            predicted = normal_scores(candidates.quantities["accuracy"].mean)[:, None]
            swept = np.concatenate([swept, PRIOR * predicted], axis=1, dtype=np.float32)
        self._sweep = Surrogate({"all": swept}, [KERNEL], [NOISE])
        count = len(candidates)
        spread = self._generators(_STREAM).choice(count, min(SPREAD, count), replace=False)
        self._spread: Indices = np.sort(spread).astype(np.intp)

    def _next(self, step: Step) -> tuple[int, bool, dict[str, Any]]:
        """See `LearnedChoice`. The predictors themselves say of what is chosen what limits say."""
        candidates = self._candidates
        assert isinstance(candidates, EnumeratedCandidates)
        for _ in range(_LOOKS):
            row, is_free, expected = self._chosen(step)
            candidates.settle(np.array([row]))
            if not is_free or self._within_limits(step.tried)[row]:
                break
        return row, is_free, expected

    def _update(self) -> None:
        """Nothing: all members are there from the first."""

    def _taken(self, held: Collection[str]) -> Mask:
        candidates = self._candidates
        return ~candidates.free(np.arange(len(candidates)), held, self._identity)

    def _learner(self, narrow: bool, step: Step) -> tuple[Indices, Learner]:
        known = self._candidates.positions([one.arch for one in step.tried])
        promising = self._promising(step, known)
        spread, allowed = self._spread, step.allowed
        if allowed is not None:
            # Few members have what is fixed: the whole of them is the pool, or a part.
            rows = np.flatnonzero(allowed)
            spread = rows[:: max(1, len(rows) // SPREAD)]
        pool = np.unique(np.concatenate([spread, promising, np.array(known, np.intp)]))
        return pool, Learner(self._made.blocks(pool), self._priors(pool))

    def _promising(self, step: Step, known: Sequence[int]) -> Indices:
        """Members that may be better than all that was tried, by the process over all of them."""
        tried, objectives = step.tried, step.objectives
        done = [k for k, one in enumerate(tried) if one.losses is not None]
        if len(done) < 2:
            return np.empty(0, np.intp)
        eligible = self._within_limits(tried) & ~self._taken(step.held)
        if step.allowed is not None:
            eligible &= step.allowed
        free = np.flatnonzero(eligible)
        if not len(free):
            return free
        at = np.array([known[k] for k in done], np.intp)
        losses = np.array([tried[k].losses for k in done], np.float64)
        missed = np.array([tried[k].missed for k in done])
        scores = np.stack([normal_scores(column) for column in losses.T], axis=1)
        if objectives > 2:
            weighted = scores * self._generators(_STREAM, step.number).dirichlet(
                np.ones(objectives)
            )
            scores = (weighted.max(axis=1) + 0.05 * weighted.sum(axis=1))[:, None]
        said = [self._sweep.posterior(at, column) for column in scores.T]
        mean = np.stack([m for m, _ in said], axis=1)[free]
        std = np.stack([s for _, s in said], axis=1)[free]
        if (missed > 0).any():
            # What is expected to miss a limit as far as half of the trials did is the last choice.
            off, _ = self._sweep.posterior(at, normal_scores(missed))
            mean = mean + np.maximum(off[free], 0.0)[:, None]
        feasible = scores[missed <= 0] if (missed <= 0).any() else scores
        found = []
        for hope in HOPES:
            hoped = mean - hope * std
            rows = improving_points(feasible, hoped, PROMISING)
            if len(rows) < PROMISING:
                more = smallest(hoped.sum(axis=1), PROMISING - len(rows))
                rows = np.concatenate([rows, more])
            found.append(free[rows])
        return np.unique(np.concatenate(found))
