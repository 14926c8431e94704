"""Convert the codes of NAS-Bench-101 cells to `CellArrays`, without a `Graph` of each cell.

Notation: n cells; v = 7 places a cell, the output always at the last one; c = 4 columns of
`CELL_ATTRIBUTES`; `labels` are indices into `OPS`, as `cells_by_graph` gives them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.cell_arrays import CELL_ATTRIBUTES, CellArrays
from nasplug.search_spaces.graph import ATTRIBUTES
from nasplug.search_spaces.nb101.cells import MAX_VERTICES, OPS, cells_by_graph
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
    nodes = np.zeros(len(codes), np.int64)
    ops = np.full((len(codes), v), -1, np.int8)
    edges = np.zeros((len(codes), v, v), np.bool_)
    values = np.zeros((len(codes), v, len(_COLUMNS)))
    for cell, cells, labels in cells_by_graph(codes):
        inner = range(1, cell.vertices - 1)
        place = [0, *inner, v - 1]
        nodes[cells] = cell.vertices
        for a, b in cell.edges:
            edges[cells, place[a], place[b]] = True
        rows = node_rows(cell.bits, cell.vertices)[:, :, _COLUMNS]
        for vertex in range(cell.vertices):
            values[cells, place[vertex]] = rows[vertex, labels[vertex]]
        for vertex in inner:
            ops[cells, vertex] = _TYPE_OF_LABEL[labels[vertex]]
    attributes = {name: values[:, :, c] for c, name in enumerate(CELL_ATTRIBUTES)}
    return CellArrays(_TYPES, ops, nodes, edges, attributes)
