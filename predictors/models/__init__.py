"""Networks that map a batch of graphs to scores: the published ones and nasplug's own.

The room knows features and layers, and no training.
"""

from __future__ import annotations

from nasplug.predictors.models.ledgformer import LeDGFormer, LeDGFormerConfig
from nasplug.predictors.models.narformer_v2 import (
    NARFormerV2,
    NARFormerV2Config,
    NARFormerV2Latency,
    NARFormerV2LatencyConfig,
)
from nasplug.predictors.models.nnformer import NNFormer, NNFormerConfig
from nasplug.predictors.models.nnformer_latency import NNFormerLatency, NNFormerLatencyConfig
from nasplug.predictors.models.nnlp import NNLP, NNLPConfig
from nasplug.predictors.models.roofline_transformer import RooflineTransformer
from nasplug.predictors.models.sibling_transformer import (
    SiblingTransformer,
    SiblingTransformerConfig,
)

__all__ = [
    "NNLP",
    "LeDGFormer",
    "LeDGFormerConfig",
    "NARFormerV2",
    "NARFormerV2Config",
    "NARFormerV2Latency",
    "NARFormerV2LatencyConfig",
    "NNFormer",
    "NNFormerConfig",
    "NNFormerLatency",
    "NNFormerLatencyConfig",
    "NNLPConfig",
    "RooflineTransformer",
    "SiblingTransformer",
    "SiblingTransformerConfig",
]
