"""Graphs, operators and devices as numbers: what a predictor reads.

The room knows graphs and hardware descriptions alone, and no network or training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasplug.search_spaces.lazy import loader

if TYPE_CHECKING:
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

__getattr__ = loader(
    __name__,
    {
        "DeviceBatch": "nasplug.predictors.features.settings",
        "OperatorFeatures": "nasplug.predictors.features.operators",
        "Setting": "nasplug.predictors.features.settings",
        "operator_kinds": "nasplug.predictors.features.operators",
        "vocabulary_of": "nasplug.predictors.features.nodes",
    },
)
