"""NAR-Former V2, the accuracy and the latency model, as published.

Source: Yi et al., "NAR-Former V2: Rethinking Transformer for Universal Neural Network
Representation Learning" (NeurIPS 2023), and its released code. Deviations: what a `Graph` does not
know of an ONNX operator (see `published_codes`); operation ids are places in the vocabulary; and
the sinusoids of ids and positions, whose frequencies reach 2³¹·π, are computed in double precision,
which makes them the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from nasplug.predictors.features.nodes import op_ids
from nasplug.predictors.features.published_codes import (
    STATIC_WIDTH,
    check_vocabulary,
    nerf_frequencies,
    positions,
    sinusoid,
    sinusoid_code,
    sinusoid_width,
    static_code,
)
from nasplug.predictors.layers.heads import PositiveHead
from nasplug.predictors.models.coded_network import CodedNetwork, degrees
from nasplug.search_spaces import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from nasplug.predictors.layers.backends import Layout
    from nasplug.predictors.layers.batch import CodedBatch
    from nasplug.search_spaces import Graph

__all__ = [
    "NARFormerV2",
    "NARFormerV2Config",
    "NARFormerV2Latency",
    "NARFormerV2LatencyConfig",
]

TOKEN_NUMBERS = 64
SHAPE_NUMBERS = 10
# Batch size, FLOPs, parameters, memory access.
STATIC_SCALES = np.array([1.0, 1e9, 1e9, 1e9])
EPSILON = 1e-6
LAYER_SCALE = 1e-4


@dataclass(frozen=True)
class NARFormerV2Config:
    """Published sizes of the accuracy model for NAS-Bench-201.

    Attributes:
        vocabulary: Operation types; a type's place in it is the number that is coded.
        targets: Names of the outputs.
        dim: Model width; a multiple of `groups`.
        num_layers: Layers; the graph is read out after each.
        ffn_ratio: Hidden width of the feed-forward over `dim`.
        groups: Groups of the feed-forward's maps.
        dropout: Dropout in layers and head.
    """

    vocabulary: tuple[str, ...]
    targets: tuple[str, ...] = ("accuracy",)
    dim: int = 512
    num_layers: int = 6
    ffn_ratio: int = 4
    groups: int = 8
    dropout: float = 0.05


@dataclass(frozen=True)
class NARFormerV2LatencyConfig(NARFormerV2Config):
    """Published sizes of the latency model for NNLQP.

    Attributes:
        images: Batch size of the forward pass whose latency is predicted.
    """

    targets: tuple[str, ...] = ("latency",)
    num_layers: int = 2
    images: int = 1


class GroupedLinear(nn.Module):
    """A linear map whose groups of inputs feed groups of outputs, each group then normalised."""

    def __init__(self, dim_in: int, dim_out: int, groups: int) -> None:
        super().__init__()
        if dim_in % groups or dim_out % groups:
            raise InputError(f"widths {dim_in} and {dim_out} are not multiples of groups {groups}")
        inner, outer = dim_in // groups, dim_out // groups
        self.weight = nn.Parameter(torch.empty(groups, inner, outer))
        self.bias = nn.Parameter(torch.zeros(groups, outer))
        nn.init.uniform_(self.weight, -(inner**-0.5), inner**-0.5)
        self.norm = nn.LayerNorm(outer)

    def forward(self, x: Tensor) -> Tensor:
        """States `(..., dim_in)` -> `(..., dim_out)`."""
        groups, inner, _ = self.weight.shape
        flat = x.reshape(-1, groups, inner).transpose(0, 1)
        mapped = torch.baddbmm(self.bias[:, None], flat, self.weight).transpose(0, 1)
        result: Tensor = self.norm(mapped).flatten(-2).unflatten(0, x.shape[:-1])
        return result


class GraphLayer(nn.Module):
    """One layer of NAR-Former V2.

        x ← x ⊙ sigmoid( Linear_{1→D}(degree) ),  S = sigmoid( x W_qk + b )
        T = S Sᵀ / sqrt(D) on the edges in both directions, each row over its sum + 1e-6
        out = (T x) W_l + b_l + x W_r, over its norm;  x = Dropout( ReLU( out ) )
        x ← x + γ ⊙ GFFN( LN x ),  GFFN two grouped maps with ReLU between

    Args:
        dim_in: Width of the incoming states.
        dim: Width of the outgoing states.
        ffn_ratio: Hidden width of the feed-forward over `dim`.
        groups: Groups of the feed-forward.
        dropout: After each part.
    """

    def __init__(self, dim_in: int, dim: int, ffn_ratio: int, groups: int, dropout: float) -> None:
        super().__init__()
        self.gate = nn.Linear(1, dim_in)
        self.score = nn.Linear(dim_in, dim_in)
        self.around = nn.Linear(dim_in, dim)
        self.root = nn.Linear(dim_in, dim, bias=False)
        self.norm = nn.LayerNorm(dim)
        self.ffn = nn.Sequential(
            GroupedLinear(dim, ffn_ratio * dim, groups),
            nn.ReLU(),
            nn.Dropout(dropout),
            GroupedLinear(ffn_ratio * dim, dim, groups),
            nn.Dropout(dropout),
        )
        self.scale = nn.Parameter(torch.full((dim,), LAYER_SCALE))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, degree: Tensor, layout: Layout) -> Tensor:
        """States `(..., dim_in)` and degrees `(..., 1)` -> `(..., dim)`."""
        x = x * torch.sigmoid(self.gate(degree))
        mixed = layout.mix_neighbors(torch.sigmoid(self.score(x)), x, EPSILON)
        out = nn.functional.normalize(self.around(mixed) + self.root(x), dim=-1)
        x = self.dropout(torch.relu(out))
        result: Tensor = x + self.scale * self.ffn(self.norm(x))
        return result


class NARFormerV2(CodedNetwork):
    """Accuracy: six layers, each pooled to its mean; a gated sum of the six; softplus.

    w = sigmoid( MLP_{6·512 → 768 → 6}( g_1, …, g_6 ) ),  g = Σ_k w_k g_k
    """

    def __init__(self, config: NARFormerV2Config, backend: str = "auto") -> None:
        super().__init__(config, backend)
        self.layers = _layers(config, 2 * TOKEN_NUMBERS)
        count, dim = config.num_layers, config.dim
        self.weigh = nn.Sequential(
            nn.Linear(count * dim, 3 * dim // 2),
            nn.ReLU(),
            nn.Linear(3 * dim // 2, count),
            nn.Sigmoid(),
        )
        self.head = PositiveHead(dim, 0, 2, len(config.targets), config.dropout)

    def _codes(self, graphs: Sequence[Graph]) -> NDArray[np.float64]:
        # Positions make a prediction depend on the order of the nodes, as published.
        numbers = np.stack([op_ids(graphs, self.config.vocabulary), positions(graphs)], axis=1)
        frequencies = nerf_frequencies(TOKEN_NUMBERS // 2)
        waves = sinusoid(numbers.astype(np.float64), frequencies, interleaved=False)
        return waves.reshape(len(numbers), 2 * TOKEN_NUMBERS)

    def _read(self, codes: Tensor, form: Layout, batch: CodedBatch) -> Tensor:
        x = form.enter(codes)
        degree = degrees(form, x)
        pooled = []
        for layer in self.layers:
            x = layer(x, degree, form)
            pooled.append(form.total(x) / batch.sizes[:, None])
        stacked = torch.stack(pooled, dim=1)
        graph: Tensor = (self.weigh(stacked.flatten(1))[..., None] * stacked).sum(1)
        return graph


class NARFormerV2Latency(CodedNetwork):
    """Latency: sinusoid node codes, two layers, the sum of the nodes, static features, softplus.

    Raises:
        InputError: If there are more operation types than codes.
    """

    def __init__(self, config: NARFormerV2LatencyConfig, backend: str = "auto") -> None:
        super().__init__(config, backend)
        check_vocabulary(config.vocabulary)
        self.layers = _layers(config, sinusoid_width(SHAPE_NUMBERS))
        self.head = PositiveHead(config.dim, STATIC_WIDTH, 2, len(config.targets), config.dropout)

    def _codes(self, graphs: Sequence[Graph]) -> NDArray[np.float64]:
        return sinusoid_code(graphs, self.config.vocabulary, self.config.images, SHAPE_NUMBERS)

    def _static(self, graphs: Sequence[Graph]) -> NDArray[np.float64]:
        return static_code(graphs, self.config.images, STATIC_SCALES)

    def _read(self, codes: Tensor, form: Layout, batch: CodedBatch) -> Tensor:
        x = form.enter(codes)
        degree = degrees(form, x)
        for layer in self.layers:
            x = layer(x, degree, form)
        return form.total(x)


def _layers(config: NARFormerV2Config, width: int) -> nn.ModuleList:
    widths = [width] + [config.dim] * (config.num_layers - 1)
    return nn.ModuleList(
        GraphLayer(w, config.dim, config.ffn_ratio, config.groups, config.dropout) for w in widths
    )
