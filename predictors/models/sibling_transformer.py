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

from torch import nn

from nasplug.predictors.features.devices import features_text, hardware_features
from nasplug.predictors.features.nodes import NODE_FEATURES
from nasplug.predictors.layers.batch import GraphBatch
from nasplug.predictors.layers.blocks import init_weights
from nasplug.predictors.layers.dynamic import dynamic_blocks
from nasplug.predictors.layers.relations import RELATIONS
from nasplug.predictors.models.graph_transformer import (
    GraphTransformer,
    GraphTransformerConfig,
    HardwareHead,
    target_head,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from nasplug.predictors.features.settings import Setting
    from nasplug.search_spaces import Graph

__all__ = ["SiblingTransformer", "SiblingTransformerConfig"]


@dataclass(frozen=True)
class SiblingTransformerConfig(GraphTransformerConfig):
    """Sizes of a `SiblingTransformer`.

    Attributes:
        relations: The relations that heads take turns over.
        direction: Which neighbours the feed-forward gathers, one of `blocks.DIRECTIONS`.
    """

    relations: tuple[str, ...] = RELATIONS
    direction: str = "both"

    def read_device(self, setting: Setting) -> NDArray[np.float32]:
        """Description of a device at a batch size, as the network reads it, shape `(features,)`."""
        return hardware_features(setting.hardware, setting.batch_size)

    def device_text(self, setting: Setting) -> str:
        """All that the network reads of a device, as text to store and compare."""
        return features_text(setting.hardware, setting.batch_size)


class SiblingTransformer(GraphTransformer):
    """Predicts standardised targets of graphs."""

    config: SiblingTransformerConfig

    def __init__(self, config: SiblingTransformerConfig, backend: str = "auto") -> None:
        super().__init__(config, backend)
        dim = config.dim
        self.embed_op = nn.Embedding(len(config.vocabulary), dim)
        self.embed_costs = nn.Linear(NODE_FEATURES, dim)
        self.blocks = dynamic_blocks(config, config.relations, config.direction)
        self.norm = nn.LayerNorm(dim)
        self.apply(init_weights)
        nn.init.normal_(self.embed_op.weight, std=0.5)
        if config.hardware:
            self.head = HardwareHead(2 * dim, len(config.devices), config.dropout)
        else:
            self.head = target_head(2 * dim, len(config.targets), config.dropout)

    def collate(self, prepared: Sequence[Graph]) -> GraphBatch:
        """Batch of prepared graphs."""
        return GraphBatch.collate(prepared, self.config.vocabulary)

    def read_nodes(self, batch: GraphBatch) -> Tensor:
        """Vectors of the operations and of their costs, shape `(nodes, dim)`."""
        costs = batch.features.to(self.embed_op.weight.dtype)
        vectors: Tensor = self.embed_op(batch.ops) + self.embed_costs(costs)
        return vectors
