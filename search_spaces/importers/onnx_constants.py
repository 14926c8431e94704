"""Constants of an ONNX graph: read from the file, or computed from other constants."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.importers.onnx_node import Constant, NodeView, Shape, named
from nasplug.search_spaces.importers.steps import MAX_ELEMENTS

if TYPE_CHECKING:
    import onnx

__all__ = ["constant", "constant_node", "folded", "shape_value", "sparse_constant"]

# Constants up to this size are kept by value: they may be shapes, axes or scales.
MAX_VALUES = 4_096
# Operators with which exporters compute target shapes; all are cheap on a few numbers.
_SHAPE_ARITHMETIC = (
    "Abs Add And Cast CastLike Ceil Concat ConstantOfShape Div Equal Expand Flatten Floor Gather "
    "Greater GreaterOrEqual Identity Less LessOrEqual Max Min Mod Mul Neg Not Or Pow Range "
    "ReduceMax ReduceMin ReduceProd ReduceSum Reshape ScatterND Slice Split Sqrt Squeeze Sub Tile "
    "Transpose Unsqueeze Where"
)
# Operators that an engine applies to a weight before it runs, in the type in which it is stored.
_MOVES = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice"})
# Types of whole numbers that count and point: bool, int32, int64, uint32, uint64.
_COUNTERS = frozenset({6, 7, 9, 12, 13})


def constant(tensor: onnx.TensorProto, model: str) -> Constant:
    """Read a tensor of the file, by value if it is small and inside the file.

    Raises:
        InputError: If its shape is that of no tensor.
    """
    from onnx import TensorProto, numpy_helper

    shape = _checked(tensor.dims, model)
    value = None
    # Another file is never opened, even if the model refers to it.
    outside = tensor.data_location == TensorProto.EXTERNAL or len(tensor.external_data) > 0
    if not outside and math.prod(shape) <= MAX_VALUES:
        try:
            value = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, RuntimeError, KeyError, OverflowError):
            value = None
    if value is not None and value.dtype.kind not in "biuf":
        value = None
    return named(Constant(shape, tensor.data_type, value), tensor.name)


def sparse_constant(sparse: onnx.SparseTensorProto, model: str) -> Constant:
    """Read the shape of a sparse tensor of the file.

    Raises:
        InputError: If its shape is that of no tensor.
    """
    shape = _checked(sparse.dims, model)
    return named(Constant(shape, sparse.values.data_type), sparse.values.name)


def _checked(dims: Sequence[int], model: str) -> Shape:
    shape = tuple(dims)
    if any(size < 0 for size in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise InputError(
            f"{model} has a constant of shape {list(shape)[:10]}; expected sizes of a tensor that "
            "fits a device"
        )
    return shape


def constant_node(view: NodeView) -> Constant:
    """Read the value of a Constant node.

    Raises:
        InputError: If the node holds no value.
    """
    from onnx import SparseTensorProto, TensorProto

    for key, value in view.attributes.items():
        if key == "value" and isinstance(value, TensorProto):
            return constant(value, view.model)
        if key == "sparse_value" and isinstance(value, SparseTensorProto):
            return sparse_constant(value, view.model)
        if key in ("value_int", "value_ints", "value_float", "value_floats"):
            integral = key.startswith("value_int")
            try:
                array = np.asarray(value, np.int64 if integral else np.float32)
            except (ValueError, TypeError, OverflowError):
                raise view.wrong(key, value, "numbers") from None
            elem_type = TensorProto.INT64 if integral else TensorProto.FLOAT
            return Constant(array.shape, elem_type, array if array.size <= MAX_VALUES else None)
        if key in ("value_string", "value_strings"):
            return Constant((), TensorProto.STRING)
    raise InputError(f"{view.model} has a Constant without a value")


def shape_value(view: NodeView) -> Constant | None:
    """Compute the output of a Shape or Size for an input of known shape; else None."""
    from onnx import TensorProto

    shape = view.input_shapes[0]
    if shape is None:
        return None
    if view.op == "Size":
        return Constant((), TensorProto.INT64, np.asarray(math.prod(shape), np.int64))
    start, end = view.whole("start", 0), view.whole("end", len(shape))
    sizes = np.asarray(shape[slice(start, end)], np.int64)
    return Constant(sizes.shape, TensorProto.INT64, sizes)


def folded(view: NodeView, opset: int) -> list[Constant]:
    """Outputs of a node that reads constants alone, by value where it computes on a few numbers."""
    constants = [source for source in view.inputs if isinstance(source, Constant)]
    values: list[Any] | None = None
    small = all(
        tensor.shape is not None and math.prod(tensor.shape) <= MAX_VALUES
        for tensor in view.outputs
    )
    foldable = view.is_standard and view.op in _SHAPE_ARITHMETIC.split() and small
    if foldable and constants and all(source.value is not None for source in constants):
        values = _evaluated(view, opset)
    parameters, stored = _origin(view, constants)
    return [
        Constant(tensor.shape, tensor.elem_type, value, parameters, stored)
        for tensor, value in zip(view.outputs, values or [None] * len(view.outputs), strict=True)
    ]


def _origin(
    view: NodeView, constants: Sequence[Constant]
) -> tuple[tuple[tuple[str, int], ...], int]:
    """Tensors of the file that a constant is computed from, and the type that they stay in."""
    if not constants:
        return (), 0
    first = constants[0]
    if view.op == "DequantizeLinear":
        return first.parameters, first.elem_type
    numbers = [source for source in constants if source.elem_type not in _COUNTERS]
    parameters = dict(pair for source in numbers for pair in source.parameters)
    return tuple(parameters.items()), first.stored if view.op in _MOVES else 0


def _evaluated(view: NodeView, opset: int) -> list[Any] | None:
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    feeds = {
        f"x{k}": source.value
        for k, source in enumerate(view.inputs)
        if isinstance(source, Constant)
    }
    names = [f"x{k}" if source is not None else "" for k, source in enumerate(view.inputs)]
    outputs = [f"y{k}" for k in range(len(view.outputs))]
    try:
        node = helper.make_node(view.op, names, outputs, **view.attributes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = ReferenceEvaluator(node, opsets={"": opset}).run(None, feeds)
    except Exception:
        # The value counts as unknown; an error follows if it is needed.
        return None
    values: list[Any] = []
    for value, tensor in zip(results, view.outputs, strict=True):
        array = np.asarray(value)
        fits = array.shape == tensor.shape and array.dtype.kind in "biuf"
        values.append(array if fits else None)
    return values
