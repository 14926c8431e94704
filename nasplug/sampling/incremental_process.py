"""A Gaussian process over a fixed list of candidates, which learns from trials one at a time.

Exact inference in closed form (Rasmussen and Williams, "Gaussian Processes for Machine Learning",
2006). The kernel's length and the noise are not fitted but averaged over: a few of each, weighted
by the marginal likelihood of the observations. The solved kernel rows of all candidates are kept,
so that one more trial costs one row; and as nothing is optimised, equal trials give equal numbers
in whichever process of the computer.

Notation: n candidates, k observed ones in the order of their trials (`rows`, with repetitions),
their values `targets`; a member is one kernel with one noise, and the posterior averages members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.special import logsumexp, ndtri

from nasplug.arrays import Array, Indices, Single

__all__ = [
    "JITTER",
    "Covariances",
    "IncrementalProcess",
    "Kernel",
    "median_distance",
    "normal_scores",
]

# Summands of a kernel: the variance of each, the block of features that it reads, and its length.
Kernel = tuple[tuple[float, str, float], ...]

JITTER = 1e-6
# Members of the average with less weight than this are left out.
LEAST_WEIGHT = 0.05
# With this many rows, members that weigh less than that by them are left out for good; with more,
# all but the one of the largest weight.
DECIDED, SETTLED = 60, 200
# Solved rows of all candidates are kept in parts of this size.
_PART = 64


@dataclass(eq=False)
class _Member:
    """One kernel with one noise, factorised for the observed rows."""

    kernel: Kernel
    noise: float
    factor: Array = field(default_factory=lambda: np.empty((0, 0)))
    # The inverse factor times the kernel of rows and candidates, `(k, n)`; `solved` rows are done.
    reach: Single = field(default_factory=lambda: np.empty((0, 0), np.float32))
    explained: Array = field(default_factory=lambda: np.empty(0))
    solved: int = 0

    @property
    def variance(self) -> float:
        return sum(weight for weight, _, _ in self.kernel)

    def forget(self, count: int) -> None:
        """Forget all rows but the first ones."""
        self.factor = self.factor[:count, :count]
        if self.solved > count:
            gone = self.reach[count : self.solved]
            self.explained -= np.einsum("ij,ij->j", gone, gone)
            self.solved = count

    def append(self, across: Array, among: Array, extra: Array) -> None:
        """Extend the Cholesky factor by new rows.

        The kernel is `(old, new)` across old and new rows, and `(new, new)` among the new ones,
        whose values have an `extra` variance of `(new,)`.
        """
        old, new = across.shape
        among = among + ((self.noise + JITTER) * np.eye(new) + np.diag(extra))
        factor = np.zeros((old + new, old + new))
        if old:
            corner = solve_triangular(self.factor, across, lower=True)
            factor[:old, :old], factor[old:, :old] = self.factor, corner.T
            among = among - corner.T @ corner
        factor[old:, old:] = cholesky(among, lower=True)
        self.factor = factor

    def extend(self, kernel: Single) -> None:
        """Bring all candidates up to date, given the kernel `(new, n)` of rows not yet solved."""
        start, end = self.solved, self.solved + len(kernel)
        if len(self.reach) < end:
            # Room for more, so that not every trial copies all.
            grown = np.empty((-(-end // _PART) * _PART, kernel.shape[1]), np.float32)
            if start:
                grown[:start] = self.reach[:start]
            self.reach = grown
        if not len(self.explained):
            self.explained = np.zeros(kernel.shape[1])
        unsolved = kernel
        if start:
            across = self.factor[start:end, :start].astype(np.float32)
            unsolved = kernel - across @ self.reach[:start]
        low = self.factor[start:end, start:end].astype(np.float32)
        part = solve_triangular(low, unsolved, lower=True, check_finite=False)
        self.explained += np.einsum("ij,ij->j", part, part)
        self.reach[start:end] = part
        self.solved = end


class IncrementalProcess:
    """A zero-mean process of unit variance over features of candidates.

    Args:
        blocks: Features of all candidates by name, `(n, d)` each; each kernel measures distances
            in units of the block (see `median_distance`).
        kernels: Kernels to average over.
        noises: Variances of one value around the function, to average over.

    Attributes:
        noise: Their average, weighted as in the last posterior.
    """

    def __init__(
        self,
        blocks: Mapping[str, NDArray[np.floating[Any]]],
        kernels: Sequence[Kernel],
        noises: Sequence[float],
    ) -> None:
        used = {name for kernel in kernels for _, name, _ in kernel}
        self._blocks = {name: blocks[name].astype(np.float32, copy=False) for name in sorted(used)}
        self._squares = {
            name: np.einsum("ij,ij->i", rows, rows) for name, rows in self._blocks.items()
        }
        self._pairs = [(kernel, noise) for kernel in kernels for noise in noises]
        self._members = self._every()
        # The first rows by which members were left out.
        self._decided = 0
        self._rows: Indices = np.empty(0, np.intp)
        self._extra: Array = np.empty(0)
        self.noise = 0.0

    def __len__(self) -> int:
        return len(next(iter(self._blocks.values())))

    def _every(self) -> list[_Member]:
        return [_Member(kernel, noise) for kernel, noise in self._pairs]

    def posterior(
        self, rows: Indices, targets: Array, extra: Array | None = None
    ) -> tuple[Array, Array]:
        """Mean and standard deviation of the function at all candidates, shape `(n,)` each.

        Args:
            rows: Candidates whose values are known, `(k,)`, k ≥ 1; one may occur again. As far as
                they begin as in the last call, they are not learned again.
            targets: Their values, about standard normal, `(k,)`.
            extra: Variances of the values beyond that of the noise, `(k,)`; 0 if None.
        """
        self._learn(rows, targets, np.zeros(len(rows)) if extra is None else extra)
        weights, shares = self._weights(targets)
        self.noise = float(shares @ [member.noise for member in self._members])
        self._solve([m for m, share in zip(self._members, shares, strict=True) if share])
        mean, square = np.zeros(len(self)), np.zeros(len(self))
        for member, share, weight in zip(self._members, shares, weights, strict=True):
            if not share:
                continue
            center = (weight.astype(np.float32) @ member.reach[: len(rows)]).astype(np.float64)
            mean += share * center
            variance = np.maximum(member.variance - member.explained, 1e-9)
            square += share * (variance + center * center)
        return mean, np.sqrt(np.maximum(square - mean * mean, 1e-9))

    def _solve(self, members: Sequence[_Member]) -> None:
        """Bring some members up to date for all candidates, a part of the rows after the other."""
        rows = self._rows
        while behind := [member for member in members if member.solved < len(rows)]:
            # Members at one stage share distances and kernels.
            start = min(member.solved for member in behind)
            part = rows[start : start + _PART]
            kernels = Covariances(self._blocks, self._squares, part, slice(None))
            for member in behind:
                if member.solved == start:
                    member.extend(kernels(member.kernel))

    def _learn(self, rows: Indices, targets: Array, extra: Array) -> None:
        """Factorise all rows, from the first one on that differs from the last call."""
        shared = min(len(rows), len(self._rows))
        is_other = self._rows[:shared] != rows[:shared]
        differ = np.flatnonzero(is_other | (self._extra[:shared] != extra[:shared]))
        start = int(differ[0]) if len(differ) else shared
        if start < self._decided:
            start, self._members, self._decided = 0, self._every(), 0
        elif start < len(self._rows):
            for member in self._members:
                member.forget(start)
        self._rows, self._extra = np.array(rows), np.array(extra)
        # Members that are left out need not learn what comes after.
        for stage in (DECIDED, SETTLED):
            start = self._append(start, min(stage, len(rows)))
            if self._decided < stage <= len(rows) and len(self._pairs) > 1:
                self._decide(targets, stage)
        self._append(start, len(rows))

    def _append(self, start: int, end: int) -> int:
        """Learn the rows from `start` to `end`, and return the number of learned ones."""
        if start >= end:
            return start
        kernels = Covariances(self._blocks, self._squares, self._rows[:end], self._rows[start:end])
        for member in self._members:
            gram = kernels(member.kernel).astype(np.float64)
            member.append(gram[:start], gram[start:], self._extra[start:end])
        return end

    def _decide(self, targets: Array, stage: int) -> None:
        """Leave members out by the first rows alone, whatever came after them."""
        shares = self._weights(normal_scores(targets[:stage]))[1]
        stay = shares > 0 if stage == DECIDED else shares == shares.max()
        self._members = [m for m, stays in zip(self._members, stay, strict=True) if stays]
        self._decided = stage

    def _weights(self, targets: Array) -> tuple[list[Array], Array]:
        """Each member's whitened targets, and its share of the average."""
        weights, likelihoods = [], []
        for member in self._members:
            factor = member.factor[: len(targets), : len(targets)]
            weight = solve_triangular(factor, targets, lower=True, check_finite=False)
            weights.append(weight)
            likelihoods.append(-0.5 * weight @ weight - np.log(np.diag(factor)).sum())
        shares = np.exp(np.array(likelihoods) - logsumexp(likelihoods))
        shares[shares < min(LEAST_WEIGHT, shares.max())] = 0.0
        return weights, shares / shares.sum()


class Covariances:
    """Covariances of candidates a and b under several kernels that share their parts."""

    def __init__(
        self,
        blocks: Mapping[str, Single],
        squares: Mapping[str, Single],
        a: Indices,
        b: Indices | slice,
    ) -> None:
        self._blocks, self._squares, self._a, self._b = blocks, squares, a, b
        self._distances: dict[str, Single] = {}
        self._parts: dict[tuple[str, float], Single] = {}

    def __call__(self, kernel: Kernel) -> Single:
        """The covariance under one kernel, `(a, b)`."""
        total: Single | None = None
        for weight, name, length in kernel:
            part = np.float32(weight) * self._part(name, length)
            total = part if total is None else total + part
        assert total is not None
        return total

    def _part(self, name: str, length: float) -> Single:
        if (name, length) not in self._parts:
            if name not in self._distances:
                block, squares = self._blocks[name], self._squares[name]
                square: Single = block[self._a] @ block[self._b].T
                square *= -2
                square += squares[self._a][:, None]
                square += squares[self._b]
                self._distances[name] = np.sqrt(np.maximum(square, 0.0, out=square), out=square)
            reach = self._distances[name] * np.float32(5**0.5 / length)
            self._parts[name, length] = (1 + reach + reach * reach / 3) * np.exp(-reach)
        return self._parts[name, length]


def normal_scores(values: Array) -> Array:
    """Φ⁻¹((rank − 1/2)/n), `(n,)`; equal values share the mean rank."""
    # scipy.stats has it too, but takes a third of a second to import.
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return np.asarray(ndtri((ranks[place] - 0.5) / max(len(values), 1)))


def median_distance(rows: Array) -> float:
    """Median of the positive distances between some 600 rows spread over all; 1 without any."""
    from scipy.spatial.distance import pdist

    distances = pdist(rows[:: max(1, len(rows) // 600)])
    positive = distances[distances > 1e-9]
    return float(np.median(positive)) if len(positive) else 1.0
