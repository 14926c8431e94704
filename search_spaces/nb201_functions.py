"""Which NAS-Bench-201 cells are equal as functions of their weights.

A node's input is a sum of terms: the cell's input and the outputs of convolutions, each as it is or
averaged by one pool after another. Pools of stride 1 have no weights and are linear, so that two
cells are equal if, under some renaming of their convolutions, every sum has the same terms equally
often. Whether two convolutions read the same makes no difference: each has weights of its own.

Not merged are cells that are equal by more than that: a convolution does not see the scale of what
it reads, since a batch norm follows, but for the norm's small constant. What the cell's input does
not reach counts as zero, as in the benchmark, although a trained norm would give its shift.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["first_equal"]

Words = NDArray[np.uint64]

NONE, SKIP, CONVOLUTIONS, POOL = 0, 1, (2, 3), 4
# Odd numbers without a pattern: the cell's input, the pool, and the two convolutions.
_X, _POOL, *_WEIGHTS = (
    np.uint64(word)
    for word in (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03, 0x8CB92BA72F3D8DD7, 0xAEF17502108EF2D9)
)
_END = np.uint64(0xDB4F0B9175AE2165)
_ROUNDS = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)))


def _mixed(words: Words) -> Words:
    """A word for each word that looks random, 0 for 0 (the last step of splitmix64)."""
    for shift, factor in _ROUNDS:
        words = (words ^ (words >> np.uint64(shift))) * factor
    return np.asarray(words ^ (words >> np.uint64(31)))


def fingerprints(digits: NDArray[np.int64], edges: tuple[tuple[int, int], ...]) -> Words:
    """One number a cell, equal for equal functions and else different but for chance (2⁻⁶⁴).

    What a node holds is a number: sums are sums, a pool is a factor, a convolution a mixing of what
    it reads. How a node is used goes the other way in the same manner. A cell is the sum over its
    convolutions of both, mixed, and its output.

    Args:
        digits: Operation of each edge of each cell, `(cells, edges)`.
        edges: From and to of each edge, in topological order; the cell's input is node 0.
    """
    nodes = max(b for _, b in edges) + 1
    held = np.zeros((nodes, len(digits)), np.uint64)
    held[0] = _X
    read = {}
    for k, (a, b) in enumerate(edges):
        read[k] = held[a]
        held[b] = held[b] + _passed(digits[:, k], held[a])
    used = np.zeros_like(held)
    used[-1] = _END
    total = held[-1].copy()
    for k, (a, b) in reversed(list(enumerate(edges))):
        through = _passed(digits[:, k], used[b])
        for op, weight in zip(CONVOLUTIONS, _WEIGHTS, strict=True):
            # One that reads nothing, or that nothing uses, is not there.
            there = (digits[:, k] == op) & (read[k] != 0) & (used[b] != 0)
            one = _mixed(weight * read[k] + _mixed(used[b]))
            through = np.where(digits[:, k] == op, np.where(there, one, 0), through)
            total += np.where(there, _mixed(one), 0)
        used[a] = used[a] + through
    return total


def _passed(ops: NDArray[np.int64], words: Words) -> Words:
    """What operations make of what they read."""
    made = np.where(ops == SKIP, words, np.where(ops == POOL, words * _POOL, 0))
    for op, weight in zip(CONVOLUTIONS, _WEIGHTS, strict=True):
        made = np.where(ops == op, _mixed(weight * words), made)
    return made.astype(np.uint64)


def first_equal(digits: NDArray[np.int64], edges: tuple[tuple[int, int], ...]) -> NDArray[np.intp]:
    """For each cell the position of the first one that is equal as a function, `(cells,)`."""
    _, first, which = np.unique(fingerprints(digits, edges), return_index=True, return_inverse=True)
    return np.asarray(first[which])
