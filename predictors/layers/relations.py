"""The edge sets that a layer attends over, of one graph.

With `A[i, j] = 1` for an edge i → j, and row i the node that attends:

| relation | mask | a node attends to |
|---|---|---|
| `successors` | `I + A` | itself and its children |
| `predecessors` | `I + Aᵀ` | itself and its parents |
| `siblings_by_successor` | `I + A Aᵀ` | nodes that share a child with it |
| `siblings_by_predecessor` | `I + Aᵀ A` | nodes that share a parent with it |

Only the support counts. (NN-Former, section on adjacency- and sibling-aware masked attention.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, eye_array

from nasplug.search_spaces import InputError

__all__ = ["RELATIONS", "SIBLING_MASKS", "RelationEdges", "relation_edges"]

RELATIONS = (
    "successors",
    "predecessors",
    "siblings_by_predecessor",
    "siblings_by_successor",
)

# "nodes": siblings are formed among the graph's nodes, then the tokens relate to everyone.
# "padded": the tokens join first, as in NN-Former's released code; as a token is a neighbour of all
# nodes, every two nodes are then siblings and the two sibling relations are global attention.
SIBLING_MASKS = ("nodes", "padded")

Pairs = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RelationEdges:
    """Relations of one graph as index pairs.

    Attributes:
        relations: For each of `RELATIONS`, an array of shape `(2, pairs)`: row 0 the node attended
            to, row 1 the node that attends (messages flow from row 0 to row 1); with self-loops.
        edges: The graph's own edges without self-loops, shape `(2, edges)`: from, to.
    """

    relations: tuple[Pairs, ...]
    edges: Pairs


@lru_cache(maxsize=65536)
def relation_edges(
    nodes: int,
    edges: tuple[tuple[int, int], ...],
    leading_tokens: int = 0,
    trailing_tokens: int = 0,
    sibling_mask: str = "nodes",
) -> RelationEdges:
    """Relations of a graph of some nodes and edges `(from, to)`.

    Tokens that are put before and after its nodes, such as a class token, relate to everyone; with
    them the sibling mask matters, one of `SIBLING_MASKS`.

    Raises:
        InputError: If `sibling_mask` is unknown.
    """
    if sibling_mask not in SIBLING_MASKS:
        raise InputError(f"sibling_mask is {sibling_mask!r}, not one of {SIBLING_MASKS}")
    size = leading_tokens + nodes + trailing_tokens
    pairs = np.array(edges, dtype=np.int64).reshape(-1, 2).T + leading_tokens
    # Few pairs are related, also in a network of thousands of nodes.
    adjacency = csr_array((np.ones(len(edges)), (pairs[0], pairs[1])), shape=(size, size))
    token = np.ones(size, dtype=bool)
    token[leading_tokens : leading_tokens + nodes] = False
    everyone = csr_array(token[:, None] | token if token.any() else (size, size), dtype=float)
    if sibling_mask == "padded":
        adjacency = csr_array(adjacency.maximum(everyone))
    masks = (adjacency, adjacency.T, adjacency.T @ adjacency, adjacency @ adjacency.T)
    relations = []
    for mask in masks:
        related = csr_array(mask + everyone + eye_array(size))
        related.sort_indices()
        # nonzero gives (query, key); messages flow the other way.
        relations.append(np.stack(related.nonzero())[::-1].astype(np.int64))
    return RelationEdges(tuple(relations), pairs)
