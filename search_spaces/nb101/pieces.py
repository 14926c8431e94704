"""Count small pieces of NAS-Bench-101 cells, for all cells at once.

A piece is a vertex with some of its surroundings (its operation, how many vertices feed it and how
many it feeds, whether it reads the cell's input, its width), or a pair of operations of which one
feeds the other.

Notation: n cells; `counts` has shape `(n, PIECES)`. The columns of a kind of piece are one block,
which starts at `_STARTS[kind]`; inside it the last property varies fastest. A width k, from 0 on,
means that a vertex has a (k + 1)-th of the cell's channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.nb101.cells import MAX_VERTICES, OPS, Cell, cells_by_graph
from nasplug.search_spaces.nb101.costs import STEM, vertex_channels

__all__ = ["PIECES", "piece_counts"]

_OPS = len(OPS)
_INNER = MAX_VERTICES - 2
# A vertex has a k-th of the cell's channels; k is at most the number of vertices that feed the
# output.
_WIDTHS = _INNER
# Kind of piece -> number of values of each of its properties.
_KINDS: dict[str, tuple[int, ...]] = {
    # A vertex: number of vertices that feed it, whether the input does, its width.
    "in": (_INNER, 2, _WIDTHS),
    # A vertex: its operation and its width.
    "op": (_OPS, _WIDTHS),
    # A vertex: its operation, and how many vertices feed it, the input included.
    "op in": (_OPS, _INNER + 1),
    # A vertex: its operation, number of inner vertices that it feeds, whether it feeds the output.
    "op out": (_OPS, _INNER, 2),
    # An edge between vertices: both operations, and the width of the later one.
    "pair": (_OPS, _OPS, _WIDTHS),
    # An edge whose ends differ in width, by the width of the later one.
    "cut": (_WIDTHS,),
    # The output: number of vertices that it joins, whether the input feeds it.
    "join": (_INNER + 1, 2),
    # The input: number of vertices that it feeds.
    "fan": (MAX_VERTICES,),
}
_SIZES = [int(np.prod(properties)) for properties in _KINDS.values()]
_STARTS = dict(zip(_KINDS, np.cumsum([0, *_SIZES[:-1]]).tolist(), strict=True))
PIECES = sum(_SIZES)
"""Columns of `piece_counts`."""


def _column(kind: str, *values: int) -> int:
    offset = 0
    for value, size in zip(values, _KINDS[kind], strict=True):
        offset = offset * size + value
    result: int = _STARTS[kind] + offset
    return result


def piece_counts(codes: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Counts of all pieces in many cells.

    Args:
        codes: `Cell.code` of each cell, shape `(cells,)`.

    Returns:
        Shape `(cells, PIECES)`.
    """
    counts = np.zeros((len(codes), PIECES), np.uint8)
    for cell, cells, labels in cells_by_graph(codes):
        counts[cells] = _of_graph(cell, labels)
    return counts


def _of_graph(cell: Cell, labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Counts for cells of one graph, whose labels have shape `(vertices, n)`."""
    last, n = cell.vertices - 1, labels.shape[1]
    width_class = [round(STEM / width) - 1 for width in vertex_channels(cell, STEM, STEM)]
    inner = range(1, last)
    counts = np.zeros((n, PIECES), np.uint8)
    cells = np.arange(n)

    def tick(columns: list[int], labels_of_cells: NDArray[np.int64]) -> None:
        counts[cells, np.array(columns)[labels_of_cells]] += 1

    for v in inner:
        fed = [a for a in inner if a < v and cell.has(a, v)]
        feeds = sum(cell.has(v, b) for b in inner if b > v)
        reads, k = int(cell.has(0, v)), width_class[v]
        counts[:, _column("in", len(fed), reads, k)] += 1
        tick([_column("op", op, k) for op in range(_OPS)], labels[v])
        tick([_column("op in", op, len(fed) + reads) for op in range(_OPS)], labels[v])
        ends = int(cell.has(v, last))
        tick([_column("op out", op, feeds, ends) for op in range(_OPS)], labels[v])
        for a in fed:
            pairs = [_column("pair", *divmod(p, _OPS), k) for p in range(_OPS**2)]
            tick(pairs, labels[a] * _OPS + labels[v])
            if width_class[a] != k:
                counts[:, _column("cut", k)] += 1
    joined = sum(cell.has(v, last) for v in inner)
    counts[:, _column("join", joined, int(cell.has(0, last)))] += 1
    counts[:, _column("fan", sum(cell.has(0, b) for b in range(1, last + 1)))] += 1
    return counts
