"""Rewrite a graph to an equal one without dead and idle nodes.

Notation: a graph has n nodes, 0 the input and n − 1 the output. `sums[b][a]` is the number of times
that the sum at node b's input holds the output of node a. `rows[k]` is the old node that the new
node k stands for, or −1 for an added identity.
"""

from __future__ import annotations

from functools import lru_cache

from nasplug.search_spaces.graph import Graph

__all__ = ["DEAD_OPS", "IDLE_OPS", "prune", "simplify"]

# Operations whose output is zero, so that they add nothing to a sum.
DEAD_OPS = frozenset({"none"})
# Operations whose output is their input, so that they can be contracted.
IDLE_OPS = frozenset({"skip_connect"})
# The identity that stands for a further copy of an edge.
_COPY = "skip_connect"
_COPY_ROW = -1


def prune(graph: Graph) -> Graph:
    """Drop the nodes that cannot influence the output.

    Nodes of `DEAD_OPS` go, then every node that the first node does not reach or that does not
    reach the last one. First and last node always stay.

    Args:
        graph: A graph with sums at its nodes, input first and output last.

    Returns:
        The pruned graph; `graph` itself if there is nothing to drop.
    """
    return _rewrite(graph, contract=False)


def simplify(graph: Graph) -> Graph:
    """Prune, then contract identities.

    Each node of `IDLE_OPS` is replaced by edges from its predecessors to its successors. Where such
    an edge is there already the sum holds that term twice: one identity node a further copy stays,
    so that the graph still says how often.

    Two cells of the same operations on the same sums, up to their order, become isomorphic graphs;
    their nodes may come in another order. Equal operations without weights are kept as often as
    they are computed: what a space knows of these is in `SearchSpace.normal_form`.

    Args:
        graph: A graph with sums at its nodes, input first and output last.

    Returns:
        The simplified graph; `graph` itself if there is nothing to do.
    """
    return _rewrite(graph, contract=True)


def _rewrite(graph: Graph, contract: bool) -> Graph:
    rewritten = _rewritten(graph.ops, graph.edges, contract)
    if rewritten is None:
        return graph
    ops, edges, rows = rewritten
    attributes = graph.attributes[rows]
    if _COPY_ROW in rows:
        attributes[[row == _COPY_ROW for row in rows]] = 0.0
    return Graph(ops, edges, attributes)


# A prediction simplifies what is simple already, more than once.
@lru_cache(maxsize=65536)
def _rewritten(
    ops: tuple[str, ...], edges: tuple[tuple[int, int], ...], contract: bool
) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...], list[int]] | None:
    """Operations, edges and old nodes of the rewritten graph; None if there is nothing to do."""
    idle = IDLE_OPS if contract else frozenset()
    if not (DEAD_OPS | idle).intersection(ops) and _all_alive(len(ops), edges):
        return None
    dead_nodes = tuple(k for k, op in enumerate(ops) if op in DEAD_OPS)
    idle_nodes = tuple(k for k, op in enumerate(ops) if op in idle)
    rows, rewired = _plan(len(ops), edges, dead_nodes, idle_nodes)
    names = tuple(_COPY if row == _COPY_ROW else ops[row] for row in rows)
    return names, rewired, list(rows)


# Many graphs of a space differ in their operations alone, so few plans serve all of them.
@lru_cache(maxsize=65536)
def _plan(
    nodes: int,
    edges: tuple[tuple[int, int], ...],
    dead_nodes: tuple[int, ...],
    idle_nodes: tuple[int, ...],
) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    """Plan a rewriting: the old node of each new node (`_COPY_ROW` for an added identity), and
    edges.
    """
    sums = _sums(nodes, edges, set(dead_nodes), set(idle_nodes) - {0})
    alive = [node in (0, nodes - 1) for node in range(nodes)]
    for node in range(nodes - 1, 0, -1):
        if alive[node]:
            for source in sums[node]:
                alive[source] = True
    new_index: dict[int, int] = {}
    rows: list[int] = []
    rewired: list[tuple[int, int]] = []
    for node in range(nodes):
        if not alive[node]:
            continue
        sources = [new_index[source] for source in sums[node]]
        # In the order of nodes, so that simplifying once more changes nothing.
        for source, times in sorted(sums[node].items()):
            for _ in range(times - 1):
                rewired.append((new_index[source], len(rows)))
                sources.append(len(rows))
                rows.append(_COPY_ROW)
        new_index[node] = len(rows)
        rewired.extend((source, len(rows)) for source in sources)
        rows.append(node)
    return tuple(rows), tuple(sorted(rewired))


def _sums(
    nodes: int, edges: tuple[tuple[int, int], ...], dead: set[int], idle: set[int]
) -> list[dict[int, int]]:
    """Count, for each node, how often the sum at its input holds the output of each other node."""
    sums: list[dict[int, int]] = [{} for _ in range(nodes)]
    for a, b in edges:
        if a not in dead and b not in dead:
            sums[b][a] = 1
    for node in range(1, nodes):
        # The nodes before are final, so one pass contracts chains of identities.
        terms: dict[int, int] = {}
        for source, times in sums[node].items():
            # A node without inputs gives zero, except for the graph's input.
            if source == 0 or sums[source]:
                origins = sums[source].items() if source in idle else ((source, 1),)
                for origin, inner in origins:
                    terms[origin] = terms.get(origin, 0) + times * inner
        sums[node] = terms
    return sums


def _all_alive(nodes: int, edges: tuple[tuple[int, int], ...]) -> bool:
    """Whether every node lies on a path from the first to the last."""
    has_input = {b for _, b in edges}
    has_output = {a for a, _ in edges}
    # In a DAG with one source and one sink, every node with both ends is on such a path.
    return len(has_input) == nodes - 1 and len(has_output) == nodes - 1
