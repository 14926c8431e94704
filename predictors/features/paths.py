"""Features of a graph's paths: operation sequences, summaries and neighbourhoods.

All of it is read from the simplified graph (`search_spaces.simplify`), so that what is dead or idle
makes no difference, and none of it depends on the order of the nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.prediction import Array
from nasplug.search_spaces import ATTRIBUTES, Graph, InputError
from nasplug.search_spaces.simplify import IDLE_OPS

__all__ = [
    "count_matrix",
    "neighbours",
    "operation_pairs",
    "path_counts",
    "summaries",
]

# A cell has a handful of paths; a graph with more is no cell, and listing them would not end.
MAX_PATHS = 10_000


def path_counts(graphs: Sequence[Graph]) -> list[Counter[tuple[str, ...]]]:
    """Count each operation sequence on paths from input to output, for each graph.

    Args:
        graphs: Simplified graphs.

    Raises:
        InputError: If a graph has more than `MAX_PATHS` paths.
    """
    return [Counter(_sequences(graph)) for graph in graphs]


def operation_pairs(graphs: Sequence[Graph]) -> list[Counter[tuple[str, str]]]:
    """Count the edges from one operation type to another, for each graph."""
    return [Counter((g.ops[a], g.ops[b]) for a, b in g.edges) for g in graphs]


def neighbours(
    kinds: Sequence[str], edges: Sequence[tuple[int, int]]
) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Kinds of the direct predecessors of each node, and of its successors, sorted."""
    before: list[list[str]] = [[] for _ in kinds]
    after: list[list[str]] = [[] for _ in kinds]
    for a, b in edges:
        before[b].append(kinds[a])
        after[a].append(kinds[b])
    return [tuple(sorted(each)) for each in before], [tuple(sorted(each)) for each in after]


def count_matrix(counts: Sequence[Counter[Hashable]], columns: Mapping[Hashable, int]) -> Array:
    """Counts as rows, shape `(graphs, len(columns) + 1)`.

    The last column is the length of the vector of counts outside `columns`, so that squared
    distances to graphs inside stay what they would be with a column for each of them.
    """
    rows = np.zeros((len(counts), len(columns) + 1))
    for row, counter in zip(rows, counts, strict=True):
        outside = 0
        for key, count in counter.items():
            place = columns.get(key)
            if place is None:
                outside += count * count
            else:
                row[place] = count
        row[-1] = outside**0.5
    return rows


def summaries(graphs: Sequence[Graph], vocabulary: Sequence[str]) -> Array:
    """Totals of each graph and statistics over its paths, shape `(graphs, summaries)`.

    For each operation type but identities, and for all that have parameters: nodes, and maximum,
    minimum, mean and sum over paths of how often a path holds it (-1 for maximum and minimum where
    there is no path). Then paths, identity paths, edges, nodes, the longest and the shortest path,
    and the logarithms of parameters and multiply-accumulates.

    Args:
        graphs: Simplified graphs.
        vocabulary: Operation types to look for; others count in totals only.

    Raises:
        InputError: If a graph has more than `MAX_PATHS` paths.
    """
    types = [op for op in vocabulary if op not in IDLE_OPS and op not in ("input", "output")]
    rows = np.zeros((len(graphs), 5 * (len(types) + 1) + 8))
    # Graphs of one space share few edge sets, so each set of paths serves many rows at once.
    alike: dict[tuple[int, tuple[tuple[int, int], ...]], list[int]] = {}
    for k, graph in enumerate(graphs):
        alike.setdefault((len(graph), graph.edges), []).append(k)
    for (nodes, edges), places in alike.items():
        rows[places] = _summaries([graphs[k] for k in places], nodes, edges, types)
    return rows


def _summaries(
    graphs: Sequence[Graph], nodes: int, edges: tuple[tuple[int, int], ...], types: Sequence[str]
) -> Array:
    """Rows of `summaries` of graphs that have the same edges."""
    paths = _paths(nodes, edges)
    on_path = np.zeros((nodes, len(paths)))
    for k, path in enumerate(paths):
        on_path[list(path), k] = 1
    code = {op: k for k, op in enumerate({op for graph in graphs for op in graph.ops})}
    ops = np.array([[code[op] for op in graph.ops] for graph in graphs])
    idle = np.isin(ops, [code[op] for op in IDLE_OPS if op in code])
    attributes = np.stack([graph.attributes for graph in graphs])
    trained = attributes[:, :, ATTRIBUTES.index("params")] > 0
    # Where one node of a type has parameters, all nodes of that type count.
    kinds = np.zeros((len(graphs), len(code)), dtype=np.bool_)
    row, _ = np.nonzero(trained)
    kinds[row, ops[trained]] = True
    columns = []
    for op in types:
        of_type = ops == code.get(op, -1)
        columns += _statistics(of_type @ on_path, of_type[:, 1:-1].sum(1))
    of_kinds = np.take_along_axis(kinds, ops, axis=1) & ~idle
    columns += _statistics(of_kinds @ on_path, trained[:, 1:-1].sum(1))
    lengths = ~idle @ on_path if paths else np.full((len(graphs), 1), -1.0)
    number = np.full(len(graphs), float(len(paths)))
    columns += [
        number,
        (lengths == 0).sum(1),
        np.full(len(graphs), len(edges)),
        np.full(len(graphs), nodes),
        lengths.max(1),
        lengths.min(1),
    ]
    costs = (attributes[:, :, ATTRIBUTES.index(name)] for name in ("params", "flops"))
    columns += [np.log1p(cost.sum(1)) for cost in costs]
    return np.stack(columns, axis=1).astype(np.float64)


def _statistics(on_paths: Array, nodes: NDArray[np.int64]) -> list[Array]:
    """Nodes, then maximum, minimum, mean and sum over paths; of each graph."""
    if not on_paths.shape[1]:
        none, zero = np.full(len(nodes), -1.0), np.zeros(len(nodes))
        return [nodes.astype(np.float64), none, none, zero, zero]
    total = on_paths.sum(1)
    count = on_paths.shape[1]
    return [nodes.astype(np.float64), on_paths.max(1), on_paths.min(1), total / count, total]


def _sequences(graph: Graph) -> list[tuple[str, ...]]:
    """Operations on each path from the first to the last node, identities left out."""
    paths = _paths(len(graph), graph.edges)
    return [tuple(graph.ops[k] for k in path if graph.ops[k] not in IDLE_OPS) for path in paths]


# Graphs of one space share few edge sets once they are simplified.
@lru_cache(maxsize=65536)
def _paths(nodes: int, edges: tuple[tuple[int, int], ...]) -> tuple[tuple[int, ...], ...]:
    """Inner nodes of each path from node 0 to the last node."""
    ending: list[list[tuple[int, ...]]] = [[] for _ in range(nodes)]
    ending[0] = [()]
    for a, b in sorted(edges, key=lambda edge: edge[1]):
        step = (a,) if a else ()
        ending[b].extend((*path, *step) for path in ending[a])
        if len(ending[b]) > MAX_PATHS:
            raise InputError(
                f"the graph has more than {MAX_PATHS:,} paths from input to output; "
                "path features are for cells only"
            )
    return tuple(ending[nodes - 1]) if nodes > 1 else ()
