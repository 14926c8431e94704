"""The most promising candidate together with the parameters beside it, such as a learning rate.

The gain of all candidates is computed at the best points so far; of the most promising candidates,
at many points more; and of the best pairs, at points near by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nasplug.arrays import Array, Indices
from nasplug.sampling.incremental_process import Kernel
from nasplug.sampling.joint_model import JointModel
from nasplug.sampling.observations import (
    Observations,
    Posterior,
    constraint_scores,
    failure_targets,
    success_probability,
    value_scores,
)
from nasplug.sampling.other_params import OtherParams
from nasplug.sampling.trial_model import TrialModel, most_promising

__all__ = ["JointTrials", "choose_jointly"]

# Best points so far at which all candidates are judged, candidates that are judged at more points,
# how many points, and how many best pairs are varied, so often, in so many ways.
BEST, JUDGED, POINTS, PAIRS, ROUNDS, WAYS = 2, 60, 40, 4, 3, 10
# Trials of a longer study to learn from.
MOST = 200


@dataclass(frozen=True, eq=False)
class JointTrials:
    """Trials of candidates with other parameters.

    Attributes:
        observations: Their outcomes.
        points: Points of the trials in `observations.rows`, `(k, d)`.
        pending: Points of those under way, `(p, d)`.
        failed: Points of those that failed, `(f, d)`.
    """

    observations: Observations
    points: Array
    pending: Array
    failed: Array


class _Processes:
    """A process for each value and constraint, and one for success."""

    def __init__(self, model: TrialModel, trials: JointTrials, recalled: Indices, d: Any) -> None:
        self._model, self._categorical = model, d
        observations = trials.observations
        rows, points = observations.rows[recalled], trials.points[recalled]
        self._pending = observations.pending, trials.pending
        kernels = model.value_kernels(observations.losses.shape[1])
        extra = observations.extra[recalled]
        self.values = [
            self._fitted(rows, points, value_scores(column)[recalled], extra, kernels=kernels)
            for column in observations.losses.T
        ]
        self.constraints = []
        for values in observations.violations.values():
            scores, border, learned = constraint_scores(values, recalled)
            if learned is not None:
                process = self._fitted(
                    observations.rows[learned],
                    trials.points[learned],
                    scores[learned],
                    kernels=model.constraint_kernels,
                )
                self.constraints.append((process, border))
        self.success = None
        failed = observations.failed[-MOST:]
        self._outcomes = len(rows), len(failed)
        if len(failed):
            self.success = self._fitted(
                np.concatenate([rows, failed]),
                np.concatenate([points, trials.failed[-MOST:]]),
                failure_targets(*self._outcomes),
                is_outcome=True,
            )

    def _fitted(
        self,
        rows: Indices,
        points: Array,
        targets: Array,
        extra: Array | None = None,
        is_outcome: bool = False,
        kernels: tuple[Kernel, ...] | None = None,
    ) -> JointModel:
        extra = np.zeros(len(rows)) if extra is None else extra
        used = self._model.kernels if kernels is None else kernels
        process = JointModel(self._model.blocks, used, self._categorical)
        process.fit(rows, points, targets, extra)
        pending, others = self._pending
        if len(pending) and not is_outcome:
            # A pending trial counts as if it had ended as expected, so that jobs spread out.
            mean, _ = process.posterior(pending, others)
            process.fit(
                np.concatenate([rows, pending]),
                np.concatenate([points, others]),
                np.concatenate([targets, mean]),
                np.concatenate([extra, np.zeros(len(pending))]),
            )
        return process

    def posterior(self, rows: Indices, points: Array) -> Posterior:
        """The posterior at candidates with points, `(q,)` each."""
        columns = [process.posterior(rows, points) for process in self.values]
        feasibility = np.ones(len(rows))
        for process, border in self.constraints:
            mean, std = process.posterior(rows, points)
            feasibility *= border(mean, np.sqrt(std**2 + process.noise))
        success = None
        if self.success is not None:
            mean, std = self.success.posterior(rows, points)
            spread = np.sqrt(std**2 + self.success.noise)
            success = success_probability(mean, spread, *self._outcomes)
        return Posterior(
            np.stack([mean for mean, _ in columns], axis=1),
            np.stack([std for _, std in columns], axis=1),
            feasibility,
            success,
        )


def choose_jointly(
    model: TrialModel,
    trials: JointTrials,
    allowed: Indices,
    others: OtherParams,
    probability: float,
    generator: np.random.Generator,
) -> tuple[int, Mapping[str, Any], Posterior]:
    """The candidate and the other parameters of the largest gain; see `TrialModel.choose`.

    Args:
        model: The model of the candidates.
        trials: The trials, at least one with known losses.
        allowed: Candidates to choose from, at least one.
        others: The other parameters.
        probability: Probability with which learned constraints are to hold.
        generator: Draws the points.

    Returns:
        A row, the other parameters, and the posterior of this choice alone.
    """
    observations = trials.observations
    recalled = model.recalled(observations)[-MOST:]
    processes = _Processes(model, trials, recalled, others.categorical)

    def ranked(rows: Indices, points: Array, count: int) -> Indices:
        """Indices of the pairs of the largest gain, the best first."""
        together = np.concatenate([rows, observations.pending])
        posterior = processes.posterior(together, np.concatenate([points, trials.pending]))
        seen = replace(observations, pending=np.arange(len(rows), len(together)))
        return most_promising(seen, posterior, np.arange(len(rows)), probability, count)

    best = others.possible(_best_points(trials, BEST))
    rows, points = np.tile(allowed, len(best)), np.repeat(best, len(allowed), axis=0)
    first = ranked(rows, points, JUDGED * len(best))
    judged = np.array(list(dict.fromkeys(rows[first].tolist()))[:JUDGED], np.intp)
    more = np.concatenate([best, others.sample(POINTS, generator), others.near(best, 8, generator)])
    rows, points = np.tile(judged, len(more)), np.repeat(more, len(judged), axis=0)
    for _ in range(ROUNDS):
        pairs = ranked(rows, points, PAIRS)
        near = others.near(points[pairs], WAYS, generator)
        rows = np.concatenate([rows[pairs], np.repeat(rows[pairs], WAYS)])
        points = np.concatenate([points[pairs], near])
    (chosen,) = ranked(rows, points, 1)
    row, point = rows[[chosen]], points[[chosen]]
    return int(row[0]), others.decode(point[0]), processes.posterior(row, point)


def _best_points(trials: JointTrials, count: int) -> Array:
    """Points of the best trials so far, `(≤ count, d)`."""
    observations = trials.observations
    scores = np.sum([value_scores(column) for column in observations.losses.T], axis=0)
    order = np.argsort(np.where(observations.feasible, scores, np.inf), kind="stable")
    _, first = np.unique(trials.points[order], axis=0, return_index=True)
    return np.asarray(trials.points[order[np.sort(first)[:count]]])
