"""Groups of NAS-Bench-201 cells that are equal as functions of their weights.

A node's input is a sum of terms: the cell's input and the outputs of convolutions, each as it is or
averaged by one pool after another. Pools of stride 1 have no weights and are linear. So two cells
are equal if, under some renaming of their convolutions, every sum has the same terms equally often.
Two convolutions are never one term, even if they read equal inputs: each has weights of its own.

Cells that are equal for other reasons are not merged: a convolution ignores the scale of its input,
since a batch norm follows, except for the norm's small constant. A node that the cell's input does
not reach counts as zero, as in the benchmark, although a trained norm would output its shift.

Notation: c cells, 6 edges, 4 nodes. Words are 64-bit integers modulo 2⁶⁴.

    digits  (c, edges)  operation of each edge, an index into `nb201.OPS`
    held    (nodes, c)  word of a node's value, from the terms that it sums
    used    (nodes, c)  word of a node's uses, from the paths that lead from it to the output
    total   (c,)        word of the cell
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
    """Hash words to words that look random, 0 to 0 (the last step of splitmix64)."""
    for shift, factor in _ROUNDS:
        words = (words ^ (words >> np.uint64(shift))) * factor
    return np.asarray(words ^ (words >> np.uint64(31)))


def fingerprints(digits: NDArray[np.int64], edges: tuple[tuple[int, int], ...]) -> Words:
    """Words that are equal for cells of equal function and otherwise differ, but for chance (2⁻⁶⁴).

    A forward pass gives each node the word of its value: a sum adds words, a pool multiplies by a
    constant, a convolution hashes. A backward pass gives each node the word of its uses likewise. A
    cell's word is that of its output, plus a hash of both words for each of its convolutions.

    Args:
        digits: Operation of each edge of each cell, `(cells, edges)`.
        edges: Source and target of each edge, in topological order; the cell's input is node 0.

    Returns:
        Shape `(cells,)`.
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
            # A convolution that reads zero, or that nothing uses, does not count.
            counts = (digits[:, k] == op) & (read[k] != 0) & (used[b] != 0)
            word = _mixed(weight * read[k] + _mixed(used[b]))
            through = np.where(digits[:, k] == op, np.where(counts, word, 0), through)
            total += np.where(counts, _mixed(word), 0)
        used[a] = used[a] + through
    result: Words = total
    return result


def _passed(ops: NDArray[np.int64], words: Words) -> Words:
    """Words of the outputs of operations, from the words of their inputs."""
    outputs = np.where(ops == SKIP, words, np.where(ops == POOL, words * _POOL, 0))
    for op, weight in zip(CONVOLUTIONS, _WEIGHTS, strict=True):
        outputs = np.where(ops == op, _mixed(weight * words), outputs)
    return outputs.astype(np.uint64)


def first_equal(digits: NDArray[np.int64], edges: tuple[tuple[int, int], ...]) -> NDArray[np.intp]:
    """Position of the first cell that is equal as a function to each cell, shape `(cells,)`."""
    _, first, group = np.unique(fingerprints(digits, edges), return_index=True, return_inverse=True)
    return np.asarray(first[group])
