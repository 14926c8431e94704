"""A model of a study's trials, and the most promising candidate by it; plain numpy, no study.

One Gaussian process (`incremental_process`) for each value of the trials and each constraint that
the trials set. Values are learned as scores (`value_scores`): half their order, half their
distances, so that no training run that diverged flattens the others. Constraints keep their scale.

Notation: n candidates, k finished trials, p pending ones, m values of a trial; all values are
losses, to be minimised; a row is an index of a candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nasplug.arrays import Array, Indices, Mask
from nasplug.pareto import pareto_mask
from nasplug.sampling.acquisition import expected_improvement, screened_hypervolume_improvement
from nasplug.sampling.incremental_process import IncrementalProcess, Kernel, normal_scores

__all__ = [
    "Observations",
    "Posterior",
    "TrialModel",
    "constraint_scores",
    "failure_targets",
    "in_layers",
    "most_promising",
    "normal_scores",
    "random_weighting",
    "spread_design",
    "success_probability",
    "value_scores",
    "weighted",
]

NOISES = (0.005, 0.02, 0.1)
LENGTHS = (0.5, 0.9, 1.5)
# An accuracy depends on a network's structure; its cost, mostly on counts of operations.
KERNELS: tuple[Kernel, ...] = (
    *(((1.0, "structure", length),) for length in LENGTHS),
    *(((1.0, "counts", length),) for length in (0.9, 1.5, 3.0)),
    *(((0.6, "counts", 3.0), (0.4, "both", length)) for length in LENGTHS),
)
# With a prediction, a value may be a function of it plus one of the features.
PRIOR_LENGTHS = (2.0, 6.0)
PRIOR_SHARE = 0.8
# Share of the probability that is enough while trials keep the constraints more often than asked.
RELAXED = 0.4
# Trials from which on the scale of their values counts beside the order.
SCALED = 8
# Distances to a bound are clipped at so many times their upper quartile.
FAR = 4.0
# Largest share of the allowed violations to spend on exploring the border of feasibility.
MOST_SPENT = 0.65
# Of more than `MOST` trials, `KEPT` are learned from and those that came since, so that time and
# memory of a trial stay bounded. `BEST` is the share of the best among them.
MOST, KEPT, BEST = 320, 240, 0.5
# Last failed trials that are learned from, and the smallest probability of success.
FAILED, LEAST_SUCCESS = 80, 0.05
# Weight of an improvement of the median, where trials are pruned.
SURVIVAL = 0.1
# Designs to choose the most spread one from.
DESIGNS = 50


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
        failed: Candidates whose trials failed, `(f,)`.
    """

    rows: Indices
    losses: Array
    violations: Mapping[str, Array]
    pending: Indices
    noise: Array | None = None
    pruned: bool = False
    failed: Indices = field(default_factory=lambda: np.empty(0, np.intp))

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
        """Scores of the losses of distinct feasible candidates that were measured, `(b, m)`.

        Those of a candidate that was measured again are averaged. If none was measured, or none is
        feasible, all others count.
        """
        scores = np.stack([value_scores(column) for column in self.losses.T], axis=1)
        is_best = self.feasible & (self.extra == 0)
        if not is_best.any():
            is_best = self.feasible
        rows, scores = self.rows[is_best], scores[is_best]
        _, first, group = np.unique(rows, return_index=True, return_inverse=True)
        if len(first) == len(rows):
            return scores
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


class TrialModel:
    """Gaussian processes of the losses and constraints of candidates, learned from trials.

    Args:
        blocks: Features of all candidates by name (`candidate_features`), `(n, d)` each.
        priors: Predictions by name, `(n,)` each, on which a value may depend.
    """

    def __init__(self, blocks: Mapping[str, Array], priors: Mapping[str, Array]) -> None:
        self.blocks = {name: rows.astype(np.float32) for name, rows in blocks.items()}
        self.kernels = KERNELS
        for name, values in priors.items():
            self.blocks[f"prior {name}"] = normal_scores(values)[:, None].astype(np.float32)
            self.kernels += tuple(
                (
                    (PRIOR_SHARE, f"prior {name}", length),
                    (1 - PRIOR_SHARE, "both", LENGTHS[1]),
                )
                for length in PRIOR_LENGTHS
            )
        self._processes: dict[str, IncrementalProcess] = {}
        # Losses and feasibility by which trials were chosen to learn from, and these trials.
        self._recalled: tuple[Array, Mask, Indices] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.blocks.values())))

    def block(self, name: str) -> NDArray[np.float32]:
        """Features of all candidates, `(n, d)`."""
        return self.blocks[name]

    def posterior(self, observations: Observations, recalled: Indices | None = None) -> Posterior:
        """The posterior of all candidates by some trials, by default those that it recalls."""
        if recalled is None:
            recalled = self.recalled(observations)
        rows, pending = observations.rows[recalled], observations.pending
        extra = observations.extra[recalled]
        columns = [
            self._posterior_of(f"value {k}", rows, value_scores(losses)[recalled], pending, extra)
            for k, losses in enumerate(observations.losses.T)
        ]
        feasibility = np.ones(len(self))
        for name, values in observations.violations.items():
            scores, chance, learned = constraint_scores(values, recalled)
            if learned is None:
                continue
            process = f"constraint {name}"
            mean, std = self._posterior_of(
                process, observations.rows[learned], scores[learned], pending
            )
            # It is not the function that has to meet the bound, but one value around it.
            spread = np.sqrt(std**2 + self._processes[process].noise)
            feasibility *= chance(mean, spread)
        return Posterior(
            np.stack([mean for mean, _ in columns], axis=1),
            np.stack([std for _, std in columns], axis=1),
            feasibility,
            self._success(rows, observations.failed),
        )

    def _success(self, rows: Indices, failed: Indices) -> Array | None:
        """Probability that a trial of each candidate does not fail, `(n,)`, by those that did."""
        if not len(failed) or not len(rows):
            return None
        failed = failed[-FAILED:]
        mean, _ = self._posterior_of(
            "success",
            np.concatenate([rows, failed]),
            failure_targets(len(rows), len(failed)),
            np.empty(0, np.intp),
        )
        return success_probability(mean, len(rows), len(failed))

    def recalled(self, observations: Observations) -> Indices:
        """Trials to learn from, ascending: all, or as many as keep a trial's cost in bounds.

        Of more than `MOST` they are `KEPT` of the earlier ones, the best and an even share of the
        others, and all since. They are chosen anew when there are `MOST` of them again, by the
        observations alone, so that a resumed study chooses the same.
        """
        count = len(observations.rows)
        if count <= MOST:
            return np.arange(count)
        past = count - 1 - (count - 1 - MOST) % (MOST - KEPT)
        losses, feasible = observations.losses[:past], observations.feasible[:past]
        last = self._recalled
        if (
            last is None
            or not np.array_equal(last[0], losses)
            or not np.array_equal(last[1], feasible)
        ):
            last = self._recalled = losses, feasible, _most_telling(losses, feasible)
        return np.concatenate([last[2], np.arange(past, count)])

    def _posterior_of(
        self,
        name: str,
        rows: Indices,
        targets: Array,
        pending: Indices,
        extra: Array | None = None,
    ) -> tuple[Array, Array]:
        """Mean and standard deviation of one process at all candidates, `(n,)` each."""
        if name not in self._processes:
            self._processes[name] = IncrementalProcess(self.blocks, self.kernels, NOISES)
        process = self._processes[name]
        mean, std = process.posterior(rows, targets, extra)
        if len(pending):
            # A pending trial counts as if it had ended as expected, so that jobs spread out.
            together = np.concatenate([targets, mean[pending]])
            if extra is not None:
                extra = np.concatenate([extra, np.zeros(len(pending))])
            mean, std = process.posterior(np.concatenate([rows, pending]), together, extra)
        return mean, std

    def choose(
        self,
        observations: Observations,
        allowed: Indices,
        probability: float,
        generator: np.random.Generator,
    ) -> tuple[int, Posterior]:
        """The candidate of the largest expected gain among those likely enough to be feasible.

        The gain is the expected improvement, of the dominated hypervolume for two losses; for more
        than two that of a random weighting (Knowles, "ParEGO", 2006). It is multiplied by the
        probability of feasibility. Where no candidate is likely enough, the likeliest is taken.

        Args:
            observations: The trials, at least one with known losses.
            allowed: Candidates to choose from, at least one.
            probability: Probability with which learned constraints are to hold.
            generator: Draws the weighting.
        """
        recalled = self.recalled(observations)
        if observations.losses.shape[1] > 2:
            observations = weighted(observations, generator)
        posterior = self.posterior(observations, recalled)
        (row,) = most_promising(observations, posterior, allowed, probability)
        return int(row), posterior


def most_promising(
    observations: Observations,
    posterior: Posterior,
    allowed: Indices,
    probability: float,
    count: int = 1,
) -> Indices:
    """The rows of the largest gains among the allowed ones, the best first, `(≤ count,)`.

    See `TrialModel.choose`.
    """
    feasibility = posterior.feasibility
    # While far fewer trials missed a constraint than may, the border is worth a look.
    spent = (1 - probability) * min(probability, MOST_SPENT)
    is_safe = observations.feasible.mean() > 1 - spent
    least = RELAXED * probability if is_safe else probability
    likely = allowed[feasibility[allowed] >= least]
    success = np.ones(len(feasibility)) if posterior.success is None else posterior.success
    if observations.violations and (not len(likely) or not observations.feasible.any()):
        pool = likely if len(likely) else allowed
        return _largest(pool, (feasibility * success)[pool], count)
    gain = _gain(observations, posterior, likely) * success[likely]
    if gain.max() <= 0:
        gain = -(posterior.mean[likely] - posterior.std[likely]).sum(axis=1)
    return _largest(likely, gain, count)


def _largest(rows: Indices, values: Array, count: int) -> Indices:
    """The rows of the largest values, the first of equal ones."""
    if count == 1:
        return rows[[np.argmax(values)]]
    return rows[np.argsort(-values, kind="stable")[:count]]


def constraint_scores(
    values: Array, recalled: Indices
) -> tuple[Array, Callable[[Array, Array], Array], Indices | None]:
    """What is learned of a constraint.

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
    """Centred outcomes of trials that succeeded, 0, and that failed, 1; `(succeeded + failed,)`."""
    outcomes = np.repeat([0.0, 1.0], [succeeded, failed])
    return np.asarray(outcomes - outcomes.mean())


def success_probability(mean: Array, succeeded: int, failed: int) -> Array:
    """Probability of success where the expected outcome is `mean`, of `failure_targets`."""
    share = failed / (succeeded + failed)
    return np.asarray(np.clip(1.0 - share - mean, LEAST_SUCCESS, 1.0))


def weighted(observations: Observations, generator: np.random.Generator) -> Observations:
    """Observations of the same trials with one loss, a random weighting of their scores."""
    scores = np.stack([value_scores(column) for column in observations.losses.T], axis=1)
    return replace(observations, losses=random_weighting(scores, generator)[:, None])


def _gain(observations: Observations, posterior: Posterior, rows: Indices) -> Array:
    """Expected improvement times the probability of feasibility, `(rows,)`."""
    # A pending trial counts as if it had ended as expected.
    pending = observations.pending
    pending = pending[posterior.feasibility[pending] >= 0.5]
    scores = np.concatenate([observations.best, posterior.mean[pending]])
    mean, std = posterior.mean[rows], posterior.std[rows]
    if scores.shape[1] == 1:
        gain = expected_improvement(mean[:, 0], std[:, 0], float(scores.min()))
        if observations.pruned:
            # A trial that is not pruned tells more, and so is worth something if none improves.
            middle = float(np.median(scores))
            gain = gain + SURVIVAL * expected_improvement(mean[:, 0], std[:, 0], middle)
    else:
        front = scores[pareto_mask(scores)]
        # The ends of the front count as far as anything was ever worse than they.
        reference = np.maximum(scores.max(axis=0), front.max(axis=0) + 0.1)
        gain = screened_hypervolume_improvement(mean, std, front, reference)
    return np.asarray(gain * posterior.feasibility[rows])


def random_weighting(scores: Array, generator: np.random.Generator) -> Array:
    """A random augmented Chebyshev norm of each row of `(k, m)` scores, `(k,)` (ParEGO)."""
    weighted = scores * generator.dirichlet(np.ones(scores.shape[1]))
    return np.asarray(weighted.max(axis=1) + 0.05 * weighted.sum(axis=1))


def value_scores(losses: Array) -> Array:
    """Scores of losses, `(k,)`: the mean of their normal scores and their standardised values.

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
    return np.asarray((scores + (near - near.mean()) / unit) / 2)


def in_layers(scores: Array, count: int) -> Indices:
    """Rows of whole layers of the Pareto order, the best first, until there are `count`.

    Args:
        scores: Points to be minimised, `(n, m)`; of more than two columns the sum counts.
        count: How many, at least, if there are so many.
    """
    if scores.shape[1] > 2:
        return np.argsort(scores.sum(axis=1), kind="stable")[:count]
    layers: list[Indices] = []
    left = np.arange(len(scores))
    while len(left) and sum(map(len, layers)) < count:
        inside = pareto_mask(scores[left])
        if not inside.any():
            break
        layers.append(left[inside])
        left = left[~inside]
    return np.concatenate([np.empty(0, np.intp), *layers])


def _most_telling(losses: Array, feasible: Mask) -> Indices:
    """`KEPT` trials, ascending: the best feasible ones, and others in an even share."""
    scores = np.stack([normal_scores(column) for column in losses.T], axis=1)
    feasible_rows = np.flatnonzero(feasible)
    most = round(BEST * KEPT)
    best = feasible_rows[in_layers(scores[feasible_rows], most)[:most]]
    others = np.setdiff1d(np.arange(len(losses)), best)
    even = np.linspace(0, len(others) - 1, KEPT - len(best)).astype(np.intp)
    return np.sort(np.concatenate([best, others[even]]))


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


def spread_design(
    rows: NDArray[np.float32], allowed: Indices, count: int, generator: np.random.Generator
) -> list[int]:
    """Candidates to begin with: of many random designs the one whose members lie farthest apart.

    Args:
        rows: Features of all candidates, `(n, d)`.
        allowed: Candidates to choose from, at least one.
        count: Most candidates to choose.
        generator: Draws the designs.
    """
    count = min(count, len(allowed))
    best: tuple[float, Sequence[int]] = (-1.0, ())
    for _ in range(DESIGNS):
        chosen = allowed[generator.choice(len(allowed), count, replace=False)]
        if count < 2:
            return [int(k) for k in chosen]
        apart = ((rows[chosen][:, None] - rows[chosen][None]) ** 2).sum(axis=2)
        nearest = float(apart[np.triu_indices(count, 1)].min())
        if nearest > best[0]:
            best = nearest, [int(k) for k in chosen]
    return list(best[1])
