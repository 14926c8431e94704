"""Rewrite a graph to an equal one without dead and idle nodes."""

from __future__ import annotations

from nasplug.search_spaces.graph import Graph

__all__ = ["DEAD_OPS", "IDLE_OPS", "prune", "simplify"]

# Their output is zero, so they contribute nothing to a sum.
DEAD_OPS = frozenset({"none"})
# Their output is their input, so they can be contracted.
IDLE_OPS = frozenset({"skip_connect"})
_COPY = "skip_connect"


def prune(graph: Graph) -> Graph:
    """Drop what cannot influence the output.

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

    Two cells of the same function up to the order of sums become isomorphic graphs; their nodes may
    come in another order.

    Args:
        graph: A graph with sums at its nodes, input first and output last.

    Returns:
        The simplified graph; `graph` itself if there is nothing to do.
    """
    return _rewrite(graph, contract=True)


def _rewrite(graph: Graph, contract: bool) -> Graph:
    ops, last = graph.ops, len(graph) - 1
    idle = IDLE_OPS if contract else frozenset()
    if not (DEAD_OPS.intersection(ops) or idle.intersection(ops)) and _all_alive(graph):
        return graph
    # counts[target][source] = how often the sum at `target` holds the output of `source`
    counts: list[dict[int, int]] = [{} for _ in ops]
    for a, b in graph.edges:
        if ops[a] not in DEAD_OPS and ops[b] not in DEAD_OPS:
            counts[b][a] = 1
    reached = [node == 0 for node in range(last + 1)]
    for node in range(1, last + 1):
        # The nodes before are final, so one pass contracts chains of identities.
        terms: dict[int, int] = {}
        for source, times in counts[node].items():
            if not reached[source]:
                continue
            if ops[source] in idle and source != 0:
                for origin, inner in counts[source].items():
                    terms[origin] = terms.get(origin, 0) + times * inner
            else:
                terms[source] = terms.get(source, 0) + times
        counts[node] = terms
        reached[node] = bool(terms)
    alive = [node in (0, last) for node in range(last + 1)]
    for node in range(last, 0, -1):
        if alive[node]:
            for source in counts[node]:
                alive[source] = True
    return _rebuild(graph, counts, [node for node in range(last + 1) if alive[node]])


def _rebuild(graph: Graph, counts: list[dict[int, int]], kept: list[int]) -> Graph:
    """The graph over `kept`, with an identity node for each copy of an edge beyond the first."""
    place: dict[int, int] = {}
    ops: list[str] = []
    rows: list[int | None] = []
    edges: list[tuple[int, int]] = []
    for node in kept:
        extra: list[int] = []
        copies = [s for s in sorted(counts[node]) for _ in range(counts[node][s] - 1)]
        for source in copies:
            extra.append(len(ops))
            edges.append((place[source], len(ops)))
            ops.append(_COPY)
            rows.append(None)
        place[node] = len(ops)
        ops.append(graph.ops[node])
        rows.append(node)
        edges.extend((place[source], place[node]) for source in counts[node])
        edges.extend((k, place[node]) for k in extra)
    attributes = graph.attributes[[0 if row is None else row for row in rows]]
    for k, row in enumerate(rows):
        if row is None:
            attributes[k] = 0.0
    return Graph(tuple(ops), tuple(sorted(edges)), attributes)


def _all_alive(graph: Graph) -> bool:
    """Whether every node lies on a path from the first to the last."""
    has_input = {b for _, b in graph.edges}
    has_output = {a for a, _ in graph.edges}
    # In a DAG with one source and one sink, every node with both ends is on such a path.
    return len(has_input) == len(graph) - 1 and len(has_output) == len(graph) - 1
