"""Views of traced tensors: tensors that show the memory of others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nasplug.search_spaces.importers.torch_call import Computed, Weight
from nasplug.search_spaces.importers.torch_signatures import Result
from nasplug.search_spaces.importers.torch_steps import TracedNetwork
from nasplug.search_spaces.importers.torch_tensors import Traced, Value, type_name

__all__ = ["link_view"]


def link_view(
    network: TracedNetwork,
    output: Traced,
    parent: Traced,
    name: str,
    values: Sequence[Any],
    results: Sequence[Result | None],
    k: int,
) -> None:
    """Note that output `k` of a call is a view of its first argument."""
    rest = values[1:]
    shape, source_shape = tuple(output.shape), tuple(parent.shape)

    def view(value: Value) -> Value:
        return network.emitted(name, [value, *rest], results)[k]

    def unview(value: Value, whole: Value) -> Value:
        parts = [part for part in (whole, value) if isinstance(part, Computed)]
        if not parts:
            assert isinstance(whole, Weight)
            return whole
        is_whole = math.prod(shape) == math.prod(source_shape)
        if is_whole and not isinstance(value, Computed):
            return Weight(source_shape, value.type, value.parameters)
        network.fields = {"type": type_name(output.dtype), "parameters": ()}
        if not is_whole:
            # Only what is written is computed, but an engine writes it into a copy.
            steps = [part.step for part in parts]
            return Computed(network.add("ScatterND", steps, source_shape))
        assert isinstance(value, Computed)
        order = _order(name, rest, len(shape))
        if order is None:
            return Computed(network.add("Reshape", (value.step,), source_shape))
        inverse = sorted(range(len(order)), key=order.__getitem__)
        return Computed(network.add_transpose(value.step, inverse))

    node = output.node
    node.parent, node.view, node.unview = parent.node, view, unview
    node.version = node.root.version


def _order(name: str, arguments: Sequence[Any], rank: int) -> list[int] | None:
    """Input axis of each output axis of a permutation; None for another view."""
    if name == "permute":
        return [axis % rank for axis in arguments[0]]
    if name in ("transpose", "swapaxes", "t") and rank > 1:
        order = list(range(rank))
        first, second = (arguments[0], arguments[1]) if len(arguments) > 1 else (0, 1)
        order[first], order[second] = order[second], order[first]
        return order
    return None
