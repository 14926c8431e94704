"""Predictors of accuracy: Gaussian processes over features, forests, and ensembles of networks.

The room knows features, layers, models, statistics and training. `transformer_gp` is what the
package uses for a space whose cells have an encoder, `operator_gp` for whole networks, `array_gp`
for NAS-Bench-101.
"""

from __future__ import annotations

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
