"""Calibrated intervals, under the name by which users know them."""

from __future__ import annotations

from nasplug.predictors.statistics.calibration import LEVELS, Calibration, conformal_quantiles

__all__ = ["LEVELS", "Calibration", "conformal_quantiles"]
