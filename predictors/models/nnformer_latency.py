"""NN-Former, the latency model, as published.

Source: Xu et al., "NN-Former: Rethinking Graph Structure in Neural Architecture Representation"
(CVPR 2025), section on the latency predictor, and its released code for NNLQP. Deviations: what a
`Graph` does not know of an ONNX operator (see `published_codes`), and the graphs of a batch are
computed together rather than one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from nasplug.predictors.features.published_codes import (
    STATIC_WIDTH,
    check_vocabulary,
    sinusoid_code,
    sinusoid_width,
    static_code,
)
from nasplug.predictors.layers.blocks import Block
from nasplug.predictors.layers.heads import PositiveHead
from nasplug.predictors.models.coded_network import CodedNetwork

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from nasplug.predictors.layers.backends import Layout
    from nasplug.predictors.layers.batch import CodedBatch
    from nasplug.search_spaces import Graph

__all__ = ["NNFormerLatency", "NNFormerLatencyConfig"]

SHAPE_NUMBERS = 20
# Batch size, FLOPs, parameters, memory access.
STATIC_SCALES = np.array([1.0, 1e9, 1e7, 1e7])
# The published factor that keeps a sum over nodes stable.
READOUT_SCALE = 0.01


@dataclass(frozen=True)
class NNFormerLatencyConfig:
    """Published sizes for NNLQP.

    Attributes:
        vocabulary: Operation types, at most 32; a type's position is its one-hot code.
        targets: Names of the outputs.
        images: Batch size of the forward pass whose latency is predicted.
        dim: Model width.
        num_heads: Attention heads; published with four, one a relation.
        num_layers: Blocks.
        ffn_ratio: Hidden width of the feed-forward over `dim`.
        dropout: Dropout on attention weights, in the feed-forward, the readout and the head.
        layer_scale: Where the blocks' learned scales start.
    """

    vocabulary: tuple[str, ...]
    targets: tuple[str, ...] = ("latency",)
    images: int = 1
    dim: int = 512
    num_heads: int = 4
    num_layers: int = 2
    ffn_ratio: float = 4.0
    dropout: float = 0.05
    layer_scale: float = 1e-4


class NNFormerLatency(CodedNetwork):
    """Sinusoid node codes, two scaled blocks, the sum of the nodes, static features, softplus.

    Raises:
        InputError: If there are more operation types than codes.
    """

    def __init__(self, config: NNFormerLatencyConfig, backend: str = "auto") -> None:
        super().__init__(config, backend)
        check_vocabulary(config.vocabulary)
        dim = config.dim
        self.embed = nn.Linear(sinusoid_width(SHAPE_NUMBERS), dim)
        self.blocks = nn.ModuleList(
            Block(
                dim,
                config.num_heads,
                config.ffn_ratio,
                config.dropout,
                bias=True,
                attention_dropout=config.dropout,
                layer_scale=config.layer_scale,
            )
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.readout = nn.Sequential(
            nn.Linear(dim, 2 * dim),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(2 * dim, dim),
            nn.Dropout(config.dropout),
        )
        self.head = PositiveHead(dim, STATIC_WIDTH, 1, len(config.targets), config.dropout)
        self.apply(_init_weights)

    def _codes(self, graphs: Sequence[Graph]) -> NDArray[np.float64]:
        return sinusoid_code(graphs, self.config.vocabulary, self.config.images, SHAPE_NUMBERS)

    def _static(self, graphs: Sequence[Graph]) -> NDArray[np.float64]:
        return static_code(graphs, self.config.images, STATIC_SCALES)

    def _read(self, codes: Tensor, form: Layout, batch: CodedBatch) -> Tensor:
        x = form.enter(self.embed(codes))
        for block in self.blocks:
            x = block(x, form)
        x = self.norm(x)
        return form.total(READOUT_SCALE * (self.readout(x) + x))


def _init_weights(module: nn.Module) -> None:
    """Kaiming-normal weights (fan-in, linear gain) and zero biases, as the released code starts."""
    if isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
        nn.init.zeros_(module.bias)
