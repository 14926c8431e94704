"""Inputs of an ONNX graph: data, weights and given values told apart, with their shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.errors import InputError, closest
from nasplug.search_spaces.importers.onnx_node import Constant, Shape, Tensor

if TYPE_CHECKING:
    import onnx

__all__ = ["Asked", "Inputs", "given_value", "read_inputs"]

_KINDS = {
    "sequence_type": "a sequence",
    "optional_type": "an optional value",
    "map_type": "a map",
    "sparse_tensor_type": "a sparse tensor",
}
# Letters of a name in an error message.
_SHOWN = 80


@dataclass(frozen=True)
class Asked:
    """Sizes and values that the user gives for inputs.

    Attributes:
        shapes: Shapes by name; an empty name means the only input.
        values: Values by name, of inputs that fix shapes or conditions.
    """

    shapes: Mapping[str, Sequence[int]]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Inputs:
    """The inputs of a graph by name.

    Attributes:
        data: Inputs that the network is computed from.
        constants: Inputs that were weights before their values were removed, and those whose value
            is given.
        open_axes: Axes that hold the batch where the file leaves first axes open, by input: those
            axes, and others of the same symbol.
        is_declared: Whether all sizes are the file's own.
        moved: Size that the file declares for first axes, and the size that was asked instead,
            where nothing else was asked; else None.
    """

    data: dict[str, Tensor]
    constants: dict[str, Constant]
    open_axes: dict[str, tuple[int, ...]]
    is_declared: bool
    moved: tuple[int, int] | None = None

    @property
    def batched(self) -> dict[str, Shape]:
        """Shapes of the inputs that may hold the batch: those with an open first axis, else all."""
        is_open = any(0 in axes for axes in self.open_axes.values())
        return {
            name: tensor.shape or ()
            for name, tensor in self.data.items()
            if 0 in self.open_axes.get(name, ()) or not is_open
        }

    def resized(self, axes: Sequence[int | None], old: int, new: int) -> Inputs:
        """The inputs with another batch.

        Args:
            axes: Axis of each of the `batched` inputs that holds the batch, or None. Other axes
                follow by their symbol.
            old: Batch that they have.
            new: Batch that they get.
        """
        held = dict(zip(self.batched, axes, strict=True))
        data = {}
        for name, tensor in self.data.items():
            places = {held.get(name), *self.open_axes.get(name, ())}
            sizes = (
                new if axis in places and size == old else size
                for axis, size in enumerate(tensor.shape or ())
            )
            data[name] = replace(tensor, shape=tuple(sizes))
        return replace(self, data=data, is_declared=False)


def read_inputs(
    graph: onnx.GraphProto, constants: Mapping[str, Constant], asked: Asked, model: str
) -> Inputs:
    """Tell the inputs of a graph apart and fix their shapes.

    An open first axis is a batch of one. Inputs that nothing reads are left out.

    Args:
        graph: The graph of a model.
        constants: Initialisers by name, which old files list among the inputs.
        asked: Sizes and values that the user gives.
        model: Name of the model in error messages.

    Raises:
        InputError: If there is no input, if an input is no tensor, if a size is nowhere given, or
            if what was asked does not fit.
    """
    listed = [value for value in graph.input if value.name not in constants]
    every = [value.name for value in listed]
    if len(set(every)) < len(every):
        raise InputError(f"{model} has two inputs of one name; the file is damaged")
    values: dict[str, Constant] = {}
    for value in listed:
        if value.name in asked.values:
            array = given_value(value, asked.values[value.name], model)
            values[value.name] = Constant(array.shape, value.type.tensor_type.elem_type, array)
    read = _read_names(graph)
    inputs = [v for v in listed if v.name in read and v.name not in values]
    hidden = _weight_inputs(graph, [value.name for value in inputs])
    data = [value for value in inputs if value.name not in hidden]
    names = [value.name for value in data]
    if not listed:
        raise InputError(f"{model} has no input, so it computes a constant")
    shapes = _by_name(asked.shapes, names, model)
    for kind, given in (("shape", shapes), ("value", asked.values)):
        for name in given:
            if name not in every:
                raise InputError(
                    f"input_{kind}s names {name!r}, but the inputs of {model} are "
                    f"{closest(name, every)}"
                )
    open_axes = _open_axes(data, shapes)
    symbols = {_dims(v)[k] for v in data for k in open_axes.get(v.name, ()) if k < len(_dims(v))}
    bound = {symbol: 1 for symbol in symbols if isinstance(symbol, str) and symbol}
    bound |= _bound(data, shapes)
    # Beside other inputs one may be empty, as the cache of a language model before its first word.
    has_full = any(0 not in shapes.get(value.name, _dims(value)) for value in data)
    return Inputs(
        {
            value.name: Tensor(
                value.type.tensor_type.elem_type or 1,
                _sizes(value, shapes.get(value.name), bound, model, has_full),
            )
            for value in data
        },
        {
            **{
                value.name: Constant(
                    tuple(size for size in _dims(value) if isinstance(size, int)),
                    value.type.tensor_type.elem_type,
                )
                for value in inputs
                if value.name in hidden
            },
            **values,
        },
        open_axes,
        not shapes and all(isinstance(size, int) for v in data for size in _dims(v)),
        _moved([(_dims(value), shapes.get(value.name)) for value in data]),
    )


def _by_name(
    shapes: Mapping[str, Any], names: Sequence[str], model: str
) -> dict[str, Sequence[int]]:
    """The given shapes, with the name of the only input in place of an empty one."""
    if "" in shapes and len(names) != 1:
        raise InputError(
            f"a shape without a name is for a network of one input; the inputs of {model} are "
            f"{', '.join(name[:_SHOWN] for name in names)}: name one, as in name=1x3x224x224"
        )
    for name, shape in shapes.items():
        if isinstance(shape, str) or not isinstance(shape, (Sequence, np.ndarray)):
            raise InputError(
                f"input_shapes gives {name[:_SHOWN]!r} {str(shape)[:_SHOWN]}; expected sizes, such "
                "as (1, 3, 224, 224)"
            )
    return {name or names[0]: shape for name, shape in shapes.items()}


def _open_axes(
    data: Sequence[onnx.ValueInfoProto], shapes: Mapping[str, Sequence[int]]
) -> dict[str, tuple[int, ...]]:
    """Axes of the inputs that hold the batch, where the file leaves first axes open; else none."""
    dims = {value.name: _dims(value) for value in data}
    for value in data:
        if not value.type.tensor_type.HasField("shape"):
            dims[value.name] = [""] * len(shapes.get(value.name, ()))
    firsts = {name: sizes[0] for name, sizes in dims.items() if len(sizes) > 1}
    symbols = {first for first in firsts.values() if isinstance(first, str)}
    axes = {
        name: tuple(
            k
            for k, size in enumerate(sizes)
            # An axis without a symbol is a batch in the first place alone.
            if size in symbols and (size or (k == 0 and name in firsts))
        )
        for name, sizes in dims.items()
    }
    return {name: places for name, places in axes.items() if places}


def _bound(
    data: Sequence[onnx.ValueInfoProto], shapes: Mapping[str, Sequence[int]]
) -> dict[str, int]:
    """Sizes of the symbols on the axes of the inputs whose shapes are given."""
    return {
        symbol: size
        for value in data
        for symbol, size in zip(_dims(value), shapes.get(value.name, ()), strict=False)
        if isinstance(symbol, str) and symbol
    }


def _moved(
    pairs: Sequence[tuple[Sequence[int | str], Sequence[int] | None]],
) -> tuple[int, int] | None:
    """Change of the closed first axes that was asked, if all change alike and nothing else does."""
    changes = set()
    for dims, shape in pairs:
        if len(dims) < 2 and shape is None:
            continue
        asked = dims if shape is None else shape
        if not dims or not isinstance(dims[0], int) or list(dims[1:]) != list(asked[1:]):
            return None
        changes.add((dims[0], int(asked[0])))
    return next(iter(changes)) if len(changes) == 1 else None


def _read_names(graph: onnx.GraphProto) -> set[str]:
    """Names that the nodes of a graph and of its inner graphs read, and those of its outputs."""
    names = {output.name for output in graph.output}
    for node in graph.node:
        names.update(node.input)
        for inner in _inner_graphs(node):
            names |= _read_names(inner)
    return names


def _inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def given_value(value: onnx.ValueInfoProto, given: Any, model: str) -> NDArray[Any]:
    """Value that the user gives, in the type and the shape of the input.

    Raises:
        InputError: If it is of another kind or another shape.
    """
    from onnx import helper

    label = f"{model}: input {value.name[:_SHOWN]!r}"
    elem_type = value.type.tensor_type.elem_type
    try:
        with np.errstate(invalid="raise"):
            array = np.asarray(given).astype(helper.tensor_dtype_to_np_dtype(elem_type))
    except (KeyError, TypeError, ValueError, ArithmeticError):
        array = np.empty(0, "U")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{label} is given the value {str(given)[:_SHOWN]}; expected numbers")
    dims = _dims(value)
    if array.size == 1:
        array = array.reshape([1] * len(dims))
    sizes = [
        n if isinstance(size, str) else size for size, n in zip(dims, array.shape, strict=False)
    ]
    is_known = value.type.tensor_type.HasField("shape")
    if is_known and (array.ndim != len(dims) or sizes != list(array.shape)):
        raise InputError(
            f"{label} is given a value of shape {list(array.shape)}; expected {_text(dims)}"
        )
    return array


def _text(dims: Sequence[int | str]) -> str:
    """The axes of an input, for an error message."""
    return "one number" if not dims else f"[{', '.join(str(d)[:40] or '?' for d in dims)}]"


def _dims(value: onnx.ValueInfoProto) -> list[int | str]:
    """Sizes of an input's axes; for an open axis its symbol, or an empty text."""
    return [
        # Some tools write 0 for an open batch.
        dim.dim_value
        if dim.HasField("dim_value") and dim.dim_value > (0 if axis == 0 else -1)
        else str(dim.dim_param)
        for axis, dim in enumerate(value.type.tensor_type.shape.dim)
    ]


def _sizes(
    value: onnx.ValueInfoProto,
    chosen_shape: Sequence[int] | None,
    bound: Mapping[str, int],
    model: str,
    may_be_empty: bool,
) -> Shape:
    """Sizes of an input: as chosen, else as declared, with the sizes of symbols known so far."""
    label = f"{model}: input {value.name[:_SHOWN]!r}"
    if not value.type.HasField("tensor_type"):
        kind = _KINDS.get(value.type.WhichOneof("value"), "no tensor")
        raise InputError(f"{label} is {kind}; only tensors can be inputs")
    has_shape = value.type.tensor_type.HasField("shape")
    dims = _dims(value)
    if chosen_shape is not None:
        if has_shape and len(chosen_shape) != len(dims):
            raise InputError(
                f"{label} has {len(dims)} axes, but input_shapes gives {list(chosen_shape)}"
            )
        least = [1, *[0 if may_be_empty else 1] * len(chosen_shape)]
        if not all(
            isinstance(size, (int, np.integer)) and size >= smallest
            for size, smallest in zip(chosen_shape, least, strict=False)
        ):
            raise InputError(
                f"{label} is given sizes {list(chosen_shape)}; expected positive whole numbers"
            )
        return tuple(int(size) for size in chosen_shape)
    if not has_shape:
        raise InputError(
            f"{label} has no shape; give one, {_shape_example(value.name, (1, 3, 224, 224))}"
        )
    sizes = [bound.get(size, size) if isinstance(size, str) else size for size in dims]
    if sizes and not isinstance(sizes[0], int):
        sizes[0] = 1
    for axis, size in enumerate(sizes):
        if not isinstance(size, int) or (size == 0 and not may_be_empty):
            example = tuple(d if isinstance(d, int) and d else 224 for d in sizes)
            what = f"has axis {axis} of size 0"
            if isinstance(size, str):
                symbol = f" ({size[:40]!r})" if size else ""
                what = f"leaves axis {axis}{symbol} open"
            raise InputError(
                f"{label} {what}; give its shape, {_shape_example(value.name, example)}"
            )
    return tuple(int(size) for size in sizes)


def _shape_example(name: str, shape: Shape) -> str:
    """Words on how a user gives the shape of an input, in the shell and in Python."""
    option = f"{name[:_SHOWN]}={'x'.join(map(str, shape))}"
    if not option.isascii() or not option.isprintable() or " " in option:
        option = "x".join(map(str, shape))
    return f"for example --input-shape {option} or input_shapes={{{name[:_SHOWN]!r}: {shape}}}"


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
