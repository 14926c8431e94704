"""Estimates of the losses that pruned trials would have had, from what they reported.

A pruned trial's last report is compared with what complete trials had reported at the same step:
their final losses are a line over those reports, and its residuals are the noise of the estimate.
So a pruned trial counts as what it showed, and the later it was pruned the more it counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from nasplug.arrays import Array
from nasplug.sampling.tried import Tried

__all__ = ["estimated_finals", "line_estimate"]

# Pairs that pull the slope of a line to 1, so that few complete trials do not set it.
PULL = 2.0
# Complete trials that it takes to know the noise; before that it is `GUESSED`.
FEW, GUESSED = 3, 0.25
# Variances are rounded up to one of these, so that equal trials seldom have to be learned again.
NOISES = (0.0, 0.01, 0.04, 0.16, 0.64, 2.56)


def estimated_finals(tried: Sequence[Tried]) -> Sequence[Tried]:
    """The same trials, in which those that were pruned have estimated losses with their noise."""
    pruned = [k for k, trial in enumerate(tried) if _is_pruned(trial)]
    if not pruned:
        return tried
    complete = [trial for trial in tried if trial.losses is not None]
    finals = np.array([trial.losses[0] for trial in complete if trial.losses], np.float64)
    estimates: dict[int, tuple[float, float]] = {}
    steps = sorted({max(tried[k].curve) for k in pruned})
    for step in steps:
        rows = [k for k in pruned if max(tried[k].curve) == step]
        shown = np.array([tried[k].curve[step] for k in rows])
        before = np.array([_shown_at(trial.curve, step) for trial in complete])
        known = np.isfinite(before) & np.isfinite(finals)
        losses, variance = line_estimate(before[known], finals[known], shown)
        estimates |= {k: (loss, variance) for k, loss in zip(rows, losses, strict=True)}
    every = np.concatenate([finals[np.isfinite(finals)], [loss for loss, _ in estimates.values()]])
    scale = float(np.var(every)) or 1.0
    result = list(tried)
    for k, (loss, variance) in estimates.items():
        noise = next((n for n in NOISES if variance / scale <= n * (1 + 1e-9)), NOISES[-1])
        result[k] = replace(tried[k], losses=(float(loss),), noise=noise, pruned=True)
    return result


def line_estimate(before: Array, finals: Array, shown: Array) -> tuple[Array, float]:
    """Final losses of trials that showed some losses at a step, `(n,)`, and their variance.

    Args:
        before: Losses that complete trials showed at the step, `(k,)`.
        finals: Their final losses, `(k,)`.
        shown: Losses that the others showed at the step, `(n,)`.
    """
    spread = float(np.var(np.concatenate([before, shown])))
    if not len(finals):
        return shown, GUESSED * spread
    x, y = before - before.mean(), finals - finals.mean()
    pull = PULL * spread
    slope = float(x @ y + pull) / (float(x @ x) + pull) if spread > 0 else 1.0
    # A falling line is noise: a better trial at a step is not expected to end worse.
    slope = max(slope, 0.0)
    residual = y - slope * x
    variance = GUESSED * max(spread, float(np.var(finals)))
    if len(finals) >= FEW:
        variance = float(residual @ residual) / (len(finals) - 2)
    return finals.mean() + slope * (shown - before.mean()), variance


def _is_pruned(trial: Tried) -> bool:
    return trial.losses is None and bool(trial.curve) and not trial.runs and not trial.failed


def _shown_at(curve: Mapping[int, float], step: int) -> float:
    """The last loss that a trial reported up to a step; NaN without one."""
    steps = [s for s in curve if s <= step]
    return curve[max(steps)] if steps else float("nan")
