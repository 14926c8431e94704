"""Batches of graphs and the layers that read them, on DGL or on plain torch.

The room knows graphs and features. `relations` says which nodes attend to which, `batch` joins
graphs, `backends` sums over edges, `blocks` and `dynamic` are transformer blocks, `heads` outputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasplug.search_spaces.lazy import loader

if TYPE_CHECKING:
    from nasplug.predictors.layers.batch import GraphBatch
    from nasplug.predictors.layers.blocks import Block
    from nasplug.predictors.layers.dynamic import DynamicBlock
    from nasplug.predictors.layers.relations import RELATIONS

__all__ = [
    "RELATIONS",
    "Block",
    "DynamicBlock",
    "GraphBatch",
]

__getattr__ = loader(
    __name__,
    {
        "Block": "nasplug.predictors.layers.blocks",
        "DynamicBlock": "nasplug.predictors.layers.dynamic",
        "GraphBatch": "nasplug.predictors.layers.batch",
        "RELATIONS": "nasplug.predictors.layers.relations",
    },
)
