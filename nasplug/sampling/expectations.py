"""What is expected of a trial before it runs, in intervals that learn from those that came before.

The candidates that a search proposes are promising partly by error, so that the intervals of a
perfectly calibrated model hold less often among them than they say. Whether each past trial lay in
its interval is known, and is what the next ones are widened by: after a miss by `RATE` times the
wanted share of hits, after a hit narrowed by `RATE` times that of misses, on a logarithmic scale.
Over many trials the share of hits then comes to what was announced, whatever the model (Gibbs and
Candès, "Adaptive conformal inference under distribution shift", 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from nasplug.sampling.learning import Evidence, Outlook, value_scores
from nasplug.studies.values import INTERVAL

if TYPE_CHECKING:
    from nasplug.sampling.tried import Tried

__all__ = ["expectation", "is_outside", "widths"]

Array = NDArray[np.float64]

RATE = 0.3
# How many times as wide or as narrow as the model's own an interval may become.
WIDEST, NARROWEST = 8.0, 0.5
# Beyond the best and the worst value so far their map to scores goes on as in this share of them.
TAIL = 0.2


def expectation(
    outlook: Outlook, row: int, evidence: Evidence, tried: Sequence[Tried]
) -> dict[str, Any]:
    """Mean and ends of the interval of each loss, and the probability of feasibility.

    Args:
        outlook: Of all candidates.
        row: The candidate.
        evidence: The trials that were learned from.
        tried: The trials, in their order.

    Returns:
        `losses`, mean, lower and upper end of each; empty where only a weighting of the losses was
        learned, or one of them is infinite in all trials. `feasible`, if there are constraints.
    """
    found: dict[str, Any] = {"losses": []}
    is_known = np.isfinite(evidence.losses).any(axis=0).all()
    if outlook.mean.shape[1] == evidence.losses.shape[1] and is_known:
        reach = float(ndtri((1 + INTERVAL) / 2)) * widths(tried, evidence.losses.shape[1])
        for k, losses in enumerate(evidence.losses.T):
            mean, off = outlook.mean[row, k], reach[k] * outlook.std[row, k]
            values = _as_losses(np.array([mean, mean - off, mean + off]), losses)
            found["losses"].append([float(f"{value:.8g}") for value in values])
    if evidence.violations:
        found["feasible"] = round(float(outlook.chance[row]), 4)
    return found


def widths(tried: Sequence[Tried], count: int) -> Array:
    """How many times as wide as the model's own the next intervals are to be, `(count,)`.

    Args:
        tried: The trials, in their order.
        count: How many values a trial has.
    """
    told = [one.outside for one in tried if one.outside is not None and len(one.outside) == count]
    return np.array([_width([row[k] for row in told]) for k in range(count)])


def _width(outside: Sequence[bool]) -> float:
    level, least, most = 0.0, math.log(NARROWEST), math.log(WIDEST)
    wider, narrower = RATE * INTERVAL, -RATE * (1 - INTERVAL)
    for missed in outside:
        # Clipped at each step, so that a long run of hits is forgotten as soon as misses come.
        level += wider if missed else narrower
        if level < least:
            level = least
        elif level > most:
            level = most
    return math.exp(level)


def is_outside(said: Any, losses: Sequence[float]) -> tuple[bool, ...] | None:
    """Whether each loss lay outside of the interval that was announced; None if none was.

    Args:
        said: `losses` of an `expectation`, as a storage gives it back.
        losses: What came.
    """
    if not isinstance(said, list) or len(said) != len(losses):
        return None
    try:
        return tuple(
            not lower <= loss <= upper for (_, lower, upper), loss in zip(said, losses, strict=True)
        )
    except (TypeError, ValueError):
        return None


def _as_losses(scores: Array, losses: Array) -> Array:
    """The losses at some scores, by the losses of the trials so far, of which one is finite."""
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
