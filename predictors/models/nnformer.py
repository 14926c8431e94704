"""NN-Former, the accuracy model, as published.

Source: Xu et al., "NN-Former: Rethinking Graph Structure in Neural Architecture Representation"
(CVPR 2025), section on the accuracy predictor, and its released code. Deviations: none in the
default configuration but one. The released code forms the sibling relations after the class and
depth tokens have joined the graph, which makes both of them global; here they are formed among the
graph's nodes (`sibling_mask="nodes"`), and `sibling_mask="padded"` restores the released behaviour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from nasplug.predictors.features.published_codes import MOST_OPS, check_vocabulary
from nasplug.predictors.layers.backends import layout
from nasplug.predictors.layers.batch import GraphBatch
from nasplug.predictors.layers.blocks import Block, init_weights
from nasplug.search_spaces import InputError
from nasplug.search_spaces.simplify import prune

if TYPE_CHECKING:
    from torch import Tensor

    from nasplug.search_spaces import Graph

__all__ = ["NNFormer", "NNFormerConfig"]

CLASS_TOKEN, DEPTH_TOKEN = 1, 2
READOUTS = ("class", "nodes")


@dataclass(frozen=True)
class NNFormerConfig:
    """Published sizes for NAS-Bench-201.

    Attributes:
        vocabulary: Operation types, at most 32; a type's position is its one-hot code.
        targets: Names of the outputs.
        dim: Model width.
        num_heads: Attention heads; published with four, one a relation.
        num_layers: Blocks.
        ffn_ratio: Hidden width of the feed-forward over `dim`.
        dropout: Dropout on attention weights, in the feed-forward and on the output of both.
        readout: `"class"`, the class token; or `"nodes"`, the mean of the nodes (a variant of the
            released code).
        sibling_mask: `"nodes"`, or `"padded"` for the released code's behaviour.
    """

    vocabulary: tuple[str, ...]
    targets: tuple[str, ...] = ("accuracy",)
    dim: int = 160
    num_heads: int = 4
    num_layers: int = 12
    ffn_ratio: float = 4.0
    dropout: float = 0.1
    readout: str = "class"
    sibling_mask: str = "nodes"


class NNFormer(nn.Module):
    """Class token, nodes, depth token; twelve blocks; a linear map of the class token plus 0.5.

    Raises:
        InputError: If there are more operation types than codes, or a choice is unknown.
    """

    def __init__(self, config: NNFormerConfig, backend: str = "auto") -> None:
        super().__init__()
        check_vocabulary(config.vocabulary)
        if config.readout not in READOUTS:
            raise InputError(f"readout is {config.readout!r}, not one of {READOUTS}")
        self.config = config
        self.backend = backend
        self.embed_op = nn.Linear(MOST_OPS, config.dim, bias=False)
        self.embed_depth = nn.Linear(MOST_OPS, config.dim, bias=False)
        self.class_token = nn.Parameter(torch.empty(config.dim))
        self.norm_in = nn.LayerNorm(config.dim)
        self.blocks = nn.ModuleList(
            Block(
                config.dim,
                config.num_heads,
                config.ffn_ratio,
                config.dropout,
                attention_dropout=config.dropout,
            )
            for _ in range(config.num_layers)
        )
        self.norm_out = nn.LayerNorm(config.dim)
        self.head = nn.Linear(config.dim, len(config.targets))
        self.apply(init_weights)
        nn.init.trunc_normal_(self.class_token, std=0.02)

    def prepare(self, graphs: Sequence[Graph]) -> list[Graph]:
        """The graphs without what `none` disconnects."""
        return [prune(graph) for graph in graphs]

    def collate(self, prepared: Sequence[Graph]) -> GraphBatch:
        """Batch of prepared graphs, with the two tokens."""
        return GraphBatch.collate(
            prepared,
            self.config.vocabulary,
            leading_tokens=1,
            trailing_tokens=1,
            sibling_mask=self.config.sibling_mask,
        )

    def forward(self, batch: GraphBatch) -> Tensor:
        """Predicted targets as fractions, shape `(graphs, targets)`."""
        code = torch.eye(MOST_OPS, device=batch.ops.device, dtype=self.class_token.dtype)
        # depth = number of nodes without the two tokens; deeper graphs share the last code
        depth = (batch.sizes - 2).clamp(max=MOST_OPS - 1)[batch.graph_of]
        token = batch.token[:, None]
        x = self.embed_op(code[batch.ops])
        x = torch.where(token == DEPTH_TOKEN, self.embed_depth(code[depth]), x)
        x = torch.where(token == CLASS_TOKEN, self.class_token, x)
        form = layout(batch, self.backend)
        x = form.enter(self.norm_in(x))
        for block in self.blocks:
            x = block(x, form)
        if self.config.readout == "class":
            graph = self.norm_out(form.first(x))
        else:
            ordinary = (token == 0).to(x.dtype)
            total = form.total(self.norm_out(x) * form.enter(ordinary))
            graph = total / (batch.sizes - 2)[:, None]
        result: Tensor = self.head(graph) + 0.5
        return result
