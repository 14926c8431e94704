"""Published predictors with their sizes and recipes, ready to fit.

The room knows models, training and statistics; `factories` is what the registry calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasplug.search_spaces.lazy import loader

if TYPE_CHECKING:
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

__getattr__ = loader(
    __name__,
    {
        "NetworkPredictor": "nasplug.predictors.published.predictor",
        "NetworkPredictorConfig": "nasplug.predictors.published.predictor",
        "build": "nasplug.predictors.published.factories",
        "ledgformer": "nasplug.predictors.published.factories",
        "narformer_v2": "nasplug.predictors.published.factories",
        "nnformer": "nasplug.predictors.published.factories",
        "nnlp": "nasplug.predictors.published.factories",
    },
)
