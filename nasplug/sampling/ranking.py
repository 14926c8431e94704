"""The candidate to try next by predicted values; plain numpy, no study."""

from __future__ import annotations

import numpy as np

from nasplug.arrays import Array
from nasplug.pareto import contributions, pareto_mask
from nasplug.sampling.acquisition import (
    expected_hypervolume_improvement,
    expected_improvement,
    screened_hypervolume_improvement,
)

__all__ = ["MIN_PAIRS", "best_candidate", "relate"]

# Completed trials before the line from predicted to observed values is trusted.
MIN_PAIRS = 8
# Gains this close to the best, relatively, count as tied.
_TIE = 1e-9


def relate(mean: Array, std: Array, predicted: Array, observed: Array) -> tuple[Array, Array]:
    """Put predictions of one objective on the scale of the observed values.

    A user trains in another way than the benchmark did, so a least-squares line leads from
    predicted to observed values once there are `MIN_PAIRS` of them, and the spread of its residuals
    becomes the standard deviation. Before that, predictions are taken as they stand. Where the
    observed values *are* the predictions, nothing is uncertain and the standard deviation is 0.

    Args:
        mean: Predicted means of the candidates, shape `(n,)`.
        std: Their standard deviations, shape `(n,)`.
        predicted: Predicted means of the completed trials, shape `(k,)`.
        observed: Observed values of the completed trials, finite, shape `(k,)`.
    """
    if len(observed) and np.allclose(observed, predicted, rtol=1e-9, atol=1e-12):
        return mean, np.zeros_like(std)
    if len(observed) < MIN_PAIRS:
        return mean, std
    centred = predicted - predicted.mean()
    variance = float(centred @ centred)
    slope = float(centred @ observed) / variance if variance > 0 else 1.0
    # A falling line is noise: better predictions cannot mean worse trials.
    slope = slope if slope > 0 else 1.0
    offset = float(observed.mean() - slope * predicted.mean())
    residual = observed - (offset + slope * predicted)
    spread = float(np.sqrt(residual @ residual / (len(observed) - 2)))
    return offset + slope * mean, np.full_like(std, spread)


def _reference(points: Array) -> Array:
    """A point a tenth of the front's range beyond its worst values, so that its ends count too."""
    front = points[pareto_mask(points)]
    low, high = front.min(axis=0), front.max(axis=0)
    reach = np.where(high > low, high - low, np.maximum(np.abs(high), 1.0))
    return np.asarray(high + 0.1 * reach)


def _one_of_best(value: Array, generator: np.random.Generator) -> int:
    best = value.max()
    tied = np.flatnonzero(value >= best - _TIE * abs(best))
    return int(tied[0] if len(tied) == 1 else generator.choice(tied))


def best_candidate(
    mean: Array,
    std: Array,
    observed: Array,
    generator: np.random.Generator,
    horizon: Array | None = None,
) -> int:
    """Index of the candidate to try next; every objective is to be minimised.

    It has the largest expected improvement, of the dominated hypervolume if there are several
    objectives. Where none is expected to improve, it is the non-dominated candidate that dominates
    most; with two objectives, most that no other candidate dominates. Without observed values the
    mean itself is what improves.

    Args:
        mean: Means of the candidates on the observed scale, shape `(n, m)` with n ≥ 1.
        std: Their standard deviations, shape `(n, m)`.
        observed: Values of the feasible trials, shape `(k, m)`.
        generator: Breaks ties.
        horizon: Means that fix the reference point together with the observed values, shape
            `(h, m)`; those of the candidates if left out.
    """
    if mean.shape[1] == 1:
        if not len(observed):
            return _one_of_best(-mean[:, 0], generator)
        gain = expected_improvement(mean[:, 0], std[:, 0], float(observed.min()))
        scale = max(float(np.ptp(mean)), abs(float(observed.min())))
        if gain.max() > 1e-12 * scale:
            return _one_of_best(gain, generator)
        return _one_of_best(-mean[:, 0], generator)
    reference = _reference(np.vstack([mean if horizon is None else horizon, observed]))
    # Each candidate costs a term for each box, of which two objectives have few.
    are_two = mean.shape[1] == 2
    improvement = expected_hypervolume_improvement if are_two else screened_hypervolume_improvement
    gain = improvement(mean, std, observed, reference)
    box = float(np.prod(reference - np.vstack([mean, observed]).min(axis=0)))
    if gain.max() > 1e-12 * abs(box):
        return _one_of_best(gain, generator)
    layer = np.flatnonzero(pareto_mask(mean))
    end = _reference(mean)
    dominated = contributions(mean[layer], end) if are_two else (end - mean[layer]).prod(axis=1)
    return int(layer[_one_of_best(dominated, generator)])
