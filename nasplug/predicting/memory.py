"""Memory of a network's forward pass: its weights, and the peak of its activations.

The graph's operators run in their order. The output of each is allocated before its inputs are
freed, and every tensor is freed after its last reader. A framework runs operator after operator: a
batch normalisation that the graph has within a convolution writes a tensor of its own, and views
copy nothing. An inference engine has folded the normalisation, and computes whatever is element by
element in the place of its input.

A step of a language model reads keys and values of earlier tokens. Its caller holds these caches
from beginning to end, and each layer's is joined with the new token in a tensor of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nasplug.predicting.measured_accuracy import exact_prediction
from nasplug.predictors.features.runtimes import Way
from nasplug.quantities import Number
from nasplug.search_spaces import Graph
from nasplug.search_spaces.costs import TYPE_BYTES
from nasplug.search_spaces.operators import ELEMENTWISE, IDLE, RESHAPES

if TYPE_CHECKING:
    from nasplug.arrays import Array, Mask
    from nasplug.predictors import Hardware, Prediction

__all__ = ["Memory", "MemoryScorer", "file_megabytes", "memory_of", "weight_bytes"]

MEGA = 1e6
# Precision -> bytes of a weight and of a number of an activation.
_BYTES = {
    **dict.fromkeys(("", "fp32", "tf32"), (4.0, 4.0)),
    **dict.fromkeys(("fp16", "bf16"), (2.0, 2.0)),
    **dict.fromkeys(("int8", "fp8"), (1.0, 1.0)),
    "w8a16": (1.0, 2.0),
    "int4": (0.5, 2.0),
}
_FLOATS = frozenset({"", "float32", "float16", "bfloat16", "float64"})
# Runtimes that run operator after operator.
_FRAMEWORKS = frozenset({"", "eager", "eager nhwc", "pytorch mobile"})
# Operators that a framework answers by another view of the same numbers.
_VIEWS = RESHAPES | IDLE | {"Transpose", "Slice", "Split", "Expand", "Output"}
# Activations that frameworks' networks compute in place, and a sum that takes the place of a term.
_IN_PLACE = frozenset(
    {"Relu", "LeakyRelu", "Clip", "Silu", "HardSwish", "HardSigmoid", "Elu", "Mish", "Add"}
)
# Layers whose numbers depend on all of a row, which an engine cannot compute in place.
_NORMS = frozenset({"LayerNormalization", "InstanceNormalization", "GroupNormalization"})


@dataclass(frozen=True)
class Memory:
    """Memory of a forward pass, in MB of 10⁶ bytes.

    Attributes:
        weights: Parameters, and buffers such as the statistics of normalisations.
        activations: Peak of the tensors that live at the same time, the inputs among them.
        caches: Part of the activations that are keys and values of earlier tokens.
    """

    weights: float
    activations: float
    caches: float = 0.0

    @property
    def total(self) -> float:
        """Weights and activations."""
        return self.weights + self.activations


def weight_bytes(way: Way | None) -> float:
    """Bytes of a float weight in the precision of a way."""
    return _BYTES[way.precision if way else ""][0]


def file_megabytes(params: Number, way: Way | None) -> Number:
    """Size of a file of so many parameters in the precision of a way, in MB."""
    return params * (weight_bytes(way) / MEGA)


def memory_of(graph: Graph, batch_size: int = 1, way: Way | None = None) -> Memory:
    """The memory of a network.

    Args:
        graph: A whole network.
        batch_size: Inputs a forward pass.
        way: How the network is run; None for a framework in the network's precision.
    """
    is_eager = (way.runtime if way else "") in _FRAMEWORKS
    normalised = _normalised(graph) if is_eager else np.zeros(len(graph), np.bool_)
    weights = _weights(graph, way)
    if is_eager:
        # Running means and variances.
        counted = normalised | (np.array(graph.ops) == "BatchNormalization")
        weights += _BYTES[""][0] * 2 * float(graph.attribute("out_channels")[counted].sum())
    sizes = _sizes(graph, way)
    caches = _caches(graph)
    peak = _peak(graph, sizes, normalised, is_eager, caches) * batch_size
    held = sum(sizes[node] for node in caches) * batch_size
    return Memory(weights / MEGA, peak / MEGA, float(held) / MEGA)


def _weights(graph: Graph, way: Way | None) -> float:
    """Bytes of the weights; integers stay as the network holds them."""
    per_weight = weight_bytes(way)
    params = graph.attribute("params")
    if not graph.weight_types:
        return float(params.sum() * per_weight)
    held = graph.weight_bytes if graph.weight_bytes is not None else params * per_weight
    total = 0.0
    for name, count, size in zip(graph.weight_types, params, held, strict=True):
        is_chosen = name in _FLOATS and (way is not None and bool(way.precision))
        own = TYPE_BYTES.get(name, 4.0) if name in _FLOATS else 0.0
        total += count * (per_weight if is_chosen else own) if name in _FLOATS else size
    return total


def _numbers(graph: Graph) -> Array:
    """Numbers in each operator's output for one input, `(nodes,)`."""
    shape = [graph.attribute(name) for name in ("out_channels", "height", "width")]
    return np.asarray(shape[0] * shape[1] * shape[2])


def _sizes(graph: Graph, way: Way | None) -> Array:
    """Bytes of each operator's output for one input, `(nodes,)`."""
    numbers = _numbers(graph)
    per_number = _BYTES[way.precision if way else ""][1]
    if not graph.types:
        each_number = np.full(len(graph), per_number)
        # Words are whole numbers.
        words = [a for a, b in graph.edges if graph.ops[a] == "Input" and graph.ops[b] == "Gather"]
        each_number[words] = TYPE_BYTES["int64"]
        return np.asarray(numbers * each_number)
    is_chosen = way is not None and bool(way.precision)
    each = [
        per_number if t in _FLOATS and (is_chosen or t == "") else TYPE_BYTES.get(t, 4.0)
        for t in graph.types
    ]
    return np.asarray(numbers * np.array(each))


def _normalised(graph: Graph) -> Mask:
    """Whether a batch normalisation is part of a convolution, by its parameters; `(nodes,)`."""
    channels = graph.attribute("out_channels")
    pixels = graph.attribute("height") * graph.attribute("width")
    kernel = np.divide(graph.attribute("flops"), pixels, out=np.zeros(len(graph)), where=pixels > 0)
    extra = graph.attribute("params") - kernel
    is_conv = np.array([op == "Conv" for op in graph.ops])
    # A bias has one number a channel, a normalisation two.
    return np.asarray(is_conv & (extra >= 2 * channels - 0.5) & (channels > 0))


def _caches(graph: Graph) -> set[int]:
    """Inputs that hold keys and values of earlier tokens: a new token is joined to each."""
    readers: dict[int, list[int]] = {}
    read: dict[int, list[int]] = {}
    for source, target in graph.edges:
        readers.setdefault(source, []).append(target)
        read.setdefault(target, []).append(source)
    return {
        node
        for node, targets in readers.items()
        if graph.ops[node] == "Input"
        and all(
            graph.ops[target] == "Concat" and any(graph.ops[k] != "Input" for k in read[target])
            for target in targets
        )
    }


def _peak(graph: Graph, sizes: Array, normalised: Mask, is_eager: bool, caches: set[int]) -> float:
    """The most bytes that live at the same time, for one input."""
    count = len(graph)
    read: list[list[int]] = [[] for _ in range(count)]
    last = list(range(count))
    for source, target in graph.edges:
        read[target].append(source)
        last[source] = max(last[source], target)
    fused, entrance = _within_attention(graph, read), _entrance(graph, read)
    for node, mixed in fused.items():
        # One kernel reads queries, keys and values.
        for source in read[node]:
            last[source] = max(last[source], mixed)
    sums: set[int] = set()
    if is_eager:
        sums = _hold_arguments(graph, read, last, fused)
    due: list[list[int]] = [[] for _ in range(count)]
    for node, end in enumerate(last):
        due[end].append(node)
    numbers, bytes_of = _numbers(graph).tolist(), sizes.tolist()
    # Views share the storage of what they show, which lives as long as any of them.
    storage = list(range(count))
    ends: dict[int, int] = {}
    held: dict[int, float] = {}
    # The caller names what enters the blocks until they have ended.
    sums_of_two = (k for k, op in enumerate(graph.ops) if op == "Add" and len(read[k]) > 1)
    blocks_end = max((k for k in sums_of_two if k not in fused), default=count)
    if is_eager and entrance >= 0 and blocks_end < count:
        due[blocks_end].append(entrance)
    until = dict.fromkeys(caches, count)
    live = peak = float(sum(bytes_of[node] for node in caches))
    for node, op in enumerate(graph.ops):
        sources = read[node]
        place = None
        if sources and node not in sums:
            free = [k for k in sources if ends[storage[k]] <= node and numbers[k] == numbers[node]]
            place = _place(op, graph.ops[sources[0]], sources, free, is_eager)
        is_there = node in fused or node in caches or place is not None
        own = 0.0 if is_there else bytes_of[node]
        root = node if place is None else storage[place]
        storage[node] = root
        if is_eager and (op == "Input" or node == entrance):
            until[root] = count if op == "Input" else blocks_end
        ends[root] = max(ends.get(root, -1), last[node], until.get(root, -1))
        held[root] = held.get(root, 0.0) + own
        live += own
        peak = max(peak, live)
        roots = {storage[k] for k in due[node]} | {root}
        ended = [r for r in roots if ends[r] <= node]
        if is_eager and op == "MaxPool":
            # A framework computes where each maximum is, too.
            peak = max(peak, live + TYPE_BYTES["int64"] * numbers[node])
        if normalised[node]:
            # Within a block the caller holds no input of a convolution when it is normalised.
            beside = any(end > node and r != root and r not in until for r, end in ends.items())
            freed = sum(held[r] for r in ended if r != root) if beside else 0.0
            peak = max(peak, live + own - freed)
        for r in ended:
            live -= held.pop(r)
            del ends[r]
    return peak


def _hold_arguments(
    graph: Graph, read: Sequence[Sequence[int]], last: list[int], fused: Mapping[int, int]
) -> set[int]:
    """Let tensors of residual branches live as long as frameworks name them; change `last`.

    The caller of a branch holds its normalised input until the branch is added, and the caller of a
    block with two branches the block's input until the second one is. Where a batch normalisation
    comes before its convolution, what it normalises is there until the convolution has ended.

    Returns:
        Sums of the residual stream, which are no sums in place.
    """
    sums = set()
    next_sum = _next_sums(graph, read, fused)
    first_reader, readers = [-1] * len(graph), [0] * len(graph)
    for source, target in reversed(graph.edges):
        first_reader[source] = target
        readers[source] += 1
    for node, op in enumerate(graph.ops):
        if not read[node]:
            continue
        total = read[node][0]
        if op == "BatchNormalization":
            end = first_reader[node]
            end = first_reader[end] if graph.ops[end] in _IN_PLACE else end
            if graph.ops[end] == "Conv":
                last[total] = max(last[total], end)
        # Of a residual, as in a network whose activations come before its convolutions.
        is_of_residual = op == "BatchNormalization" and readers[total] > 1
        if op not in _NORMS and not is_of_residual:
            continue
        last[node] = max(last[node], next_sum[node])
        if readers[total] > 1:
            # Blocks with parallel branches add both to their input.
            last[total] = max(last[total], next_sum[node])
        if graph.ops[total] == "Add" and len(read[total]) > 1:
            sums.add(total)
            if op in _NORMS:
                entering = min(read[total])
                if readers[entering] > 1:
                    last[entering] = max(last[entering], next_sum[total])
    return sums


def _next_sums(graph: Graph, read: Sequence[Sequence[int]], fused: Mapping[int, int]) -> list[int]:
    """The next sum of two tensors behind each operator; 0 behind the last one."""
    result = [0] * len(graph)
    following = 0
    for node in range(len(graph) - 1, -1, -1):
        result[node] = following
        if graph.ops[node] == "Add" and node not in fused and len(read[node]) > 1:
            following = node
    return result


def _place(
    op: str, before: str, sources: Sequence[int], free: Sequence[int], is_eager: bool
) -> int | None:
    """The input in whose storage an operator's output lies; None for a tensor of its own.

    Args:
        op: Type of the operator.
        before: Type of the first operator that it reads.
        sources: The operators that it reads, at least one.
        free: Those of them of the same size whose output nobody else reads any more.
        is_eager: Whether a framework runs the network.
    """
    if is_eager and op in _VIEWS:
        # The numbers of a transposed tensor are copied before they are read in another shape.
        return None if op in RESHAPES and before == "Transpose" else sources[0]
    if not is_eager and op in RESHAPES | IDLE | {"Output"}:
        return sources[0]
    is_overwriting = op in (_IN_PLACE if is_eager else ELEMENTWISE - _NORMS)
    return free[0] if is_overwriting and free else None


def _entrance(graph: Graph, read: Sequence[Sequence[int]]) -> int:
    """The tensor that enters the first block: several operators, or a depthwise one, read it.

    A framework keeps it until the blocks have ended, as their caller names it.
    """
    readers = [0] * len(graph)
    for source, _ in graph.edges:
        readers[source] += 1
    groups, channels = graph.attribute("groups"), graph.attribute("in_channels")
    kernel = graph.attribute("kernel")
    for node, op in enumerate(graph.ops):
        is_depthwise = op == "Conv" and groups[node] == channels[node] > 1
        for source in read[node]:
            if graph.ops[source] == "Input" or not (is_depthwise or readers[source] > 1):
                continue
            at = source
            while graph.ops[at] in _IN_PLACE:
                at = read[at][0]
            # A block may widen its input before the depthwise convolution.
            is_widened = readers[source] == 1 and graph.ops[at] == "Conv" and kernel[at] == 1
            return read[at][0] if is_widened else source
    return -1


def _within_attention(graph: Graph, read: Sequence[Sequence[int]]) -> dict[int, int]:
    """Scores of attentions, which fused kernels never write: from one product to the next.

    Returns:
        Operators of the scores -> the product of the scores with the values.
    """
    within: dict[int, int] = {}
    products = {node for node, op in enumerate(graph.ops) if op == "MatMul"}
    product_of = {source: node for node in products for source in read[node]}
    for node, op in enumerate(graph.ops):
        if op != "Softmax" or node not in product_of:
            continue
        chain, at = [node], node
        while read[at] and graph.ops[read[at][0]] in ("Mul", "Div", "Add", "Where", "Reshape"):
            at = read[at][0]
            chain.append(at)
        if read[at] and read[at][0] in products:
            within |= dict.fromkeys([*chain, read[at][0]], product_of[node])
    return within


class MemoryScorer:
    """Scorer of the memory of whole networks, which it reads as graphs.

    Args:
        way: How the networks are run.
    """

    def __init__(self, way: Way) -> None:
        self._way = way

    def predict(
        self, graphs: Sequence[Graph], hardware: Hardware | None = None, batch_size: int = 1
    ) -> Prediction:
        """Compute the memory of networks in MB, a row each."""
        totals = [memory_of(graph, batch_size, self._way).total for graph in graphs]
        return exact_prediction(("memory",), "MB", np.array(totals)[:, None])
