"""Gaussian process of accuracies with effects of families and recipes, whose sizes are learned.

The kernel is a sum of parts. A part is linear or smooth in some sizes of a network, or constant; it
holds for all networks, or for each group of equal labels on its own, as a random effect does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from experiments.common import Array

Indices = NDArray[np.intp]
# Middle of the prior of an amplitude's logarithm, and its standard deviation.
_MIDDLE, _WIDE = -2.0, 2.0
_LIMITS = (-6.0, 1.0)
# Prior standard deviation of the mean of all networks.
_MEAN = 1.0


@dataclass(frozen=True)
class Part:
    """Part of a kernel.

    Attributes:
        form: `"constant"`, `"linear"` or `"smooth"`.
        of: Labels within which it holds, such as `"recipe"`; all networks if empty.
    """

    form: str
    of: str = ""

    @property
    def text(self) -> str:
        """Words such as `"linear of a family"`."""
        return f"{self.form} of a {self.of}" if self.of else self.form


class MixedProcess:
    """Gaussian process of known parts, with amplitudes of the greatest posterior density.

    Args:
        inputs: Standardised sizes of all networks, `(n, c)`.
        labels: Labels of all networks by their kind, `(n,)` each.
        target: Logarithms of the errors of all networks, `(n,)`; those that are asked about are not
            read.
        parts: Parts of the kernel.
        scale: Length over which smooth parts change.
    """

    def __init__(
        self,
        inputs: Array,
        labels: dict[str, NDArray[Any]],
        target: Array,
        parts: tuple[Part, ...],
        scale: float,
    ) -> None:
        self.parts = parts
        self._inputs, self._labels, self._target, self._scale = inputs, labels, target, scale
        self._logs: Array = np.full(len(parts) + 1, _MIDDLE)

    def _kernels(self, a: Indices, b: Indices) -> list[Array]:
        result = []
        for part in self.parts:
            kernel: Array = np.ones((len(a), len(b)))
            if part.of:
                labels = self._labels[part.of]
                kernel = (labels[a][:, None] == labels[b]).astype(np.float64)
            if part.form == "linear":
                kernel = kernel * (self._inputs[a] @ self._inputs[b].T)
            elif part.form == "smooth":
                apart = ((self._inputs[a][:, None] - self._inputs[b]) ** 2).sum(-1)
                kernel = kernel * np.exp(-apart / (2 * self._scale**2))
            result.append(kernel)
        return result

    def fit(self, rows: Indices) -> None:
        """Learn the amplitudes of the parts and of the noise from some networks."""
        kernels = [*self._kernels(rows, rows), np.eye(len(rows))]
        target = self._target[rows] - self._target[rows].mean()

        def loss(logs: Array) -> tuple[float, Array]:
            squares = np.exp(2 * logs)
            covariance = _MEAN**2 + sum(
                square * kernel for square, kernel in zip(squares, kernels, strict=True)
            )
            inverse = np.linalg.inv(covariance)
            weights = inverse @ target
            off = logs - _MIDDLE
            value = (weights @ target + np.linalg.slogdet(covariance)[1]) / 2
            value += (off**2).sum() / (2 * _WIDE**2)
            slopes = [
                square * ((inverse * kernel).sum() - weights @ kernel @ weights)
                for square, kernel in zip(squares, kernels, strict=True)
            ]
            return float(value), np.array(slopes) + off / _WIDE**2

        found = minimize(
            loss,
            np.full(len(kernels), _MIDDLE),
            jac=True,
            method="L-BFGS-B",
            bounds=[_LIMITS] * len(kernels),
        )
        self._logs = found.x

    def amplitudes(self) -> dict[str, float]:
        """Standard deviations of the parts and of the noise, in the logarithm of the error."""
        names = [*(part.text for part in self.parts), "noise"]
        return dict(zip(names, np.exp(self._logs).tolist(), strict=True))

    def predict(self, train: Indices, test: Indices) -> tuple[Array, Array]:
        """Means and standard deviations of the logarithm of the error, `(n,)` each."""
        squares = np.exp(2 * self._logs)
        known, across, own = (
            _MEAN**2 + sum(s * k for s, k in zip(squares, self._kernels(*rows), strict=False))
            for rows in ((train, train), (test, train), (test, test))
        )
        inverse = np.linalg.inv(known + squares[-1] * np.eye(len(train)))
        middle = self._target[train].mean()
        variance = np.diag(own) + squares[-1]
        variance = variance - np.einsum("ij,jk,ik->i", across, inverse, across, optimize=True)
        mean: Array = middle + across @ inverse @ (self._target[train] - middle)
        return mean, np.sqrt(np.maximum(variance, squares[-1]))
