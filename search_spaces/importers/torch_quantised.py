"""Calls of `torch.ao`'s quantised operators as calls on floats between changes of the type.

A quantised tensor is traced as a tensor of floats whose step has an integer type. A call on it is
read as in an ONNX file with QuantizeLinear and DequantizeLinear: its operands are restored,
computed with, and quantised again. `quantised.joined_quantisation` makes it one operator on
integers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from nasplug.search_spaces.errors import InputError

__all__ = ["Float", "float_calls", "quantised_type"]

aten = torch.ops.aten
# Call on floats: function and arguments; a weight of integers is in a tuple of its own.
Float = tuple[Any, list[Any]]
_QUANTISING = frozenset(
    {"quantize_per_tensor", "quantize_per_channel", "quantize_per_tensor_dynamic"}
)


def quantised_type(name: str, arguments: Sequence[Any]) -> torch.dtype | None:
    """Type to which a call changes a tensor of floats; None for another call."""
    if name not in _QUANTISING:
        return None
    dtypes = [value for value in arguments if isinstance(value, torch.dtype)]
    return torch.int8 if dtypes and dtypes[0] is torch.qint8 else torch.uint8


def float_calls(name: str, arguments: Sequence[Any]) -> tuple[list[Float], bool]:
    """Calls on floats that a quantised call stands for, each on the result of the one before.

    Args:
        name: Name of the function, such as `"quantized.linear_relu"`.
        arguments: Its arguments. The weights of a layer are packed.

    Returns:
        The calls, and whether the result is quantised again. The first argument of a call after
        the first one is left out.

    Raises:
        InputError: If the function is not known.
    """
    base = name.removeprefix("quantized.")
    is_dynamic = "_dynamic" in base
    base = base.replace("_dynamic", "").replace("_fp16", "")
    has_relu = base.endswith("_relu") and base not in _MAKERS
    maker = _MAKERS.get(base.removesuffix("_relu") if has_relu else base)
    if maker is None:
        raise InputError(f"{name} is a quantised operator that is not read")
    calls = [maker(arguments)]
    if has_relu:
        calls.append((aten.relu.default, []))
    return calls, not is_dynamic


def _linear(arguments: Sequence[Any]) -> Float:
    weight, bias = arguments[1].unpack()
    return aten.linear.default, [arguments[0], (weight,), bias]


def _convolution(function: Any) -> Callable[[Sequence[Any]], Float]:
    def maker(arguments: Sequence[Any]) -> Float:
        packed = arguments[1]
        weight, bias = packed.unpack()
        sizes = [list(getattr(packed, name)()) for name in ("stride", "padding", "dilation")]
        return function, [arguments[0], (weight,), bias, *sizes, packed.groups()]

    return maker


def _plain(function: Any, count: int) -> Callable[[Sequence[Any]], Float]:
    """Make a call of a function on the first arguments; scale and zero point come last."""
    return lambda arguments: (function, list(arguments[:count]))


_MAKERS: dict[str, Callable[[Sequence[Any]], Float]] = {
    "linear": _linear,
    "conv1d": _convolution(aten.conv1d.default),
    "conv2d": _convolution(aten.conv2d.default),
    "conv3d": _convolution(aten.conv3d.default),
    "add": _plain(aten.add.Tensor, 2),
    "mul": _plain(aten.mul.Tensor, 2),
    "add_scalar": _plain(aten.add.Scalar, 2),
    "mul_scalar": _plain(aten.mul.Scalar, 2),
    "matmul": _plain(aten.matmul.default, 2),
    "cat": _plain(aten.cat.default, 2),
    "hardswish": _plain(aten.hardswish.default, 1),
    "sigmoid": _plain(aten.sigmoid.default, 1),
    "leaky_relu": _plain(aten.leaky_relu.default, 2),
    "elu": _plain(aten.elu.default, 2),
    "softmax": _plain(aten.softmax.int, 2),
    "layer_norm": _plain(aten.layer_norm.default, 5),
    "group_norm": _plain(aten.group_norm.default, 5),
}
