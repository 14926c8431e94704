"""Batches of graphs and the layers that read them, on DGL or on plain torch.

The room knows graphs and features. `relations` says which nodes attend to which, `batch` joins
graphs, `backends` sums over edges, `blocks` and `dynamic` are transformer blocks, `heads` outputs.
"""

from __future__ import annotations

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
