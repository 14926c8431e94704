"""Published predictors with their sizes and recipes, ready to fit.

The room knows models, training and statistics; `factories` is what the registry calls.
"""

from __future__ import annotations

from nasplug.predictors.published.factories import (
    build,
    ledgformer,
    narformer_v2,
    nnformer,
    nnlp,
)
from nasplug.predictors.published.predictor import NetworkPredictor, NetworkPredictorConfig

__all__ = [
    "NetworkPredictor",
    "NetworkPredictorConfig",
    "build",
    "ledgformer",
    "narformer_v2",
    "nnformer",
    "nnlp",
]
