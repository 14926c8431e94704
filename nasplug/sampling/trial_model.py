"""A model of a study's trials, and the most promising candidate by it; plain numpy, no study.

One Gaussian process (`incremental_process`) for each value of the trials and each constraint that
the trials set. Values are learned as scores (`value_scores`): mostly their distances, and their
order, so that no training run that diverged flattens the others. Constraints keep their scale.

Notation: n candidates, k finished trials, p pending ones, m values of a trial; all values are
losses, to be minimised; a row is an index of a candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nasplug.arrays import Array, Indices, Mask
from nasplug.pareto import pareto_mask
from nasplug.sampling.acquisition import expected_improvement, screened_hypervolume_improvement
from nasplug.sampling.incremental_process import IncrementalProcess, Kernel, normal_scores
from nasplug.sampling.observations import (
    Observations,
    Posterior,
    constraint_scores,
    failure_targets,
    success_probability,
    value_scores,
)

__all__ = [
    "Observations",
    "Posterior",
    "TrialModel",
    "in_layers",
    "most_promising",
    "normal_scores",
    "spread_design",
    "value_scores",
]

NOISES = (0.005, 0.02, 0.1)
# Lengths of a kernel over structure and counts: what matters of a network, a few choices or many
# together, differs between spaces. The sums have a trend by counts, as costs are. A kernel of
# counts alone would be likely by a study's first trials, and cannot tell its best networks apart.
LENGTHS = (0.9, 1.5, 3.0)
TREND = (0.6, "counts", 3.0)
KERNELS: tuple[Kernel, ...] = (
    *(((1.0, "both", length),) for length in LENGTHS),
    *((TREND, (0.4, "both", length)) for length in LENGTHS[:2]),
)
# Of more than two values most are costs that are close to a smooth function of counts. If no kernel
# said so, the cheapest networks would stay uncertain, and with them the volume beyond them.
SMOOTH_KERNELS: tuple[Kernel, ...] = tuple(
    ((0.95, "counts", LENGTHS[-1]), (0.05, "both", length)) for length in (LENGTHS[0], LENGTHS[-1])
)
# Counts of small pieces (`CodedSpace.counts`) tell of a cell what its costs do, and more.
PIECE_KERNELS: tuple[Kernel, ...] = tuple(((1.0, "structure", length),) for length in LENGTHS)
# A constraint is on a cost, mostly, which depends on counts alone, or on structure alone.
NEAR = (0.5, 0.9, 1.5)
CONSTRAINT_KERNELS: tuple[Kernel, ...] = (
    *(((1.0, "structure", length),) for length in NEAR),
    *(((1.0, "counts", length),) for length in LENGTHS),
    *((TREND, (0.4, "both", length)) for length in NEAR),
)
# With a prediction, a value may be a function of it plus one of the features.
PRIOR_LENGTHS = (2.0, 6.0)
PRIOR_SHARE = 0.8
# Share of the probability that is enough while trials keep the constraints more often than asked.
RELAXED = 0.4
# Largest share of the allowed violations to spend on exploring the border of feasibility.
MOST_SPENT = 0.65
# Of more than `MOST` trials, `KEPT` are learned from and those that came since, so that time and
# memory of a trial stay bounded. `BEST` is the share of the best among them.
MOST, KEPT, BEST = 320, 240, 0.5
# Last failed trials that are learned from.
FAILED = 80
# Weight of an improvement of the median, where trials are pruned.
SURVIVAL = 0.001
# With `MANY` losses what is expected to be worse than all so far in one of them, by this much, may
# still add to the front: few trials were near each of its ends.
MANY, BEYOND = 4, 0.5
# Designs to choose the most spread one from.
DESIGNS = 50


class TrialModel:
    """Gaussian processes of the losses and constraints of candidates, learned from trials.

    Args:
        blocks: Features of all candidates by name (`candidate_features`), `(n, d)` each.
        priors: Predictions by name, `(n,)` each, on which a value may depend.
        kernels: Kernels of values, and of success; those of predictions are added.

    Attributes:
        kernels: All of these.
        constraint_kernels: Kernels of constraints.
    """

    def __init__(
        self,
        blocks: Mapping[str, Array],
        priors: Mapping[str, Array],
        kernels: tuple[Kernel, ...] = KERNELS,
    ) -> None:
        self.blocks = {name: rows.astype(np.float32) for name, rows in blocks.items()}
        on_priors: tuple[Kernel, ...] = ()
        for name, values in priors.items():
            self.blocks[f"prior {name}"] = normal_scores(values)[:, None].astype(np.float32)
            on_priors += tuple(
                (
                    (PRIOR_SHARE, f"prior {name}", length),
                    (1 - PRIOR_SHARE, "both", LENGTHS[0]),
                )
                for length in PRIOR_LENGTHS
            )
        self.kernels = kernels + on_priors
        self.constraint_kernels = CONSTRAINT_KERNELS + on_priors
        self._processes: dict[str, IncrementalProcess] = {}
        # Losses and feasibility by which trials were chosen to learn from, and these trials.
        self._recalled: tuple[Array, Mask, Indices] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.blocks.values())))

    def block(self, name: str) -> NDArray[np.float32]:
        """Features of all candidates, `(n, d)`."""
        return self.blocks[name]

    def value_kernels(self, count: int) -> tuple[Kernel, ...]:
        """Kernels of the values of trials that have so many."""
        has_counts = {"counts", "both"} <= self.blocks.keys()
        return self.kernels + SMOOTH_KERNELS if count > 2 and has_counts else self.kernels

    def posterior(self, observations: Observations, recalled: Indices | None = None) -> Posterior:
        """The posterior of all candidates by some trials, by default those that it recalls."""
        if recalled is None:
            recalled = self.recalled(observations)
        rows, pending = observations.rows[recalled], observations.pending
        extra = observations.extra[recalled]
        kernels = self.value_kernels(observations.losses.shape[1])
        columns = [
            self._posterior_of(
                f"value {k}", rows, value_scores(losses)[recalled], pending, extra, kernels
            )
            for k, losses in enumerate(observations.losses.T)
        ]
        feasibility = np.ones(len(self))
        for name, values in observations.violations.items():
            scores, chance, learned = constraint_scores(values, recalled)
            if learned is None:
                continue
            process = f"constraint {name}"
            mean, std = self._posterior_of(
                process,
                observations.rows[learned],
                scores[learned],
                pending,
                kernels=self.constraint_kernels,
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
        mean, std = self._posterior_of(
            "success",
            np.concatenate([rows, failed]),
            failure_targets(len(rows), len(failed)),
            np.empty(0, np.intp),
        )
        spread = np.sqrt(std**2 + self._processes["success"].noise)
        return success_probability(mean, spread, len(rows), len(failed))

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
        if observations.estimated is not None:
            # Estimates change with each trial, and may not choose other trials each time.
            losses = np.where(observations.estimated[:past, None], np.inf, losses)
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
        kernels: tuple[Kernel, ...] | None = None,
    ) -> tuple[Array, Array]:
        """Mean and standard deviation of one process at all candidates, `(n,)` each."""
        if name not in self._processes:
            used = self.kernels if kernels is None else kernels
            self._processes[name] = IncrementalProcess(self.blocks, used, NOISES)
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
    ) -> tuple[int, Posterior]:
        """The candidate of the largest expected gain among those likely enough to be feasible.

        The gain is the expected improvement, for several losses that of the dominated hypervolume,
        times the probability of feasibility. Where no candidate is likely enough, the likeliest is
        taken.

        Args:
            observations: The trials, at least one with known losses.
            allowed: Candidates to choose from, at least one.
            probability: Probability with which learned constraints are to hold.
        """
        posterior = self.posterior(observations)
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


def _gain(observations: Observations, posterior: Posterior, rows: Indices) -> Array:
    """Expected improvement times the probability of feasibility, `(rows,)`."""
    # A pending trial counts as if it had ended as expected.
    pending = observations.pending
    pending = pending[posterior.feasibility[pending] >= 0.5]
    scores = np.concatenate([observations.best, posterior.mean[pending]])
    mean, std = posterior.mean[rows], posterior.std[rows]
    if scores.shape[1] == 1:
        gain = expected_improvement(mean[:, 0], std[:, 0], float(scores.min()))
        if observations.estimated is not None:
            # A trial that is not pruned tells more, and so is worth something if none improves.
            middle = float(np.median(scores))
            gain = gain + SURVIVAL * expected_improvement(mean[:, 0], std[:, 0], middle)
    else:
        front = scores[pareto_mask(scores)]
        # The ends of the front count as far as anything was ever worse than they.
        worst = scores.max(axis=0) + (BEYOND if scores.shape[1] >= MANY else 0.0)
        reference = np.maximum(worst, front.max(axis=0) + 0.1)
        gain = screened_hypervolume_improvement(mean, std, front, reference)
    return np.asarray(gain * posterior.feasibility[rows])


def in_layers(scores: Array, count: int) -> Indices:
    """Rows of whole layers of the Pareto order, the best first, until there are `count`.

    Args:
        scores: Points to be minimised, `(n, m)`.
        count: How many, at least, if there are so many.
    """
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
