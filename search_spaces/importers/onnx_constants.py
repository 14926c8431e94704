"""Constants of an ONNX graph: read from the file, or computed from other constants."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nasplug.search_spaces.costs import TYPE_BYTES
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.importers.onnx_loading import shown
from nasplug.search_spaces.importers.onnx_node import Constant, NodeView, Shape, element_type, named
from nasplug.search_spaces.importers.steps import MAX_ELEMENTS

if TYPE_CHECKING:
    import onnx

__all__ = ["constant", "constant_node", "folded", "shape_value", "sparse_constant"]

# Constants up to this size are kept by value: they may be shapes, axes or scales.
MAX_VALUES = 4_096
# Larger constants are no masks.
MAX_MASK_BYTES = 2**24
# Operators that an engine applies to a weight before it runs, in the type in which it is stored.
_MOVES = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice"})
# Operators with which exporters compute target shapes; all are cheap on a few numbers.
_SHAPE_ARITHMETIC = (
    "Abs Add And ArgMax ArgMin BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike "
    "Ceil Clip Compress Concat ConstantOfShape CumSum Div Equal Exp Expand EyeLike Flatten Floor "
    "Gather GatherElements GatherND Greater GreaterOrEqual Identity IsInf IsNaN Less LessOrEqual "
    "Log MatMul Max Mean Min Mod Mul Neg NonZero Not OneHot Or Pad Pow Range Reciprocal ReduceMax "
    "ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Round ScatterElements ScatterND Sign "
    "Slice Split Sqrt Squeeze Sub Sum Tile TopK Transpose Trilu Trunc Unique Unsqueeze Where Xor"
)
# Operators on each element, and such that spread or move elements.
_OF_EACH = frozenset({"Where", "Cast", "Not", "And", "Or", "Equal", "Add", "Sub", "Mul"})
_SPREADING = _MOVES | {"Expand", "Tile"}
# Those whose output's size follows from values.
_SIZED_BY_VALUES = frozenset({"Compress", "NonZero", "Unique"})
# Version of the operators that constants are computed with; attributes of older versions that it
# reads as inputs of another name.
_NEWEST = 23
_RENAMED = {"value": "constant_value", "k": "K"}
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
    result = _valued(shape, tensor.data_type, value, tensor.name)
    if value is None and not outside:
        result = replace(result, uniform=_stored_number(tensor))
    return named(result, tensor.name)


def _stored_number(tensor: onnx.TensorProto) -> float | None:
    """The number that all of a tensor are, as those of a mask that hides nothing."""
    from onnx import helper

    size, data = math.prod(tensor.dims), tensor.raw_data
    width = len(data) // size if size else 0
    # Most weights are told by their first numbers.
    if not width or len(data) > MAX_MASK_BYTES or data[: 64 * width] != data[:width] * 64:
        return None
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except KeyError:
        return None
    if dtype.kind not in "biuf" or dtype.itemsize != width or data != data[:width] * size:
        return None
    return float(np.frombuffer(data[:width], dtype)[0])


def _valued(shape: Shape, elem_type: int, value: Any, name: str) -> Constant:
    """Constant of the file, with the reason where its value is not known."""
    reason = f"the value of {shown(name)} is not in the file; keep the constants of shapes"
    if math.prod(shape) > MAX_VALUES:
        reason = f"the value of {shown(name)} has more than {MAX_VALUES:,} numbers"
    return Constant(shape, elem_type, value, unknown="" if value is not None else reason)


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


def folded(view: NodeView) -> list[Constant]:
    """Outputs of a node that reads constants alone, by value where it computes on a few numbers."""
    constants = [source for source in view.inputs if isinstance(source, Constant)]
    sized_by_values = view.op in _SIZED_BY_VALUES
    small = all(
        math.prod(tensor.shape) <= MAX_VALUES if tensor.shape is not None else sized_by_values
        for tensor in view.outputs
    )
    arrays: list[Any] | None = None
    foldable = view.is_standard and view.op in _SHAPE_ARITHMETIC.split() and small
    if foldable and constants and all(source.value is not None for source in constants):
        arrays = _evaluated(view)
    unknown = next((source.unknown for source in constants if source.value is None), "")
    unknown = unknown or f"the value that a {view.label} computes is not followed"
    origin = _origin(view, constants)
    uniform = None if arrays else _uniform(view)
    results = []
    for tensor, array in zip(view.outputs, arrays or [None] * len(view.outputs), strict=True):
        shape = tensor.shape if array is None else array.shape
        reason = unknown if array is None else ""
        results.append(Constant(shape, tensor.elem_type, array, *origin, reason, uniform))
    return results


def _uniform(view: NodeView) -> float | None:
    """The number that all numbers of an output are, where all of each input are one."""
    if not view.is_standard or view.op not in _OF_EACH | _SPREADING or len(view.outputs) != 1:
        return None
    # A target shape is no number of the output.
    read = view.inputs[:1] if view.op in _SPREADING else view.inputs
    numbers = []
    for source in read:
        if not isinstance(source, Constant):
            return None
        number = source.number if source.size == 1 else source.uniform
        if number is None and source.value is not None and source.size:
            is_one = bool((source.value == source.value.flat[0]).all())
            number = float(source.value.flat[0]) if is_one else None
        single = None if number is None else _one_number(number, source)
        if single is None:
            return None
        numbers.append(replace(source, shape=(1,), value=single))
    if view.op in _SPREADING:
        return numbers[0].number
    reduced = replace(view, inputs=[*numbers], outputs=[replace(view.outputs[0], shape=(1,))])
    arrays = _evaluated(reduced)
    return None if arrays is None or arrays[0] is None else float(arrays[0][0])


def _one_number(number: float, source: Constant) -> Any:
    """A number in the type of a constant; None if it is none of that type."""
    from onnx import helper

    try:
        dtype = helper.tensor_dtype_to_np_dtype(source.elem_type)
        return None if math.isnan(number) else np.array([number], dtype)
    except (KeyError, OverflowError, TypeError, ValueError):
        return None


def _origin(
    view: NodeView, constants: Sequence[Constant]
) -> tuple[tuple[tuple[str, int], ...], int, int]:
    """Tensors of the file that a constant is computed from, their type and bytes of scales."""
    if not constants:
        return (), 0, 0
    first = constants[0]
    if view.op == "DequantizeLinear":
        scales = sum(
            int(TYPE_BYTES[element_type(scale.elem_type)] * scale.size)
            for scale in constants[1:2]
            if scale.size > 1
        )
        return first.parameters, first.elem_type, scales
    # The moments of a batch normalisation are no parameters.
    read = constants[:3] if view.op == "BatchNormalization" else constants
    numbers = [source for source in read if source.elem_type not in _COUNTERS]
    parameters = dict(pair for source in numbers for pair in source.parameters)
    moved = (first.stored, first.scale_bytes) if view.op in _MOVES else (0, 0)
    return tuple(parameters.items()), *moved


def _evaluated(view: NodeView) -> list[Any] | None:
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    try:
        node, feeds = _newest(view)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = ReferenceEvaluator(node, opsets={"": _NEWEST}).run(None, feeds)
        arrays = []
        for result, tensor in zip(results, view.outputs, strict=True):
            array = np.asarray(result)
            fits = tensor.shape in (None, array.shape) and array.size <= MAX_VALUES
            numeric = array.dtype.kind in "biuf"
            dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
            arrays.append(array.astype(dtype) if fits and numeric else None)
    except Exception:
        # The value counts as unknown; an error follows if it is needed.
        return None
    return arrays


def _newest(view: NodeView) -> tuple[onnx.NodeProto, dict[str, Any]]:
    """A node in the newest version of its operator, and the values that it reads."""
    from onnx import defs, helper

    schema = defs.get_schema(view.op, _NEWEST, "")
    slots = {parameter.name: k for k, parameter in enumerate(schema.inputs)}
    feeds: dict[str, Any] = {
        f"x{k}": source.value
        for k, source in enumerate(view.inputs)
        if isinstance(source, Constant)
    }
    names = [f"x{k}" if source is not None else "" for k, source in enumerate(view.inputs)]
    attributes = dict(view.attributes)
    for name, value in view.attributes.items():
        slot = slots.get(_RENAMED.get(name, name))
        if name not in schema.attributes and slot is not None:
            names += [""] * (slot + 1 - len(names))
            # The type of the data is that of a bound or of padding.
            dtype = None if name in ("value", "min", "max") else np.int64
            like = feeds["x0"].dtype if dtype is None else dtype
            names[slot] = f"x{slot}"
            feeds[names[slot]] = np.asarray([value] if name == "k" else value, like)
            del attributes[name]
    if view.op == "Split" and len(names) < 2:
        attributes["num_outputs"] = len(view.outputs)
    outputs = [f"y{k}" for k in range(len(view.outputs))]
    return helper.make_node(view.op, names, outputs, **attributes), feeds
