"""A Gaussian process with one squared-exponential kernel, made for many rows: means and variances.

Means come from all rows that were learned, variances from some that tell most of the others, which
makes them a little too large, never too small.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nasplug.predictors.prediction import Array

__all__ = ["CellProcess"]

JITTER = 1e-6
# Rows whose kernel is computed at once.
ROWS = 2_048


@dataclass(frozen=True, eq=False)
class CellProcess:
    """The process, conditioned, in single precision; n cells were learned, m of them count here.

    Attributes:
        rows: Scaled features, `(n, features)`; variances come from the first m.
        squares: Squared lengths of the rows, `(n,)`.
        weights: Of the rows in a mean, `(n, targets)`.
        factor: Inverse of the Cholesky factor of the covariance of the first rows, `(m, m)`.
        variance: Of the function before any label.
        noise: Of a label around the function.
    """

    rows: Tensor
    squares: Tensor
    weights: Tensor
    factor: Tensor
    variance: float
    noise: float

    @classmethod
    def of(cls, rows: Array, scores: Array, variance: float, noise: float, m: int) -> CellProcess:
        """Condition on rows and their scores `(n, targets)`."""
        x, y = torch.from_numpy(rows), torch.from_numpy(scores)
        covariance = variance * torch.exp(-0.5 * torch.cdist(x, x) ** 2)
        first = _spread_out(covariance, min(m, len(x)))
        others = torch.ones(len(x), dtype=torch.bool)
        others[first] = False
        order = torch.cat([first, torch.nonzero(others)[:, 0]])
        x, y, covariance = x[order], y[order], covariance[order][:, order]
        covariance.diagonal().add_(noise + JITTER)
        cholesky = torch.linalg.cholesky(covariance)
        # The factor of the first rows alone is a corner of that of all.
        corner = cholesky[: len(first), : len(first)]
        identity = torch.eye(len(first), dtype=x.dtype)
        return cls(
            x.float(),
            (x**2).sum(1).float(),
            torch.cholesky_solve(y, cholesky).float(),
            torch.linalg.solve_triangular(corner, identity, upper=False).float(),
            variance,
            noise,
        )

    def __call__(self, rows: Array) -> tuple[Array, Array]:
        """Means `(k, targets)` and variances `(k,)` of scores, without the noise of a label."""
        means, variances = [], []
        for start in range(0, len(rows), ROWS):
            x = torch.from_numpy(rows[start : start + ROWS]).float()
            squares = torch.addmm(self.squares, x, self.rows.T, alpha=-2)
            squares.add_((x**2).sum(1, keepdim=True)).clamp_(min=0)
            kernel = squares.mul_(-0.5).exp_().mul_(self.variance)
            means.append(kernel @ self.weights)
            explained = (kernel[:, : len(self.factor)] @ self.factor.T).square_().sum(1)
            variances.append((self.variance - explained).clamp_(min=1e-9))
        return torch.cat(means).double().numpy(), torch.cat(variances).double().numpy()


def _spread_out(covariance: Tensor, count: int) -> Tensor:
    """Rows of which each is the one that those before tell least of (pivoted Cholesky)."""
    unexplained = covariance.diagonal().clone()
    parts = torch.zeros(count, len(covariance), dtype=covariance.dtype)
    chosen = []
    for k in range(count):
        pivot = int(unexplained.argmax())
        chosen.append(pivot)
        scale = unexplained[pivot].clamp(min=1e-12).sqrt()
        parts[k] = (covariance[pivot] - parts[:k, pivot] @ parts[:k]) / scale
        unexplained = unexplained - parts[k] ** 2
        unexplained[pivot] = -torch.inf
    return torch.tensor(sorted(chosen))
