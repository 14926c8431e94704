"""The last layers of the published latency predictors: graph and static features to one number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PositiveHead"]


class PositiveHead(nn.Module):
    """Joins a graph's vector with its static features and maps both to positive targets.

        z = ReLU( W_s s + b_s ),  out = softplus( MLP( [g | z] ) )

    NNLQP and NAR-Former V2 write `−logsigmoid(u)`, which is `softplus(−u)`: the same with the sign
    of the last map turned.

    Args:
        dim: Width of the graph's vector and of the hidden layers.
        static: Width of the static features; 0 for none.
        hidden: Hidden layers, each with ReLU and dropout.
        targets: Outputs.
        dropout: After every activation.
        lift_static: Whether static features are lifted to `dim`, or joined as they are.
    """

    def __init__(
        self,
        dim: int,
        static: int,
        hidden: int,
        targets: int,
        dropout: float,
        *,
        lift_static: bool = True,
    ) -> None:
        super().__init__()
        lifted = bool(static) and lift_static
        self.lift = nn.Sequential(*_hidden_layer(static, dim, dropout)) if lifted else None
        width = dim + (dim if lifted else static)
        layers: list[nn.Module] = []
        for _ in range(hidden):
            layers += _hidden_layer(width, dim, dropout)
            width = dim
        self.layers = nn.Sequential(*layers, nn.Linear(width, targets))

    def forward(self, graph: Tensor, static: Tensor) -> Tensor:
        """Vectors `(graphs, dim)` and features `(graphs, static)` -> `(graphs, targets)`."""
        joined = torch.cat([graph, static if self.lift is None else self.lift(static)], dim=-1)
        result: Tensor = nn.functional.softplus(self.layers(joined))
        return result


def _hidden_layer(width: int, dim: int, dropout: float) -> list[nn.Module]:
    return [nn.Linear(width, dim), nn.ReLU(), nn.Dropout(dropout)]
