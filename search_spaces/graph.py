"""The one graph type that every space emits and every predictor reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.costs import FLOAT_BYTES
from nasplug.search_spaces.errors import InputError

__all__ = ["ATTRIBUTES", "Graph"]

# Column names of Graph.attributes; sizes are for one image, whatever the batch will be.
ATTRIBUTES = (
    "kernel",  # side of the window, in pixels; 0 for an operation without one
    "stride",
    "groups",
    "in_channels",
    "out_channels",
    "height",  # of the output, in pixels
    "width",
    "flops",  # multiply-accumulates of convolutions and linear layers, as NAS benchmarks count
    "params",  # trainable parameters, a shared tensor at its first reader alone
    "bytes",  # traffic: inputs read + outputs written + weights read
)

_UNKNOWN = np.zeros((0, len(ATTRIBUTES)))


@dataclass(frozen=True, eq=False)
class Graph:
    """A directed acyclic graph of typed operations, its nodes in topological order.

    A node's input is the sum (or whatever the space says) of its predecessors' outputs.

    Attributes:
        ops: Type of each node, such as `"nor_conv_3x3"`; shape `(nodes,)`.
        edges: Pairs `(source, target)` with `source < target`, sorted and distinct.
        attributes: Float array of shape `(nodes, len(ATTRIBUTES))`, with 0 for a value that the
            space does not know; all zeros if it is left out.
        types: Element type of each node's output, which its edges carry; empty where all are
            `"float32"`.
        weight_types: Element type of each node's weights, empty for a node without; empty where
            all are `"float32"`.
        weight_bytes: Bytes of the weights that each node reads, shape `(nodes,)`; None where they
            are float32 and no tensor is shared, so that they are those of `"params"`.

    Raises:
        InputError: If an edge is out of range, points backwards or occurs twice, or if the
            attributes, types or weights are not one a node.

    Example:
        >>> from nasplug.search_spaces import Graph
        >>> graph = Graph.build(["output", "conv", "input"], [(2, 1), (1, 0)])
        >>> graph.ops, graph.edges
        (('input', 'conv', 'output'), ((0, 1), (1, 2)))
    """

    ops: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    attributes: NDArray[np.float64] = field(default_factory=lambda: _UNKNOWN, repr=False)
    types: tuple[str, ...] = field(default=(), repr=False)
    weight_types: tuple[str, ...] = field(default=(), repr=False)
    weight_bytes: NDArray[np.float64] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        nodes = len(self.ops)
        previous = (-1, -1)
        for edge in self.edges:
            if not 0 <= edge[0] < edge[1] < nodes:
                raise InputError(
                    f"edge {edge} does not go forward between two of the {nodes} nodes; "
                    "number the nodes in topological order"
                )
            if edge <= previous:
                raise InputError(
                    f"edge {edge} is repeated or out of order; give distinct edges in sorted order"
                )
            previous = edge
        if self.attributes is _UNKNOWN:
            object.__setattr__(self, "attributes", np.zeros((nodes, len(ATTRIBUTES))))
        elif self.attributes.shape != (nodes, len(ATTRIBUTES)):
            raise InputError(
                f"attributes have shape {self.attributes.shape}; expected ({nodes}, "
                f"{len(ATTRIBUTES)}), a row per node with the columns of ATTRIBUTES"
            )
        for name in ("types", "weight_types", "weight_bytes"):
            values = getattr(self, name)
            if values is not None and len(values) not in (nodes, 0):
                raise InputError(f"{name} has {len(values)} entries, expected {nodes}: one a node")

    @classmethod
    def build(
        cls,
        ops: Sequence[str],
        edges: Iterable[tuple[int, int]],
        attributes: NDArray[np.float64] | None = None,
    ) -> Graph:
        """Make a graph from nodes and edges in any order, sorting the nodes topologically.

        Ties keep the given order, so a graph that is already sorted is returned as it stands.

        Raises:
            InputError: If the edges have a cycle.
        """
        pairs = sorted({(int(a), int(b)) for a, b in edges})
        for a, b in pairs:
            if not (0 <= a < len(ops) and 0 <= b < len(ops)):
                raise InputError(
                    f"edge {(a, b)} has a node that is not one of the {len(ops)} nodes"
                )
        waiting = [0] * len(ops)
        for _, b in pairs:
            waiting[b] += 1
        order: list[int] = []
        ready = [i for i in range(len(ops)) if waiting[i] == 0]
        while ready:
            node = min(ready)
            ready.remove(node)
            order.append(node)
            for a, b in pairs:
                if a == node:
                    waiting[b] -= 1
                    if waiting[b] == 0:
                        ready.append(b)
        if len(order) < len(ops):
            raise InputError("the graph has a cycle; an architecture must be acyclic")
        new_index = {node: k for k, node in enumerate(order)}
        return cls(
            tuple(ops[i] for i in order),
            tuple(sorted((new_index[a], new_index[b]) for a, b in pairs)),
            _UNKNOWN if attributes is None else np.asarray(attributes, np.float64)[order],
        )

    def __len__(self) -> int:
        return len(self.ops)

    def attribute(self, name: str) -> NDArray[np.float64]:
        """Column of the attributes by its name, shape `(nodes,)`; `"macs"` is `"flops"`."""
        stored = "flops" if name == "macs" else name
        column: NDArray[np.float64] = self.attributes[:, ATTRIBUTES.index(stored)]
        return column

    def total(self, name: str) -> float:
        """Sum of an attribute over the nodes, such as `total("flops")`."""
        return float(self.attribute(name).sum())

    @cached_property
    def adjacency(self) -> NDArray[np.bool_]:
        """`A[i, j]` is true iff there is an edge i → j; shape `(nodes, nodes)`."""
        matrix = np.zeros((len(self), len(self)), dtype=np.bool_)
        for a, b in self.edges:
            matrix[a, b] = True
        return matrix

    def relabel(self, order: Sequence[int]) -> Graph:
        """Reorder the nodes into another topological order.

        Args:
            order: Node `order[k]` of this graph becomes node `k` of the new one.

        Raises:
            InputError: If `order` is no permutation or breaks the topological order.
        """
        if sorted(order) != list(range(len(self))):
            raise InputError(f"{list(order)} is not a permutation of the {len(self)} nodes")
        new_index = {node: k for k, node in enumerate(order)}
        return Graph(
            tuple(self.ops[i] for i in order),
            tuple(sorted((new_index[a], new_index[b]) for a, b in self.edges)),
            self.attributes[list(order)],
            types=tuple(self.types[i] for i in order if self.types),
            weight_types=tuple(self.weight_types[i] for i in order if self.weight_types),
            weight_bytes=None if self.weight_bytes is None else self.weight_bytes[list(order)],
        )

    @cached_property
    def executed(self) -> Graph:
        """The graph as predictors price it: `"params"` are the weights that are read.

        They count as many float32 numbers as have their bytes, as often as they are read.
        """
        if self.weight_bytes is None:
            return self
        attributes = self.attributes.copy()
        attributes[:, ATTRIBUTES.index("params")] = self.weight_bytes / FLOAT_BYTES
        return Graph(self.ops, self.edges, attributes)

    @cached_property
    def digest(self) -> str:
        """A text that is equal for graphs that are equal in all that predictors read."""
        content = hashlib.sha256(
            repr((self.ops, self.edges, self.types, self.weight_types)).encode()
        )
        content.update(np.ascontiguousarray(self.executed.attributes).tobytes())
        content.update(np.ascontiguousarray(self.attributes).tobytes())
        return content.hexdigest()

    @cached_property
    def canonical_hash(self) -> str:
        """A text that is equal for isomorphic graphs (types and edges; attributes do not count).

        Weisfeiler-Lehman refinement over predecessors and successors, as many rounds as nodes.
        Graphs that this refinement cannot tell apart share a hash; among typed DAGs of a few nodes
        with one input and one output that is rare, but it is no proof of isomorphism.
        """
        before: list[list[int]] = [[] for _ in self.ops]
        after: list[list[int]] = [[] for _ in self.ops]
        for a, b in self.edges:
            before[b].append(a)
            after[a].append(b)
        labels = list(self.ops)
        for _ in range(len(self)):
            labels = [
                hashlib.blake2b(
                    repr(
                        (
                            labels[i],
                            sorted(labels[j] for j in before[i]),
                            sorted(labels[j] for j in after[i]),
                        )
                    ).encode(),
                    digest_size=16,
                ).hexdigest()
                for i in range(len(self))
            ]
        return hashlib.blake2b(repr(sorted(labels)).encode(), digest_size=16).hexdigest()
