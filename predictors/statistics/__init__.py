"""Gaussian processes, calibrated intervals and measures of likeness, on plain arrays.

The room knows graphs only where a likeness is one of graphs (`familiarity`), and no network.
"""

from __future__ import annotations

from nasplug.predictors.statistics.calibration import LEVELS, Calibration, conformal_quantiles
from nasplug.predictors.statistics.familiarity import Familiarity
from nasplug.predictors.statistics.gaussian_process import GaussianProcess

__all__ = [
    "LEVELS",
    "Calibration",
    "Familiarity",
    "GaussianProcess",
    "conformal_quantiles",
]
