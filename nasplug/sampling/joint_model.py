"""A Gaussian process over architectures and the parameters beside them.

The covariance is a product, `(a + (1 − a) K) · (b + (1 − b) H)`: K compares architectures by one
of the kernels of `trial_model`, H compares the other parameters, with a length for each. With the
constants a and b what is learned of the one holds for all of the other, as far as the trials say
so. Nothing is optimised by gradients: some settings are drawn, the best are varied, and the
predictions are averaged, weighted by the marginal likelihood.

Notation: k observations, q queries, d other parameters; `points` are those of `other_params`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from scipy.special import logsumexp

from nasplug.arrays import Array, Indices, Mask
from nasplug.sampling.incremental_process import JITTER, Covariances, Kernel, normal_scores

__all__ = ["JointModel"]

ARCH_SHARES = (0.0, 0.2, 0.5)
OTHER_SHARES = (0.0, 0.3, 0.6, 0.9)
LENGTHS = (0.15, 0.3, 0.6, 1.2, 3.0)
NOISES = (0.002, 0.01, 0.05, 0.15)
# Settings that are drawn, rounds in which the best are varied, and how many are averaged.
DRAWN, ROUNDS, VARIED, AVERAGED = 60, 4, 20, 5
# Settings with a smaller weight are left out.
LEAST_WEIGHT = 0.05
# The settings are found anew after so large a share of more trials.
RENEWED = 0.1
_STREAM = 0x6A6F696E


@dataclass(frozen=True)
class _Setting:
    """A kernel of architectures, both constants, a length for each other parameter, the noise."""

    kernel: int
    arch_share: float
    other_share: float
    lengths: tuple[float, ...]
    noise: float


class JointModel:
    """The process of one value over candidates and the points beside them.

    Args:
        blocks: Features of all candidates by name, `(n, d)` each.
        kernels: Kernels of architectures to choose from.
        categorical: Mask of the other parameters whose values have no order, `(d,)`.
    """

    def __init__(
        self,
        blocks: Mapping[str, NDArray[np.floating[Any]]],
        kernels: Sequence[Kernel],
        categorical: Mask,
    ) -> None:
        self._blocks = {k: v.astype(np.float32, copy=False) for k, v in blocks.items()}
        self._squares = {
            name: np.einsum("ij,ij->i", rows, rows) for name, rows in self._blocks.items()
        }
        self._kernels, self._categorical = kernels, categorical

    def fit(self, rows: Indices, points: Array, targets: Array, extra: Array) -> None:
        """Learn from observations.

        Args:
            rows: Candidates, `(k,)`, k ≥ 1.
            points: Their other parameters, `(k, d)`.
            targets: Their values, about standard normal, `(k,)`.
            extra: Variances of the values beyond that of the noise, `(k,)`.
        """
        self._rows, self._points = rows, points
        settings = self._settings(targets, extra)
        members = [self._solved(setting, targets, extra) for setting in settings]
        evidence = np.array([member[2] for member in members])
        shares = np.exp(evidence - logsumexp(evidence))
        shares[shares < min(LEAST_WEIGHT, shares.max())] = 0.0
        shares /= shares.sum()
        self._members = [
            (float(share), setting, factor, weight)
            for share, setting, (factor, weight, _) in zip(shares, settings, members, strict=True)
            if share
        ]
        self.noise = float(sum(share * setting.noise for share, setting, _, _ in self._members))

    def posterior(self, rows: Indices, points: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the function at candidates with points, `(q,)` each."""
        across = _Products(self, self._rows, self._points, rows, points)
        mean, square = np.zeros(len(rows)), np.zeros(len(rows))
        for share, setting, factor, weight in self._members:
            reach = solve_triangular(
                factor.astype(np.float32), across(setting), lower=True, check_finite=False
            )
            center = (weight.astype(np.float32) @ reach).astype(np.float64)
            mean += share * center
            explained = np.einsum("ij,ij->j", reach, reach).astype(np.float64)
            square += share * (np.maximum(1.0 - explained, 1e-9) + center * center)
        return mean, np.sqrt(np.maximum(square - mean * mean, 1e-9))

    def _solved(
        self, setting: _Setting, targets: Array, extra: Array, count: int | None = None
    ) -> tuple[Array, Array, float]:
        """Factor, whitened targets and evidence of a setting, by the first observations."""
        count = len(targets) if count is None else count
        rows, points = self._rows[:count], self._points[:count]
        gram = _Products(self, rows, points, rows, points)(setting).astype(np.float64)
        return _factorised(gram, setting.noise, targets[:count], extra[:count])

    def _settings(self, targets: Array, extra: Array) -> list[_Setting]:
        """Settings of the largest evidence, by the first observations alone.

        So not every trial finds them anew, and a resumed study finds the same.
        """
        count = 4
        while count * (1 + RENEWED) + 1 <= len(targets):
            count = int(count * (1 + RENEWED) + 1)
        count = min(count, len(targets))
        key = (self._rows[:count], self._points[:count], targets[:count], extra[:count])
        scores = normal_scores(targets[:count])
        products = _Products(self, key[0], key[1], key[0], key[1])

        def evidence(setting: _Setting) -> float:
            gram = products(setting).astype(np.float64)
            return _factorised(gram, setting.noise, scores, extra[:count])[2]

        generator = np.random.default_rng(_STREAM)
        judged = {s: evidence(s) for s in [self._drawn(generator) for _ in range(DRAWN)]}
        for _ in range(ROUNDS):
            best = sorted(judged, key=lambda s: -judged[s])[:AVERAGED]
            for k in range(VARIED):
                varied = self._varied(best[k % len(best)], generator)
                if varied not in judged:
                    judged[varied] = evidence(varied)
        return sorted(judged, key=lambda s: -judged[s])[:AVERAGED]

    def _drawn(self, generator: np.random.Generator) -> _Setting:
        return _Setting(
            int(generator.integers(len(self._kernels))),
            float(generator.choice(ARCH_SHARES)),
            float(generator.choice(OTHER_SHARES)),
            tuple(generator.choice(LENGTHS, len(self._categorical)).tolist()),
            float(generator.choice(NOISES)),
        )

    def _varied(self, setting: _Setting, generator: np.random.Generator) -> _Setting:
        """A copy with one entry drawn anew."""
        new = self._drawn(generator)
        part = int(generator.integers(4 + len(self._categorical)))
        if part >= 4:
            lengths = list(setting.lengths)
            lengths[part - 4] = new.lengths[part - 4]
            return replace(setting, lengths=tuple(lengths))
        name = ("kernel", "arch_share", "other_share", "noise")[part]
        return replace(setting, **{name: getattr(new, name)})


class _Products:
    """Covariances of observations and queries under several settings that share their parts."""

    def __init__(
        self, model: JointModel, a: Indices, points: Array, b: Indices, others: Array
    ) -> None:
        # Queries repeat few candidates, or few points; each pair of parts is computed once.
        rows, self._row = np.unique(b, return_inverse=True)
        unique, self._point = np.unique(others, axis=0, return_inverse=True)
        self._point = self._point.ravel()
        self._covariances = Covariances(model._blocks, model._squares, a, rows)
        self._kernels = model._kernels
        self._apart = _distances(points, unique, model._categorical)
        self._parts: dict[tuple[int, float], NDArray[np.float32]] = {}

    def __call__(self, setting: _Setting) -> NDArray[np.float32]:
        """The covariance of a setting, `(k, q)`."""
        kernel = self._kernels[setting.kernel]
        variance = np.float32(sum(weight for weight, _, _ in kernel))
        archs = self._covariances(kernel) / variance
        archs = setting.arch_share + (1 - setting.arch_share) * archs
        others = np.ones(self._apart.shape[1:], np.float32)
        for column, length in enumerate(setting.lengths):
            others = others * self._part(column, length)
        others = setting.other_share + (1 - setting.other_share) * others
        product: NDArray[np.float32] = archs[:, self._row] * others[:, self._point]
        return product.astype(np.float32, copy=False)

    def _part(self, column: int, length: float) -> NDArray[np.float32]:
        if (column, length) not in self._parts:
            reach = self._apart[column] * (5**0.5 / length)
            part = (1 + reach + reach * reach / 3) * np.exp(-reach)
            self._parts[column, length] = part.astype(np.float32)
        return self._parts[column, length]


def _distances(a: Array, b: Array, categorical: Mask) -> Array:
    """Distances in each parameter, `(d, a, b)`: 1 between choices, or to a trial without it."""
    gap = np.abs(a.T[:, :, None] - b.T[:, None, :])
    gap = np.where(categorical[:, None, None], np.minimum(gap, 1.0), gap)
    lacks_a, lacks_b = np.isnan(a.T)[:, :, None], np.isnan(b.T)[:, None, :]
    return np.where(lacks_a & lacks_b, 0.0, np.where(lacks_a | lacks_b, 1.0, gap))


def _factorised(
    gram: Array, noise: float, targets: Array, extra: Array
) -> tuple[Array, Array, float]:
    """Cholesky factor, whitened targets, and logarithm of the marginal likelihood."""
    noisy = gram + np.diag(noise + 10 * JITTER + extra)
    try:
        factor = cholesky(noisy, lower=True, check_finite=False)
    except LinAlgError:
        # Rounding of single precision; a larger noise hides it.
        factor = cholesky(noisy + 1e-3 * np.eye(len(gram)), lower=True, check_finite=False)
    weight = solve_triangular(factor, targets, lower=True, check_finite=False)
    return factor, weight, float(-0.5 * weight @ weight - np.log(np.diag(factor)).sum())
