"""Attention over a graph whose adjacency each layer and head computes anew from the node states.

LeDG-Former (Jing et al., arXiv 2506.07735) replaces the static adjacency of a graph transformer by
a dynamic one; its formula is not public. The modes below are our readings of that idea, each tied
to the static relations of `relations` (M_r is the support of head h's relation r, with itself):

| mode | weight of node j for node i |
|---|---|
| `static` | softmax over M_r of q_i·k_j (NN-Former; no dynamic adjacency) |
| `gate` | M_r ⊙ sigmoid(q_i·k_j), rows normalised |
| `mixture` | α M_r, rows normalised, + (1 − α) softmax over the graph of q_i·k_j; α learnt a head |
| `bias` | softmax over the graph of q_i·k_j + Σ_r b_r M_r[i, j]; b learnt a head and relation |
| `sparse` | `bias`, less half the mean weight, where that is positive; rows normalised |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nasplug.predictors.layers.blocks import Block, GraphFeedForward, RelationAttention
from nasplug.predictors.layers.relations import RELATIONS
from nasplug.search_spaces import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from nasplug.predictors.layers.backends import Layout

__all__ = ["DYNAMIC_MODES", "DynamicAttention", "DynamicBlock", "dynamic_blocks"]

DYNAMIC_MODES = ("static", "gate", "mixture", "bias", "sparse")
# Added at the start to the scores of a head's own relation, so that heads differ.
OWN_RELATION = 2.0
# Share of the mean weight below which `sparse` cuts a pair.
THRESHOLD = 0.5


class DynamicAttention(RelationAttention):
    """Multi-head attention whose adjacency depends on the node states; see the module.

    Args:
        dim: Model width; a multiple of `num_heads`.
        num_heads: Heads.
        mode: One of `DYNAMIC_MODES`.
        relations: Names of the relations that heads take turns over, of `relations.RELATIONS`.
        dropout: On the output.
        bias: Whether the four maps have a bias.

    Raises:
        InputError: If the mode or a relation is unknown or `dim` is not a multiple of `num_heads`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mode: str = "bias",
        relations: Sequence[str] = RELATIONS,
        dropout: float = 0.0,
        bias: bool = False,
    ) -> None:
        if mode not in DYNAMIC_MODES:
            raise InputError(f"unknown dynamic mode {mode!r}; known: {', '.join(DYNAMIC_MODES)}")
        super().__init__(dim, num_heads, dropout, bias)
        self.mode = mode
        self.relations = tuple(_place(name) for name in relations)
        self.head_relation = tuple(
            self.relations[h % len(self.relations)] for h in range(num_heads)
        )
        if mode == "mixture":
            self.balance = nn.Parameter(torch.zeros(num_heads))
        if mode in ("bias", "sparse"):
            bias_of = torch.zeros(num_heads, len(self.relations))
            for head in range(num_heads):
                bias_of[head, head % len(self.relations)] = OWN_RELATION
            self.relation_bias = nn.Parameter(bias_of)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Node states `(..., dim)` -> `(..., dim)`."""
        if self.mode == "static":
            return super().forward(x, layout)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).unbind(-3)
        mixed = layout.pair_mix(self.adjacency(q, k, layout), v)
        result: Tensor = self.dropout(self.out(mixed.flatten(-2)))
        return result

    def adjacency(self, q: Tensor, k: Tensor, layout: Layout) -> Tensor:
        """The dynamic adjacency, `(pairs, heads)` (see `Layout`); rows sum to one."""
        scores = layout.pair_scores(q, k)
        relations = layout.pair_relations()
        if self.mode == "gate":
            support = relations[..., list(self.head_relation)]
            return layout.pair_softmax(nn.functional.logsigmoid(scores), support)
        if self.mode == "mixture":
            static = layout.pair_means(self.head_relation, scores.dtype)
            return torch.lerp(layout.pair_softmax(scores), static, torch.sigmoid(self.balance))
        used = relations[..., list(self.relations)]
        weights = layout.pair_softmax(scores + used.to(scores.dtype) @ self.relation_bias.T)
        if self.mode == "sparse":
            excess = weights - THRESHOLD * layout.pair_softmax(torch.zeros_like(scores))
            kept = excess > 0
            # The largest weight is at least the mean, so every row keeps one.
            weights = layout.pair_softmax(torch.where(kept, excess, 1.0).log(), kept)
        return weights


class DynamicBlock(Block):
    """Pre-norm residual block: dynamic attention, then the graph feed-forward."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mode: str = "bias",
        relations: Sequence[str] = RELATIONS,
        ffn_ratio: float = 4.0,
        dropout: float = 0.0,
        direction: str = "both",
    ) -> None:
        super().__init__(dim, num_heads, ffn_ratio, dropout)
        self.ffn = GraphFeedForward(dim, ffn_ratio, dropout, direction=direction)
        self.attention = DynamicAttention(dim, num_heads, mode, relations, dropout)


def dynamic_blocks(config: Any, relations: Sequence[str], direction: str = "both") -> nn.ModuleList:
    """The `num_layers` blocks of a network's configuration."""
    return nn.ModuleList(
        DynamicBlock(
            config.dim,
            config.num_heads,
            config.dynamic,
            relations,
            config.ffn_ratio,
            config.dropout,
            direction,
        )
        for _ in range(config.num_layers)
    )


def _place(relation: str) -> int:
    if relation not in RELATIONS:
        raise InputError(f"unknown relation {relation!r}; known: {', '.join(RELATIONS)}")
    return RELATIONS.index(relation)
