"""Targets as normal scores of their rank, and the way back to their units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nasplug.predictors.prediction import Array
from nasplug.search_spaces import InputError

__all__ = ["finite_columns", "normal_scores", "quantile_grid", "target_columns", "values_at"]

# Probabilities of the stored quantiles of the training targets.
GRID = (np.arange(1000) + 0.5) / 1000


def target_columns(targets: Array, graphs: int, names: Sequence[str]) -> Array:
    """Targets as an array of shape `(graphs, len(names))`.

    Args:
        targets: Values in units, shape `(graphs, targets)`, or `(graphs,)` for one target.
        graphs: How many graphs they are of.
        names: Names of the targets.

    Raises:
        InputError: If the shape is another.
    """
    values = np.asarray(targets, dtype=np.float64)
    if values.ndim == 1:
        values = values[:, None]
    if values.shape != (graphs, len(names)):
        raise InputError(
            f"targets have shape {values.shape}; expected ({graphs}, {len(names)}), a row per "
            f"graph and a column for each of {', '.join(names)}"
        )
    return values


def finite_columns(targets: Array, graphs: int, names: Sequence[str]) -> Array:
    """`target_columns` that are all known.

    Raises:
        InputError: If the shape is another or a value is not finite.
    """
    values = target_columns(targets, graphs, names)
    if not np.isfinite(values).all():
        row = int(np.argmax(~np.isfinite(values).all(1)))
        raise InputError(f"the target of graph {row} is not finite; leave such graphs out")
    return values


def normal_scores(values: Array) -> Array:
    """Φ⁻¹((rank − 1/2)/n) of each column, `(n, targets)`; equal values share the mean rank."""
    from scipy.stats import norm, rankdata

    ranks = np.stack([rankdata(column) for column in values.T], axis=1)
    result: Array = norm.ppf((ranks - 0.5) / len(values))
    return result


def quantile_grid(values: Array) -> Array:
    """Quantiles of targets `(n, targets)` at evenly spaced probabilities, `(targets, points)`."""
    result: Array = np.quantile(values, GRID, axis=0).T
    return result


def values_at(scores: Array, quantiles: Array) -> Array:
    """Values in units of normal scores `(n, targets)` by a `quantile_grid`, strictly increasing."""
    from scipy.special import ndtri

    at = ndtri(GRID)
    columns = []
    for score, values in zip(scores.T, quantiles, strict=True):
        # The slight slope keeps an order where the targets have ties, and beyond their ends.
        slope = 1e-4 * max(float(np.ptp(values)), 1e-9)
        columns.append(np.interp(score, at, values) + slope * score)
    return np.stack(columns, axis=1)
