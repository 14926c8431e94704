"""Features of a graph's operators together: the count of each kind, and total costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nasplug.predictors.features.cells import OneHot
from nasplug.predictors.features.paths import count_matrix, neighbours
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph

__all__ = [
    "CELL",
    "COSTS",
    "OperatorFeatures",
    "OperatorTotals",
    "kind_counts",
    "longest_path",
    "operator_kinds",
]

COSTS = ("flops", "params", "bytes")
# A graph with at most so many nodes is a cell, whose nodes have places of their own.
CELL = 32


def operator_kinds(graph: Graph) -> list[str]:
    """Type of each node; convolutions are told apart by what makes them fast or slow."""
    kernel, groups = graph.attribute("kernel"), graph.attribute("groups")
    channels, params = graph.attribute("in_channels"), graph.attribute("params")
    kinds = []
    for k, op in enumerate(graph.ops):
        shape = ""
        if kernel[k] and params[k]:
            if groups[k] > 1:
                shape = " depthwise" if groups[k] == channels[k] else " grouped"
            elif kernel[k] == 1:
                shape = " pointwise"
        kinds.append(op + shape)
    return kinds


def kind_counts(graphs: Sequence[Graph], kinds: Sequence[str]) -> Array:
    """Operators of each of some kinds, shape `(graphs, kinds)`."""
    counts = [Counter(operator_kinds(graph)) for graph in graphs]
    rows = [[count[kind] for kind in kinds] for count in counts]
    return np.array(rows, dtype=np.float64).reshape(len(graphs), len(kinds))


@dataclass(frozen=True)
class OperatorFeatures:
    """Blocks of features of graphs like those it was made of, each column of unit variance there.

    - `totals`: for each kind of operator the number of nodes and logarithms of their total FLOPs,
      parameters and bytes; the same for the whole graph, and its longest path.
    - `operators`: how often each distinct operator (type and all attributes) occurs.
    - `neighbours`: how often a kind of operator occurs at a resolution between such kinds, which
      says what may be fused or run side by side.
    - `places`: operation by position, one-hot, where all graphs are cells of one size.

    Attributes:
        kinds: Kinds with totals of their own.
        operators: Distinct operator -> column.
        neighbours: Distinct operator with what is around it -> column.
        one_hot: The code of places, if there is one.
        scales: Block -> divisor of each column.
    """

    kinds: tuple[str, ...]
    operators: dict[Hashable, int]
    neighbours: dict[Hashable, int]
    one_hot: OneHot | None
    scales: dict[str, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, graphs: Sequence[Graph]) -> OperatorFeatures:
        """The features of graphs like these."""
        sizes = {len(graph) for graph in graphs}
        is_cell = len(sizes) == 1 and max(sizes) <= CELL
        one_hot = OneHot.of(graphs) if is_cell else None
        operators, neighbours = map(_operators, graphs), map(_neighbours, graphs)
        raw = cls(_kinds(graphs), _columns(operators), _columns(neighbours), one_hot)
        return replace(raw, scales={name: _scale(block) for name, block in raw(graphs).items()})

    def __call__(self, graphs: Sequence[Graph]) -> dict[str, Array]:
        """Name -> rows of the graphs.

        Raises:
            InputError: If a cell is of another size or has an unknown operation.
        """
        blocks = {
            "totals": _totals(graphs, self.kinds),
            "operators": count_matrix(list(map(_operators, graphs)), self.operators),
            "neighbours": count_matrix(list(map(_neighbours, graphs)), self.neighbours),
        }
        if self.one_hot is not None:
            blocks["places"] = self.one_hot(graphs)
        return {name: block / self.scales.get(name, 1.0) for name, block in blocks.items()}


def _kinds(graphs: Iterable[Graph]) -> tuple[str, ...]:
    return tuple(sorted({kind for graph in graphs for kind in operator_kinds(graph)}))


def _totals(graphs: Sequence[Graph], kinds: Sequence[str], numbers: Array | None = None) -> Array:
    """Totals of graphs, or of sums of them in which each counts so often, `(sums, graphs)`."""
    place = {kind: k for k, kind in enumerate(kinds)}
    rows = np.zeros((len(graphs), len(kinds) + 1, 1 + len(COSTS)))
    longest = np.zeros((len(graphs), 1))
    for row, graph in enumerate(graphs):
        costs = np.stack([np.ones(len(graph)), *(graph.attribute(c) for c in COSTS)], axis=1)
        for k, kind in enumerate(operator_kinds(graph)):
            if kind in place:
                rows[row, place[kind]] += costs[k]
        rows[row, -1] = costs.sum(0)
        longest[row] = longest_path(graph)
    if numbers is not None:
        rows, longest = np.tensordot(numbers, rows, axes=1), numbers @ longest
    rows[..., 1:] = np.log1p(rows[..., 1:])
    flat = rows.reshape(len(rows), rows.shape[1] * rows.shape[2])
    return np.concatenate([flat, longest], axis=1)


@dataclass(frozen=True)
class OperatorTotals:
    """The block `totals` of `OperatorFeatures` alone, which is soon made.

    Attributes:
        kinds: Kinds with totals of their own.
        scale: Divisor of each column.
    """

    kinds: tuple[str, ...]
    scale: Array

    @classmethod
    def of(cls, graphs: Sequence[Graph], numbers: Array | None = None) -> OperatorTotals:
        """The totals of graphs like these, or like these sums of them."""
        kinds = _kinds(graphs)
        return cls(kinds, _scale(_totals(graphs, kinds, numbers)))

    def __call__(self, graphs: Sequence[Graph], numbers: Array | None = None) -> Array:
        """Rows of graphs, or of sums of them in which each counts so often, `(sums, graphs)`."""
        return _totals(graphs, self.kinds, numbers) / self.scale


def _scale(rows: Array) -> Array:
    """Spread of each column; what never varied among these graphs says nothing of others."""
    spread = rows.std(0)
    return np.where(spread > 1e-9, spread, np.inf)


def _operators(graph: Graph) -> Counter[Hashable]:
    return Counter((op, *row) for op, row in zip(graph.ops, graph.attributes.tolist(), strict=True))


def _neighbours(graph: Graph) -> Counter[Hashable]:
    kinds, heights = operator_kinds(graph), graph.attribute("height").tolist()
    return Counter(zip(kinds, heights, *neighbours(kinds, graph.edges), strict=True))


def _columns(counts: Iterable[Counter[Hashable]]) -> dict[Hashable, int]:
    keys = sorted({key for counter in counts for key in counter}, key=repr)
    return {key: k for k, key in enumerate(keys)}


def longest_path(graph: Graph) -> int:
    """Edges on the longest path."""
    depth = [0] * len(graph)
    for a, b in graph.edges:
        # Edges are sorted by their source and point forward, so that of the source is final.
        depth[b] = max(depth[b], depth[a] + 1)
    return max(depth, default=0)
