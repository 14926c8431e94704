"""A fast model of a slow predictor, for all members of a `CodedSpace`.

Ridge regression on how often each small piece occurs in a member, and on the logarithms of its
FLOPs, parameters and bytes with their squares: the cost of a network is nearly a sum over its
pieces, and a fit takes milliseconds where the predictor takes hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.arrays import Array, Indices
from nasplug.search_spaces import CodedSpace

__all__ = ["CountRidge", "standardised_logs"]

# Weight of the sum of squares; it keeps columns near zero that hardly vary in the sample.
PENALTY = 1e-2
# Members whose values are computed at once.
CHUNK = 50_000


class CountRidge:
    """Ridge regression from counts of pieces: fitted to some members, it gives values of all.

    Args:
        space: The space.
        counts: `space.counts()`, shape `(members, pieces)`.
        totals: `space.totals()`.
    """

    def __init__(
        self, space: CodedSpace, counts: NDArray[np.uint8], totals: dict[str, Array]
    ) -> None:
        self._space = space
        self._counts = counts[:, counts.any(axis=0)]
        self._logs = standardised_logs(totals).astype(np.float32)

    def _design(self, rows: Indices | slice) -> NDArray[np.float32]:
        """Columns of the regression: one, counts, logarithms and their squares."""
        logs = self._logs[rows]
        ones = np.ones((len(logs), 1), np.float32)
        return np.concatenate(
            [ones, self._counts[rows], logs, logs * logs], axis=1, dtype=np.float32
        )

    def predict_all(self, train_rows: Indices, values: Array) -> Array:
        """Values of all members by a fit to some, `(members, columns)`; `values` are of these."""
        mean = values.mean(axis=0)
        weights = self._weights(train_rows, values - mean)
        result = np.empty((len(self._counts), values.shape[1]))
        for start in range(0, len(result), CHUNK):
            part = slice(start, start + CHUNK)
            result[part] = self._design(part) @ weights + mean
        return result

    def predict(self, train_rows: Indices, values: Array, rows: Indices) -> Array:
        """Values of the members `rows` alone by the same fit, shape `(rows, columns)`."""
        mean = values.mean(axis=0)
        return np.asarray(self._design(rows) @ self._weights(train_rows, values - mean) + mean)

    def _weights(self, train_rows: Indices, values: Array) -> NDArray[np.float32]:
        design = self._design(train_rows).astype(np.float64)
        gram = design.T @ design
        gram[np.diag_indices_from(gram)] += PENALTY
        weights: NDArray[Any] = np.linalg.solve(gram, design.T @ values)
        return weights.astype(np.float32)


def standardised_logs(totals: Mapping[str, Array]) -> Array:
    """Logarithms of the totals of members, a column each, with mean 0 and deviation 1."""
    logs = np.stack([np.log(np.maximum(totals[name], 1.0)) for name in sorted(totals)], axis=1)
    spread = logs.std(axis=0)
    return np.asarray((logs - logs.mean(axis=0)) / np.where(spread > 0, spread, 1.0))
