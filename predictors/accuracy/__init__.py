"""Predictors of accuracy: Gaussian processes over features, forests, and ensembles of networks.

The room knows features, layers, models, statistics and training. `transformer_gp` is what the
package uses for a space whose cells have an encoder, `operator_gp` for whole networks, `array_gp`
for NAS-Bench-101.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasplug.search_spaces.lazy import loader

if TYPE_CHECKING:
    from nasplug.predictors.accuracy.array_gp import CellGP
    from nasplug.predictors.accuracy.classical import GradientBoosting, RandomForest
    from nasplug.predictors.accuracy.operator_gp import AccuracyGP, AccuracyGPConfig
    from nasplug.predictors.accuracy.path_gp import PathGP
    from nasplug.predictors.accuracy.pretraining import Encoder, PretrainingConfig, pretrain
    from nasplug.predictors.accuracy.transformer_ensemble import AccuracyConfig, AccuracyPredictor
    from nasplug.predictors.accuracy.transformer_gp import TransformerGP, TransformerGPConfig

__all__ = [
    "AccuracyConfig",
    "AccuracyGP",
    "AccuracyGPConfig",
    "AccuracyPredictor",
    "CellGP",
    "Encoder",
    "GradientBoosting",
    "PathGP",
    "PretrainingConfig",
    "RandomForest",
    "TransformerGP",
    "TransformerGPConfig",
    "pretrain",
]

__getattr__ = loader(
    __name__,
    {
        "AccuracyConfig": "nasplug.predictors.accuracy.transformer_ensemble",
        "AccuracyGP": "nasplug.predictors.accuracy.operator_gp",
        "AccuracyGPConfig": "nasplug.predictors.accuracy.operator_gp",
        "AccuracyPredictor": "nasplug.predictors.accuracy.transformer_ensemble",
        "CellGP": "nasplug.predictors.accuracy.array_gp",
        "Encoder": "nasplug.predictors.accuracy.pretraining",
        "GradientBoosting": "nasplug.predictors.accuracy.classical",
        "PathGP": "nasplug.predictors.accuracy.path_gp",
        "PretrainingConfig": "nasplug.predictors.accuracy.pretraining",
        "RandomForest": "nasplug.predictors.accuracy.classical",
        "TransformerGP": "nasplug.predictors.accuracy.transformer_gp",
        "TransformerGPConfig": "nasplug.predictors.accuracy.transformer_gp",
        "pretrain": "nasplug.predictors.accuracy.pretraining",
    },
)
