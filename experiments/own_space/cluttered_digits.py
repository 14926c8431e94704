"""Images of a handwritten digit among fragments of others: ten classes, made from a seed.

The digits are scikit-learn's, 1,797 of 8×8 pixels. Each image has one of them, enlarged by a random
factor at a random place of a canvas, with fragments of other digits and noise. Training, validation
and test images are made of different digits.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

__all__ = ["CHANCE", "CLASSES", "SIZE", "Images", "Parts", "cluttered_digits"]

SIZE, CLASSES = 16, 10
CHANCE = 1 / CLASSES
SEED = 1_797
# Enlargement of digits and fragments; pixels across a fragment, their number and contrast.
SCALES, FRAGMENT, FRAGMENTS, CONTRAST = (1.0, 1.5), 4, 3, 0.5
NOISE = 0.2
# Digits of each part, and images of each part.
DIGITS = {"train": 1_000, "validation": 397, "test": 400}
IMAGES = {"train": 8_000, "validation": 1_500, "test": 3_000}


class Images(NamedTuple):
    """Images `(n, 1, SIZE, SIZE)` and their classes `(n,)`."""

    x: torch.Tensor
    y: torch.Tensor


class Parts(NamedTuple):
    """The images to train on, to decide by, and to report."""

    train: Images
    validation: Images
    test: Images


@cache
def cluttered_digits() -> Parts:
    """All images; the same ones every time."""
    rng = np.random.default_rng(SEED)
    digits = load_digits()
    order = rng.permutation(len(digits.target))
    ends = np.cumsum(list(DIGITS.values()))[:-1]
    parts = {}
    for name, rows in zip(DIGITS, np.split(order, ends), strict=True):
        parts[name] = _composed(digits.images[rows] / 16, digits.target[rows], IMAGES[name], rng)
    return Parts(**parts)


def _composed(
    digits: NDArray[np.float64], targets: NDArray[np.int64], count: int, rng: np.random.Generator
) -> Images:
    """Images of digits `(n, 8, 8)`, with zero mean and unit variance."""
    shown = rng.integers(len(digits), size=count)
    canvas = _placed(digits[shown], rng) + rng.normal(0, NOISE, (count, 1, SIZE, SIZE))
    for _ in range(FRAGMENTS):
        pieces = digits[rng.integers(len(digits), size=count)]
        top, left = rng.integers(8 - FRAGMENT + 1, size=(2, count))[:, :, None, None]
        lines = np.arange(FRAGMENT)
        cut = pieces[np.arange(count)[:, None, None], top + lines[:, None], left + lines]
        canvas += CONTRAST * _placed(cut, rng)
    x = torch.from_numpy((canvas - canvas.mean()) / canvas.std()).to(torch.float32)
    return Images(x, torch.from_numpy(targets[shown]))


def _placed(pieces: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Square pieces `(n, k, k)` at random places and sizes of canvases, `(n, 1, SIZE, SIZE)`."""
    scale = rng.uniform(*SCALES, len(pieces)) * pieces.shape[-1] / SIZE
    # A piece stays on its canvas, whose corners are at -1 and 1.
    shift = rng.uniform(-1, 1, (2, len(pieces))) * (1 - scale)
    theta = np.zeros((len(pieces), 2, 3))
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / scale
    theta[:, :, 2] = (-shift / scale).T
    grid = torch.nn.functional.affine_grid(
        torch.from_numpy(theta), [len(pieces), 1, SIZE, SIZE], align_corners=False
    )
    images = torch.from_numpy(pieces[:, None])
    return np.asarray(torch.nn.functional.grid_sample(images, grid, align_corners=False))
