"""The transformer block: attention over relations and the bidirectional feed-forward.

From NN-Former (accuracy model): adjacency- and sibling-aware masked attention (ASMA) and the
bidirectional graph isomorphism feed-forward network (BGIFFN).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from nasplug.predictors.layers.relations import RELATIONS
from nasplug.search_spaces import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from nasplug.predictors.layers.backends import Layout

__all__ = ["DIRECTIONS", "Block", "GraphFeedForward", "RelationAttention", "init_weights"]

DIRECTIONS = ("both", "successors", "predecessors", "neither")


class RelationAttention(nn.Module):
    """Multi-head attention in which head m attends over relation m mod 4.

        S_m = Q_m K_mᵀ / sqrt(width), entries outside the relation at −∞
        out = Concat_m( softmax(S_m) V_m ) W_O

    Args:
        dim: Model width; a multiple of `num_heads`.
        num_heads: Heads; a multiple of 4 gives each relation as many.
        dropout: On the output.
        bias: Whether the four maps have a bias.
        attention_dropout: On the attention weights.

    Raises:
        InputError: If `dim` is not a multiple of `num_heads`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = False,
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise InputError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.head_relation = tuple(h % len(RELATIONS) for h in range(num_heads))
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias)
        self.out = nn.Linear(dim, dim, bias=bias)
        self.dropout = nn.Dropout(dropout)
        self.attention_dropout = attention_dropout

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Node states `(..., dim)` -> `(..., dim)`."""
        dropout = self.attention_dropout if self.training else 0.0
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).unbind(-3)
        mixed = layout.attend(q, k, v, self.head_relation, dropout)
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
        direction: One of `DIRECTIONS`: which neighbours are gathered.

    Raises:
        InputError: If the direction is unknown.
    """

    def __init__(
        self,
        dim: int,
        ratio: float = 4.0,
        dropout: float = 0.0,
        bias: bool = False,
        direction: str = "both",
    ) -> None:
        super().__init__()
        if direction not in DIRECTIONS:
            raise InputError(f"unknown direction {direction!r}; known: {', '.join(DIRECTIONS)}")
        self.direction = direction
        hidden = int(dim * ratio) // 2 * 2
        self.lift = nn.Linear(dim, hidden, bias=bias)
        self.gather = nn.Linear(dim, hidden, bias=bias)
        self.lower = nn.Linear(hidden, dim, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Node states `(..., dim)` -> `(..., dim)`."""
        forward, backward = self.gather(x).chunk(2, dim=-1)
        # Where a direction is off its map acts on the node itself, with as many weights.
        if self.direction in ("both", "successors"):
            forward = layout.from_successors(forward)
        if self.direction in ("both", "predecessors"):
            backward = layout.from_predecessors(backward)
        around = torch.cat([forward, backward], dim=-1)
        hidden = self.dropout(torch.relu(self.lift(x) + around))
        result: Tensor = self.dropout(self.lower(hidden))
        return result


class Block(nn.Module):
    """Pre-norm residual block: attention over relations, then the graph feed-forward.

        H' = H + s_1 ⊙ ASMA(LN H),  H'' = H' + s_2 ⊙ BGIFFN(LN H')

    Args:
        dim: Model width.
        num_heads: See `RelationAttention`.
        ffn_ratio: See `GraphFeedForward`.
        dropout: Of both parts.
        bias: Of both parts.
        attention_dropout: On the attention weights.
        layer_scale: Where the learned vectors s_1 and s_2 start; None for none (LayerScale, Touvron
            et al. 2021).
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        ffn_ratio: float = 4.0,
        dropout: float = 0.0,
        bias: bool = False,
        attention_dropout: float = 0.0,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(dim)
        self.attention = RelationAttention(dim, num_heads, dropout, bias, attention_dropout)
        self.norm_ffn = nn.LayerNorm(dim)
        self.ffn = GraphFeedForward(dim, ffn_ratio, dropout, bias)
        self.scales = (
            None if layer_scale is None else nn.Parameter(torch.full((2, dim), layer_scale))
        )

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Node states `(..., dim)` -> `(..., dim)`."""
        mixed = self.attention(self.norm_attention(x), layout)
        x = x + (mixed if self.scales is None else self.scales[0] * mixed)
        lifted = self.ffn(self.norm_ffn(x), layout)
        result: Tensor = x + (lifted if self.scales is None else self.scales[1] * lifted)
        return result


def init_weights(module: nn.Module) -> None:
    """Truncated normal (σ = 0.02) weights and zero biases, as NN-Former starts."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
