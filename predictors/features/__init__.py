"""Graphs, operators and devices as numbers: what a predictor reads.

The room knows graphs and hardware descriptions alone, and no network or training.
"""

from __future__ import annotations

from nasplug.predictors.features.nodes import vocabulary_of
from nasplug.predictors.features.operators import OperatorFeatures, operator_kinds
from nasplug.predictors.features.settings import DeviceBatch, Setting

__all__ = [
    "DeviceBatch",
    "OperatorFeatures",
    "Setting",
    "operator_kinds",
    "vocabulary_of",
]
