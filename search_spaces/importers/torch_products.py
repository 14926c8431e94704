"""Steps of the ATen functions that multiply: convolutions and products of matrices."""

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
    "weight_product",
]


def sides(value: Any, rank: int, default: int = 1) -> tuple[int, ...]:
    """Sizes of a window, one an axis, from one number or several."""
    sizes = (value,) if isinstance(value, int) else tuple(value or (default,))
    return sizes * rank if len(sizes) == 1 else sizes


def _factor(value: Computed | Weight) -> int | Shape:
    """The step of a computed tensor, or the shape of a constant one."""
    return value.step if isinstance(value, Computed) else value.shape


def _convolution(
    network: ImportedNetwork, call: Call, transposed: bool, stride: int, groups: int
) -> int:
    weight = _factor(call.arguments[1])
    window = (network.shape(weight) if isinstance(weight, int) else weight)[2:]
    return network.add_conv(
        "ConvTranspose" if transposed else "Conv",
        call.source(),
        weight,
        call.shape,
        bias=call.argument(2) is not None,
        stride=sides(call.argument(stride, 1), len(window)),
        groups=call.argument(groups, 1),
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


def matmul(network: ImportedNetwork, call: Call) -> int:
    """Append a product of matrices, at least one of them computed."""
    left, right = map(_factor, call.arguments[:2])
    return network.add_product(left, right, call.shape)


def _plus(network: ImportedNetwork, call: Call, product: int, added: Computed | Weight) -> int:
    """Append the sum of a product and another tensor."""
    if isinstance(added, Computed):
        return network.add("Add", (product, added.step), call.shape)
    return network.add("Add", (product,), call.shape, other_params=added.params)


def added_matmul(network: ImportedNetwork, call: Call) -> int:
    """Append the sum of a tensor and a product of matrices."""
    added, left, right = call.arguments[:3]
    computed = isinstance(left, Computed) and isinstance(right, Computed)
    bias = isinstance(added, Weight) and not computed and added.size in (1, call.shape[-1])
    product = network.add_product(_factor(left), _factor(right), call.shape, bias)
    return product if bias else _plus(network, call, product, added)


def linear(network: ImportedNetwork, call: Call) -> int:
    """Append a product with a transposed matrix, plus a bias."""
    x, matrix, bias = _factor(call.arguments[0]), _factor(call.arguments[1]), call.argument(2)
    if isinstance(matrix, int):
        transposed: int | Shape = network.add_transpose(matrix, (1, 0))
    else:
        transposed = matrix[::-1]
        if isinstance(x, int):
            return network.add_product(x, transposed, call.shape, bias is not None)
    product = network.add_product(x, transposed, call.shape)
    return product if bias is None else _plus(network, call, product, bias)


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
        scores = network.add_product(learned.shape, transposed_key, shape)
        weights = network.add("Softmax", (scores,), shape)
        return network.add("MatMul", (weights, value), call.shape)
    rows = (network.shape(query)[-2], network.shape(key)[-2])
    params = mask.size if mask is not None else math.prod(rows) if call.argument(5, False) else 0
    return network.add_attention(query, key, value, call.step(3), params)


def einsum(network: ImportedNetwork, call: Call) -> int:
    """Append an Einstein sum, as a product of matrices where it is one."""
    operands = [_factor(operand) for operand in call.arguments[1]]
    steps = [operand if isinstance(operand, int) else None for operand in operands]
    shapes = [network.shape(o) if isinstance(o, int) else o for o in operands]
    product = add_einsum(network, call.arguments[0], steps, shapes, call.shape)
    return network.add("Einsum", call.data, call.shape) if product is None else product


def weight_product(network: ImportedNetwork, call: Call) -> int:
    """Append a product of weights alone, as a Gemm that reads no step."""
    is_sum = call.name in ("addmm", "baddbmm")
    left, right = call.weights[is_sum : 2 + is_sum]
    depth = math.prod(right.shape[1:]) if call.name.startswith("conv") else left.shape[-1]
    others = sum(weight.params for weight in call.weights if weight is not right)
    weights = (right.size // depth, depth)
    return network.add("Gemm", (), call.shape, weights=weights, other_params=others)
