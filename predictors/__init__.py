"""Predictors, from features and layers to training, calibrated intervals and checkpoints.

This package reads graphs and never asks which space they come from.
"""

from __future__ import annotations

from nasplug.predictors.hardware import Hardware
from nasplug.predictors.prediction import NotFittedError, Prediction, Predictor
from nasplug.predictors.registry import create, names

__all__ = ["Hardware", "NotFittedError", "Prediction", "Predictor", "create", "names"]
