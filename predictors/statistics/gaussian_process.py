"""An exact Gaussian process whose kernel is a sum of products over blocks of features.

Exact inference in closed form (Rasmussen and Williams, "Gaussian Processes for Machine Learning",
2006: algorithm 2.1, leave-one-out in section 5.4.2), hyperparameters by maximum a posteriori.
Written out here because inputs carry numbers of repeated labels, all targets share one kernel, and
predictions have to start without importing a modelling library.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nasplug.predictors.prediction import Array

__all__ = ["GaussianProcess", "Term"]

# A term is a product of factors; a factor is a block of features and the kernel on it.
Term = tuple[tuple[str, str], ...]
# Rows of each block.
_Inputs = dict[str, Tensor]
KERNELS = ("rbf", "matern52")

# Rows a step in predictions: few, so that what is computed on stays in the cache.
CHUNK = 64
JITTER = 1e-6
# Medians and widths of the log-normal priors, for blocks scaled to a median distance of one and
# targets of unit variance.
_PRIORS = {"scale": (1.0, 1.0), "variance": (1.0, 2.0), "noise": (0.05, 1.0)}


@dataclass(frozen=True, eq=False)
class _Factor:
    """One factor of a term between new rows and those that were learned."""

    kernel: str
    rows: Tensor
    lengths: Tensor
    learned: Tensor
    learned_lengths: Tensor

    @classmethod
    def of(
        cls, parts: Sequence[tuple[str, str, Tensor]], inputs: _Inputs, learned: _Inputs
    ) -> _Factor:
        """Join parts (kernel, block, scale) of one kernel into one of scaled columns."""
        x, y = (
            torch.cat([rows_of[block] / scale for _, block, scale in parts], dim=1)
            for rows_of in (inputs, learned)
        )
        lengths = (x * x).sum(1, keepdim=True), (y * y).sum(1)
        return cls(parts[0][0], x, lengths[0], (-2 * y.T).contiguous(), lengths[1])

    def kernel_of(self, rows: slice) -> Tensor:
        """Kernel values of these new rows and all learned ones."""
        squares = torch.addmm(self.learned_lengths, self.rows[rows], self.learned)
        squares.add_(self.lengths[rows]).clamp_(min=0)
        if self.kernel == "rbf":
            return squares.mul_(-0.5).exp_()
        reach = squares.mul_(5).add_(1e-9).sqrt_()
        return (reach * reach).div_(3).add_(reach).add_(1).mul_(reach.neg_().exp_())


class GaussianProcess:
    """Zero-mean process over named blocks of features; its columns share the kernel.

    Args:
        terms: The kernel's summands.
        hyperparameter_rows: Rows, the first ones, that hyperparameters are fitted on; inference
            uses all rows.
        iterations: Of L-BFGS.
    """

    def __init__(
        self, terms: Sequence[Term], hyperparameter_rows: int = 600, iterations: int = 80
    ) -> None:
        self.terms = tuple(terms)
        self.hyperparameter_rows = hyperparameter_rows
        self.iterations = iterations
        self.hyperparameters: Array = np.empty(0)
        self._units: dict[str, float] = {}
        self._inputs: _Inputs = {}
        self._targets: Tensor
        self._counts: Tensor
        self._cholesky: Tensor
        self._weights: Tensor

    @property
    def names(self) -> tuple[str, ...]:
        """The blocks that the kernel reads, sorted."""
        return tuple(sorted({block for term in self.terms for block, _ in term}))

    @property
    def noise(self) -> float:
        """Variance of one label around the function."""
        return float(np.exp(self.hyperparameters[-1]))

    def fit(self, blocks: Mapping[str, Array], targets: Array, counts: Array) -> None:
        """Fit hyperparameters and condition on the rows.

        Args:
            blocks: Features by name, `(n, d)` each; rows in random order.
            targets: About standard normal, `(n, columns)`: means of repeated labels.
            counts: Labels behind each row, `(n,)`; their noise falls with the count.
        """
        inputs = self._tensors(blocks)
        self._units = {name: _median_distance(inputs[name]) for name in self.names}
        few = slice(0, self.hyperparameter_rows)
        self.hyperparameters = self._maximum_a_posteriori(
            {name: rows[few] for name, rows in inputs.items()},
            torch.from_numpy(targets[few]),
            torch.from_numpy(counts[few]),
        )
        self.condition(blocks, targets, counts)

    def condition(
        self,
        blocks: Mapping[str, Array],
        targets: Array,
        counts: Array,
        state: Mapping[str, Array] | None = None,
    ) -> None:
        """Condition on rows with the hyperparameters of `fit`, or those of a `state`."""
        if state is not None:
            self.hyperparameters = state["hyperparameters"]
            self._units = dict(zip(self.names, state["units"].tolist(), strict=True))
        self._inputs = self._tensors(blocks)
        self._targets, self._counts = _tensor(targets), _tensor(counts)
        with torch.no_grad():
            values = torch.from_numpy(self.hyperparameters)
            covariance = self._covariance(values, self._distances(self._inputs, self._inputs))
            self._cholesky = _factor(covariance, values[-1].exp() / self._counts)
            self._weights = torch.cholesky_solve(self._targets, self._cholesky)

    def predict(self, blocks: Mapping[str, Array], variance: bool = True) -> tuple[Array, Array]:
        """Means `(n, columns)` and variances `(n,)` of the function, without the noise of a label.

        Variances take longer than means; they are NaN if they are not needed.
        """
        inputs = self._tensors(blocks)
        values = torch.from_numpy(self.hyperparameters)
        prior = float(values[: len(self.terms)].exp().sum())
        means, variances = [], []
        with torch.no_grad():
            for cross in self._cross(values, inputs):
                means.append(cross @ self._weights)
                if not variance:
                    variances.append(torch.full((len(cross),), torch.nan, dtype=torch.float64))
                    continue
                solved = torch.linalg.solve_triangular(self._cholesky, cross.T, upper=False)
                variances.append((prior - (solved**2).sum(0)).clamp(min=1e-9))
        if not means:
            return np.empty((0, self._targets.shape[1])), np.empty(0)
        return torch.cat(means).numpy(), torch.cat(variances).numpy()

    def leave_one_out(self, rows: NDArray[np.int64], labels: Array) -> tuple[Array, Array]:
        """Mean and variance of the function behind each label as if that label were not known.

        Other labels of the same row stay known, as they do when a cell whose equal was trained on
        is predicted.

        Args:
            rows: The row that each label belongs to, `(labels,)`.
            labels: The labels whose means were conditioned on, `(labels, columns)`.

        Returns:
            Means `(labels, columns)` and variances `(labels,)`.
        """
        inverse = torch.cholesky_inverse(self._cholesky)
        spread = (1 / inverse.diagonal()).numpy()
        without_row = self._targets.numpy() - self._weights.numpy() * spread[:, None]
        counts = self._counts.numpy()
        variance = np.maximum(spread - self.noise / counts - JITTER, 1e-9)
        # The row's other labels are further observations of the same value.
        others = self._targets.numpy()[rows] * counts[rows, None] - labels
        precision = 1 / variance[rows] + (counts[rows] - 1) / self.noise
        mean = (without_row[rows] / variance[rows, None] + others / self.noise) / precision[:, None]
        return mean, 1 / precision

    def state(self) -> dict[str, Array]:
        """Arrays that `condition` needs beside the rows: hyperparameters, units as in `names`."""
        return {
            "hyperparameters": self.hyperparameters,
            "units": np.array([self._units[name] for name in self.names]),
        }

    def _tensors(self, blocks: Mapping[str, Array]) -> _Inputs:
        return {name: _tensor(blocks[name]) for name in self.names}

    def _distances(self, a: _Inputs, b: _Inputs) -> dict[str, Tensor]:
        """Squared distances a block, in units of its median distance."""
        distances = {}
        for name in self.names:
            x, y = a[name] / self._units[name], b[name] / self._units[name]
            squares = (x * x).sum(1)[:, None] + (y * y).sum(1)[None] - 2 * x @ y.T
            distances[name] = squares.clamp_(min=0)
        return distances

    def _covariance(self, values: Tensor, distances: Mapping[str, Tensor]) -> Tensor:
        """Kernel of log variances (a term each), log scales (a factor each) and log noise."""
        scales = iter(values[len(self.terms) : -1].exp())
        total = None
        for variance, term in zip(values[: len(self.terms)].exp(), self.terms, strict=True):
            exponent: Tensor | float = 0.0
            factor: Tensor | float = variance
            for block, kernel in term:
                squares = distances[block] / next(scales) ** 2
                if kernel == "rbf":
                    exponent = exponent - 0.5 * squares
                else:
                    reach = (5 * squares + 1e-9).sqrt()
                    factor = factor * (1 + reach + reach**2 / 3)
                    exponent = exponent - reach
            part = factor * torch.as_tensor(exponent).exp()
            total = part if total is None else total + part
        assert total is not None
        return total

    def _cross(self, values: Tensor, inputs: _Inputs) -> Iterator[Tensor]:
        """`_covariance` of rows with all rows that were learned, a few rows at a time.

        Faster, as a product of `rbf` factors is a single one over their scaled features side by
        side, and nothing is kept for a gradient.
        """
        scales = iter(values[len(self.terms) : -1].exp())
        terms = []
        for term in self.terms:
            scaled = [(kernel, block, self._units[block] * next(scales)) for block, kernel in term]
            blocks = [[part for part in scaled if part[0] == "rbf"]]
            blocks += [[part] for part in scaled if part[0] != "rbf"]
            terms.append([_Factor.of(parts, inputs, self._inputs) for parts in blocks if parts])
        for start in range(0, len(next(iter(inputs.values()))), CHUNK):
            rows = slice(start, start + CHUNK)
            total = None
            for variance, factors in zip(values[: len(self.terms)].exp(), terms, strict=True):
                product = factors[0].kernel_of(rows)
                for factor in factors[1:]:
                    product.mul_(factor.kernel_of(rows))
                product.mul_(variance)
                total = product if total is None else total.add_(product)
            assert total is not None
            yield total

    def _maximum_a_posteriori(self, inputs: _Inputs, targets: Tensor, counts: Tensor) -> Array:
        from scipy.optimize import minimize

        factors = sum(len(term) for term in self.terms)
        kinds = ["variance"] * len(self.terms) + ["scale"] * factors + ["noise"]
        center = torch.tensor([np.log(_PRIORS[kind][0]) for kind in kinds], dtype=torch.float64)
        width = torch.tensor([_PRIORS[kind][1] for kind in kinds], dtype=torch.float64)
        start = center.clone()
        start[: len(self.terms)] = -np.log(len(self.terms))
        distances = self._distances(inputs, inputs)

        def loss(point: Array) -> tuple[float, Array]:
            values = torch.tensor(point, requires_grad=True)
            covariance = self._covariance(values, distances)
            cholesky = _factor(covariance, values[-1].exp() / counts)
            solved = torch.cholesky_solve(targets, cholesky)
            fit = 0.5 * (targets * solved).sum() / targets.shape[1]
            prior = 0.5 * (((values - center) / width) ** 2).sum()
            total = (fit + cholesky.diagonal().log().sum() + prior) / len(targets)
            total.backward()
            assert values.grad is not None
            return float(total.detach()), values.grad.numpy()

        bounds = [(c - 3 * w, c + 3 * w) for c, w in zip(center, width, strict=True)]
        options = {"maxiter": self.iterations}
        result: Array = minimize(
            loss, start.numpy(), jac=True, method="L-BFGS-B", bounds=bounds, options=options
        ).x
        return result


def _tensor(values: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))


def _factor(covariance: Tensor, noise: Tensor) -> Tensor:
    result: Tensor = torch.linalg.cholesky(covariance + torch.diag(noise + JITTER))
    return result


def _median_distance(rows: Tensor) -> float:
    """Median of the positive distances between (at most 600) rows; 1 if there are none."""
    squares = torch.pdist(rows[:600])
    positive = squares[squares > 1e-9]
    return float(positive.median()) if len(positive) else 1.0
