"""Split-conformal calibration: from raw scores to units, with intervals that hold.

Each column of a predictor has its own map. It is fitted on examples that the model was not trained
on, so the quantiles of its residuals carry over to further unseen examples (split conformal
prediction; Vovk et al. 2005, Lei et al. 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.prediction import Array
from nasplug.search_spaces import InputError

__all__ = ["LEVELS", "Calibration", "conformal_quantiles", "left_out_quantiles"]

# The probabilities at which residual quantiles are kept.
LEVELS: Array = np.linspace(0.005, 0.995, 199)
# Bins of the score-to-unit map; finer at both ends, where few examples decide a search.
_BIN_EDGES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0)
_SMALLEST_BIN = 5
_FOLDS = 20
_ONE_SIGMA = 0.6827


def conformal_quantiles(residuals: Array) -> Array:
    """Quantiles at `LEVELS` with the finite-sample correction of split conformal prediction.

    The quantile at level p is the order statistic of rank p (n + 1), so that a further exchangeable
    residual lies below it with probability p. They are increasing; residuals are finite, n ≥ 1.
    """
    ordered = np.sort(residuals)
    ranks = np.arange(1, len(ordered) + 1) / (len(ordered) + 1)
    result: Array = np.interp(LEVELS, ranks, ordered)
    return result


def left_out_quantiles(residuals: Sequence[Array], interval: float = 0.9) -> Array:
    """Residual quantiles for a group that was never seen, learned from groups that were left out.

    Residuals of one group resemble each other more than those of another, so pooled quantiles are
    too narrow for a new group. They are widened, around their median, until the interval that the
    other groups give covers, on average over the groups, as much of each group as it says.

    Args:
        residuals: For each group (such as a device) its residuals from a model that had not seen
            it; shape `(n_k,)` each, at least one group.
        interval: Probability of the central interval that is made to hold.

    Returns:
        Quantiles at `LEVELS`, increasing; shape `(len(LEVELS),)`.
    """
    pooled = conformal_quantiles(np.concatenate(residuals))
    if len(residuals) < 2:
        return pooled
    ends = np.array([(1 - interval) / 2, (1 + interval) / 2])
    scaled = []
    for k, group in enumerate(residuals):
        others = conformal_quantiles(np.concatenate([r for j, r in enumerate(residuals) if j != k]))
        middle = np.interp(0.5, LEVELS, others)
        low, high = np.interp(ends, LEVELS, others) - middle
        # The factor by which the others' interval would have to grow to take in each residual.
        gap = group - middle
        scaled.append(np.where(gap < 0, gap / min(low, -1e-12), gap / max(high, 1e-12)))
    weights = np.concatenate([np.full(len(s), 1 / len(s)) for s in scaled]) / len(scaled)
    needed = np.concatenate(scaled)
    order = np.argsort(needed)
    place = int(np.searchsorted(np.cumsum(weights[order]), interval))
    factor = max(1.0, float(needed[order][min(place, len(needed) - 1)]))
    middle = np.interp(0.5, LEVELS, pooled)
    result: Array = middle + factor * (pooled - middle)
    return result


@dataclass(frozen=True, eq=False)
class Calibration:
    """For each column: an increasing map from score to centre, a spread along it, residuals.

    Attributes:
        knots: Scores at the knots of each column's piecewise-linear map, `(columns, k)`.
        centers: Centre at each knot, increasing, `(columns, k)`.
        log_spreads: Logarithm of the spread at each knot, `(columns, k)`.
        residuals: Quantiles at `LEVELS` of (truth − centre) / spread, `(columns, q)`.
    """

    knots: Array
    centers: Array
    log_spreads: Array
    residuals: Array

    @classmethod
    def identity(cls, residuals: Sequence[Array]) -> Calibration:
        """Scores that are centres already: only quantiles of held-out truth − score are kept."""
        knots = np.tile([[-1.0, 1.0]], (len(residuals), 1))
        quantiles = np.stack([conformal_quantiles(column) for column in residuals])
        return cls(knots, knots.copy(), np.zeros_like(knots), quantiles)

    @classmethod
    def fit(cls, scores: Array, truths: Array) -> Calibration:
        """Learn maps, spreads and residuals from held-out scores and truths, `(n, columns)` each.

        The residuals come from cross-fitting, so the map has not seen their truths.

        Raises:
            InputError: If there are fewer than 20 examples.
        """
        if len(scores) < 20:
            raise InputError(
                f"{len(scores)} examples are too few to calibrate on; give at least 20"
            )
        # By position: any fixed assignment is exchangeable with the callers' random order.
        fold = np.arange(len(scores)) % _FOLDS
        columns = []
        for score, truth in zip(scores.T, truths.T, strict=True):
            parts = []
            for inside in (fold == f for f in range(_FOLDS)):
                center, spread = _mapped(score[inside], *_fit_map(score[~inside], truth[~inside]))
                parts.append((truth[inside] - center) / spread)
            residuals = conformal_quantiles(np.concatenate(parts))
            columns.append((*_fit_map(score, truth), residuals))
        return cls(*map(np.stack, zip(*columns, strict=True)))

    def apply(self, scores: Array, columns: Sequence[int]) -> tuple[Array, Array, Array]:
        """Centres, spreads `(n, c)` and residuals `(q, c)` of scores `(n, c)` of some columns."""
        centers, spreads = np.empty((2, *scores.shape))
        for k, column in enumerate(columns):
            centers[:, k], spreads[:, k] = _mapped(
                scores[:, k], self.knots[column], self.centers[column], self.log_spreads[column]
            )
        return centers, spreads, self.residuals[list(columns)].T

    def tensors(self) -> dict[str, Array]:
        """Arrays to store beside the weights."""
        return dict(vars(self))


def _fit_map(scores: Array, truths: Array) -> tuple[Array, Array, Array]:
    """Knots, centres and log spreads: medians of quantile bins, made strictly increasing."""
    order = np.argsort(scores, kind="stable")
    bins = _bins(order)
    knots = np.array([np.median(scores[b]) for b in bins])
    centers = np.maximum.accumulate([np.median(truths[b]) for b in bins])
    scale = max(float(np.ptp(truths)), 1e-9)
    keep = np.concatenate([[True], np.diff(knots) > 0])
    if keep.sum() < 2:
        keep[:], width = True, max(abs(float(knots[0])), 1.0) * 1e-3
        knots = knots[0] + width * np.arange(len(knots))
    # A strictly increasing map leaves the ranking to the model.
    centers = centers + 1e-6 * scale * np.arange(len(centers))
    knots, centers = knots[keep], centers[keep]
    around = [
        np.quantile(np.abs(truths[b] - _interpolate(scores[b], knots, centers)), _ONE_SIGMA)
        for b in bins
    ]
    spreads = np.log(np.maximum(np.array(around)[keep], 1e-4 * scale))
    return knots, centers, spreads


def _mapped(scores: Array, knots: Array, centers: Array, log_spreads: Array) -> tuple[Array, Array]:
    """Centres and spreads of scores of one column, by its map."""
    return _interpolate(scores, knots, centers), np.exp(np.interp(scores, knots, log_spreads))


def _bins(order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """`order` cut at `_BIN_EDGES`, leaving out edges that would make a bin too small."""
    edges = [0]
    for edge in _BIN_EDGES[1:-1]:
        place = round(edge * len(order))
        if min(place - edges[-1], len(order) - place) >= _SMALLEST_BIN:
            edges.append(place)
    return [order[a:b] for a, b in pairwise([*edges, len(order)])]


def _interpolate(x: Array, knots: Array, values: Array) -> Array:
    """Piecewise-linear through the knots, continued with the slope of the end pieces."""
    inner = np.interp(x, knots, values)
    low = (values[1] - values[0]) / (knots[1] - knots[0])
    high = (values[-1] - values[-2]) / (knots[-1] - knots[-2])
    below, above = np.minimum(x - knots[0], 0.0), np.maximum(x - knots[-1], 0.0)
    result: Array = inner + low * below + high * above
    return result
