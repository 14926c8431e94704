"""Corrections of a shared network for one kind of networks on one column: a ridge regression.

One network for all devices and all kinds of networks has little room for what is particular to a
table of measurements. Where a column was measured on a kind of networks, a linear function of the
network's pooled states says what is left of the logarithm of the latency; how strongly it is shrunk
is chosen by leave-one-out, in closed form (Golub, Heath and Wahba, Technometrics 1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.prediction import Array
from nasplug.predictors.statistics.familiarity import Familiarity
from nasplug.search_spaces import Graph

__all__ = ["ColumnHeads"]

# Networks that a head is worth learning from.
FEWEST = 60
# Strengths to choose from; the last leaves the mean alone.
STRENGTHS = (*(10.0**k for k in range(-2, 6)), np.inf)
# A correction is at most so many times as large as those that were learned.
FURTHEST = 1.5


@dataclass(frozen=True, eq=False)
class ColumnHeads:
    """A linear correction for each pair of a group of networks and a column.

    Attributes:
        groups: Names of the groups.
        centers: Mean of the features of each group, shape `(groups, features)`.
        scales: Their spread, the same shape; infinite where a feature does not vary.
        pairs: Group and column key of each head.
        weights: Shape `(pairs, features)`.
        shifts: Constant part of each, `(pairs,)`.
        limits: Largest correction of each, `(pairs,)`.
    """

    groups: list[str]
    centers: Array
    scales: Array
    pairs: list[tuple[str, str]]
    weights: Array
    shifts: Array
    limits: Array

    @classmethod
    def of(
        cls, features: Array, residuals: Array, groups: Sequence[str], keys: Sequence[str]
    ) -> ColumnHeads:
        """Learn from residuals.

        Args:
            features: Of each network, shape `(n, features)`.
            residuals: log(truth) − log(prediction), shape `(n, columns)`; NaN where unknown.
            groups: Group of each network.
            keys: Key of each column.
        """
        names = list(dict.fromkeys(groups))
        width = features.shape[1]
        centers, scales = np.zeros((2, len(names), width))
        heads: dict[tuple[str, str], tuple[Array, float, float]] = {}
        for center, scale, name in zip(centers, scales, names, strict=True):
            rows = np.flatnonzero(np.array(groups) == name)
            center[:], spread = features[rows].mean(0), features[rows].std(0)
            scale[:] = np.where(spread > 1e-6 * (1 + np.abs(center)), spread, np.inf)
            x = (features[rows] - center) / scale
            for k, key in enumerate(keys):
                y = residuals[rows, k]
                known = np.isfinite(y)
                if known.sum() >= FEWEST:
                    heads[name, key] = _ridge(x[known], y[known])
        weights = np.array([head[0] for head in heads.values()]).reshape(len(heads), width)
        shifts, limits = np.array([head[1:] for head in heads.values()]).reshape(-1, 2).T
        return cls(names, centers, scales, list(heads), weights, shifts, limits)

    def __call__(self, features: Array, group: str, key: str) -> Array:
        """Corrections to add to log-latencies of networks of a group, `(n,)`."""
        if (group, key) not in self.pairs:
            return np.zeros(len(features))
        head, place = self.pairs.index((group, key)), self.groups.index(group)
        x = (features - self.centers[place]) / self.scales[place]
        correction = x @ self.weights[head] + self.shifts[head]
        result: Array = np.clip(correction, -self.limits[head], self.limits[head])
        return result

    def correct(
        self,
        graphs: Sequence[Graph],
        features: Array,
        logs: Array,
        keys: Sequence[str],
        familiar: Familiarity,
    ) -> None:
        """Add the corrections of the groups that networks are like to `logs`, in place.

        Args:
            graphs: Whole networks.
            features: Of each, shape `(graphs, features)`.
            logs: Logarithms of ms, shape `(graphs, columns)`.
            keys: Key of each column.
            familiar: Tells which group a network is like.
        """
        like: dict[tuple[str, ...], list[str]] = {}
        for k, key in enumerate(keys):
            among = tuple(name for name, other in self.pairs if other == key)
            if among not in like:
                like[among] = familiar(graphs, among)
            for name in dict.fromkeys(filter(None, like[among])):
                rows = [row for row, other in enumerate(like[among]) if other == name]
                logs[rows, k] += self(features[rows], name, key)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Arrays to store; `groups` and `pairs` belong to the card."""
        names = ("centers", "scales", "weights", "shifts", "limits")
        return {name: getattr(self, name).astype(np.float32) for name in names}

    @classmethod
    def restored(
        cls,
        tensors: Mapping[str, NDArray[np.floating[Any]]],
        groups: Sequence[str],
        pairs: Sequence[Sequence[str]],
    ) -> ColumnHeads:
        """Restore the heads that `tensors` stored."""
        arrays = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
        return cls(list(groups), pairs=[(str(a), str(b)) for a, b in pairs], **arrays)


def _ridge(x: Array, y: Array) -> tuple[Array, float, float]:
    """Weights, constant, and the largest correction that is allowed."""
    middle, shift = x.mean(0), float(y.mean())
    left, sizes, right = np.linalg.svd(x - middle, full_matrices=False)
    aimed = left.T @ (y - shift)
    best, weights = np.inf, np.zeros(x.shape[1])
    for strength in STRENGTHS:
        kept = sizes**2 / (sizes**2 + strength)
        influence = (left**2) @ kept + 1 / len(y)
        errors = (y - shift - left @ (kept * aimed)) / np.maximum(1 - influence, 1e-3)
        error = float(np.abs(errors).mean())
        if error < best:
            best = error
            weights = right.T @ (kept / np.maximum(sizes, 1e-9) * aimed)
    constant = shift - float(middle @ weights)
    return weights, constant, FURTHEST * float(np.abs(x @ weights + constant).max())
