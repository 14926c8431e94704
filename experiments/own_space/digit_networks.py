"""A builder of 3.7 million convolutional networks for images of cluttered digits."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from experiments.own_space.cluttered_digits import CLASSES, SIZE

__all__ = ["EXAMPLE", "build"]

EXAMPLE = torch.zeros(1, 1, SIZE, SIZE)
STAGES = 3
ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU}


class Block(nn.Module):
    """A convolution, in full or by channel and by pixel, with what comes around it."""

    def __init__(
        self, width: int, kernel: int, separable: bool, norm: bool, activation: str, residual: bool
    ) -> None:
        super().__init__()
        convolutions: list[nn.Module] = [
            nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width if separable else 1)
        ]
        if separable:
            convolutions.append(nn.Conv2d(width, width, 1))
        self.layers = nn.Sequential(*convolutions, *_norm(width, norm), ACTIVATIONS[activation]())
        self.residual = residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class Net(nn.Module):
    """Three stages between a stem and a classifier."""

    def __init__(self, body: nn.Sequential, pool: str, features: int, width: int) -> None:
        super().__init__()
        self.body, self.pool = body, pool
        self.dropout = nn.Dropout(0.0)
        self.head = nn.Linear(features if pool == "flatten" else width, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x)
        if self.pool == "flatten":
            x = x.flatten(1)
        else:
            x = x.mean((2, 3)) if self.pool == "mean" else x.amax((2, 3))
        return self.head(self.dropout(x))


def _norm(width: int, norm: bool) -> list[nn.Module]:
    return [nn.BatchNorm2d(width)] if norm else []


def _down(before: int, after: int, how: str) -> list[nn.Module]:
    """Half the resolution, by a stride or by pooling."""
    if how == "stride":
        return [nn.Conv2d(before, after, 3, stride=2, padding=1)]
    pool = nn.MaxPool2d(2) if how == "max" else nn.AvgPool2d(2)
    return [nn.Conv2d(before, after, 1), pool]


def build(trial: Any) -> Net:
    """A network; each stage has its own depth, kernel and kind of convolution."""
    width = trial.suggest_int("width", 8, 24, step=4)
    growth = trial.suggest_categorical("growth", (1.0, 1.5, 2.0))
    stride = trial.suggest_categorical("stem_stride", (1, 2))
    norm = trial.suggest_categorical("norm", (True, False))
    activation = trial.suggest_categorical("activation", tuple(ACTIVATIONS))
    residual = trial.suggest_categorical("residual", (True, False))
    down = trial.suggest_categorical("down", ("stride", "max", "average"))
    pool = trial.suggest_categorical("pool", ("mean", "max", "flatten"))
    layers: list[nn.Module] = [
        nn.Conv2d(1, width, 3, stride=stride, padding=1),
        *_norm(width, norm),
        ACTIVATIONS[activation](),
    ]
    size = SIZE // stride
    for stage in range(STAGES):
        if stage:
            wider = int(width * growth) // 4 * 4
            layers += _down(width, wider, down)
            width, size = wider, size // 2
        kernel = trial.suggest_categorical(f"kernel{stage}", (3, 5))
        separable = trial.suggest_categorical(f"separable{stage}", (True, False))
        for _ in range(trial.suggest_int(f"depth{stage}", 1, 3)):
            layers.append(Block(width, kernel, separable, norm, activation, residual))
    return Net(nn.Sequential(*layers), pool, width * size * size, width)
