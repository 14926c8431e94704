"""Steps of the ATen functions that are several operators of ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from nasplug.search_spaces.importers.network import ImportedNetwork
from nasplug.search_spaces.importers.torch_call import Call, Computed, Weight
from nasplug.search_spaces.importers.torch_products import sides, unknown

__all__ = [
    "added_product",
    "bag",
    "channel_shuffle",
    "deviation",
    "extremes",
    "floor_division",
    "gated",
    "in_turn",
    "interpolated",
    "rsqrt",
    "variance",
    "variance_and_mean",
]

Handler = Callable[[ImportedNetwork, Call], int]
# Operators of which one operand is a number here.
_WITH_NUMBER = frozenset({"Add", "Sub", "Mul", "Div"})


def added_product(network: ImportedNetwork, call: Call) -> int:
    """Add the product of two tensors to a third."""
    added, *factors = call.arguments[:3]
    shapes = [
        network.shape(factor.step) if isinstance(factor, Computed) else factor.shape
        for factor in factors
    ]
    shape = np.broadcast_shapes(*shapes)
    steps = [factor.step for factor in factors if isinstance(factor, Computed)]
    params = sum(factor.params for factor in factors if isinstance(factor, Weight))
    inputs = [added.step] if isinstance(added, Computed) else []
    constant = added.params if isinstance(added, Weight) else 0
    if steps:
        inputs.append(network.add("Mul", steps, shape, other_params=params))
    else:
        constant += math.prod(shape)
    return network.add("Add", inputs, call.shape, other_params=constant)


def variance_and_mean(network: ImportedNetwork, call: Call) -> list[int]:
    """Append the mean of (x − mean(x))², and the mean of x."""
    source, axes = call.source(), call.argument(1)
    shape = network.shape(source)
    # Without axes the second argument is the flag for the sample's correction.
    whole = axes is None or axes == [] or isinstance(axes, bool)
    reduced = {axis % len(shape) for axis in (range(len(shape)) if whole else sides(axes, 1))}
    mean_shape = [1 if axis in reduced else size for axis, size in enumerate(shape)]
    mean = network.add("ReduceMean", (source,), mean_shape)
    centred = network.add("Sub", (source, mean), shape)
    square = network.add("Mul", (centred, centred), shape)
    variance = network.add("ReduceMean", (square,), call.shape)
    return [variance, network.add("Reshape", (mean,), call.shape)]


def variance(network: ImportedNetwork, call: Call) -> int:
    """Append the mean of (x − mean(x))²."""
    return variance_and_mean(network, call)[0]


def deviation(network: ImportedNetwork, call: Call) -> int:
    """Append the root of the variance."""
    return network.add("Sqrt", (variance(network, call),), call.shape)


def gated(network: ImportedNetwork, call: Call) -> int:
    """Append a gated linear unit: one half of the channels times the sigmoid of the other half."""
    halves = [network.add("Slice", (call.source(),), call.shape) for _ in range(2)]
    gate = network.add("Sigmoid", halves[1:], call.shape)
    return network.add("Mul", (halves[0], gate), call.shape)


def in_turn(*ops: str) -> Handler:
    """Make a handler for operators of which each reads the result of the one before."""

    def handler(network: ImportedNetwork, call: Call) -> int:
        result = call.source()
        for op in ops:
            number = (math.nan,) if op in _WITH_NUMBER else ()
            result = network.add(op, (result,), call.shape, number=number)
        return result

    return handler


def interpolated(network: ImportedNetwork, call: Call) -> int:
    """Add a part of the way from one tensor to another."""
    way = network.add("Sub", call.data[:2], call.shape)
    # A weight that is a tensor is the third operand.
    part = network.add("Mul", (way, *call.data[2:]), call.shape)
    return network.add("Add", (call.data[0], part), call.shape, other_params=call.params())


def floor_division(network: ImportedNetwork, call: Call) -> int:
    """Append a quotient that is rounded down."""
    ratio = network.add("Div", call.data, call.shape, other_params=call.params())
    return network.add("Floor", (ratio,), call.shape)


def extremes(network: ImportedNetwork, call: Call) -> list[int]:
    """Append the smallest and the largest number along an axis."""
    return [network.add(op, (call.source(),), call.shape) for op in ("ReduceMin", "ReduceMax")]


def bag(network: ImportedNetwork, call: Call) -> int:
    """Append the choice of rows from a table, and their sum or mean."""
    table, indices = call.weight(0), call.step(1)
    if table is None or indices is None:
        return unknown(network, call)
    chosen = (*network.shape(indices), *table.shape[1:])
    rows = network.add("Gather", (indices,), chosen, other_params=call.params())
    return network.add("ReduceSum", (rows,), call.shape)


def channel_shuffle(network: ImportedNetwork, call: Call) -> int:
    """Take one channel of each group in turn."""
    batch, channels, *image = call.shape
    groups = call.argument(1)
    apart = (batch, groups, channels // groups, math.prod(image))
    parts = network.add("Reshape", (call.source(),), apart)
    return network.add("Reshape", (network.add_transpose(parts, (0, 2, 1, 3)),), call.shape)


def rsqrt(network: ImportedNetwork, call: Call) -> int:
    """Append one over the root."""
    root = network.add("Sqrt", (call.source(),), call.shape)
    return network.add("Reciprocal", (root,), call.shape)
