"""The frame of the published networks that read nodes and whole graphs as codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from nasplug.predictors.layers.backends import layout
from nasplug.predictors.layers.batch import CodedBatch, GraphBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from nasplug.predictors.layers.backends import Layout
    from nasplug.search_spaces import Graph

__all__ = ["CodedNetwork", "degrees"]


class CodedNetwork(nn.Module):
    """Predicts positive targets of graphs, in their units (ms, percent), from codes.

    A subclass codes nodes and graphs (`_codes`, `_static`), has layers and a `head`, and reads
    vectors of graphs (`_read`).
    """

    head: nn.Module

    def __init__(self, config: Any, backend: str = "auto") -> None:
        super().__init__()
        self.config = config
        self.backend = backend

    def _codes(self, graphs: Sequence[Graph]) -> NDArray[np.float64]:
        """Code of each node, `(nodes, width)`."""
        raise NotImplementedError

    def _static(self, graphs: Sequence[Graph]) -> NDArray[np.float64]:
        """Features of whole graphs, `(graphs, width)`; none unless a subclass has some."""
        return np.zeros((len(graphs), 0))

    def _read(self, codes: Tensor, form: Layout, batch: CodedBatch) -> Tensor:
        """Vectors of graphs, `(graphs, dim)`, from the codes of their nodes."""
        raise NotImplementedError

    def prepare(self, graphs: Sequence[Graph]) -> list[Graph]:
        """The graphs as they run, disconnected nodes included."""
        return list(graphs)

    def collate(self, prepared: Sequence[Graph]) -> CodedBatch:
        """Batch of graphs with their codes."""
        return CodedBatch.of(
            GraphBatch.collate(prepared, self.config.vocabulary),
            torch.from_numpy(self._codes(prepared)).float(),
            torch.from_numpy(self._static(prepared)).float(),
        )

    def forward(self, batch: CodedBatch) -> Tensor:
        """Predicted targets, shape `(graphs, targets)`."""
        codes = batch.codes.to(next(self.parameters()).dtype)
        graph = self._read(codes, layout(batch, self.backend), batch)
        result: Tensor = self.head(graph, batch.static.to(graph.dtype))
        return result


def degrees(form: Layout, x: Tensor) -> Tensor:
    """Number of parents and children of each node, `(..., 1)`."""
    ones = torch.ones_like(x[..., :1])
    return form.from_successors(ones) + form.from_predecessors(ones)
