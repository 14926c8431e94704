"""Steps of the ATen functions that move data: permutations, parts of tensors and their joins."""

from __future__ import annotations

from nasplug.search_spaces.importers.network import ImportedNetwork
from nasplug.search_spaces.importers.torch_call import Call
from nasplug.search_spaces.importers.torch_products import sides, unknown

__all__ = [
    "flip",
    "index_select",
    "permute",
    "roll",
    "select",
    "split",
    "stack",
    "transpose",
    "unbind",
]


def permute(network: ImportedNetwork, call: Call) -> int:
    """Append a Transpose by all axes."""
    rank = len(call.shape)
    return network.add_transpose(call.source(), [axis % rank for axis in call.argument(1)])


def transpose(network: ImportedNetwork, call: Call) -> int:
    """Append a Transpose of two axes."""
    perm = list(range(len(call.shape)))
    # `t` has no axes: it swaps the only two.
    a, b = (call.argument(1), call.argument(2)) if len(call.arguments) > 1 else (0, -1)
    if perm:
        perm[a], perm[b] = perm[b], perm[a]
    return network.add_transpose(call.source(), perm)


def select(network: ImportedNetwork, call: Call) -> int:
    """Append the part of one index along an axis."""
    shape = list(network.shape(call.source()))
    shape[call.argument(1)] = 1
    part = network.add("Slice", (call.source(),), shape)
    return network.add("Reshape", (part,), call.shape)


def split(network: ImportedNetwork, call: Call) -> list[int]:
    """Append a Slice for each part, since exporters write a Split or Slices."""
    return [network.add("Slice", (call.source(),), shape) for shape in call.outputs]


def unbind(network: ImportedNetwork, call: Call) -> list[int]:
    """Append a Slice for each index along an axis."""
    part_shape = list(network.shape(call.source()))
    part_shape[call.argument(1, 0)] = 1
    parts = [network.add("Slice", (call.source(),), part_shape) for _ in call.outputs]
    return [
        network.add("Reshape", (part,), shape)
        for part, shape in zip(parts, call.outputs, strict=True)
    ]


def roll(network: ImportedNetwork, call: Call) -> int:
    """Cut each axis in two and join the parts the other way round, as exporters write it."""
    rolled, axes = call.source(), call.argument(2, ())
    if not axes:
        return unknown(network, call)
    for shift, axis in zip(sides(call.argument(1), 1), sides(axes, 1), strict=True):
        shape = list(network.shape(rolled))
        tail = shift % shape[axis]
        if tail:
            parts = []
            for size in (shape[axis] - tail, tail):
                shape[axis] = size
                parts.append(network.add("Slice", (rolled,), shape))
            rolled = network.add("Concat", parts, call.shape)
    return rolled


def flip(network: ImportedNetwork, call: Call) -> int:
    """Append a Slice that goes backwards."""
    # A negative number marks a slice that goes backwards.
    return network.add("Slice", (call.source(),), call.shape, number=(-1.0,))


def stack(network: ImportedNetwork, call: Call) -> int:
    """Give each part a new axis, and join the parts along it."""
    axis = call.argument(1, 0) % len(call.shape)
    part = (*call.shape[:axis], 1, *call.shape[axis + 1 :])
    joined = [network.add("Reshape", (source,), part) for source in call.data]
    return network.add("Concat", joined, call.shape, other_params=call.params())


def index_select(network: ImportedNetwork, call: Call) -> int:
    """Append the parts of several indices along an axis."""
    index = call.weight(2)
    if index is not None and index.size == 1:
        return network.add("Slice", (call.source(),), call.shape)
    return network.add("Gather", call.data, call.shape, other_params=call.params())
