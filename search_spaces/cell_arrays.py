"""Arrays that hold many small graphs, so that all of them can be computed on at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import ATTRIBUTES, Graph

__all__ = ["CELL_ATTRIBUTES", "CellArrays"]

# Columns of `Graph.attributes` that the arrays hold.
CELL_ATTRIBUTES = ("out_channels", "flops", "params", "bytes")
_COLUMNS = [ATTRIBUTES.index(name) for name in CELL_ATTRIBUTES]


@dataclass(frozen=True, eq=False)
class CellArrays:
    """Arrays of n graphs of at most v nodes: the first node has place 0, the last place v − 1.

    The other nodes follow the first one; the places between them and the last node are empty.

    Attributes:
        types: Types of operation, sorted.
        ops: Index into `types` of the node at each place; −1 at both ends, at an empty place and
            for a type that is not among `types`; shape `(n, v)`.
        nodes: Nodes of each graph, shape `(n,)`.
        edges: `edges[k, a, b]` is true if place a feeds place b, a < b; shape `(n, v, v)`.
        attributes: Name of `CELL_ATTRIBUTES` to one value a place, 0 at an empty place; arrays of
            shape `(n, v)`.
    """

    types: tuple[str, ...]
    ops: NDArray[np.int8]
    nodes: NDArray[np.int64]
    edges: NDArray[np.bool_]
    attributes: Mapping[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.ops)

    @classmethod
    def of(cls, graphs: Sequence[Graph], types: Sequence[str], places: int = 0) -> CellArrays:
        """Convert graphs to arrays.

        Args:
            graphs: Graphs of at least two nodes each.
            types: The types of operation to tell apart.
            places: Smallest number of places; the largest graph may need more.

        Raises:
            InputError: If a graph has fewer than two nodes.
        """
        sizes = np.array([len(graph) for graph in graphs], np.int64)
        if (sizes < 2).any():
            raise InputError("a graph has one node; a cell has an input and an output")
        v = max(places, *sizes.tolist(), 2)
        code = {op: k for k, op in enumerate(types)}
        ops = np.full((len(graphs), v), -1, np.int8)
        edges = np.zeros((len(graphs), v, v), np.bool_)
        rows = np.zeros((len(graphs), v, len(_COLUMNS)))
        for k, graph in enumerate(graphs):
            last = len(graph) - 1
            ops[k, 1:last] = [code.get(op, -1) for op in graph.ops[1:last]]
            for a, b in graph.edges:
                edges[k, a, v - 1 if b == last else b] = True
            rows[k, :last] = graph.attributes[:last, _COLUMNS]
            rows[k, v - 1] = graph.attributes[last, _COLUMNS]
        columns = {name: rows[:, :, c] for c, name in enumerate(CELL_ATTRIBUTES)}
        return cls(tuple(types), ops, sizes, edges, columns)
