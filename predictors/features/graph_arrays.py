"""Graphs as a few small arrays, to be stored in a checkpoint, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.features.nodes import op_ids
from nasplug.search_spaces import ATTRIBUTES, Graph, InputError

__all__ = ["pack", "unpack"]


def pack(graphs: Sequence[Graph], vocabulary: Sequence[str]) -> dict[str, NDArray[Any]]:
    """At least one graph as arrays; a node stores the position of its type in a vocabulary.

    Returns:
        `sizes` and `edge_counts` a graph, `ops` and `attribute_rows` a node, `edges` `(2, edges)`,
        and the distinct rows of `attributes`.

    Raises:
        InputError: If an operation is not in the vocabulary.
    """
    rows = np.concatenate([graph.attributes for graph in graphs])
    attributes, which = np.unique(rows, axis=0, return_inverse=True)
    edges = [np.array(graph.edges, dtype=np.int32).reshape(-1, 2).T for graph in graphs]
    return {
        "sizes": np.array([len(graph) for graph in graphs], dtype=np.int32),
        "edge_counts": np.array([len(graph.edges) for graph in graphs], dtype=np.int32),
        "ops": op_ids(graphs, vocabulary).astype(np.uint8),
        "attribute_rows": which.reshape(-1).astype(np.int32),
        "edges": np.concatenate(edges, axis=1).astype(np.int16),
        "attributes": attributes,
    }


def unpack(arrays: Mapping[str, NDArray[Any]], vocabulary: Sequence[str]) -> list[Graph]:
    """The graphs that `pack` made arrays of.

    Raises:
        InputError: If the arrays do not fit each other.
    """
    try:
        nodes = np.concatenate([[0], np.cumsum(arrays["sizes"])])
        ends = np.concatenate([[0], np.cumsum(arrays["edge_counts"])])
        ops = [vocabulary[k] for k in arrays["ops"]]
        rows = arrays["attributes"][arrays["attribute_rows"]]
        edges = arrays["edges"].T.tolist()
    except (KeyError, IndexError) as error:
        raise InputError(f"the stored graphs are damaged: {error}") from None
    stored = (len(ops), len(edges), rows.shape)
    if stored != (nodes[-1], ends[-1], (nodes[-1], len(ATTRIBUTES))):
        raise InputError("the stored graphs are damaged: their arrays differ in length")
    return [
        Graph(tuple(ops[a:b]), tuple((s, t) for s, t in edges[c:d]), rows[a:b])
        for a, b, c, d in zip(nodes[:-1], nodes[1:], ends[:-1], ends[1:], strict=True)
    ]
