"""The parts that `SiblingTransformer` and `LeDGFormer` share: all but their readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nasplug.predictors.features.devices import HARDWARE_FEATURES
from nasplug.predictors.layers.backends import layout
from nasplug.predictors.layers.batch import GraphBatch
from nasplug.search_spaces.simplify import simplify

if TYPE_CHECKING:
    from torch import Tensor

    from nasplug.search_spaces import Graph

__all__ = ["GraphTransformer", "GraphTransformerConfig", "HardwareHead", "target_head"]


@dataclass(frozen=True)
class GraphTransformerConfig:
    """Sizes that graph transformers have in common.

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
    hardware: bool = False
    devices: tuple[str, ...] = ()


class GraphTransformer(nn.Module):
    """Predicts standardised targets of graphs by transformer blocks over their nodes.

    A subclass reads nodes (`read_nodes`) and makes the parts, in an order of its own, as that order
    decides the random weights that a training starts from.

    Attributes:
        config: Sizes and parts.
        backend: Of the layers.
        blocks: The blocks.
        norm: After the last of them.
        head: `target_head` or a `HardwareHead`.
    """

    blocks: nn.ModuleList
    norm: nn.LayerNorm
    head: nn.Module

    def __init__(self, config: Any, backend: str = "auto") -> None:
        super().__init__()
        self.config = config
        self.backend = backend

    def read_nodes(self, batch: Any) -> Tensor:
        """Vectors of the nodes of a batch that `collate` made, shape `(nodes, dim)`."""
        raise NotImplementedError

    def prepare(self, graphs: Sequence[Graph]) -> list[Graph]:
        """The graphs as this model reads them: simplified, or as they are."""
        return [simplify(graph) for graph in graphs] if self.config.simplified else list(graphs)

    def encode(self, batch: GraphBatch) -> Tensor:
        """Embedding of each graph, shape `(graphs, 2 * dim)`."""
        form = layout(batch, self.backend)
        x = form.enter(self.read_nodes(batch))
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
            hardware: Descriptions of devices, shape `(devices, features)`, if the model needs them.
            device_index: Position in `config.devices` for each, -1 for an unknown one.

        Returns:
            Shape `(graphs, targets)`, or `(graphs, devices)` for a hardware-conditioned model.
        """
        device = () if hardware is None else (hardware, device_index)
        result: Tensor = self.head(self.encode(batch), *device)
        return result


def target_head(dim: int, targets: int, dropout: float) -> nn.Sequential:
    """Embeddings `(graphs, dim)` -> `(graphs, targets)`."""
    return nn.Sequential(
        nn.Linear(dim, dim), nn.SiLU(), nn.Dropout(dropout), nn.Linear(dim, targets)
    )


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
        learned = torch.where(known, self.own[device_index], self.own.new_zeros(()))
        device = self.dropout(self.describe(hardware)) + learned
        width = embedding.shape[-1]
        scale, shift, offset = self.modulate(device).split([width, width, 1], dim=-1)
        lifted = self.lift(embedding)[:, None]
        hidden = nn.functional.silu(lifted * (1 + scale) + shift)
        result: Tensor = self.lower(hidden).squeeze(-1) + offset.squeeze(-1)
        return result
