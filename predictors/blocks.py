"""The transformer block: attention over relations and the bidirectional feed-forward.

From NN-Former (accuracy model): adjacency- and sibling-aware masked attention (ASMA) and the
bidirectional graph isomorphism feed-forward network (BGIFFN).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from nasplug.predictors.relations import RELATIONS
from nasplug.search_spaces import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from nasplug.predictors.attention import Layout

__all__ = ["Block", "GraphFeedForward", "RelationAttention", "init_weights"]


class RelationAttention(nn.Module):
    """Multi-head attention in which head m attends over relation m mod 4.

        S_m = Q_m K_mᵀ / sqrt(width), entries outside the relation at −∞
        out = Concat_m( softmax(S_m) V_m ) W_O

    Args:
        dim: Model width; a multiple of `num_heads`.
        num_heads: Heads; a multiple of 4 gives each relation as many.
        dropout: On the output.
        bias: Whether the four maps have a bias.

    Raises:
        InputError: If `dim` is not a multiple of `num_heads`.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float = 0.0, bias: bool = False) -> None:
        super().__init__()
        if dim % num_heads:
            raise InputError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.head_relation = tuple(h % len(RELATIONS) for h in range(num_heads))
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias)
        self.out = nn.Linear(dim, dim, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Node states `(..., dim)` -> `(..., dim)`."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).unbind(-3)
        mixed = layout.attend(q, k, v, self.head_relation)
        result: Tensor = self.dropout(self.out(mixed.flatten(-2)))
        return result


class GraphFeedForward(nn.Module):
    """Bidirectional graph isomorphism feed-forward.

        U = H W_1,  [G_f | G_b] = H W_g
        out = ReLU( U + Concat( A G_f, Aᵀ G_b ) ) W_2

    Args:
        dim: Model width.
        ratio: Hidden width over `dim`.
        dropout: After the activation and on the output.
        bias: Whether the maps have a bias.
    """

    def __init__(
        self, dim: int, ratio: float = 4.0, dropout: float = 0.0, bias: bool = False
    ) -> None:
        super().__init__()
        hidden = int(dim * ratio) // 2 * 2
        self.lift = nn.Linear(dim, hidden, bias=bias)
        self.gather = nn.Linear(dim, hidden, bias=bias)
        self.lower = nn.Linear(hidden, dim, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Node states `(..., dim)` -> `(..., dim)`."""
        forward, backward = self.gather(x).chunk(2, dim=-1)
        around = torch.cat(
            [
                layout.from_successors(forward.contiguous()),
                layout.from_predecessors(backward.contiguous()),
            ],
            dim=-1,
        )
        hidden = self.dropout(torch.relu(self.lift(x) + around))
        result: Tensor = self.dropout(self.lower(hidden))
        return result


class Block(nn.Module):
    """Pre-norm residual block: attention over relations, then the graph feed-forward."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        ffn_ratio: float = 4.0,
        dropout: float = 0.0,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(dim)
        self.attention = RelationAttention(dim, num_heads, dropout, bias)
        self.norm_ffn = nn.LayerNorm(dim)
        self.ffn = GraphFeedForward(dim, ffn_ratio, dropout, bias)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Node states `(..., dim)` -> `(..., dim)`."""
        x = x + self.attention(self.norm_attention(x), layout)
        result: Tensor = x + self.ffn(self.norm_ffn(x), layout)
        return result


def init_weights(module: nn.Module) -> None:
    """Truncated normal (σ = 0.02) weights and zero biases, as NN-Former starts."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
