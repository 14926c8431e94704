"""Quantised operators of ONNX files: their float form between changes of the type.

`nasplug.search_spaces.importers.quantised` joins the changes with the operator again, as an engine
does, so that every spelling of a quantised network gives one graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil, prod
from typing import Any

from nasplug.search_spaces.importers.onnx_expansion import Expansion
from nasplug.search_spaces.importers.onnx_node import FLOATS, Constant, Shape
from nasplug.search_spaces.importers.steps import MAX_ELEMENTS

__all__ = ["QUANTISED", "STANDARD_QUANTISED"]

Form = Callable[[Expansion], None]

_WINDOW = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_POOL = (*_WINDOW, "ceil_mode", "count_include_pad")
# Version of ONNX with which axes of a mean became an input.
AXES_ARE_INPUTS = 18
# Code of uint8.
UINT8 = 2
# Inputs of a packed matrix and of its scales.
_PACKED = {"MatMulNBits": (1, 2), "MatMulBnb4": (1, 2), "GatherBlockQuantized": (0, 2)}
# Codes of integers by their bits.
_INTEGERS = {2: 26, 4: 22, 8: 3}


def _restored(expansion: Expansion, *slots: int) -> str:
    """Append the change of an operand to floats, by its scale and zero point."""
    return expansion.add("DequantizeLinear", expansion.inputs(*slots))


def _float_bias(expansion: Expansion, k: int) -> list[str]:
    """Read a bias of integers as the floats that it stands for; nothing without one."""
    bias = expansion.tensor(k)
    if not isinstance(bias, Constant) or bias.elem_type in FLOATS:
        return expansion.inputs(k)
    return [expansion.constant(Constant(bias.shape, 1, None, bias.parameters, bias.elem_type))]


def _written(expansion: Expansion, result: str, scale: int, zero_point: int) -> None:
    """Append the change of the result to integers, unless it stays in floats."""
    if expansion.input(scale):
        expansion.add(
            "QuantizeLinear", [result, *expansion.inputs(scale, zero_point)], expansion.output()
        )
    else:
        expansion.finish(result)


def _quantised(
    expansion: Expansion,
    op: str,
    operands: Sequence[Sequence[int]],
    written: tuple[int, int],
    *,
    plain: Sequence[int] = (),
    bias: int | None = None,
    copied: Sequence[str] = (),
    **attributes: Any,
) -> None:
    """Append an operator on integers.

    Args:
        expansion: Where to append.
        op: The operator in floats.
        operands: Inputs of value, scale and zero point of each operand.
        written: Inputs of the result's scale and zero point.
        plain: Operands before them that are no numbers.
        bias: Input of a bias.
        copied: Attributes that the float operator has too.
        attributes: Its further attributes.
    """
    read = [*expansion.inputs(*plain), *(_restored(expansion, *slots) for slots in operands)]
    if bias is not None:
        read += _float_bias(expansion, bias)
    _written(expansion, expansion.add(op, read, copied=copied, **attributes), *written)


def _windowed(
    expansion: Expansion,
    op: str,
    operands: Sequence[Sequence[int]],
    written: tuple[int, int],
    *,
    bias: int | None = None,
    copied: Sequence[str] = (),
) -> None:
    """Append a quantised operator on images, whose channels may be last."""
    if not expansion.whole("channels_last", 0):
        _quantised(expansion, op, operands, written, bias=bias, copied=copied)
        return
    rank = len(expansion.shape(operands[0][0], 3, 4, 5))
    read = [_restored(expansion, *slots) for slots in operands]
    read[0] = expansion.other_layout(read[0], rank, to_last=False)
    if bias is not None:
        read += _float_bias(expansion, bias)
    result = expansion.add(op, read, copied=copied)
    _written(expansion, expansion.other_layout(result, rank, to_last=True), *written)


def _concat(expansion: Expansion) -> None:
    count = len(expansion.inputs(*range(1000)))
    parts = [_restored(expansion, k, k + 1, k + 2) for k in range(2, count - 2, 3)]
    _written(expansion, expansion.add("Concat", parts, copied=("axis",)), 0, 1)


def _mean(expansion: Expansion) -> None:
    axes, read = expansion.sizes("axes"), [_restored(expansion, 0, 1, 2)]
    attributes: dict[str, Any] = {}
    if axes and expansion.opset < AXES_ARE_INPUTS:
        attributes["axes"] = axes
    elif axes:
        read.append(expansion.ints(*axes))
    mean = expansion.add("ReduceMean", read, copied=("keepdims",), **attributes)
    _written(expansion, mean, 3, 4)


def _to_float_product(expansion: Expansion) -> None:
    """Append a product of integers that is written in floats, and a bias."""
    left, right = _restored(expansion, 0, 2, 4), _restored(expansion, 1, 3, 5)
    _biased_product(expansion, left, right, 6)


def _dynamic_product(expansion: Expansion) -> None:
    """Append a product with a matrix of integers, by a left side that is quantised as it runs."""
    quantised = expansion.add_many("DynamicQuantizeLinear", [expansion.input(0)], 3)
    left = expansion.add("DequantizeLinear", quantised)
    _biased_product(expansion, left, _restored(expansion, 1, 2, 3), 4)


def _biased_product(expansion: Expansion, left: str, right: str, bias: int) -> None:
    product = expansion.add("MatMul", [left, right])
    if expansion.input(bias):
        product = expansion.add("Add", [product, expansion.input(bias)])
    expansion.finish(product)


def _few_bits(expansion: Expansion) -> None:
    """Append a product with a matrix of 2, 4 or 8 bits, whose blocks have scales of their own."""
    rows, columns = expansion.whole("K"), expansion.whole("N")
    bits, block = expansion.whole("bits", 4), expansion.whole("block_size")
    source, stored = expansion.tensor(0), expansion.tensor(1)
    is_matrix = min(rows, columns, block) > 0 and rows * columns <= MAX_ELEMENTS
    if not is_matrix or bits not in _INTEGERS or not isinstance(stored, Constant):
        raise expansion.wrong(f"{rows}x{columns} weights of {bits} bits in blocks of {block}")
    code = source.elem_type if source is not None else 1
    matrix = _unpacked(expansion, (rows, columns), code, bits, columns * ceil(rows / block))
    product = expansion.add("MatMul", [expansion.input(0), matrix])
    if expansion.input(5):
        product = expansion.add("Add", [product, expansion.input(5)])
    expansion.finish(product)


def _unpacked(expansion: Expansion, shape: Shape, code: int, bits: int, scales: int) -> str:
    """Make a constant of a packed matrix, with as many scales.

    Args:
        expansion: Where to append.
        shape: Shape of the matrix once it is unpacked.
        code: Type that its numbers are restored to.
        bits: Bits of a number.
        scales: Number of scales.
    """
    stored, scale = (expansion.tensor(k) for k in _PACKED[expansion.op])
    parameters = stored.parameters if isinstance(stored, Constant) else ()
    names = tuple((name, prod(shape)) for name, _ in parameters)
    width = 4 if scale is not None and scale.elem_type == 1 else 2
    return expansion.constant(Constant(shape, code, None, names, _INTEGERS[bits], width * scales))


def _few_bits_rows(expansion: Expansion) -> None:
    """Append the choice of rows from a table of few bits."""
    bits, block = expansion.whole("bits", 4), expansion.whole("block_size", 128)
    stored, scales = expansion.tensor(0), expansion.tensor(2)
    if bits not in _INTEGERS or block < 1 or not isinstance(stored, Constant) or scales is None:
        raise expansion.wrong(f"it needs a constant table of {bits} bits in blocks of {block}")
    shape = expansion.shape(0)
    # Integers of 8 bits hold several smaller ones.
    packed = 8 // bits if stored.elem_type == UINT8 else 1
    shape = (*shape[:-1], shape[-1] * packed)
    count = prod(shape) // block
    table = _unpacked(expansion, shape, scales.elem_type, bits, count)
    axis = expansion.whole("gather_axis", 0)
    expansion.add("Gather", [table, expansion.input(1)], expansion.output(), axis=axis)


def _dynamic_lstm(expansion: Expansion) -> None:
    """Append an LSTM with matrices of integers, which are stored transposed."""
    matrices = [
        expansion.add("Transpose", [_restored(expansion, *slots)], perm=(0, 2, 1))
        for slots in ((1, 8, 9), (2, 10, 11))
    ]
    operands = [expansion.input(0), *matrices, *(expansion.input(k) for k in range(3, 8))]
    while not operands[-1]:
        operands.pop()
    expansion.add_as("LSTM", operands, copied=("hidden_size", "direction"))


_ONE = ((0, 1, 2),)
_TWO = ((0, 1, 2), (3, 4, 5))
STANDARD_QUANTISED: dict[str, Form] = {
    "QLinearConv": partial(
        _windowed, op="Conv", operands=_TWO, written=(6, 7), bias=8, copied=_WINDOW
    ),
    "QLinearMatMul": partial(_quantised, op="MatMul", operands=_TWO, written=(6, 7)),
}
QUANTISED: dict[str, Form] = {
    **STANDARD_QUANTISED,
    "QuantizeLinear": lambda e: _same(e, "QuantizeLinear"),
    "DequantizeLinear": lambda e: _same(e, "DequantizeLinear"),
    **{
        f"QLinear{op}": partial(_quantised, op=op, operands=_TWO, written=(6, 7))
        for op in ("Add", "Mul")
    },
    **{
        f"QLinear{op}": partial(
            _quantised, op=op, operands=_ONE, written=(3, 4), copied=("alpha", "axis")
        )
        for op in ("Sigmoid", "LeakyRelu", "Softmax")
    },
    **{
        f"QLinear{op}": partial(_windowed, op=op, operands=_ONE, written=(3, 4), copied=_POOL)
        for op in ("AveragePool", "GlobalAveragePool")
    },
    "QLinearConcat": _concat,
    "QLinearReduceMean": _mean,
    "QLinearWhere": partial(
        _quantised, op="Where", operands=((1, 2, 3), (4, 5, 6)), written=(7, 8), plain=(0,)
    ),
    "QGemm": partial(
        _quantised,
        op="Gemm",
        operands=_TWO,
        written=(7, 8),
        bias=6,
        copied=("transA", "transB"),
    ),
    "MatMulIntegerToFloat": _to_float_product,
    "DynamicQuantizeMatMul": _dynamic_product,
    "DynamicQuantizeLSTM": _dynamic_lstm,
    "MatMulNBits": _few_bits,
    "MatMulBnb4": _few_bits,
    "GatherBlockQuantized": _few_bits_rows,
}


def _same(expansion: Expansion, op: str) -> None:
    """Append ONNX's operator of the same name and inputs."""
    expansion.add(op, expansion.inputs(0, 1, 2), expansion.output(), copied=("axis",))
