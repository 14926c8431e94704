"""Features of cells for the classical predictors: operations by position, paths, summaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np

from nasplug.predictors.features.nodes import op_ids, vocabulary_of
from nasplug.predictors.features.paths import count_matrix, path_counts
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.simplify import prune

__all__ = ["FEATURES", "Features", "Matrix", "OneHot", "Paths"]


@dataclass(frozen=True)
class OneHot:
    """Operations by position of the node, one-hot; shorter graphs are padded with zeros.

    Attributes:
        vocabulary: Operation types.
        nodes: Positions.
    """

    vocabulary: tuple[str, ...]
    nodes: int

    @classmethod
    def of(cls, graphs: Sequence[Graph], nodes: int = 0) -> OneHot:
        """The code of graphs like these, and of larger ones up to so many nodes."""
        return cls(vocabulary_of(graphs), max(nodes, *map(len, graphs)))

    def __call__(self, graphs: Sequence[Graph]) -> Array:
        """Shape `(graphs, nodes * len(vocabulary))`.

        Raises:
            InputError: If a graph has an unknown operation or more nodes than there are positions.
        """
        longest = max(map(len, graphs), default=0)
        if longest > self.nodes:
            raise InputError(
                f"a graph has {longest} nodes, but this predictor was trained on at most "
                f"{self.nodes}"
            )
        row = np.repeat(np.arange(len(graphs)), [len(graph) for graph in graphs])
        position = np.concatenate([np.arange(len(graph)) for graph in graphs] or [row])
        code = np.zeros((len(graphs), self.nodes, len(self.vocabulary)))
        code[row, position, op_ids(graphs, self.vocabulary)] = 1.0
        return code.reshape(len(graphs), self.nodes * len(self.vocabulary))


@dataclass(frozen=True)
class Matrix:
    """One-hot operations and the adjacency matrix, the flat code of cells that differ in both.

    The last node has the last place, whatever the number of nodes.

    Attributes:
        one_hot: The code of operations.
    """

    one_hot: OneHot

    @classmethod
    def of(cls, graphs: Sequence[Graph], nodes: int = 0) -> Matrix:
        """The code of graphs like these, and of larger ones up to so many nodes."""
        return cls(OneHot.of(graphs, nodes))

    def __call__(self, graphs: Sequence[Graph]) -> Array:
        """Shape `(graphs, nodes * len(vocabulary) + nodes * (nodes - 1) / 2)`.

        Raises:
            InputError: As `OneHot`.
        """
        operations = self.one_hot(graphs)
        nodes = self.one_hot.nodes
        edges = np.zeros((len(graphs), nodes, nodes))
        for matrix, graph in zip(edges, graphs, strict=True):
            last = len(graph) - 1
            for a, b in graph.edges:
                matrix[a, nodes - 1 if b == last else b] = 1.0
        upper = np.triu_indices(nodes, 1)
        return np.concatenate([operations, edges[:, upper[0], upper[1]]], axis=1)


@dataclass(frozen=True)
class Paths:
    """One-hot operations, counts of the operation sequences on live paths, summaries of a cell.

    Attributes:
        one_hot: The code of operations.
        sequences: Sequences with a column of their own.
        scale: Divisor of each summary, shape `(summaries,)`.
    """

    one_hot: OneHot
    sequences: tuple[tuple[str, ...], ...]
    scale: tuple[float, ...]

    @classmethod
    def of(cls, graphs: Sequence[Graph], nodes: int = 0) -> Paths:
        """The code of graphs like these, and of larger ones up to so many nodes.

        Raises:
            InputError: If a graph has more paths than a cell.
        """
        one_hot = OneHot.of(graphs, nodes)
        live = [prune(graph) for graph in graphs]
        counts = path_counts(live)
        sequences = sorted({sequence for counter in counts for sequence in counter})
        spread = _summaries(live, counts, one_hot.vocabulary).std(0)
        scale = np.where(spread > 0, spread, 1.0)
        return cls(one_hot, tuple(sequences), tuple(scale.tolist()))

    def __call__(self, graphs: Sequence[Graph]) -> Array:
        """Shape `(graphs, features)`.

        Raises:
            InputError: As `OneHot`, or if a graph has more paths than a cell.
        """
        live = [prune(graph) for graph in graphs]
        columns: dict[Hashable, int] = {s: k for k, s in enumerate(self.sequences)}
        sequences = path_counts(live)
        counts: list[Counter[Hashable]] = [Counter(c.elements()) for c in sequences]
        counted = count_matrix(counts, columns)
        summary = _summaries(live, sequences, self.one_hot.vocabulary) / np.array(self.scale)
        return 0.7 * np.concatenate([self.one_hot(graphs), counted, summary], axis=1)


def _summaries(
    live: Sequence[Graph], paths: Sequence[Counter[tuple[str, ...]]], vocabulary: Sequence[str]
) -> Array:
    """Nodes of each type; trained and larger-than-1×1 operations on paths; paths and nodes."""
    rows = []
    for graph, counts in zip(live, paths, strict=True):
        inner = graph.ops[1:-1]
        has_weights = graph.attribute("params") > 0
        is_large = has_weights & (graph.attribute("kernel") > 1)
        sequences = list(counts.elements())
        on_trained, on_large = (
            [sum(op in chosen for op in sequence) for sequence in sequences] or [-1]
            for chosen in (set(compress(graph.ops, mask)) for mask in (has_weights, is_large))
        )
        rows.append(
            [
                *(inner.count(op) for op in vocabulary),
                max(on_trained),
                min(on_trained),
                sum(on_trained),
                max(on_large),
                sum(on_large),
                counts[()],
                len(sequences),
                len(inner),
            ]
        )
    return np.array(rows, dtype=np.float64).reshape(len(live), len(vocabulary) + 8)


Features = OneHot | Matrix | Paths
FEATURES: dict[str, type[OneHot] | type[Matrix] | type[Paths]] = {
    "one-hot": OneHot,
    "matrix": Matrix,
    "paths": Paths,
}
