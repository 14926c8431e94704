"""The values announced for a trial before it runs, in intervals that adapt to past trials.

The candidates that a search proposes are promising partly by error, so that the intervals of a
perfectly calibrated model hold less often among them than they claim. Past trials tell how often
they did: on a logarithmic scale the next interval is widened after a miss by `RATE` times the
wanted share of hits, and narrowed after a hit by `RATE` times that of misses. Over many trials the
share of hits approaches the announced one, whatever the model (Gibbs and Candès, "Adaptive
conformal inference under distribution shift", 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtri

from nasplug.arrays import Array
from nasplug.sampling.trial_model import Observations, Posterior, value_scores
from nasplug.studies.values import INTERVAL

if TYPE_CHECKING:
    from nasplug.sampling.tried import Tried

__all__ = ["announced_values", "is_outside", "widths"]

RATE = 0.3
# Bounds of the factor by which the model's own interval is widened.
WIDEST, NARROWEST = 8.0, 0.5
# Share of the values, the best or worst, whose slope the map to scores has beyond them.
TAIL = 0.2


def announced_values(
    posterior: Posterior, row: int, observations: Observations, tried: Sequence[Tried]
) -> dict[str, Any]:
    """Mean and ends of the interval of each loss of a candidate, and its chance of feasibility.

    `losses` has mean, lower and upper end of each; it is empty where one of them is infinite in all
    trials. `feasible` is there with constraints.
    """
    announced: dict[str, Any] = {"losses": []}
    is_known = np.isfinite(observations.losses).any(axis=0).all()
    count = observations.losses.shape[1]
    if is_known:
        reach = float(ndtri((1 + INTERVAL) / 2)) * widths(tried, count)
        for k, losses in enumerate(observations.losses.T):
            mean, half_width = posterior.mean[row, k], reach[k] * posterior.std[row, k]
            ends = np.array([mean, mean - half_width, mean + half_width])
            values = _as_losses(ends, losses)
            announced["losses"].append([float(f"{value:.8g}") for value in values])
    if observations.violations:
        announced["feasible"] = round(float(posterior.feasibility[row]), 4)
    return announced


def widths(tried: Sequence[Tried], count: int) -> Array:
    """Factors by which the model's own next intervals of `count` values are to be widened."""
    outside = [t.outside for t in tried if t.outside is not None and len(t.outside) == count]
    return np.array([_width([row[k] for row in outside]) for k in range(count)])


def _width(outside: Sequence[bool]) -> float:
    level, least, most = 0.0, math.log(NARROWEST), math.log(WIDEST)
    wider, narrower = RATE * INTERVAL, -RATE * (1 - INTERVAL)
    for missed in outside:
        # Clipped at each step, so that a long run of hits is forgotten as soon as misses come.
        level = min(max(level + (wider if missed else narrower), least), most)
    return math.exp(level)


def is_outside(intervals: Any, losses: Sequence[float]) -> tuple[bool, ...] | None:
    """Whether each loss lay outside of its announced interval, as a storage gives it back.

    None if no interval was announced.
    """
    if not isinstance(intervals, list) or len(intervals) != len(losses):
        return None
    try:
        return tuple(
            not lower <= loss <= upper
            for (_, lower, upper), loss in zip(intervals, losses, strict=True)
        )
    except (TypeError, ValueError):
        return None


def _as_losses(scores: Array, losses: Array) -> Array:
    """Losses at some scores, interpolated between those of the trials, of which one is finite."""
    finite = np.isfinite(losses)
    x, y = value_scores(losses)[finite], losses[finite]
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    tail = min(max(1, round(TAIL * len(x))), len(x) - 1)
    inside = np.interp(scores, x, y)
    below = np.minimum(scores - x[0], 0.0) * _slope(x[0], x[tail], y[0], y[tail])
    above = np.maximum(scores - x[-1], 0.0) * _slope(x[-1 - tail], x[-1], y[-1 - tail], y[-1])
    return np.asarray(inside + below + above)


def _slope(x0: float, x1: float, y0: float, y1: float) -> float:
    return (y1 - y0) / (x1 - x0) if x1 > x0 else 0.0
