"""Steps of single ONNX nodes: which operator a node is, which inputs are data, which parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from nasplug.search_spaces.costs import TYPE_BYTES
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.importers import onnx_transforms
from nasplug.search_spaces.importers.einsum import add_einsum
from nasplug.search_spaces.importers.network import ImportedNetwork
from nasplug.search_spaces.importers.onnx_node import Constant, NodeView, Shape, element_type
from nasplug.search_spaces.importers.recurrent import add_recurrent
from nasplug.search_spaces.importers.steps import GATES, Step

__all__ = ["HANDLED", "add_steps"]

# A handler appends the steps of a node and returns the position of each output, or of all of them.
Handler = Callable[[ImportedNetwork, NodeView], "int | list[int]"]


def add_steps(network: ImportedNetwork, view: NodeView) -> list[int]:
    """Append the steps of a node.

    Returns:
        Position of each output; the last position stands for further outputs too.

    Raises:
        InputError: If the node does not fit its inputs.
    """
    handler = _HANDLERS.get(view.op, _plain) if view.is_standard else _plain
    start, network.type = len(network.steps), view.type
    positions = handler(network, view)
    _set_parameters(network, start, view)
    return [positions] if isinstance(positions, int) else positions


def _set_parameters(network: ImportedNetwork, start: int, view: NodeView) -> None:
    """Name the parameters of a node's steps, from `start` on: the first that has any reads them."""
    new = range(start, len(network.steps))
    reader = next((k for k in new if _has_weights(network.steps[k])), None)
    parameters = view.parameters()
    if reader is None:
        # Single numbers cost nothing, but some are learned.
        reader, parameters = start, tuple(pair for pair in parameters if pair[1] == 1)
    for k in new:
        own = k == reader
        step = network.steps[k]
        if own:
            step = replace(step, other_params=step.other_params + _scales(view))
        network.steps[k] = replace(
            step,
            parameters=parameters if own else (),
            weight_type=view.weight_type() if own else step.weight_type,
        )


def _scales(view: NodeView) -> int:
    """Scales of quantised weights, as so many numbers of the weights' type."""
    constants = [source for source in view.inputs if isinstance(source, Constant)]
    scale_bytes = sum(constant.scale_bytes for constant in constants)
    return round(scale_bytes / TYPE_BYTES[view.weight_type() or view.type])


def _has_weights(step: Step) -> bool:
    # A BatchNormalization has its scale and shift from its channels.
    is_norm = step.op == "BatchNormalization"
    return bool(step.weights or step.bias or step.other_params or is_norm)


_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Pow"})


def _plain(network: ImportedNetwork, view: NodeView) -> int:
    """Append an operator under its own name, with its constant operands as parameters."""
    number: tuple[float, ...] = ()
    first, params = False, view.params()
    if view.is_standard and view.op in _ARITHMETIC and len(view.inputs) == 2:
        for k, source in enumerate(view.inputs):
            if not isinstance(source, Constant):
                continue
            is_whole = view.input_shapes[1 - k] == view.shape and not view.parameters()
            if source.size == 1:
                number, first = (source.number,), k == 0
            elif view.op == "Add" and source.is_zero and is_whole:
                # A mask that hides nothing.
                number, params = (0.0,), 0
    return network.add(
        view.label,
        view.data,
        view.shape,
        other_params=params,
        number=number,
        number_first=first,
    )


def _on_first(network: ImportedNetwork, view: NodeView, op: str | None = None) -> int:
    """Append an operator that reads its first input; others are no data."""
    return network.add(op or view.op, view.data[:1], view.shape)


def _conv(network: ImportedNetwork, view: NodeView, weight: int = 1, bias: int | None = 2) -> int:
    """Append a convolution; its window is that of its weight."""
    shape = view.input_shapes[weight] if weight < len(view.inputs) else None
    x, computed = view.step(0), view.step(weight)
    if shape is None or len(shape) < 3 or x is None:
        raise InputError(
            f"{view.model}: a {view.op} of shapes {view.shapes_text()} has no weight for a "
            "computed image"
        )
    groups = view.whole("group", 1)
    transposed = view.op == "ConvTranspose"
    channels = shape[0] if transposed else shape[1] * groups
    if groups < 1 or min(shape) < 1 or channels != network.shape(x)[1]:
        raise InputError(
            f"{view.model}: a {view.op} of {groups} groups with a weight of shape {list(shape)} "
            f"reads an image of shape {list(network.shape(x))}; the channels do not match"
        )
    return network.add_conv(
        "ConvTranspose" if transposed else "Conv",
        x,
        shape if computed is None else computed,
        view.shape,
        bias=bias is not None and view.input(bias) is not None,
        stride=view.sizes("strides", [1] * len(shape[2:])),
        groups=groups,
    )


def _deformed_conv(network: ImportedNetwork, view: NodeView) -> int:
    """Append a convolution of pixels at computed places: their choice, then a product."""
    weight, x = view.input_shapes[1], view.step(0)
    groups = view.whole("group", 1)
    if weight is None or len(weight) != 4 or len(view.shape) != 4 or x is None or groups < 1:
        raise InputError(
            f"{view.model}: a {view.op} of shapes {view.shapes_text()} has no weight for a "
            "computed image"
        )
    depth = weight[1] * weight[2] * weight[3]
    batch, _, *sides = view.shape
    chosen = network.add("Gather", view.data, (batch, depth * groups, *sides))
    return network.add_conv(
        "Conv",
        chosen,
        (weight[0], depth, 1, 1),
        view.shape,
        bias=view.input(3) is not None,
        stride=(1, 1),
        groups=groups,
    )


def _matmul(network: ImportedNetwork, view: NodeView, right: int = 1) -> int:
    a, b = view.step(0), view.step(right)
    if a is not None and b is not None:
        return network.add_product(a, b, view.shape)
    matrix, source = (view.input_shapes[0], b) if a is None else (view.input_shapes[right], a)
    if not matrix or source is None:
        raise InputError(f"{view.model}: a {view.op} has operands of shapes {view.shapes_text()}")
    if a is None:
        return network.add_product(matrix, source, view.shape)
    return network.add_product(source, matrix, view.shape)


def _gemm(network: ImportedNetwork, view: NodeView) -> int:
    shapes = (*view.input_shapes[:2], None, None)[:2]
    transposed = [view.whole(name, 0) != 0 for name in ("transA", "transB")]
    left, right = shapes
    fits = left is not None and right is not None and len(left) == len(right) == 2
    if left is None or right is None or not fits or left[1 - transposed[0]] != right[transposed[1]]:
        raise InputError(
            f"{view.model}: a Gemm has operands of shapes {view.shapes_text()}; expected two "
            "matrices that fit"
        )

    def factor(k: int, shape: Shape) -> int | Shape:
        step = view.step(k)
        if step is None:
            return shape[::-1] if transposed[k] else shape
        return network.add_transpose(step, (1, 0)) if transposed[k] else step

    a, b = factor(0, left), factor(1, right)
    added = view.input(2)
    constant = added if isinstance(added, Constant) else None
    bias = constant is not None and constant.size in (1, view.shape[-1])
    bias = bias and not (isinstance(a, int) and isinstance(b, int))
    product = network.add_product(a, b, view.shape, bias)
    if isinstance(added, int):
        product = network.add("Add", (product, added), view.shape)
    elif constant is not None and not bias:
        product = network.add("Add", (product,), view.shape, other_params=constant.params)
    return product


def _batch_norm(network: ImportedNetwork, view: NodeView) -> int:
    if len(view.shape) < 2:
        raise InputError(f"{view.model}: a BatchNormalization of shapes {view.shapes_text()}")
    return _on_first(network, view)


def _norm(network: ImportedNetwork, view: NodeView) -> int:
    # Scale and shift count even where they are one number.
    params = sum(s.size for s in view.inputs[1:] if isinstance(s, Constant))
    return network.add(view.op, view.data, view.shape, other_params=params)


def _clip(network: ImportedNetwork, view: NodeView) -> int:
    bounds = []
    for k, name in ((1, "min"), (2, "max")):
        source = view.constant(k)
        bound = view.attributes.get(name)
        value = float(bound) if isinstance(bound, (int, float)) else math.nan
        bounds.append(value if source is None else source.number)
    return network.add("Clip", view.data[:1], view.shape, number=tuple(bounds))


def _pool(network: ImportedNetwork, view: NodeView) -> int:
    window = view.sizes("kernel_shape", ())
    stride = view.sizes("strides", [1] * len(window))
    if not window or min(window) < 1 or not stride:
        raise view.wrong("kernel_shape", list(window), "a window of positive sizes")
    return network.add(view.op, view.data[:1], view.shape, kernel=window, stride=stride)


def _transpose(network: ImportedNetwork, view: NodeView) -> int:
    source = view.data[0]
    rank = len(network.shape(source))
    return network.add_transpose(source, view.sizes("perm", list(range(rank))[::-1]))


def _slice(network: ImportedNetwork, view: NodeView) -> int:
    steps = view.constant(4)
    backwards = steps is not None and steps.value is not None and bool(np.any(steps.value < 0))
    return network.add("Slice", view.data[:1], view.shape, number=(-1.0,) if backwards else ())


def _gather(network: ImportedNetwork, view: NodeView) -> int:
    source, index = view.step(0), view.constant(1)
    if source is None:
        # Rows of a constant table, as of an embedding; a quantised one holds integers.
        table = view.constant(0)
        params = table.size if table is not None and table.is_narrow else view.params()
        return network.add("Gather", view.data, view.shape, other_params=params)
    shape = list(network.shape(source))
    axis = view.whole("axis", 0)
    if index is not None and index.size == 1 and shape and -len(shape) <= axis < len(shape):
        shape[axis] = 1
        part = network.add("Slice", (source,), shape)
        return network.add("Reshape", (part,), view.shape)
    value = None if index is None or index.value is None else index.value.ravel()
    if value is not None and shape == [value.size] and np.array_equal(value, range(value.size)):
        # All elements in order: some exporters write a new view of a tensor in this way.
        return network.add("Reshape", (source,), view.shape)
    return network.add("Gather", view.data, view.shape)


def _split(network: ImportedNetwork, view: NodeView) -> list[int]:
    """Append a Slice for each part, since exporters write a Split or Slices."""
    return [
        network.add("Slice", view.data[:1], view.output_shape(k)) for k in range(len(view.outputs))
    ]


def _cast(network: ImportedNetwork, view: NodeView) -> int:
    unchanged = element_type(view.input_types[0]) == view.type
    return network.add("Identity" if unchanged else "Cast", view.data[:1], view.shape)


def _dynamic_quantisation(network: ImportedNetwork, view: NodeView) -> list[int]:
    """Append the scale of a tensor, and its change to integers by that."""
    source = view.data[0]
    scale = network.add("ReduceMax", (source,), (), type=network.steps[source].type)
    quantised = network.add("QuantizeLinear", (source,), view.shape)
    return [quantised, scale, scale]


def _sum(network: ImportedNetwork, view: NodeView) -> int:
    op = {1: "Identity", 2: "Add"}.get(len(view.inputs), "Sum")
    return network.add(op, view.data, view.shape, other_params=view.params())


def _einsum(network: ImportedNetwork, view: NodeView) -> int:
    equation = view.attributes.get("equation", b"")
    if not isinstance(equation, bytes) or not equation.isascii():
        raise view.wrong("equation", equation, "an Einstein sum such as 'ij,jk->ik'")
    steps = [view.step(k) for k in range(len(view.inputs))]
    shapes = [shape or () for shape in view.input_shapes]
    product = add_einsum(network, equation.decode(), steps, shapes, view.shape)
    return _plain(network, view) if product is None else product


def _recurrent(network: ImportedNetwork, view: NodeView) -> list[int]:
    """Append an LSTM, a GRU or an RNN, and the part of its outputs that is the last state."""
    shapes = [view.input_shapes[k] if k < len(view.inputs) else None for k in range(3)]
    source = view.step(0)
    if source is None or any(shape is None or len(shape) != 3 for shape in shapes):
        raise InputError(f"{view.model}: a {view.op} has operands of shapes {view.shapes_text()}")
    sequences, weight, recurrence = (shape or () for shape in shapes)
    directions, hidden = recurrence[0], recurrence[2]
    batch_first = view.whole("layout", 0) == 1
    expected = (directions, GATES[view.op] * hidden)
    if weight != (*expected, sequences[2]) or recurrence[:2] != expected:
        raise InputError(
            f"{view.model}: a {view.op} of {hidden} features has operands of shapes "
            f"{view.shapes_text()}; the matrices do not fit"
        )
    if 0 in sequences or 0 in recurrence:
        # Nothing to compute.
        return [network.add(view.op, view.data, view.output_shape(k)) for k in range(3)]
    rows, steps = sequences[:2] if batch_first else sequences[1::-1]
    lengths = view.constant(4)
    if lengths is not None and lengths.value is not None and lengths.size:
        steps = max(1, min(steps, int(lengths.value.max())))
    outer = (rows, steps) if batch_first else (steps, rows)
    # Matrices that are computed are read like states.
    states = [step for k in (1, 2, 5, 6) if (step := view.step(k)) is not None]
    position = add_recurrent(
        network,
        view.op,
        source,
        (*outer, directions * hidden),
        steps=steps,
        hidden=hidden,
        directions=directions,
        bias=view.input(3) is not None,
        states=states,
        weight_type=view.weight_type(),
    )
    last = (rows, directions, hidden) if batch_first else (directions, rows, hidden)
    state = network.add("Slice", (position,), last)
    # Frameworks have the directions side by side, so that exporters undo what follows.
    every = network.add("Reshape", (position,), (*outer, directions, hidden))
    if not batch_first:
        every = network.add_transpose(every, (0, 2, 1, 3))
    return [every, state, state]


_HANDLERS: dict[str, Handler] = {
    "Conv": _conv,
    "ConvTranspose": _conv,
    "DeformConv": _deformed_conv,
    "ConvInteger": partial(_conv, bias=None),
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "Gemm": _gemm,
    "BatchNormalization": _batch_norm,
    **dict.fromkeys(
        (
            *("InstanceNormalization", "GroupNormalization", "LayerNormalization"),
            *("RMSNormalization", "PRelu"),
        ),
        _norm,
    ),
    "Clip": _clip,
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), _pool),
    **dict.fromkeys(
        (
            *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Tile", "Pad"),
            *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceProd"),
            *("TopK", "CumSum", "Identity", "Dropout", "Resize", "RotaryEmbedding"),
            *("QuantizeLinear", "DequantizeLinear"),
        ),
        _on_first,
    ),
    "Upsample": partial(_on_first, op="Resize"),
    "Swish": partial(_on_first, op="Silu"),
    "Transpose": _transpose,
    "Slice": _slice,
    "Gather": _gather,
    "Split": _split,
    "Cast": _cast,
    "CastLike": _cast,
    "Sum": _sum,
    "DynamicQuantizeLinear": _dynamic_quantisation,
    "Einsum": _einsum,
    "DFT": onnx_transforms.dft,
    "STFT": onnx_transforms.stft,
    "Det": onnx_transforms.det,
    **dict.fromkeys(GATES, _recurrent),
}

# ONNX operators that have a handler of their own.
HANDLED = frozenset(_HANDLERS)
