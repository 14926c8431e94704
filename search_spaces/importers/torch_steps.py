"""Steps of the calls in a forward pass, with element types and parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nasplug.search_spaces.importers.network import ImportedNetwork
from nasplug.search_spaces.importers.torch_call import (
    Call,
    Computed,
    Shape,
    Weight,
    is_floating,
    words,
)
from nasplug.search_spaces.importers.torch_operators import MAPPED, add_call
from nasplug.search_spaces.importers.torch_products import weight_product
from nasplug.search_spaces.importers.torch_signatures import SHAPED_LIKE, Result
from nasplug.search_spaces.importers.torch_tensors import Value, parts, type_name
from nasplug.search_spaces.operators import KNOWN_OPS

__all__ = ["TracedNetwork", "reads_data"]

# Functions with multiply-accumulates, which are steps even where they read weights alone.
_PRODUCTS = words("linear matmul mm bmm addmm baddbmm conv1d conv2d conv3d")
_INTEGER_PRODUCTS = words("_int_mm _scaled_mm")
# Functions that read the type or the shape of their second argument alone.
_LIKE_ANOTHER = words("type_as expand_as view_as reshape_as")
# Types in which weights are stored that a network widens before it multiplies by them.
_QUANTISED = frozenset({"int8", "uint8", "float8", "int4", "uint4"})


class TracedNetwork(ImportedNetwork):
    """Network whose new steps have the types and parameters of the call that adds them.

    Attributes:
        fields: Those fields of the next steps.
        unknown: Operators whose cost is not known, in the order of their appearance.
    """

    def __init__(self, name: str, folds: bool) -> None:
        super().__init__(name)
        self.fields: dict[str, Any] = {}
        self.folds = folds
        self.unknown: dict[str, None] = {}

    def add(self, op: str, inputs: Sequence[int], shape: Sequence[int], **fields: Any) -> int:
        """Append a step and return its position."""
        return super().add(op, inputs, shape, **{**self.fields, **fields})

    def emitted(
        self, name: str, values: Sequence[Any], results: Sequence[Result | None]
    ) -> list[Value]:
        """Append the steps of a call, and give the value of each output."""
        outputs = [result for result in results if result is not None]
        weights = [part for part in parts(values) if part.__class__ is Weight]
        types = [type_name(result[2]) for result in outputs]
        # The other tensor gives its type or its shape alone.
        read = values[:1] if name in _LIKE_ANOTHER else values
        is_data = reads_data(read) and name not in SHAPED_LIKE
        is_product = name in _PRODUCTS and not self.folds and is_floating(types[0])
        if not is_data and not is_product:
            return [
                Weight((), "bool")
                if result is None
                else _joined(weights, result[0], type_name(result[2]))
                for result in results
            ]
        first = values[0][0] if isinstance(values[0], list) and values[0] else values[0]
        if first.__class__ is Computed:
            source_type = self.steps[first.step].type
        else:
            source_type = first.type if first.__class__ is Weight else types[0]
        parameters = tuple(dict.fromkeys(p for weight in weights for p in weight.parameters))
        main = max(weights, key=_size, default=None)
        is_read = main is not None and (main.params or name in _INTEGER_PRODUCTS)
        weight_type = main.stored or main.type if main is not None and is_read else ""
        self.fields = {
            "type": types[0],
            "weight_type": weight_type if weight_type != types[0] else "",
            "parameters": parameters,
        }
        shapes = tuple(result[0] for result in outputs)
        call = Call(name, tuple(values), shapes, (source_type, types[0]))
        positions = add_call(self, call) if is_data else [weight_product(self, call)]
        label = self.steps[-1].op
        if label not in KNOWN_OPS and name not in MAPPED:
            self.unknown[label] = None
        positions += positions[-1:] * (len(results) - len(positions))
        return [Computed(position) for position in positions]


def reads_data(values: Sequence[Any]) -> bool:
    """Whether a value, or an item of a list, is computed."""
    for value in values:
        if value.__class__ is Computed or (value.__class__ is list and reads_data(value)):
            return True
    return False


def _size(weight: Weight) -> int:
    return weight.size


def _joined(weights: Sequence[Weight], shape: Shape, type_: str) -> Weight:
    """Constant that is computed from other constants."""
    parameters = tuple(dict.fromkeys(p for weight in weights for p in weight.parameters))
    main = max(weights, key=_size, default=None)
    stored = ""
    if main is not None and is_floating(type_):
        stored = main.stored or (main.type if main.type in _QUANTISED else "")
        if stored and 2 * main.size == math.prod(shape):
            stored = "int4"
        elif main.size != math.prod(shape):
            stored = ""
    return Weight(shape, type_, parameters, stored)
