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

__all__ = ["GaussianProcess", "Term"]

Array = NDArray[np.float64]

# A term is a product of factors; a factor is a block of features and the kernel on it.
Term = tuple[tuple[str, str], ...]
KERNELS = ("rbf", "matern52")

# Rows a step in predictions: few, so that what is computed on stays in the cache.
CHUNK = 64
JITTER = 1e-6
# Medians and widths of the log-normal priors, for blocks scaled to a median distance of one and
# targets of unit variance.
_PRIORS = {"scale": (1.0, 1.0), "variance": (1.0, 2.0), "noise": (0.05, 1.0)}


@dataclass(frozen=True, eq=False)
class _Inputs:
    """Rows of each block."""

    blocks: dict[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.blocks.values())))

    def rows(self, chosen: Tensor | slice) -> _Inputs:
        return _Inputs({name: rows[chosen] for name, rows in self.blocks.items()})


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
        self._inputs = _Inputs({})
        self._targets = torch.empty(0, 0, dtype=torch.float64)
        self._counts = torch.empty(0, dtype=torch.float64)
        self._lower: Tensor | None = None
        self._weights = torch.empty(0, 0, dtype=torch.float64)

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
        self._units = {name: _median_distance(inputs.blocks[name]) for name in self.names}
        few = slice(0, self.hyperparameter_rows)
        self.hyperparameters = self._maximum_a_posteriori(
            inputs.rows(few), torch.from_numpy(targets[few]), torch.from_numpy(counts[few])
        )
        self.condition(blocks, targets, counts)

    def condition(
        self,
        blocks: Mapping[str, Array],
        targets: Array,
        counts: Array,
        state: Mapping[str, Array] | None = None,
        weights: Array | None = None,
    ) -> None:
        """Condition on rows with the hyperparameters of `fit`, or those of a `state`.

        Args:
            blocks: As in `fit`.
            targets: As in `fit`.
            counts: As in `fit`.
            state: Another process's `state`.
            weights: Its `weights`, if it was conditioned on the same rows.

        Raises:
            ValueError: If blocks or weights are not those of as many rows as the targets.
        """
        shapes = {name: blocks[name].shape[:1] for name in self.names}
        if any(shape != targets.shape[:1] for shape in shapes.values()):
            raise ValueError(f"blocks have {shapes} rows, but there are {len(targets)} targets")
        if state is not None:
            self.hyperparameters = state["hyperparameters"]
            self._units = dict(zip(self.names, state["units"].tolist(), strict=True))
        self._inputs = self._tensors(blocks)
        self._targets = torch.from_numpy(np.ascontiguousarray(targets, dtype=np.float64))
        self._counts = torch.from_numpy(np.ascontiguousarray(counts, dtype=np.float64))
        self._lower = None
        if weights is None:
            self._weights = torch.cholesky_solve(self._targets, self._cholesky)
        elif weights.shape != targets.shape:
            raise ValueError(
                f"weights have shape {weights.shape}, but targets have {targets.shape}"
            )
        else:
            self._weights = torch.from_numpy(np.ascontiguousarray(weights, dtype=np.float64))

    @property
    def blocks(self) -> dict[str, Array]:
        """Features of the rows that were learned, by name."""
        return {name: rows.numpy() for name, rows in self._inputs.blocks.items()}

    @property
    def weights(self) -> Array:
        """Factors of the kernel to each learned row in a mean, `(rows, columns)`."""
        result: Array = self._weights.numpy()
        return result

    @property
    def targets(self) -> Array:
        """Targets that were learned, `(rows, columns)`."""
        result: Array = self._targets.numpy()
        return result

    @property
    def learned_means(self) -> Array:
        """Means of the function at the rows that were learned, `(rows, columns)`.

        They are the labels less the share of the noise, K·w = y − N·w, and need no kernel.
        """
        noise = (self.noise / self._counts + JITTER)[:, None]
        result: Array = (self._targets - noise * self._weights).numpy()
        return result

    @property
    def _cholesky(self) -> Tensor:
        """Factor of the covariance of the labels, made when it is first needed."""
        if self._lower is None:
            with torch.no_grad():
                covariance = torch.cat(list(self._cross(self._inputs)))
                covariance.diagonal().add_(self.noise / self._counts + JITTER)
                self._lower = torch.linalg.cholesky(covariance)
        return self._lower

    def predict(self, blocks: Mapping[str, Array], variance: bool = True) -> tuple[Array, Array]:
        """Mean and variance of the function (without the noise of a label).

        Args:
            blocks: Features by name, `(n, d)` each.
            variance: Whether variances are needed; they take longer than the means.

        Returns:
            Means `(n, columns)` and variances `(n,)`, NaN if they are not needed.
        """
        inputs = self._tensors(blocks)
        prior = float(np.exp(self.hyperparameters[: len(self.terms)]).sum())
        means, variances = [], []
        with torch.no_grad():
            for cross in self._cross(inputs):
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
        known = self._counts.numpy()
        variance = np.maximum(spread - self.noise / known - JITTER, 1e-9)
        others = known[rows] - 1
        rest = self._targets.numpy()[rows] * known[rows, None] - labels
        # The row's other labels are further observations of the same value.
        precision = 1 / variance[rows] + others / self.noise
        mean = (without_row[rows] / variance[rows, None] + rest / self.noise) / precision[:, None]
        return mean, 1 / precision

    def state(self) -> dict[str, Array]:
        """Arrays that `condition` needs beside the rows: hyperparameters, units as in `names`."""
        return {
            "hyperparameters": self.hyperparameters,
            "units": np.array([self._units[name] for name in self.names]),
        }

    def _tensors(self, blocks: Mapping[str, Array]) -> _Inputs:
        return _Inputs(
            {
                name: torch.from_numpy(np.ascontiguousarray(blocks[name], dtype=np.float64))
                for name in self.names
            }
        )

    def _distances(self, a: _Inputs, b: _Inputs) -> dict[str, Tensor]:
        """Squared distances a block, in units of its median distance."""
        found = {}
        for name in self.names:
            x, y = a.blocks[name] / self._units[name], b.blocks[name] / self._units[name]
            squares = (x * x).sum(1)[:, None] + (y * y).sum(1)[None] - 2 * x @ y.T
            found[name] = squares.clamp_(min=0)
        return found

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

    def _cross(self, inputs: _Inputs) -> Iterator[Tensor]:
        """`_covariance` of rows with all rows that were learned, a few rows at a time."""
        values = torch.from_numpy(self.hyperparameters)
        rows, learned = {}, {}
        for name in self.names:
            x, y = (held.blocks[name] / self._units[name] for held in (inputs, self._inputs))
            rows[name] = x, (x * x).sum(1, keepdim=True)
            learned[name] = (-2 * y.T).contiguous(), (y * y).sum(1)
        for start in range(0, len(inputs), CHUNK):
            part = slice(start, start + CHUNK)
            distances = {}
            for name, (x, lengths) in rows.items():
                turned, learned_lengths = learned[name]
                squares = torch.addmm(learned_lengths, x[part], turned)
                distances[name] = squares.add_(lengths[part]).clamp_(min=0)
            yield self._kernel(values, distances)

    def _kernel(self, values: Tensor, distances: Mapping[str, Tensor]) -> Tensor:
        """`_covariance` without a gradient, in fewer steps."""
        variances = values[: len(self.terms)].exp().tolist()
        scales = iter(values[len(self.terms) : -1].exp().tolist())
        total = None
        for variance, term in zip(variances, self.terms, strict=True):
            exponent: Tensor | None = None
            factors = []
            for block, kernel in term:
                squares, weight = distances[block], next(scales) ** -2
                if kernel == "rbf":
                    part = squares * (-0.5 * weight)
                else:
                    part = (squares * (5 * weight)).add_(1e-9).sqrt_()
                    factors.append((part / 3).add_(1).mul_(part).add_(1))
                    part.neg_()
                exponent = part if exponent is None else exponent.add_(part)
            assert exponent is not None
            product = exponent.exp_().mul_(variance)
            for factor in factors:
                product.mul_(factor)
            total = product if total is None else total.add_(product)
        assert total is not None
        return total

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

        found = minimize(
            loss,
            start.numpy(),
            jac=True,
            method="L-BFGS-B",
            bounds=[(c - 3 * w, c + 3 * w) for c, w in zip(center, width, strict=True)],
            options={"maxiter": self.iterations},
        )
        result: Array = found.x
        return result


def _factor(covariance: Tensor, noise: Tensor) -> Tensor:
    result: Tensor = torch.linalg.cholesky(covariance + torch.diag(noise + JITTER))
    return result


def _median_distance(rows: Tensor) -> float:
    """Median of the positive distances between (at most 600) rows; 1 if there are none."""
    squares = torch.pdist(rows[:600])
    positive = squares[squares > 1e-9]
    return float(positive.median()) if len(positive) else 1.0
