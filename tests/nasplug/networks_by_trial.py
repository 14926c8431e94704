"""Builders of small networks, as users write them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

EXAMPLE = torch.zeros(1, 3, 16, 16)


class Block(nn.Module):
    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.relu(self.norm(self.conv(x)))


class Net(nn.Module):
    def __init__(self, blocks: list[nn.Module], width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def build(trial: Any) -> nn.Module:
    """Kernels that exist only with enough depth."""
    width = trial.suggest_int("width", 8, 48, step=8)
    blocks: list[nn.Module] = []
    for i in range(trial.suggest_int("depth", 1, 6)):
        blocks.append(Block(width, trial.suggest_categorical(f"kernel{i}", (3, 5, 7))))
    return Net(blocks, width)


def build_small(trial: Any) -> nn.Module:
    """Few settings, of which some build the same network."""
    width = trial.suggest_categorical("width", (8, 16))
    kernel = trial.suggest_categorical("kernel", (3, 5))
    blocks = [Block(width, kernel)] if trial.suggest_categorical("deep", (True, False)) else []
    return Net(blocks, width)


def build_mixed(trial: Any) -> nn.Module:
    """Numbers of every kind, a range that depends on a choice, texts, None and truths."""
    kind = trial.suggest_categorical("kind", ("conv", "mlp, wide", "1", None))
    width = trial.suggest_int("width", 4, 256, log=True)
    if kind is None:
        return nn.Sequential(nn.Flatten(), nn.Linear(768, 10))
    if kind == "conv":
        share = trial.suggest_float("share", 0.1, 0.9)
        groups = trial.suggest_int("groups", 1, 2 if width % 2 == 0 else 1)
        inner = max(groups, int(width * share) // groups * groups)
        layers = [nn.Conv2d(3, 2 * inner, 3), nn.Conv2d(2 * inner, inner, 1, groups=groups)]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    dropout = trial.suggest_float("dropout", 0.0, 0.5, step=0.1)
    bias = trial.suggest_categorical("bias", (True, False))
    layers = [nn.Linear(768, width, bias=bias), nn.Dropout(dropout)]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, 10))
