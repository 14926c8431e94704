"""Many small graphs as arrays, so that all of them can be worked on at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import ATTRIBUTES, Graph

__all__ = ["CELL_ATTRIBUTES", "CellArrays"]

# Columns of `Graph.attributes` that are kept.
CELL_ATTRIBUTES = ("out_channels", "flops", "params", "bytes")
_COLUMNS = [ATTRIBUTES.index(name) for name in CELL_ATTRIBUTES]


@dataclass(frozen=True, eq=False)
class CellArrays:
    """n graphs of at most v nodes: the first node has place 0, the last one place v − 1.

    The others have the places after the first one; places between that no node has are empty.

    Attributes:
        types: Types of operation, sorted.
        ops: Index into `types` of the node at each place, −1 at both ends and where there is none
            or its type is not among `types`; shape `(n, v)`.
        nodes: Nodes of each graph, shape `(n,)`.
        edges: `edges[k, a, b]` is true if place a feeds place b, a < b; shape `(n, v, v)`.
        attributes: Name of `CELL_ATTRIBUTES` to a value a place, 0 at an empty one; `(n, v)` each.
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
        """Graphs as arrays.

        Args:
            graphs: Of at least two nodes each.
            types: The types of operation that are told apart.
            places: At least so many places.

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
