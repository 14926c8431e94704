"""Graph -> numbers: operation ids and scaled attributes of each node."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces import ATTRIBUTES, Graph, InputError

__all__ = ["LOG_SCALES", "NODE_FEATURES", "attribute_features", "op_ids", "vocabulary_of"]

# Attributes that span decades enter as log1p(value) / scale; the scale brings them near 0..1.
LOG_SCALES = {
    "kernel": 3.0,
    "stride": 2.0,
    "groups": 7.0,
    "in_channels": 8.0,
    "out_channels": 8.0,
    "height": 6.0,
    "width": 6.0,
    "flops": 25.0,
    "params": 18.0,
    "bytes": 22.0,
}
NODE_FEATURES = len(ATTRIBUTES)


def vocabulary_of(graphs: Sequence[Graph]) -> tuple[str, ...]:
    """The operation types that occur, sorted."""
    return tuple(sorted({op for graph in graphs for op in graph.ops}))


def op_ids(graphs: Sequence[Graph], vocabulary: Sequence[str]) -> NDArray[np.int64]:
    """Operation of every node of every graph as a position in `vocabulary`, shape `(nodes,)`.

    Raises:
        InputError: If a graph has an operation outside the vocabulary.
    """
    ids = {op: k for k, op in enumerate(vocabulary)}
    try:
        return np.array([ids[op] for graph in graphs for op in graph.ops], dtype=np.int64)
    except KeyError as error:
        raise InputError(
            f"unknown operation {error.args[0]!r}; this predictor knows {', '.join(vocabulary)}"
        ) from None


def attribute_features(graphs: Sequence[Graph]) -> NDArray[np.float32]:
    """Log-scaled attributes of every node of every graph, shape `(nodes, NODE_FEATURES)`."""
    if not graphs:
        return np.zeros((0, NODE_FEATURES), dtype=np.float32)
    values = np.concatenate([graph.attributes for graph in graphs])
    scales = np.array([LOG_SCALES[name] for name in ATTRIBUTES])
    result: NDArray[np.float32] = (np.log1p(values) / scales).astype(np.float32)
    return result
