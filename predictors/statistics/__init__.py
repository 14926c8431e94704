"""Gaussian processes, calibrated intervals and measures of likeness, on plain arrays.

The room knows graphs only where a likeness is one of graphs (`familiarity`), and no network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasplug.search_spaces.lazy import loader

if TYPE_CHECKING:
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

__getattr__ = loader(
    __name__,
    {
        "Calibration": "nasplug.predictors.statistics.calibration",
        "Familiarity": "nasplug.predictors.statistics.familiarity",
        "GaussianProcess": "nasplug.predictors.statistics.gaussian_process",
        "LEVELS": "nasplug.predictors.statistics.calibration",
        "conformal_quantiles": "nasplug.predictors.statistics.calibration",
    },
)
