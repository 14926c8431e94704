"""Kernels of a network, as the runtime of a GPU starts them: fused, and with what graphs left out.

Stored graphs have batch normalisation folded into convolutions, as an engine runs them; a framework
reads and writes the whole output once more for it. A compiler writes one kernel for a chain of
operators that work element by element, an engine gives such a chain to the convolution or product
before it, and fused attention never writes the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.features.operators import operator_kinds
from nasplug.predictors.models.roofline_transformer import VIEWS
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph
from nasplug.search_spaces.costs import FLOAT_BYTES

__all__ = [
    "FUSIONS",
    "KERNEL_COLUMNS",
    "KERNEL_KINDS",
    "fused_kernels",
    "graph_kernels",
    "kernels_of_nodes",
]

# Attention is what one kernel does; a product of activations alone is "batched".
KERNEL_KINDS = (
    *("convolution", "pointwise", "depthwise", "grouped", "product", "batched", "attention"),
    *("elementwise", "normalisation", "layout", "other"),
)
# What a runtime puts into one kernel: nothing, chains of elementwise operators, or these together
# with the convolution or product before them.
FUSIONS = ("none", "chains", "engine")
# Columns of `fused_kernels`; sizes are for one image.
KERNEL_COLUMNS = (
    "kind",  # place in KERNEL_KINDS
    "macs",
    "weights",  # elements
    "activations",  # elements read and written
    "outputs",  # elements
    "depth",  # length of the sums of a convolution or product
    "width",  # channels of its output, of one group
    "aligned",  # 1 if both channels are multiples of eight, which tensor cores ask for
    "groups",  # of a grouped convolution that is not depthwise, else 0
    "window",  # side of a convolution's window, else 0
    "stride",  # of a convolution, else 0
    "count",  # kernels like this
)
_ELEMENTWISE = frozenset(
    {"Add", "BatchNormalization", "Cast", "Clip", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid"}
    | {"HardSwish", "LeakyRelu", "Max", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "Reciprocal"}
    | {"Relu", "Sigmoid", "Silu", "Softplus", "Sqrt", "Sub", "Tanh"}
)
_NORMS = frozenset(
    {"GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization"}
    | {"Softmax"}
)
_OWN_NORMS = _NORMS - {"Softmax"} | {"BatchNormalization"}
# What a framework gives as a view, and an engine leaves out.
_FREE = VIEWS | {"Expand", "Input", "Output", "Slice", "Split"}
_FORMS = ("convolution", "pointwise", "depthwise", "grouped")
# Channels that a tensor core takes at once.
_EIGHT = 8
_KNOWN: WeakKeyDictionary[Graph, dict[tuple[str, bool], Array]] = WeakKeyDictionary()


def graph_kernels(graph: Graph, fusion: str, flash: bool = True) -> Array:
    """Kernels of a network, see `fused_kernels`; computed once a graph."""
    known = _KNOWN.setdefault(graph, {})
    if (fusion, flash) not in known:
        known[fusion, flash] = fused_kernels(graph, fusion, flash=flash).astype(np.float32)
    return known[fusion, flash]


def fused_kernels(
    graph: Graph, fusion: str, folded: bool = False, flash: bool = True, fuse: bool = True
) -> Array:
    """Kernels of a network, one row for those that are alike.

    Args:
        graph: A whole network.
        fusion: One of `FUSIONS`.
        folded: Whether normalisation that a graph has folded into convolutions stays there, in
            spite of `fusion`.
        flash: Whether attention is one kernel, which keeps the scores to itself.
        fuse: Whether operators are fused at all.

    Returns:
        Shape `(distinct kernels, len(KERNEL_COLUMNS))`.
    """
    nodes = _fused(graph, _nodes(graph), fusion, folded, flash, fuse)
    rows = np.array([node.row() for node in nodes if not node.free])
    rows = rows.reshape(len(rows), len(KERNEL_COLUMNS) - 1)
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    return np.concatenate([distinct, counts[:, None]], 1)


def kernels_of_nodes(graph: Graph, fusion: str) -> tuple[Array, NDArray[np.int64]]:
    """Kernels of a network, each on its own, and the nodes that they do the work of.

    Returns:
        Shape `(kernels, len(KERNEL_COLUMNS))`; and for each node of the graph the kernel that does
        its work, −1 if none has to. A normalisation that a graph has folded into a convolution is a
        kernel without a node.
    """
    nodes = _nodes(graph)
    kernels = [node for node in _fused(graph, nodes, fusion) if not node.free]
    rows = np.array([(*node.row(), 1.0) for node in kernels])
    places = {id(node): place for place, node in enumerate(kernels)}
    of_nodes = [places.get(id(node.last_kernel), -1) for node in nodes]
    return rows.reshape(len(rows), len(KERNEL_COLUMNS)), np.array(of_nodes, dtype=np.int64)


def _fused(
    graph: Graph,
    nodes: list[_Node],
    fusion: str,
    folded: bool = False,
    flash: bool = True,
    fuse: bool = True,
) -> list[_Node]:
    """Nodes after fusion, with the normalisations that the graph lacks."""
    if flash:
        _fuse_attention(nodes)
    if fusion != "engine" and not folded:
        nodes = _with_norms(graph, nodes)
    if fusion == "engine" and fuse:
        # Each part is written where the whole will be.
        for node in nodes:
            node.free |= node.op == "Concat"
    if fusion != "none" and fuse:
        _fuse_chains(nodes, fusion == "engine")
    return nodes


class _Node:
    """An operator while operators are fused; attributes as `KERNEL_COLUMNS`."""

    def __init__(self, kind: str, sizes: Sequence[float], free: bool, op: str) -> None:
        self.op, self.kind, self.free = op, kind, free
        self.macs, self.weights, self.activations, self.outputs, self.channels = sizes[:5]
        self.inputs: list[_Node] = []
        self.readers = 0
        self.aligned, self.groups, self.window, self.stride = sizes[5:]
        # Where its own work is done, and its place in the order of operators.
        self.kernel, self.place = self, 0

    @property
    def is_view(self) -> bool:
        """Whether it takes no time, in whatever kernel."""
        return self.free and self.kernel is self

    @property
    def last_kernel(self) -> _Node:
        """The kernel that does its work, which may have been given to another in turn."""
        node = self
        while node.kernel is not node:
            node = node.kernel
        return node

    def row(self) -> tuple[float, ...]:
        """Numbers of the kernel, without their count."""
        depth = self.macs / self.outputs if self.outputs else 0.0
        return (
            float(KERNEL_KINDS.index(self.kind)),
            *(self.macs, self.weights, max(self.activations, 0.0), self.outputs),
            *(depth, self.channels, self.aligned, self.groups, self.window, self.stride),
        )


class _Sizes(NamedTuple):
    macs: Array
    weights: Array
    activations: Array
    outputs: Array
    channels: Array
    aligned: Array
    groups: Array
    window: Array
    stride: Array


def _nodes(graph: Graph) -> list[_Node]:
    names, params = operator_kinds(graph), graph.attribute("params")
    sides = np.maximum(graph.attribute("height"), 1) * np.maximum(graph.attribute("width"), 1)
    groups = np.maximum(graph.attribute("groups"), 1)
    channels = np.stack([graph.attribute("in_channels"), graph.attribute("out_channels")]) / groups
    sizes = _Sizes(
        graph.attribute("flops"),
        params,
        np.maximum(graph.attribute("bytes") / FLOAT_BYTES - params, 0),
        graph.attribute("out_channels") * sides,
        channels[1],
        (channels % _EIGHT == 0).all(0).astype(float),
        np.where([name == "Conv grouped" for name in names], groups, 0.0),
        graph.attribute("kernel"),
        graph.attribute("stride"),
    )
    table = np.stack(sizes, 1)
    # Rows of a table are looked up, the table is not read.
    table[[op == "Gather" for op in graph.ops], 1] = 0.0
    nodes = [
        _Node(_kind(name), table[k].tolist(), graph.ops[k] in _FREE, graph.ops[k])
        for k, name in enumerate(names)
    ]
    for source, target in graph.edges:
        nodes[target].inputs.append(nodes[source])
        nodes[source].readers += 1
    return nodes


def _kind(name: str) -> str:
    op, _, form = name.partition(" ")
    if op == "Conv":
        return form if form in _FORMS else "convolution"
    if op == "Gemm":
        return "product"
    if op == "MatMul":
        return "batched"
    if op in _NORMS:
        return "normalisation"
    if op == "Transpose":
        return "layout"
    return "elementwise" if op in _ELEMENTWISE else "other"


def _fuse_attention(nodes: Sequence[_Node]) -> None:
    """Give scores, their scale and their softmax to the product that reads them."""
    for node in nodes:
        if node.op != "MatMul":
            continue
        chain = _before(node, "Softmax")
        if not chain:
            continue
        scores = chain[-1].outputs
        first = _before(chain[-1], "MatMul")
        if not first:
            continue
        for other in (*chain, *first):
            node.macs += other.macs
            other.free, other.kernel = True, node
        node.kind = "attention"
        parts = (node.activations, first[-1].activations)
        node.activations = sum(max(part - scores, 0.0) for part in parts)


def _before(node: _Node, op: str, limit: int = 6) -> list[_Node]:
    """Operators from an input of a node back to the nearest of a type; empty if there is none."""
    for start in node.inputs:
        chain: list[_Node] = []
        at = start
        while len(chain) < limit:
            chain.append(at)
            if at.op == op:
                return chain
            passes = at.is_view or at.kind in ("elementwise", "layout")
            if not passes or not at.inputs:
                break
            # The scores are the largest of what a mask is added to.
            at = max(at.inputs, key=lambda other: other.outputs)
    return []


def _with_norms(graph: Graph, nodes: Sequence[_Node]) -> list[_Node]:
    """Nodes, and after each convolution the normalisation that was folded into it.

    A bias tells of it, except where a network normalises otherwise.
    """
    convolutions = [node for node in nodes if node.op == "Conv"]
    norms = sum(op in _OWN_NORMS for op in graph.ops)
    if 2 * norms >= len(convolutions):
        return list(nodes)
    result: list[_Node] = []
    after: dict[int, _Node] = {}
    for node in nodes:
        node.inputs = [after.get(id(other), other) for other in node.inputs]
        result.append(node)
        # Excitations of single pixels have biases of their own.
        if node.op != "Conv" or node.outputs <= node.channels * _groups(node):
            continue
        sizes = (0.0, 0.0, 2 * node.outputs, node.outputs, node.channels, 1.0, 0.0, 0.0, 0.0)
        norm = _Node("elementwise", sizes, False, "BatchNormalization")
        norm.inputs, norm.readers, node.readers = [node], node.readers, 1
        after[id(node)] = norm
        result.append(norm)
    return result


def _groups(node: _Node) -> float:
    """Groups of a convolution, from the sums of its outputs."""
    return max(round(node.weights / max(node.channels * node.macs / node.outputs, 1)), 1)


def _fuse_chains(nodes: Sequence[_Node], engine: bool) -> None:
    """Give each elementwise operator to a kernel that writes one of its operands."""
    for place, node in enumerate(nodes):
        node.place = place
        if node.free or node.kind not in ("elementwise", "normalisation"):
            continue
        source = next((s for s in node.inputs if _can_join(node, s, engine)), None)
        if source is not None:
            _give(node, source.last_kernel, source)
        for other in node.inputs:
            if _can_move(other) and other.last_kernel is other and other is not source:
                _give(other, node.last_kernel, other)


def _can_join(node: _Node, source: _Node, engine: bool) -> bool:
    """Whether the kernel that writes an operand may do an operator's work, too."""
    kernel = source.last_kernel
    joins = kernel.kind in ("elementwise", "normalisation") or (
        engine and kernel.kind != "other" and node.kind == "elementwise"
    )
    # What else it reads has to be there before the kernel starts.
    waits = any(
        other.place > kernel.place and other.last_kernel is not kernel and not _can_move(other)
        for other in node.inputs
    )
    return joins and not waits and not source.is_view and not (engine and source.readers > 1)


def _can_move(node: _Node) -> bool:
    """Whether an operator is a kernel of its own that may as well be run with its only reader."""
    return node.kind == "elementwise" and not node.free and node.readers == 1


def _give(node: _Node, kernel: _Node, source: _Node) -> None:
    """Let a kernel do the work of a node, whose operand or output `source` it keeps to itself."""
    # An only reader spares the kernel to write what it reads.
    spared = source.outputs * (2 if source.readers == 1 else 1)
    kernel.activations += node.activations - spared
    kernel.weights += node.weights
    if kernel.kind == "elementwise":
        kernel.kind = node.kind
    node.free, node.kernel = True, kernel
