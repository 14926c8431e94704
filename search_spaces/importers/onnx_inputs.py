"""Inputs of an ONNX graph: data and weights told apart, with shapes for one image."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nasplug.search_spaces.errors import InputError, closest
from nasplug.search_spaces.importers.onnx_node import Constant, Shape, Tensor

if TYPE_CHECKING:
    import onnx

__all__ = ["Inputs", "read_inputs"]


@dataclass(frozen=True)
class Inputs:
    """The inputs of a graph by name.

    Attributes:
        data: Inputs that the network is computed from, for one image.
        weights: Inputs that were weights before their values were removed.
        old_batch: Axis 0 of the inputs as the file fixes it; 1 if the file leaves it open.
    """

    data: dict[str, Tensor]
    weights: dict[str, Constant]
    old_batch: int


def read_inputs(
    graph: onnx.GraphProto,
    constants: Container[str],
    input_shapes: Mapping[str, Sequence[int]],
    model: str,
) -> Inputs:
    """Tell the inputs of a graph apart and fix their shapes, axis 0 as a batch of one.

    Args:
        graph: The graph of a model.
        constants: Names of initialisers, which old files list among the inputs.
        input_shapes: Shapes by name, for inputs that the file leaves open.
        model: Name of the model in error messages.

    Raises:
        InputError: If there is no input, if an input is no tensor, or if a size is nowhere given.
    """
    inputs = [value for value in graph.input if value.name not in constants]
    hidden = _weight_inputs(graph, [value.name for value in inputs])
    data = [value for value in inputs if value.name not in hidden]
    names = [value.name for value in data]
    if not data:
        raise InputError(f"{model} has no input, so it computes a constant")
    if len(set(names)) < len(names):
        raise InputError(f"{model} has two inputs of one name; the file is damaged")
    for asked_name in input_shapes:
        if asked_name not in names:
            raise InputError(
                f"input_shapes names {asked_name!r}, but the inputs of {model} are "
                f"{closest(asked_name, names)}"
            )
    symbols = {_dims(value)[0] for value in data if len(_dims(value)) > 1}
    batch_symbols = {size for size in symbols if isinstance(size, str) and size}
    fixed = {
        size
        for value in data
        if value.name not in input_shapes and len(_dims(value)) > 1
        for size in _dims(value)[:1]
        if isinstance(size, int) and size > 1
    }
    return Inputs(
        {
            value.name: Tensor(
                value.type.tensor_type.elem_type or 1,
                _one_image(value, input_shapes.get(value.name), batch_symbols, model),
            )
            for value in data
        },
        {
            value.name: Constant(
                tuple(size for size in _dims(value) if isinstance(size, int)),
                value.type.tensor_type.elem_type,
            )
            for value in inputs
            if value.name in hidden
        },
        next(iter(fixed)) if len(fixed) == 1 else 1,
    )


def _dims(value: onnx.ValueInfoProto) -> list[int | str]:
    """Sizes of an input's axes; for an open axis its symbol, or an empty text."""
    return [
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else str(dim.dim_param)
        for dim in value.type.tensor_type.shape.dim
    ]


def _one_image(
    value: onnx.ValueInfoProto,
    chosen_shape: Sequence[int] | None,
    batch_symbols: set[str],
    model: str,
) -> Shape:
    label = f"{model}: input {value.name[:80]!r}"
    if not value.type.HasField("tensor_type"):
        raise InputError(f"{label} is no tensor; only tensors can be inputs")
    has_shape = value.type.tensor_type.HasField("shape")
    dims = _dims(value)
    if chosen_shape is not None:
        if has_shape and len(chosen_shape) != len(dims):
            raise InputError(
                f"{label} has {len(dims)} axes, but input_shapes gives {list(chosen_shape)}"
            )
        if not all(isinstance(size, int) and size > 0 for size in chosen_shape):
            raise InputError(
                f"{label} is given sizes {list(chosen_shape)}; expected positive whole numbers"
            )
        dims = list(chosen_shape)
    elif not has_shape:
        raise InputError(
            f"{label} has no shape; give one, for example "
            f"input_shapes={{{value.name[:80]!r}: (1, 3, 224, 224)}}"
        )
    if len(dims) > 1:
        dims = [1, *(1 if size in batch_symbols else size for size in dims[1:])]
    elif dims and not isinstance(dims[0], int):
        dims = [1]
    for axis, size in enumerate(dims):
        if not isinstance(size, int):
            example = tuple(d if isinstance(d, int) else 224 for d in dims)
            raise InputError(
                f"{label} leaves axis {axis}{f' ({size[:40]!r})' if size else ''} open; give its "
                f"shape, for example input_shapes={{{value.name[:80]!r}: {example}}}"
            )
    return tuple(int(size) for size in dims)


# Positions at which operators read weights: inputs that are read there alone were weights once.
_WEIGHT_SLOTS: dict[str, frozenset[int]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm"), frozenset({1, 2})),
    "BatchNormalization": frozenset({1, 2, 3, 4}),
    **dict.fromkeys(("InstanceNormalization", "LayerNormalization", "Clip"), frozenset({1, 2})),
    **dict.fromkeys(("PRelu", "Reshape", "Expand", "Tile", "Unsqueeze", "Pad"), frozenset({1})),
    **dict.fromkeys(("Slice", "Resize"), frozenset({1, 2, 3, 4})),
}
_EITHER_SLOT = frozenset({"Add", "Mul", "Sub", "Div", "Pow"})


def _weight_inputs(graph: onnx.GraphProto, names: Sequence[str]) -> set[str]:
    """Inputs of a graph that are weights whose values were removed.

    Files that hold structure alone keep weights as inputs. An input is taken for a weight if its
    shape is fixed and every operator reads it at the position of a weight: the second operand of a
    convolution, a vector that is added, a matrix that a computed tensor is multiplied by.

    Args:
        graph: The graph of a model.
        names: Names of the inputs that may be weights.
    """
    candidates = set(names)
    ranks: dict[str, int] = {}
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        fixed = value.type.tensor_type.HasField("shape") and all(d.dim_value > 0 for d in dims)
        if value.name in candidates and fixed:
            ranks[value.name] = len(dims)
    other_use = set(candidates) - set(ranks)
    used: set[str] = set()
    for node in graph.node:
        slots = _WEIGHT_SLOTS.get(node.op_type, frozenset())
        for k, source in enumerate(node.input):
            if source not in candidates:
                continue
            used.add(source)
            rank = ranks.get(source, 9)
            vector = node.op_type in _EITHER_SLOT and rank <= 1
            matrix = node.op_type == "MatMul" and k == 1 and rank == 2
            if node.op_type == "MatMul" and node.input[0] in candidates:
                matrix = False
            if not (k in slots or vector or matrix):
                other_use.add(source)
    weights = (used & set(ranks)) - other_use
    # At least one input must remain for the network to be computed from.
    return weights if candidates - weights else set()
