"""Which NAS-Bench-101 cells are equal as functions of their weights.

Max-pools that read the same vertices compute the same: they have no weights, but where one reads
the cell's input, which a 1×1 convolution of its own projects first. Such pools are one term, and
the smallest cell in which each vertex reads it as often stands for all. (A vertex of fewer channels
reads the first ones of what feeds it, before or after a pool. Which of the vertices that the output
joins has one channel more where they do not divide may change with the spelling.)

Not merged are cells that are equal by more than that: pools of a sum that is twice another, say.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.nb101.cells import LABELLINGS, OPS, Cell, canonical

__all__ = ["normal_cell", "normal_codes"]

POOL = OPS.index("maxpool3x3")


def normal_cell(cell: Cell) -> Cell:
    """The cell that stands for all of equal function.

    Args:
        cell: Every vertex on a path from input to output.

    Returns:
        In canonical spelling; `cell` itself if nothing is computed twice.
    """
    n = cell.vertices
    sources = [[a for a in range(b) if cell.has(a, b)] for b in range(n)]
    # The first vertex that computes the same.
    same = list(range(n))
    first: dict[tuple[int, ...], int] = {}
    for v in range(1, n - 1):
        if cell.labels[v - 1] == POOL and 0 not in sources[v]:
            same[v] = first.setdefault(tuple(sorted(same[a] for a in sources[v])), v)
    if len(set(same)) == n:
        return cell
    # How often each vertex that remains reads each term; its equals read it as often.
    reads = {v: Counter(same[a] for a in sources[v]) for v in set(same)}
    copies = {v: max([1, *(found[v] for found in reads.values())]) for v in set(same)}
    order = [(v, k) for v in sorted(copies) for k in range(copies[v])]
    if len(order) == n:
        return cell
    place = {one: k for k, one in enumerate(order)}
    edges = [
        (place[a, k], place[v, copy])
        for v, copy in order
        for a, times in reads[v].items()
        for k in range(times)
    ]
    return canonical(Cell.of(edges, [cell.labels[v - 1] for v, _ in order[1:-1]]))


def normal_codes(codes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """`normal_cell` of many cells in canonical spelling, given and returned as `Cell.code`."""
    bits, numbers = np.divmod(codes.astype(np.int64), LABELLINGS)
    graphs, graph_of = np.unique(bits, return_inverse=True)
    suspects = np.zeros(len(codes), np.bool_)
    of_graph = np.argsort(graph_of, kind="stable")
    ends = np.searchsorted(graph_of[of_graph], np.arange(len(graphs) + 1))
    for k, graph in enumerate(graphs.tolist()):
        pairs = _twins(graph)
        if pairs:
            own = of_graph[ends[k] : ends[k + 1]]
            for a, b in pairs:
                pools = (numbers[own] // a % len(OPS) == POOL) & (
                    numbers[own] // b % len(OPS) == POOL
                )
                suspects[own[pools]] = True
    found = codes.copy()
    for k in np.flatnonzero(suspects).tolist():
        found[k] = normal_cell(Cell.from_code(int(codes[k]))).code
    return found


def _twins(bits: int) -> list[tuple[int, int]]:
    """Pairs of inner vertices of a graph that the same vertices feed, the input not among them.

    Each as the weight of its label in a `Cell.code`.
    """
    cell = Cell.from_code(bits * LABELLINGS)
    inner = cell.vertices - 2
    masks = [bits >> (v * (v - 1) // 2) & (1 << v) - 1 for v in range(1, inner + 1)]
    return [
        (len(OPS) ** (inner - 1 - a), len(OPS) ** (inner - 1 - b))
        for a in range(inner)
        for b in range(a + 1, inner)
        if masks[a] == masks[b] and not masks[a] & 1
    ]
