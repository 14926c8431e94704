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

# Pairs that pull the slope of a line to 1, so that few complete trials do not set it alone.
PULL = 0.3
# Complete trials that it takes to know the noise; before that it is `GUESSED`.
FEW, GUESSED = 3, 0.25
# Variances are rounded up to one of these, so that equal trials seldom have to be learned again.
NOISES = (0.0, 0.01, 0.04, 0.16, 0.64, 2.56)


def estimated_finals(tried: Sequence[Tried]) -> Sequence[Tried]:
    """Trials, of which those that were pruned have estimated losses with their noise."""
    pruned = [k for k, trial in enumerate(tried) if _is_pruned(trial)]
    if not pruned:
        return tried
    complete = [trial for trial in tried if trial.losses is not None]
    finals = np.array([trial.losses[0] for trial in complete if trial.losses], np.float64)
    estimates: dict[int, tuple[float, float]] = {}
    ends = {k: max(tried[k].curve) for k in pruned}
    steps = np.unique(list(ends.values()))
    shown_at = np.array([_shown(trial.curve, steps) for trial in complete]).reshape(-1, len(steps))
    for step, before in zip(steps.tolist(), shown_at.T, strict=True):
        rows = [k for k, end in ends.items() if end == step]
        shown = np.array([tried[k].curve[step] for k in rows])
        known = np.isfinite(before) & np.isfinite(finals)
        losses, variances = line_estimate(before[known], finals[known], shown)
        estimates |= dict(zip(rows, zip(losses, variances, strict=True), strict=True))
    every = np.concatenate([finals[np.isfinite(finals)], [loss for loss, _ in estimates.values()]])
    scale = float(np.var(every)) or 1.0
    result = list(tried)
    for k, (loss, variance) in estimates.items():
        noise = next((n for n in NOISES if variance / scale <= n * (1 + 1e-9)), NOISES[-1])
        result[k] = replace(tried[k], losses=(float(loss),), noise=noise, pruned=True)
    return result


def line_estimate(before: Array, finals: Array, shown: Array) -> tuple[Array, Array]:
    """Final losses of trials that showed some losses at a step, and their variances, `(n,)` each.

    Args:
        before: Losses that complete trials showed at the step, `(k,)`.
        finals: Their final losses, `(k,)`.
        shown: Losses that the others showed at the step, `(n,)`.
    """
    spread = float(np.var(np.concatenate([before, shown])))
    if not len(finals):
        return shown, np.full(len(shown), GUESSED * spread)
    x, y = before - before.mean(), finals - finals.mean()
    pull = PULL * spread
    slope = float(x @ y + pull) / (float(x @ x) + pull) if spread > 0 else 1.0
    # A falling line is noise: a better trial at a step is not expected to end worse.
    slope = max(slope, 0.0)
    beyond = shown - before.mean()
    variance = GUESSED * max(spread, float(np.var(finals)))
    if len(finals) >= FEW:
        residual = y - slope * x
        variance = float(residual @ residual) / (len(finals) - 2)
    # The line itself is uncertain, the more the farther from the complete trials.
    reach = 1 + 1 / len(finals) + beyond**2 / (float(x @ x) + pull or 1.0)
    return finals.mean() + slope * beyond, variance * reach


def _is_pruned(trial: Tried) -> bool:
    return trial.losses is None and bool(trial.curve) and not trial.runs and not trial.failed


def _shown(curve: Mapping[int, float], steps: Array) -> Array:
    """The last loss that a trial reported up to each step, `(steps,)`; NaN without one."""
    reported = np.array([-np.inf, *curve])
    values = np.array([np.nan, *curve.values()])
    return np.asarray(values[np.searchsorted(reported, steps, side="right") - 1])
