"""NN-Former, the latency model, as published.

Source: Xu et al., "NN-Former: Rethinking Graph Structure in Neural Architecture Representation"
(CVPR 2025), section on the latency predictor, and its released code for NNLQP. Deviations: what a
`Graph` does not know of an ONNX operator (see `node_codes`), and the graphs of a batch are computed
together rather than one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from nasplug.predictors.features.published_codes import (
    ATTRIBUTE_WIDTH,
    MOST_OPS,
    check_vocabulary,
    sinusoid,
    sinusoid_code,
    static_values,
    wave_frequencies,
)
from nasplug.predictors.layers.backends import layout
from nasplug.predictors.layers.batch import CodedBatch, GraphBatch
from nasplug.predictors.layers.blocks import Block
from nasplug.predictors.layers.heads import PositiveHead

if TYPE_CHECKING:
    from torch import Tensor

    from nasplug.search_spaces import Graph

__all__ = ["NNFormerLatency", "NNFormerLatencyConfig"]

SHAPE_NUMBERS = 20
STATIC_NUMBERS = 10
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


class NNFormerLatency(nn.Module):
    """Sinusoid node codes, two scaled blocks, the sum of the nodes, static features, softplus.

    Raises:
        InputError: If there are more operation types than codes.
    """

    def __init__(self, config: NNFormerLatencyConfig, backend: str = "auto") -> None:
        super().__init__()
        check_vocabulary(config.vocabulary)
        self.config = config
        self.backend = backend
        dim = config.dim
        self.embed = nn.Linear(MOST_OPS + ATTRIBUTE_WIDTH + 4 * SHAPE_NUMBERS, dim)
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
        self.head = PositiveHead(
            dim, len(STATIC_SCALES) * STATIC_NUMBERS, 1, len(config.targets), config.dropout
        )
        self.apply(_init_weights)

    def prepare(self, graphs: Sequence[Graph]) -> list[Graph]:
        """The graphs as they run."""
        return list(graphs)

    def collate(self, prepared: Sequence[Graph]) -> CodedBatch:
        """Batch of graphs with their codes."""
        known, images = self.config.vocabulary, self.config.images
        codes = sinusoid_code(prepared, known, images, SHAPE_NUMBERS)
        static = sinusoid(
            static_values(prepared, images) / STATIC_SCALES,
            wave_frequencies(STATIC_NUMBERS // 2),
            interleaved=True,
        )
        return CodedBatch.of(
            GraphBatch.collate(prepared, known),
            torch.from_numpy(codes).float(),
            torch.from_numpy(static).float().flatten(1),
        )

    def forward(self, batch: CodedBatch) -> Tensor:
        """Predicted latencies in ms, shape `(graphs, targets)`."""
        form = layout(batch, self.backend)
        dtype = self.embed.weight.dtype
        x = form.enter(self.embed(batch.codes.to(dtype)))
        for block in self.blocks:
            x = block(x, form)
        x = self.norm(x)
        graph = form.total(READOUT_SCALE * (self.readout(x) + x))
        result: Tensor = self.head(graph, batch.static.to(dtype))
        return result


def _init_weights(module: nn.Module) -> None:
    """Kaiming-normal weights (fan-in, linear gain) and zero biases, as the released code starts."""
    if isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
        nn.init.zeros_(module.bias)
