"""A quantity of all members of a `CodedSpace`, learned from a predictor's answers for some of them.

Ridge regression on how often each small piece occurs in a member, and on the logarithms of its
FLOPs, parameters and bytes with their squares: what a network costs is nearly a sum over its
pieces, and a fit takes milliseconds where the predictor takes hours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces import CodedSpace

__all__ = ["PieceModel"]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

# Of the sum of squares; enough to hold columns still that the sample hardly varies.
PENALTY = 1e-2
# Members that are worked on at once.
CHUNK = 50_000


class PieceModel:
    """Fits values of some members and tells those of all.

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
        logs = np.stack([np.log(np.maximum(totals[name], 1.0)) for name in sorted(totals)], axis=1)
        spread = logs.std(axis=0)
        self._logs = ((logs - logs.mean(axis=0)) / np.where(spread > 0, spread, 1.0)).astype(
            np.float32
        )

    def _design(self, rows: Indices | slice) -> NDArray[np.float32]:
        logs = self._logs[rows]
        ones = np.ones((len(logs), 1), np.float32)
        return np.concatenate(
            [ones, self._counts[rows], logs, logs * logs], axis=1, dtype=np.float32
        )

    def __call__(self, known: Indices, values: Array) -> Array:
        """Values of all members, shape `(members, columns)`.

        Args:
            known: Members whose values are known, `(k,)`.
            values: Theirs, shape `(k, columns)`.
        """
        middle = values.mean(axis=0)
        weights = self._weights(known, values - middle)
        found = np.empty((len(self._counts), values.shape[1]))
        for start in range(0, len(found), CHUNK):
            part = slice(start, start + CHUNK)
            found[part] = self._design(part) @ weights + middle
        return found

    def at(self, known: Indices, values: Array, rows: Indices) -> Array:
        """As calling it, for some members alone: shape `(rows, columns)`."""
        middle = values.mean(axis=0)
        return np.asarray(self._design(rows) @ self._weights(known, values - middle) + middle)

    def _weights(self, known: Indices, values: Array) -> NDArray[np.float32]:
        design = self._design(known).astype(np.float64)
        gram = design.T @ design
        gram[np.diag_indices_from(gram)] += PENALTY
        weights: NDArray[Any] = np.linalg.solve(gram, design.T @ values)
        return weights.astype(np.float32)
