"""The terms of a training loss; unknown targets (NaN) take no part in any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LOSSES", "disagreement", "point_loss", "ranking_loss"]

# "squared": (p − y)²; "relative": (p/y − 1)², for positive targets; "robust": squared for small
# errors and linear beyond `ROBUST`, so that a few wrong measurements do not decide.
LOSSES = ("squared", "relative", "robust")
ROBUST = 0.05


def point_loss(predicted: Tensor, targets: Tensor, weights: Tensor, kind: str) -> Tensor:
    """Weighted mean of each prediction's own loss.

    Args:
        predicted: Shape `(graphs, targets)`.
        targets: The same shape; NaN where unknown, positive for the relative loss.
        weights: Of each graph, shape `(graphs,)`.
        kind: One of `LOSSES`.
    """
    error, count = _errors(predicted, targets)
    if kind == "relative":
        error = error / torch.where(torch.isnan(targets), 1.0, targets)
    size = error**2
    if kind == "robust":
        zeros = torch.zeros_like(error)
        size = torch.nn.functional.huber_loss(error, zeros, reduction="none", delta=ROBUST)
    return (weights[:, None] * size).sum() / count


def ranking_loss(predicted: Tensor, targets: Tensor, other: Tensor, weight: float) -> Tensor:
    """`weight` times the mean of `|(p_i − p_j) − (y_i − y_j)|`, where j is `other[i]`.

    NN-Former's ranking term, of predictions and targets of shape `(graphs, targets)`.
    """
    gap, count = _errors(predicted - predicted[other], targets - targets[other])
    return weight * gap.abs().sum() / count


def disagreement(predicted: Tensor) -> Tensor:
    """Mean absolute difference of the two halves of a doubled batch."""
    first, second = predicted.chunk(2)
    return (first - second).abs().mean()


def _errors(predicted: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Prediction minus target, 0 where the target is unknown, and the number of known ones."""
    known = ~torch.isnan(targets)
    # Filled before the subtraction: a NaN that is masked later still poisons the gradient.
    error = torch.where(known, predicted - torch.where(known, targets, 0.0), 0.0)
    return error, known.sum().clamp(min=1)
