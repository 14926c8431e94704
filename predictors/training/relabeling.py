"""Isomorphic copies of graphs: the same nodes in another topological order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nasplug.search_spaces import Graph

__all__ = ["relabeled"]

_TRIES = 8


def relabeled(graph: Graph, rng: np.random.Generator) -> Graph:
    """A copy with its nodes in another topological order, drawn at random.

    A graph that has one order only, or whose other orders are not found in a few draws, is returned
    as it is.
    """
    unchanged = list(range(len(graph)))
    for _ in range(_TRIES):
        order = _random_order(graph, rng)
        if order != unchanged:
            return graph.relabel(order)
    return graph


def _random_order(graph: Graph, rng: np.random.Generator) -> list[int]:
    """Nodes in topological order; among those that may come next each is as likely."""
    waiting = [0] * len(graph)
    after: list[list[int]] = [[] for _ in range(len(graph))]
    for a, b in graph.edges:
        waiting[b] += 1
        after[a].append(b)
    ready = [node for node, count in enumerate(waiting) if not count]
    order = []
    while ready:
        node = ready.pop(int(rng.integers(len(ready))))
        order.append(node)
        for successor in after[node]:
            waiting[successor] -= 1
            if not waiting[successor]:
                ready.append(successor)
    return order
