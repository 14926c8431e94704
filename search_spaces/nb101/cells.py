"""Cells of NAS-Bench-101: pruning, the canonical spelling, and the benchmark's own hash.

A cell is a directed acyclic graph of at most seven vertices and nine edges; vertex 0 is the input,
the last vertex the output, every other one carries an operation (Ying et al., ICML 2019). Edges are
numbered as in the benchmark's generator: bit `a + b(b−1)/2` of an integer is the edge a → b, a < b.

A cell has one spelling for each order of its inner vertices. The canonical spelling is the one that
the generator meets first; `prune` drops the vertices that lie on no path from input to output.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "INPUT",
    "LABELLINGS",
    "MAX_EDGES",
    "MAX_VERTICES",
    "OPS",
    "OUTPUT",
    "Cell",
    "canonical",
    "cells_by_graph",
    "hash_module",
    "module_hash",
    "prune",
    "pruned",
]

# In the benchmark's own order, on which its hash depends.
OPS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
INPUT, OUTPUT = "input", "output"
MAX_VERTICES, MAX_EDGES = 7, 9
# Labellings of the five vertices between input and output.
LABELLINGS = len(OPS) ** (MAX_VERTICES - 2)
# The labels of input and output in the benchmark's hash.
_ENDS = (-1, -2)


class Cell(NamedTuple):
    """Cell in one spelling, which fixes the order of its vertices.

    Attributes:
        bits: The edges, as the benchmark's generator counts them.
        labels: Indices into `OPS`, of the vertices between input and output.
    """

    bits: int
    labels: tuple[int, ...]

    @property
    def vertices(self) -> int:
        """Number of vertices, input and output among them."""
        return len(self.labels) + 2

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Pairs `(source, target)`, sorted."""
        edges = [(a, b) for b in range(self.vertices) for a in range(b) if self.has(a, b)]
        return tuple(sorted(edges))

    def has(self, a: int, b: int) -> bool:
        """Whether there is an edge from a to b, for a < b."""
        return bool(self.bits >> (a + b * (b - 1) // 2) & 1)

    @property
    def ops(self) -> tuple[str, ...]:
        """The operation of each vertex, in the benchmark's words."""
        return (INPUT, *(OPS[label] for label in self.labels), OUTPUT)

    @property
    def code(self) -> int:
        """Integer below 2³² that holds bits and labels, ascending in the benchmark's own order."""
        number = 0
        for label in self.labels:
            number = number * len(OPS) + label
        result: int = self.bits * LABELLINGS + number
        return result

    @classmethod
    def from_code(cls, code: int) -> Cell:
        """The cell of a `code`."""
        bits, number = divmod(code, LABELLINGS)
        vertices = 2
        # The output has an edge into it, so the highest bit lies in its column.
        while bits >> (vertices * (vertices - 1) // 2):
            vertices += 1
        labels = []
        for _ in range(vertices - 2):
            number, label = divmod(number, len(OPS))
            labels.append(label)
        return cls(bits, tuple(reversed(labels)))

    @classmethod
    def of(cls, edges: Iterable[tuple[int, int]], labels: Sequence[int]) -> Cell:
        """The cell with these edges, each from a smaller to a larger number."""
        bits = 0
        for a, b in edges:
            bits |= 1 << (a + b * (b - 1) // 2)
        return cls(bits, tuple(labels))


def prune(vertices: int, edges: Iterable[tuple[int, int]]) -> list[int] | None:
    """The vertices on a path from input to output, ascending; None if there is no such path.

    Args:
        vertices: Number of vertices; the first is the input, the last the output.
        edges: Pairs `(source, target)`, in any order.
    """
    pairs = sorted(edges)
    fed, used = {0}, {vertices - 1}
    # Sources ascend, so that whatever reaches a vertex is known before its own edges.
    for a, b in pairs:
        if a in fed:
            fed.add(b)
    for a, b in sorted(pairs, key=lambda pair: -pair[1]):
        if b in used:
            used.add(a)
    if vertices - 1 not in fed:
        return None
    return sorted(fed & used)


def pruned(vertices: int, edges: Iterable[tuple[int, int]], labels: Sequence[int]) -> Cell | None:
    """The cell of the vertices on a path from input to output; None if there is no such path.

    Args:
        vertices: Number of vertices, at least two.
        edges: Pairs `(source, target)`, source < target.
        labels: Indices into `OPS`, of the vertices between input and output.
    """
    pairs = list(edges)
    live = prune(vertices, pairs)
    if live is None:
        return None
    index = {v: k for k, v in enumerate(live)}
    live_edges = [(index[a], index[b]) for a, b in pairs if a in index and b in index]
    return Cell.of(live_edges, [labels[v - 1] for v in live[1:-1]])


def cells_by_graph(
    codes: NDArray[np.uint32],
) -> Iterator[tuple[Cell, NDArray[np.intp], NDArray[np.int64]]]:
    """Group many cells by their edges.

    Args:
        codes: `Cell.code` of each cell, shape `(cells,)`.

    Yields:
        A cell of these edges, whose labels do not matter; the positions of the n cells that have
        them, `(n,)`; the label of each vertex of each of these cells, `(vertices, n)`, 0 at the
        input and the output.
    """
    bits, numbers = np.divmod(codes.astype(np.int64), LABELLINGS)
    order = np.argsort(bits, kind="stable")
    graphs, starts = np.unique(bits[order], return_index=True)
    for graph, cells in zip(graphs.tolist(), np.split(order, starts)[1:], strict=True):
        cell = Cell.from_code(graph * LABELLINGS)
        labels = np.zeros((cell.vertices, len(cells)), np.int64)
        remaining = numbers[cells]
        for v in range(cell.vertices - 2, 0, -1):
            remaining, labels[v] = np.divmod(remaining, len(OPS))
        yield cell, cells, labels


@lru_cache(maxsize=65_536)
def canonical(cell: Cell) -> Cell:
    """The spelling of a cell that the benchmark's generator meets first.

    Its bits, and then its labels, are the smallest of all orders of the vertices. The benchmark's
    widths of channels, and with them its parameters, belong to this spelling.

    Args:
        cell: Every vertex on a path from input to output, at most seven of them.
    """
    inner = range(1, cell.vertices - 1)
    sources = [[a for a in range(b) if cell.has(a, b)] for b in range(cell.vertices)]
    best: tuple[int, tuple[int, ...]] | None = None
    position = list(range(cell.vertices))
    for order in itertools.permutations(inner):
        for new, old in enumerate(order, start=1):
            position[old] = new
        bits = 0
        for b, read in enumerate(sources):
            target = position[b]
            offset = target * (target - 1) // 2
            for a in read:
                if position[a] >= target:
                    break
                bits |= 1 << (position[a] + offset)
            else:
                continue
            break
        else:
            spelling = bits, tuple([cell.labels[old - 1] for old in order])
            if best is None or spelling < best:
                best = spelling
    assert best is not None
    return Cell(*best)


def _digest(text: str) -> str:
    # The benchmark's choice; no secret depends on it.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def hash_module(matrix: Sequence[Sequence[int]], labels: Sequence[int]) -> str:
    """The benchmark's hash of a labelled graph, equal for isomorphic ones: 32 hexadecimal digits.

    Runs as many rounds as there are vertices; each round hashes a vertex's hash together with those
    of its predecessors and successors.

    Args:
        matrix: `matrix[a][b]` is true if there is an edge a → b; any directed graph.
        labels: A number a vertex.
    """
    every = range(len(labels))
    before = [[a for a in every if matrix[a][b]] for b in every]
    after = [[b for b in every if matrix[a][b]] for a in every]
    return hash_neighbours(before, after, labels)


def hash_neighbours(
    before: Sequence[Sequence[int]], after: Sequence[Sequence[int]], labels: Sequence[int]
) -> str:
    """`hash_module` of a graph given by predecessors and successors of each vertex."""
    hashes = [
        _digest(f"({len(targets)}, {len(sources)}, {label})")
        for sources, targets, label in zip(before, after, labels, strict=True)
    ]
    for _ in labels:
        hashes = [
            _digest(
                "".join(sorted([hashes[a] for a in sources]))
                + "|"
                + "".join(sorted([hashes[b] for b in targets]))
                + "|"
                + own_hash
            )
            for sources, targets, own_hash in zip(before, after, hashes, strict=True)
        ]
    return _digest(str(sorted(hashes)))


@lru_cache(maxsize=65_536)
def module_hash(cell: Cell) -> str:
    """The benchmark's hash of a cell, whatever its spelling."""
    before, after = neighbours(cell)
    return hash_neighbours(before, after, (_ENDS[0], *cell.labels, _ENDS[1]))


def neighbours(cell: Cell) -> tuple[list[list[int]], list[list[int]]]:
    """Predecessors and successors of each vertex."""
    before: list[list[int]] = [[] for _ in range(cell.vertices)]
    after: list[list[int]] = [[] for _ in range(cell.vertices)]
    for a, b in cell.edges:
        before[b].append(a)
        after[a].append(b)
    return before, after
