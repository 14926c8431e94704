"""Convert the codes of NAS-Bench-101 cells to `CellArrays`, without a `Graph` of each cell.

Notation: n cells with g distinct edge sets; v = 7 vertices a cell, the output always the last one;
o = 3 operations; c = 4 columns of `CELL_ATTRIBUTES`.

    edges   (g, v, v)      adjacency of each edge set
    rows    (g, v, o, c)   costs of each vertex for each operation that it may carry
    labels  (n, v)         operation of each vertex, an index into `OPS`
    values  (n, v, c)      costs of each vertex with the operation that it does carry
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.cell_arrays import CELL_ATTRIBUTES, CellArrays
from nasplug.search_spaces.graph import ATTRIBUTES
from nasplug.search_spaces.nb101.cells import LABELLINGS, MAX_VERTICES, OPS, Cell
from nasplug.search_spaces.nb101.costs import node_rows

__all__ = ["cell_arrays"]

_TYPES = tuple(sorted(OPS))
# Index into the sorted types, for each label (an index into the benchmark's `OPS`).
_TYPE_OF_LABEL = np.array([_TYPES.index(op) for op in OPS], np.int8)
_COLUMNS = [ATTRIBUTES.index(name) for name in CELL_ATTRIBUTES]


def cell_arrays(codes: NDArray[np.uint32]) -> CellArrays:
    """Make the arrays that `CellArrays.of` makes from the cells' graphs, with seven places a cell.

    Args:
        codes: `Cell.code` of each cell in its canonical spelling, shape `(cells,)`.
    """
    v = MAX_VERTICES
    bits, numbers = np.divmod(codes.astype(np.int64), LABELLINGS)
    graphs, graph_of = np.unique(bits, return_inverse=True)
    edges = np.zeros((len(graphs), v, v), np.bool_)
    rows = np.zeros((len(graphs), v, len(OPS), len(_COLUMNS)))
    nodes = np.zeros(len(graphs), np.int64)
    for k, graph in enumerate(graphs.tolist()):
        cell = Cell.from_code(graph * LABELLINGS)
        nodes[k], last = cell.vertices, cell.vertices - 1
        for a, b in cell.edges:
            edges[k, a, v - 1 if b == last else b] = True
        vertex_rows = node_rows(graph, cell.vertices)[:, :, _COLUMNS]
        rows[k, :last], rows[k, v - 1] = vertex_rows[:last], vertex_rows[last]
    size = nodes[graph_of]
    labels = np.zeros((len(codes), v), np.int64)
    ops = np.full((len(codes), v), -1, np.int8)
    for vertex in range(v - 2, 0, -1):
        inside = vertex < size - 1
        labels[inside, vertex] = numbers[inside] % len(OPS)
        numbers = np.where(inside, numbers // len(OPS), numbers)
        ops[inside, vertex] = _TYPE_OF_LABEL[labels[inside, vertex]]
    values = rows[graph_of[:, None], np.arange(v), labels]
    attributes = {name: values[:, :, c] for c, name in enumerate(CELL_ATTRIBUTES)}
    return CellArrays(_TYPES, ops, size, edges[graph_of], attributes)
