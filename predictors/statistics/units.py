"""From scores of a model to units: mean and standard deviation of a measured value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nasplug.predictors.prediction import Array

__all__ = ["SMALLEST_SPREAD", "by_quadrature", "by_slope"]

# Scores `(n, targets)` -> values in units of the same shape, increasing.
Values = Callable[[Array], Array]

QUADRATURE = 15
# Where all labels are equal, in units.
SMALLEST_SPREAD = 1e-9


def by_quadrature(values: Values, mean: Array, variance: Array) -> tuple[Array, Array]:
    """Mean and standard deviation in units of a value whose score is normal.

    Both are expectations over the score (Gauss-Hermite quadrature), as the map may be far from
    straight: where labels tie or leave a gap. Means are `(n, targets)`, variances `(n,)`.
    """
    reach = np.sqrt(variance)[:, None]
    nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE)
    points = np.stack([values(mean + node * reach) for node in nodes])
    center = np.average(points, axis=0, weights=weights)
    spread = np.sqrt(np.average((points - center) ** 2, axis=0, weights=weights))
    return center, np.maximum(spread, SMALLEST_SPREAD)


def by_slope(values: Values, mean: Array, std: Array, smallest: Array) -> tuple[Array, Array]:
    """Value of the mean score, and half of what lies between a deviation below and above it.

    Means and deviations are `(n, targets)`; no spread is below `smallest`, in units, `(targets,)`.
    """
    spread = (values(mean + std) - values(mean - std)) / 2
    return values(mean), np.maximum(spread, smallest)
