"""The pretraining of an encoder, under the name by which users know it."""

from __future__ import annotations

from nasplug.predictors.accuracy.pretraining import Encoder, PretrainingConfig, pretrain

__all__ = ["Encoder", "PretrainingConfig", "pretrain"]
