"""Targets as normal scores of their rank, and the way back to their units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nasplug.predictors.prediction import Array
from nasplug.search_spaces import InputError

__all__ = ["finite_columns", "normal_scores", "quantile_grid", "target_columns", "values_at"]

# Points of the stored quantile functions of the training targets.
GRID_POINTS = 1000


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
            f"targets have shape {values.shape}, expected ({graphs}, {len(names)}): "
            f"a row a graph, a column for each of {', '.join(names)}"
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
    """Φ⁻¹((rank − 1/2)/n) of each column; equal values share the mean rank.

    Args:
        values: Shape `(n, targets)`.
    """
    from scipy.stats import norm, rankdata

    ranks = np.stack([rankdata(column) for column in values.T], axis=1)
    result: Array = norm.ppf((ranks - 0.5) / len(values))
    return result


def quantile_grid(values: Array) -> Array:
    """Quantiles of each target at evenly spaced probabilities.

    Args:
        values: Shape `(n, targets)`.

    Returns:
        Shape `(targets, GRID_POINTS)`.
    """
    result: Array = np.quantile(values, _grid_levels(), axis=0).T
    return result


def values_at(scores: Array, quantiles: Array) -> Array:
    """Normal scores turned back into values of the training targets, strictly increasing.

    Args:
        scores: Shape `(n, targets)`.
        quantiles: What `quantile_grid` gave, shape `(targets, GRID_POINTS)`.

    Returns:
        Values in units, shape `(n, targets)`.
    """
    from scipy.special import ndtri

    at = ndtri(_grid_levels())
    columns = []
    for score, values in zip(scores.T, quantiles, strict=True):
        # The slight slope keeps an order where the targets have ties, and beyond their ends.
        slope = 1e-4 * max(float(np.ptp(values)), 1e-9)
        columns.append(np.interp(score, at, values) + slope * score)
    return np.stack(columns, axis=1)


def _grid_levels() -> Array:
    return (np.arange(GRID_POINTS) + 0.5) / GRID_POINTS
