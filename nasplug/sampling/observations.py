"""Outcomes of trials as a model of them reads them, and its posterior; plain numpy, no study.

Values are learned as scores (`value_scores`): mostly their distances, and their order, so that no
training run that diverged flattens the others. Constraints keep their scale.

Notation: n candidates, k finished trials, p pending ones, m values of a trial; all values are
losses, to be minimised; a row is an index of a candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr

from nasplug.arrays import Array, Indices, Mask
from nasplug.sampling.incremental_process import normal_scores

__all__ = [
    "Observations",
    "Posterior",
    "constraint_scores",
    "failure_targets",
    "success_probability",
    "value_scores",
]

# Trials from which on the scale of their values counts beside the order.
SCALED = 8
# Weight of the order beside the scale: near the best of a study it spreads differences that are
# noise.
ORDER = 0.15
# Distances to a bound are clipped at so many times their upper quartile.
FAR = 4.0
# Smallest probability that a trial succeeds.
LEAST_SUCCESS = 1e-6


@dataclass(frozen=True, eq=False)
class Observations:
    """The outcomes of trials of candidates.

    Attributes:
        rows: Candidates with known losses, `(k,)`, in the order of their trials.
        losses: Their losses, `(k, m)`, finite.
        violations: Name of a constraint to the distance by which each trial misses it, `(k,)`, ≤ 0
            if it is met; NaN where a trial did not set it.
        pending: Candidates whose trials are under way, `(p,)`.
        noise: Variances of the scores of estimated losses, `(k,)`, 0 for measured ones; None if all
            are measured.
        estimated: Mask of the losses of pruned trials, `(k,)`; None if there are none.
        failed: Candidates whose trials failed, `(f,)`.
        settings: Equal numbers of trials of one candidate in one setting, `(k,)`; `rows` if None.
    """

    rows: Indices
    losses: Array
    violations: Mapping[str, Array]
    pending: Indices
    noise: Array | None = None
    estimated: Mask | None = None
    failed: Indices = field(default_factory=lambda: np.empty(0, np.intp))
    settings: Indices | None = None

    @property
    def feasible(self) -> Mask:
        """Mask of `rows` that miss no constraint that their trial set, `(k,)`."""
        result = np.ones(len(self.rows), np.bool_)
        for values in self.violations.values():
            result &= ~(values > 0)
        return result

    @property
    def extra(self) -> Array:
        """Variances of the scores of estimated losses, `(k,)`."""
        return np.zeros(len(self.rows)) if self.noise is None else self.noise

    @property
    def best(self) -> Array:
        """Scores of the losses of feasible candidates that were measured, `(b, m)`.

        Those of a candidate that was measured again are averaged. If no feasible one was measured,
        the estimated ones count.
        """
        scores = np.stack([value_scores(column) for column in self.losses.T], axis=1)
        is_best = self.feasible if self.estimated is None else self.feasible & ~self.estimated
        if not is_best.any():
            is_best = self.feasible
        rows = (self.rows if self.settings is None else self.settings)[is_best]
        scores = scores[is_best]
        _, first, group = np.unique(rows, return_index=True, return_inverse=True)
        if len(first) == len(rows):
            return np.asarray(scores)
        counts = np.bincount(group)
        sums = [np.bincount(group, column) for column in scores.T]
        return np.stack([column / counts for column in sums], axis=1)


@dataclass(frozen=True, eq=False)
class Posterior:
    """The posterior of all candidates.

    Attributes:
        mean: Means of the scores of the losses (`value_scores`), `(n, m)`.
        std: Their standard deviations, `(n, m)`.
        feasibility: Probability of meeting all learned constraints, `(n,)`.
        success: Probability that a trial does not fail, `(n,)`; None while none has failed.
    """

    mean: Array
    std: Array
    feasibility: Array
    success: Array | None = None


def constraint_scores(
    values: Array, recalled: Indices
) -> tuple[Array, Callable[[Array, Array], Array], Indices | None]:
    """Turn distances to a bound into what a process learns.

    Args:
        values: Distances by which trials miss it, `(k,)`, NaN where a trial did not set it.
        recalled: Trials to learn from.

    Returns:
        The distances on the scale of a process, `(k,)`; a function of means and spreads on this
        scale that gives the probability of meeting it; and those of the recalled trials that set
        it, or None if nothing is known of the border.
    """
    is_set = np.isfinite(values)
    missed = values[is_set]
    # With one outcome alone nothing is known of the border.
    if len(missed) < 2 or np.ptp(missed) == 0:
        return values, lambda mean, spread: np.ones(len(mean)), None
    scores, border = _in_units(values)
    return (
        scores,
        lambda mean, spread: np.asarray(ndtr((border - mean) / spread)),
        recalled[is_set[recalled]],
    )


def failure_targets(succeeded: int, failed: int) -> Array:
    """Outcomes of trials that succeeded and that failed, standardised, `(succeeded + failed,)`."""
    outcomes = np.repeat([0.0, 1.0], [succeeded, failed])
    return np.asarray((outcomes - outcomes.mean()) / outcomes.std())


def success_probability(mean: Array, spread: Array, succeeded: int, failed: int) -> Array:
    """Probability that an outcome of `failure_targets` with a mean and a spread is no failure."""
    share = failed / (succeeded + failed)
    border = (0.5 - share) / np.sqrt(share * (1 - share))
    return np.asarray(np.maximum(ndtr((border - mean) / spread), LEAST_SUCCESS))


def value_scores(losses: Array) -> Array:
    """Scores of losses, `(k,)`: their normal scores and standardised values, in a weighted mean.

    The order alone spreads the best ones by their number, the scale alone lets a training run that
    diverged flatten the others: a loss that is far worse than most is brought closer.
    """
    scores = normal_scores(losses)
    finite = losses[np.isfinite(losses)]
    if len(finite) < SCALED:
        return scores
    low, middle, high = np.quantile(finite, (0.1, 0.5, 0.9))
    near = np.clip(losses, middle - FAR * (middle - low), high + (high - middle))
    unit = float(near.std())
    if not 0 < unit < np.inf:
        return scores
    return np.asarray(ORDER * scores + (1 - ORDER) * (near - near.mean()) / unit)


def _in_units(values: Array) -> tuple[Array, float]:
    """Distances to a bound, centred and in units of their spread, and the bound itself so.

    Not the order counts here: trials crowd at the bound, and to rank them there is to rank noise.
    A trial that lies far from the bound is brought closer, so that no one trial sets the unit. NaN,
    of a trial that did not set the constraint, stays.
    """
    missed = values[np.isfinite(values)]
    far = FAR * float(np.quantile(np.abs(missed), 0.75))
    reach = far if far > 0 else np.inf
    near = np.clip(missed, -reach, reach)
    center, unit = float(near.mean()), float(near.std()) or 1.0
    return (np.clip(values, -reach, reach) - center) / unit, -center / unit
