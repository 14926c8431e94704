"""A builder as users write it: convolutional networks of about thirty operators."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["EXAMPLE", "build"]

EXAMPLE = torch.zeros(1, 3, 32, 32)


class Block(nn.Module):
    """A residual block of one convolution, in full or by channel and by pixel."""

    def __init__(self, width: int, kernel: int, separable: bool) -> None:
        super().__init__()
        groups = width if separable else 1
        self.conv = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.point = nn.Conv2d(width, width, 1) if separable else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.relu(self.point(self.norm(self.conv(x))))


class Net(nn.Module):
    """Two stages of blocks between a stem and a classifier."""

    def __init__(self, stages: list[list[nn.Module]], widths: list[int]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
        self.first = nn.Sequential(*stages[0])
        self.down = nn.Conv2d(widths[0], widths[1], 3, stride=2, padding=1)
        self.second = nn.Sequential(*stages[1])
        self.head = nn.Linear(widths[1], 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(self.down(self.first(self.stem(x)))).mean((2, 3)))


def build(trial: Any) -> nn.Module:
    """A network of two stages; each block has its own kernel and kind."""
    stages, widths = [], []
    for stage in range(2):
        width = trial.suggest_int(f"width{stage}", 16, 96, step=8)
        blocks: list[nn.Module] = []
        for k in range(trial.suggest_int(f"depth{stage}", 2, 6)):
            kernel = trial.suggest_categorical(f"kernel{stage}{k}", (3, 5, 7))
            separable = trial.suggest_categorical(f"separable{stage}{k}", (True, False))
            blocks.append(Block(width, kernel, separable))
        stages.append(blocks)
        widths.append(width)
    return Net(stages, widths)
