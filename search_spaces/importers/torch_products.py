"""Steps of the calls in an exported PyTorch program that multiply: convolutions and products."""

from __future__ import annotations

import math
from typing import Any

from nasplug.search_spaces.importers.einsum import add_einsum
from nasplug.search_spaces.importers.network import ImportedNetwork
from nasplug.search_spaces.importers.torch_call import Call, Computed, Shape, Weight

__all__ = [
    "added_matmul",
    "attention",
    "conv",
    "conv_transpose",
    "einsum",
    "general_convolution",
    "linear",
    "matmul",
    "sides",
    "unknown",
]


def sides(value: Any, rank: int, default: int = 1) -> tuple[int, ...]:
    """Sizes of a window, one an axis, from one number or several."""
    sizes = (value,) if isinstance(value, int) else tuple(value or (default,))
    return sizes * rank if len(sizes) == 1 else sizes


def _convolution(
    network: ImportedNetwork, call: Call, transposed: bool, stride: int, groups: int
) -> int:
    weight, dynamic = call.weight(1), call.step(1)
    shape = network.shape(dynamic) if dynamic is not None else weight.shape if weight else ()
    window = shape[2:]
    return network.add(
        "ConvTranspose" if transposed else "Conv",
        (call.source(),) if dynamic is None else (call.source(), dynamic),
        call.shape,
        weights=shape,
        bias=call.argument(2) is not None,
        kernel=window,
        stride=sides(call.argument(stride, 1), len(window)),
        groups=call.argument(groups, 1),
        # A computed weight sets the FLOPs, but is no parameter.
        other_params=0 if dynamic is None else -math.prod(shape),
    )


def conv(network: ImportedNetwork, call: Call) -> int:
    """Append a conv1d, conv2d or conv3d."""
    return _convolution(network, call, False, 3, 6)


def conv_transpose(network: ImportedNetwork, call: Call) -> int:
    """Append a conv_transpose1d, conv_transpose2d or conv_transpose3d."""
    return _convolution(network, call, True, 3, 6)


def general_convolution(network: ImportedNetwork, call: Call) -> int:
    """Append a convolution, transposed if argument 6 says so."""
    return _convolution(network, call, bool(call.argument(6, False)), 3, 8)


def _product(
    network: ImportedNetwork,
    left: Computed | Weight,
    right: Computed | Weight,
    shape: Shape,
    bias: bool = False,
) -> int:
    if isinstance(left, Computed) and isinstance(right, Computed):
        return network.add("MatMul", (left.step, right.step), shape)
    if isinstance(left, Computed):
        assert isinstance(right, Weight)
        matrix, source = right.shape, left.step
        if len(matrix) > 1:
            matrix = (*matrix[:-2], matrix[-1], matrix[-2])
    else:
        assert isinstance(right, Computed)
        matrix, source = left.shape, right.step
    weights = (math.prod(matrix[:-1]), matrix[-1])
    return network.add("Gemm", (source,), shape, weights=weights, bias=bias)


def matmul(network: ImportedNetwork, call: Call) -> int:
    """Append a product of matrices, at least one of them computed."""
    return _product(network, call.arguments[0], call.arguments[1], call.shape)


def added_matmul(network: ImportedNetwork, call: Call) -> int:
    """Append the sum of a tensor and a product of matrices."""
    added, left, right = call.arguments[:3]
    constant = isinstance(added, Weight)
    computed = isinstance(left, Computed) and isinstance(right, Computed)
    bias = constant and not computed and added.size in (1, call.shape[-1])
    product = _product(network, left, right, call.shape, bias)
    if bias:
        return product
    inputs = (product,) if constant else (product, added.step)
    return network.add("Add", inputs, call.shape, other_params=added.params if constant else 0)


def linear(network: ImportedNetwork, call: Call) -> int:
    """Append a product with a transposed matrix, plus a bias."""
    weight = call.weight(1)
    if weight is None or call.step(0) is None:
        transposed: Computed | Weight
        computed = call.step(1)
        if computed is not None:
            transposed = Computed(network.add_transpose(computed, (1, 0)))
        else:
            assert weight is not None
            transposed = Weight(weight.shape[::-1], weight.floating)
        product = _product(network, call.arguments[0], transposed, call.shape)
        added = call.argument(2)
        if added is None:
            return product
        inputs = (product, added.step) if isinstance(added, Computed) else (product,)
        params = added.params if isinstance(added, Weight) else 0
        return network.add("Add", inputs, call.shape, other_params=params)
    return network.add(
        "Gemm",
        (call.source(),),
        call.shape,
        weights=weight.shape,
        bias=call.argument(2) is not None,
    )


def unknown(network: ImportedNetwork, call: Call) -> int:
    """Append a step under the call's own name, priced by the data it moves."""
    return network.add(call.name, call.data, call.shape, other_params=call.params())


def attention(network: ImportedNetwork, call: Call) -> int:
    """Append attention of scaled dot products as its single operators."""
    query, key, value = (call.step(k) for k in range(3))
    learned, mask = call.weight(0), call.weight(3)
    if key is None or value is None:
        return unknown(network, call)
    if query is None:
        if learned is None or call.argument(3) is not None or call.argument(5, False):
            return unknown(network, call)
        # A query that does not depend on the image is a matrix of constants.
        rank = len(network.shape(key))
        transposed_key = network.add_transpose(key, [*range(rank - 2), rank - 1, rank - 2])
        shape = (*call.shape[:-1], network.shape(key)[-2])
        scores = _product(network, learned, Computed(transposed_key), shape)
        weights = network.add("Softmax", (scores,), shape)
        return network.add("MatMul", (weights, value), call.shape)
    rows = (network.shape(query)[-2], network.shape(key)[-2])
    params = mask.size if mask is not None else math.prod(rows) if call.argument(5, False) else 0
    return network.add_attention(query, key, value, call.step(3), params)


def einsum(network: ImportedNetwork, call: Call) -> int:
    """Append an Einstein sum, as a product of matrices where it is one."""
    operands = call.arguments[1]
    steps = [operand.step if isinstance(operand, Computed) else None for operand in operands]
    shapes = [
        network.shape(operand.step) if isinstance(operand, Computed) else operand.shape
        for operand in operands
    ]
    product = add_einsum(network, call.arguments[0], steps, shapes, call.shape)
    return network.add("Einsum", call.data, call.shape) if product is None else product
