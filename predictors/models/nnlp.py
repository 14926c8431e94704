"""NNLP, the predictor of NNLQP, as published.

Source: Liu et al., "NNLQP: A Multi-Platform Neural Network Latency Query and Prediction System with
An Evolving Database" (ICPP 2022), and its released code. Deviations: what a `Graph` does not know
of an ONNX operator (see `published_codes`), and one platform a model. The paper predicts latency;
the same network, trained on accuracies, is the accuracy form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from nasplug.predictors.features.published_codes import (
    NNLP_WIDTH,
    check_vocabulary,
    nnlp_code,
    static_values,
)
from nasplug.predictors.layers.heads import PositiveHead
from nasplug.predictors.models.coded_network import CodedNetwork, degrees

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from nasplug.predictors.layers.backends import Layout
    from nasplug.predictors.layers.batch import CodedBatch
    from nasplug.search_spaces import Graph

__all__ = ["NNLP", "NNLPConfig"]

# Batch size, FLOPs, parameters, memory access.
STATIC_SCALES = np.array([1.0, 1e9, 1e9, 1e9])


@dataclass(frozen=True)
class NNLPConfig:
    """Published sizes.

    Attributes:
        vocabulary: Operation types, at most 32; a type's position is its one-hot code.
        targets: Names of the outputs.
        images: Batch size of the forward pass that is described.
        dim: Model width.
        num_layers: GraphSAGE layers.
        dropout: Dropout in layers and head.
        lift_static: Whether static features are lifted to `dim` before they join the graph's
            vector, as the released code does for structures it has not seen.
    """

    vocabulary: tuple[str, ...]
    targets: tuple[str, ...] = ("latency",)
    images: int = 1
    dim: int = 512
    num_layers: int = 2
    dropout: float = 0.05
    lift_static: bool = True


class SAGELayer(nn.Module):
    """GraphSAGE: `ReLU( normalise( W_l mean_{neighbours} x + b_l + W_r x ) )`, then dropout.

    Neighbours are parents and children; a node without any has mean 0.
    """

    def __init__(self, dim_in: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.around = nn.Linear(dim_in, dim)
        self.root = nn.Linear(dim_in, dim, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, degree: Tensor, layout: Layout) -> Tensor:
        """States `(..., dim_in)` and degrees `(..., 1)` -> `(..., dim)`."""
        mean = (layout.from_successors(x) + layout.from_predecessors(x)) / degree
        out = nn.functional.normalize(self.around(mean) + self.root(x), dim=-1)
        result: Tensor = self.dropout(torch.relu(out))
        return result


class NNLP(CodedNetwork):
    """Two GraphSAGE layers, the sum of the nodes, static features, softplus.

    Raises:
        InputError: If there are more operation types than codes.
    """

    def __init__(self, config: NNLPConfig, backend: str = "auto") -> None:
        super().__init__(config, backend)
        check_vocabulary(config.vocabulary)
        widths = [NNLP_WIDTH] + [config.dim] * (config.num_layers - 1)
        self.layers = nn.ModuleList(SAGELayer(w, config.dim, config.dropout) for w in widths)
        self.head = PositiveHead(
            config.dim,
            len(STATIC_SCALES),
            2,
            len(config.targets),
            config.dropout,
            lift_static=config.lift_static,
        )

    def _codes(self, graphs: Sequence[Graph]) -> NDArray[np.float64]:
        return nnlp_code(graphs, self.config.vocabulary, self.config.images)

    def _static(self, graphs: Sequence[Graph]) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = static_values(graphs, self.config.images) / STATIC_SCALES
        return scaled

    def _read(self, codes: Tensor, form: Layout, batch: CodedBatch) -> Tensor:
        x = form.enter(codes)
        degree = degrees(form, x).clamp(min=1)
        for layer in self.layers:
            x = layer(x, degree, form)
        return form.total(x)
