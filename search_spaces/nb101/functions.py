"""Normal forms of NAS-Bench-101 cells: one cell for all that compute equal functions.

Two max-pools that read the same vertices compute equal outputs, since a max-pool has no weights. (A
pool that reads the cell's input is an exception: a 1×1 convolution with weights of its own comes
first.) Equal pools count as one term. The normal form of a cell is the smallest cell in which every
vertex reads every term equally often.

Cutting channels off before or after a pool makes no difference. If the output's channels do not
divide by the vertices that it joins, it may depend on the spelling which vertex has one more.

Cells that are equal for other reasons are not merged, such as pools of one sum that is twice
another.
"""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.nb101.cells import OPS, Cell, canonical, cells_by_graph

__all__ = ["normal_cell", "normal_codes"]

POOL = OPS.index("maxpool3x3")


def normal_cell(cell: Cell) -> Cell:
    """Find the cell that stands for all cells of equal function.

    Args:
        cell: Every vertex on a path from input to output.

    Returns:
        The cell in canonical spelling; `cell` itself if nothing is computed twice.
    """
    n = cell.vertices
    sources = [[a for a in range(b) if cell.has(a, b)] for b in range(n)]
    # For each vertex, the first vertex that computes the same term.
    term = list(range(n))
    first: dict[tuple[int, ...], int] = {}
    for v in range(1, n - 1):
        if cell.labels[v - 1] == POOL and 0 not in sources[v]:
            term[v] = first.setdefault(tuple(sorted(term[a] for a in sources[v])), v)
    if len(set(term)) == n:
        return cell
    # How often each remaining vertex reads each term; equal vertices read equally often.
    reads = {v: Counter(term[a] for a in sources[v]) for v in set(term)}
    copies = {v: max([1, *(times[v] for times in reads.values())]) for v in set(term)}
    order = [(v, k) for v in sorted(copies) for k in range(copies[v])]
    if len(order) == n:
        return cell
    new_index = {node: k for k, node in enumerate(order)}
    edges = [
        (new_index[a, k], new_index[v, copy])
        for v, copy in order
        for a, times in reads[v].items()
        for k in range(times)
    ]
    return canonical(Cell.of(edges, [cell.labels[v - 1] for v, _ in order[1:-1]]))


def normal_codes(codes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """`normal_cell` of many cells in canonical spelling, given and returned as `Cell.code`."""
    suspects = np.zeros(len(codes), np.bool_)
    for cell, cells, labels in cells_by_graph(codes):
        for a, b in _twins(cell):
            suspects[cells[(labels[a] == POOL) & (labels[b] == POOL)]] = True
    normal = codes.copy()
    for k in np.flatnonzero(suspects).tolist():
        normal[k] = normal_cell(Cell.from_code(int(codes[k]))).code
    return normal


def _twins(cell: Cell) -> list[tuple[int, int]]:
    """Find pairs of inner vertices that the same vertices feed, the cell's input not among them."""
    sources = [cell.bits >> (v * (v - 1) // 2) & (1 << v) - 1 for v in range(cell.vertices - 1)]
    return [
        (a, b)
        for a, b in itertools.combinations(range(1, cell.vertices - 1), 2)
        if sources[a] == sources[b] and not sources[a] & 1
    ]
