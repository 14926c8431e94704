"""nasplug's own predictor: a small sibling-aware graph transformer.

The blocks are NN-Former's; the rest differs: it reads the simplified graph of a cell where the
target is its function (accuracy) and the graph as it runs where it is its cost (latency), its nodes
carry their costs, it reads out the sum of the nodes beside the output node, and a latency is
conditioned on the description of the device (feature-wise affine modulation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from nasplug.predictors.features.devices import HARDWARE_FEATURES
from nasplug.predictors.features.nodes import NODE_FEATURES
from nasplug.predictors.layers.backends import layout
from nasplug.predictors.layers.batch import GraphBatch
from nasplug.predictors.layers.blocks import init_weights
from nasplug.predictors.layers.dynamic import DynamicBlock
from nasplug.predictors.layers.relations import RELATIONS
from nasplug.search_spaces.simplify import simplify

if TYPE_CHECKING:
    from torch import Tensor

    from nasplug.search_spaces import Graph

__all__ = ["SiblingTransformer", "SiblingTransformerConfig"]


@dataclass(frozen=True)
class SiblingTransformerConfig:
    """Sizes of a `SiblingTransformer`.

    Attributes:
        vocabulary: Operation types it knows.
        targets: Names of the outputs; a hardware-conditioned model has the single one `"latency"`.
        dim: Model width.
        num_heads: Attention heads, a multiple of 4.
        num_layers: Blocks.
        ffn_ratio: Hidden width of the feed-forward over `dim`.
        dropout: Dropout in the blocks and the head.
        simplified: Whether graphs are simplified before they are read.
        dynamic: How attention is tied to the relations, one of `dynamic.DYNAMIC_MODES`.
        relations: The relations that heads take turns over.
        direction: Which neighbours the feed-forward gathers, one of `blocks.DIRECTIONS`.
        hardware: Whether the output depends on a device.
        devices: Keys of the measured devices, each with a learned vector of its own beside its
            description; an unknown device has a zero vector.
    """

    vocabulary: tuple[str, ...]
    targets: tuple[str, ...]
    dim: int = 64
    num_heads: int = 4
    num_layers: int = 4
    ffn_ratio: float = 2.0
    dropout: float = 0.0
    simplified: bool = True
    dynamic: str = "static"
    relations: tuple[str, ...] = RELATIONS
    direction: str = "both"
    hardware: bool = False
    devices: tuple[str, ...] = ()


class SiblingTransformer(nn.Module):
    """Predicts standardised targets of graphs."""

    def __init__(self, config: SiblingTransformerConfig, backend: str = "auto") -> None:
        super().__init__()
        self.config = config
        self.backend = backend
        dim = config.dim
        self.embed_op = nn.Embedding(len(config.vocabulary), dim)
        self.embed_costs = nn.Linear(NODE_FEATURES, dim)
        self.blocks = nn.ModuleList(
            DynamicBlock(
                dim,
                config.num_heads,
                config.dynamic,
                config.relations,
                ffn_ratio=config.ffn_ratio,
                dropout=config.dropout,
                direction=config.direction,
            )
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.apply(init_weights)
        nn.init.normal_(self.embed_op.weight, std=0.5)
        if config.hardware:
            self.head: nn.Module = HardwareHead(2 * dim, len(config.devices), config.dropout)
        else:
            self.head = nn.Sequential(
                nn.Linear(2 * dim, 2 * dim),
                nn.SiLU(),
                nn.Dropout(config.dropout),
                nn.Linear(2 * dim, len(config.targets)),
            )

    def prepare(self, graphs: Sequence[Graph]) -> list[Graph]:
        """The graphs as this model reads them: simplified, or as they are."""
        return [simplify(graph) for graph in graphs] if self.config.simplified else list(graphs)

    def collate(self, prepared: Sequence[Graph]) -> GraphBatch:
        """Batch of prepared graphs."""
        return GraphBatch.collate(prepared, self.config.vocabulary)

    def encode(self, batch: GraphBatch) -> Tensor:
        """Embedding of each graph, shape `(graphs, 2 * dim)`."""
        form = layout(batch, self.backend)
        dtype = self.embed_op.weight.dtype
        x = self.embed_op(batch.ops) + self.embed_costs(batch.features.to(dtype))
        x = form.enter(x)
        for block in self.blocks:
            x = block(x, form)
        x = self.norm(x)
        return torch.cat([form.total(x) * 0.2, form.last(x)], dim=-1)

    def forward(
        self,
        batch: GraphBatch,
        hardware: Tensor | None = None,
        device_index: Tensor | None = None,
    ) -> Tensor:
        """Standardised targets.

        Args:
            batch: What `collate` made.
            hardware: Descriptions, shape `(devices, HARDWARE_FEATURES)`, if the model needs them.
            device_index: Position in `config.devices` for each, -1 for an unknown one.

        Returns:
            Shape `(graphs, targets)`, or `(graphs, devices)` for a hardware-conditioned model.
        """
        embedding = self.encode(batch)
        if hardware is None:
            result: Tensor = self.head(embedding)
        else:
            result = self.head(embedding, hardware, device_index)
        return result


class HardwareHead(nn.Module):
    """Modulates graph embeddings by a device and reduces each pair to one number.

        out = w · SiLU( (1 + γ(h)) ⊙ W z + β(h) ) + b(h)

    Args:
        dim: Width of the graph embedding.
        num_devices: Measured devices, each with a learned vector added to its description's.
        dropout: On the device vector, so that no single figure of a data sheet decides.
    """

    def __init__(self, dim: int, num_devices: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.describe = nn.Sequential(nn.Linear(HARDWARE_FEATURES, dim), nn.SiLU())
        self.own = nn.Parameter(torch.zeros(num_devices + 1, dim))
        self.modulate = nn.Linear(dim, 2 * dim + 1)
        self.lift = nn.Linear(dim, dim)
        self.lower = nn.Linear(dim, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, embedding: Tensor, hardware: Tensor, device_index: Tensor) -> Tensor:
        """Embeddings `(graphs, dim)` and devices `(devices, …)` -> `(graphs, devices)`."""
        known = (device_index >= 0)[:, None]
        own = torch.where(known, self.own[device_index], self.own.new_zeros(()))
        device = self.dropout(self.describe(hardware)) + own
        width = embedding.shape[-1]
        scale, shift, offset = self.modulate(device).split([width, width, 1], dim=-1)
        lifted = self.lift(embedding)[:, None]
        hidden = nn.functional.silu(lifted * (1 + scale) + shift)
        result: Tensor = self.lower(hidden).squeeze(-1) + offset.squeeze(-1)
        return result
