"""Costs of a network's operators, and its graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.canonical import canonical_network
from nasplug.search_spaces.costs import TYPE_BYTES
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import ATTRIBUTES, Graph
from nasplug.search_spaces.operators import (
    ELEMENTWISE,
    FEATURES_LAST,
    TRANSFORMS,
    WINDOWS,
    Operator,
)

__all__ = ["network_graph"]

_PARAMS = ATTRIBUTES.index("params")


def network_graph(operators: Sequence[Operator], outputs: Sequence[int]) -> Graph:
    """The graph of a network in canonical form, one node an operator and a last node `"Output"`.

    Operators that no output needs are dropped. Costs follow `Graph.attributes`: FLOPs are
    multiply-accumulates of Conv, ConvTranspose, Gemm, MatMul and transforms; an operator of an
    unknown type costs the data it moves; a Reshape moves none.

    Args:
        operators: Each reads only earlier ones.
        outputs: Positions of the operators whose results the network returns, at least one.

    Raises:
        InputError: For the reasons of `canonical`, or if `outputs` is empty or names no operator.
    """
    if not outputs:
        raise InputError("the network has no output; name at least one operator as its output")
    for k in outputs:
        if not 0 <= k < len(operators):
            raise InputError(f"output {k} names none of the network's {len(operators)} operators")
    nodes, ends = canonical_network(operators, outputs)
    rows = np.zeros((len(nodes) + 1, len(ATTRIBUTES)))
    weight_bytes = np.zeros(len(nodes) + 1)
    counted: set[str] = set()
    edges = [(source, len(nodes)) for source in set(ends)]
    features_last: list[bool] = []
    for k, node in enumerate(nodes):
        read = node.inputs if len(node.inputs) < 2 else tuple(dict.fromkeys(node.inputs))
        last = node.op in FEATURES_LAST or (
            bool(read)
            and features_last[read[0]]
            and node.op in ELEMENTWISE
            and len(node.shape) == len(nodes[read[0]].shape)
        )
        features_last.append(last)
        for source in read:
            edges.append((source, k))
        rows[k], weight_bytes[k] = _row(
            node.op,
            node.shape,
            node.weights,
            node.bias,
            node.kernel,
            node.stride,
            node.groups,
            node.other_params,
            tuple([nodes[source].shape for source in read]),
            (node.type, node.weight_type, *[nodes[source].type for source in read]),
            last,
        )
        if node.parameters is not None:
            rows[k, _PARAMS] = sum(n for name, n in node.parameters if name not in counted)
            counted.update(name for name, _ in node.parameters)
    edges.sort()
    ops = (*(node.op for node in nodes), "Output")
    if all(_is_plain(node) for node in nodes):
        return Graph(ops, tuple(edges), rows)
    return Graph(
        ops,
        tuple(edges),
        rows,
        types=(*(node.type for node in nodes), nodes[ends[0]].type),
        weight_types=(*(_weight_type(node) for node in nodes), ""),
        weight_bytes=weight_bytes,
    )


def _is_plain(node: Operator) -> bool:
    """Whether an operator computes in float32 and shares no parameters."""
    return node.parameters is None and node.type == "float32" and not node.weight_type


def _weight_type(node: Operator) -> str:
    """Element type of an operator's weights; empty without any."""
    has_weights = bool(node.weights or node.other_params or node.bias)
    return (node.weight_type or node.type) if has_weights else ""


def _channels_height_width(
    op: str, shape: tuple[int, ...], features_last: bool
) -> tuple[int, int, int]:
    """Read a shape for one image, of any rank, as channels, height and width.

    A vector `(1, C)` is one pixel, a sequence `(1, L, C)` a column of L pixels; from rank four on
    axis 1 holds the channels (an attention's heads too), unless features are known to be last.
    A windowed operator on `(1, C, L)` is a convolution over a sequence.
    """
    rank = len(shape)
    if rank <= 2:
        return (shape[-1] if shape else 1), 1, 1
    if rank == 3 and op in WINDOWS:
        return shape[1], shape[2], 1
    if rank == 3:
        return shape[2], shape[1], 1
    if features_last:
        return shape[-1], math.prod(shape[1:-2]), shape[-2]
    return shape[1], math.prod(shape[2:-1]), shape[-1]


# Networks of a space share nearly all of their operators, so a search finds most rows here.
@lru_cache(maxsize=262_144)
def _row(
    op: str,
    shape: tuple[int, ...],
    weights: tuple[int, ...],
    bias: bool,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    groups: int,
    other_params: int,
    inputs: tuple[tuple[int, ...], ...],
    types: tuple[str, ...],
    features_last: bool,
) -> tuple[NDArray[np.float64], float]:
    """Row of `Graph.attributes` for an operator, and the bytes of its weights.

    Args:
        inputs: Shapes that it reads.
        types: Element types of its output, of its weights (empty: those of its output), and of
            each tensor that it reads.
    """
    channels, height, width = _channels_height_width(op, shape, features_last)
    sizes = [math.prod(input_shape) for input_shape in inputs]
    params = (math.prod(weights) if weights else 0) + other_params + (channels if bias else 0)
    flops = 0
    in_channels = channels
    if op == "Conv" and weights:
        flops = math.prod(weights) * math.prod(shape[2:])
        in_channels = weights[1] * groups
    elif op == "ConvTranspose" and weights:
        flops = math.prod(weights) * math.prod(inputs[0][2:])
        in_channels = weights[0]
    elif op == "Gemm" and weights:
        flops = math.prod(shape) * weights[1]
        in_channels = weights[1]
    elif op in TRANSFORMS and weights:
        flops = math.prod(shape) * weights[1]
    elif op in ("MatMul", "Gemm") and inputs:
        flops = math.prod(shape) * inputs[0][-1]
        in_channels = inputs[0][-1]
    elif op not in ELEMENTWISE and op != "Concat" and inputs:
        in_channels = _channels_height_width(op, inputs[0], features_last)[0]
    own_type, weight_type, *input_types = types
    # Of a table only the rows that are chosen are read.
    read_params = min(params, math.prod(shape)) if op == "Gather" else params
    weight_bytes = TYPE_BYTES[weight_type or own_type] * read_params
    moved = 0.0
    if op not in ("Input", "Reshape"):
        read = sum(TYPE_BYTES[t] * size for t, size in zip(input_types, sizes, strict=True))
        moved = read + TYPE_BYTES[own_type] * math.prod(shape) + weight_bytes
    windowed = kernel != (0, 0)
    values = (
        max(kernel),
        max(stride) if windowed else 0,
        groups,
        in_channels,
        channels,
        height,
        width,
        flops,
        params,
        moved,
    )
    return np.array(values, dtype=np.float64), weight_bytes
