"""Output shapes of the ATen functions that networks call most.

PyTorch infers shapes by Python code of its own, which takes up to a millisecond a call. The rules
here give the same shapes and strides for tensors of one floating-point type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nasplug.search_spaces.importers.torch_call import words

__all__ = ["output_shape"]

Shape = tuple[int, ...]


def output_shape(name: str, arguments: Sequence[Any]) -> tuple[Shape, Shape | None] | None:
    """Shape and strides of a call's output, which has the type of the first argument.

    Args:
        name: Name of the function, without the overload and without the mark of a call in place.
        arguments: Arguments by position; tensors have those methods of PyTorch's.

    Returns:
        The shape, and the strides (None if it is contiguous); None if no rule covers the call.
    """
    rule = _RULES.get(name)
    if rule is None:
        return None
    first = arguments[0]
    tensors = first if isinstance(first, (list, tuple)) else arguments
    tensors = [value for value in tensors if hasattr(value, "is_contiguous")]
    if not tensors or not tensors[0].dtype.is_floating_point:
        return None
    if name == "_grouped_mm":
        tensors = tensors[:2]
    if any(tensor.dtype is not tensors[0].dtype for tensor in tensors):
        return None
    strides = None
    if name not in _CONTIGUOUS and not all(tensor.is_contiguous() for tensor in tensors):
        strides = _kept_strides(name, tensors)
        if strides is None:
            return None
    shape = rule(arguments)
    return None if shape is None else (shape, strides)


def _kept_strides(name: str, tensors: Sequence[Any]) -> Shape | None:
    """Strides of an elementwise result: those of the first tensor, if it is dense and the largest.

    Returns:
        The strides; None where they are not that simple.
    """
    shape, strides = tuple(tensors[0].shape), tuple(tensors[0].stride())
    if name not in _ELEMENTWISE or any(
        tensor.numel() >= math.prod(shape) for tensor in tensors[1:]
    ):
        return None
    expected = 1
    for stride, size in sorted(zip(strides, shape, strict=True)):
        if size != 1 and stride != expected:
            return None
        expected *= size
    return strides


def _like_first(arguments: Sequence[Any]) -> Shape | None:
    return tuple(arguments[0].shape)


def _clamped(arguments: Sequence[Any]) -> Shape | None:
    bounds = any(hasattr(bound, "shape") for bound in arguments[1:3])
    return None if bounds else _like_first(arguments)


def _softmax(arguments: Sequence[Any]) -> Shape | None:
    type_ = arguments[2] if len(arguments) > 2 else None
    return _like_first(arguments) if type_ in (None, arguments[0].dtype, False) else None


def _broadcast(arguments: Sequence[Any]) -> Shape | None:
    left, right = arguments[:2]
    if not hasattr(left, "shape"):
        return None
    if isinstance(right, (int, float)):
        return tuple(left.shape)
    if not hasattr(right, "shape"):
        return None
    a, b = tuple(left.shape), tuple(right.shape)
    if a == b:
        return a
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        return None


def _linear(arguments: Sequence[Any]) -> Shape | None:
    x, weight = arguments[0].shape, arguments[1].shape
    fits = len(x) > 0 and len(weight) == 2 and x[-1] == weight[1]
    return (*x[:-1], weight[0]) if fits else None


def _matmul(arguments: Sequence[Any]) -> Shape | None:
    left, right = tuple(arguments[0].shape), tuple(arguments[1].shape)
    if min(len(left), len(right)) < 2 or left[-1] != right[-2]:
        return None
    if left[:-2] == right[:-2] or len(right) == 2:
        return (*left[:-1], right[-1])
    return None


def _grouped_matmul(arguments: Sequence[Any]) -> Shape | None:
    left, right = tuple(arguments[0].shape), tuple(arguments[1].shape)
    fits = (len(left), len(right)) == (2, 3) and left[1] == right[1]
    return (left[0], right[2]) if fits else None


def _convolution(arguments: Sequence[Any]) -> Shape | None:
    x, weight = tuple(arguments[0].shape), tuple(arguments[1].shape)
    stride, padding, dilation, groups = arguments[3:7]
    rank = len(weight) - 2
    if len(x) != rank + 2 or isinstance(padding, str) or x[1] != weight[1] * groups:
        return None
    sizes = []
    for axis in range(rank):
        step, pad, spread = (value[axis % len(value)] for value in (stride, padding, dilation))
        size = (x[2 + axis] + 2 * pad - spread * (weight[2 + axis] - 1) - 1) // step + 1
        sizes.append(size)
    return (x[0], weight[0], *sizes) if min(sizes) > 0 else None


def _attention(arguments: Sequence[Any]) -> Shape | None:
    query, key, value = (tuple(a.shape) for a in arguments[:3])
    if query[:-2] != key[:-2] or query[:-2] != value[:-2] or len(query) < 3:
        return None
    return (*query[:-1], value[-1]) if query[-1] == key[-1] else None


def _concat(arguments: Sequence[Any]) -> Shape | None:
    parts = [tuple(part.shape) for part in arguments[0]]
    axis = arguments[1] if len(arguments) > 1 else 0
    rank = len(parts[0])
    if not isinstance(axis, int) or not -rank <= axis < rank:
        return None
    axis %= rank
    around = {(part[:axis], part[axis + 1 :]) for part in parts}
    if len(around) > 1:
        return None
    return (*parts[0][:axis], sum(part[axis] for part in parts), *parts[0][axis + 1 :])


def _mean(arguments: Sequence[Any]) -> Shape | None:
    shape = tuple(arguments[0].shape)
    axes, keeps, type_ = (*arguments[1:4], None, None, None)[:3]
    if type_ is not None or not axes or isinstance(axes, bool):
        return None
    reduced = {axis % len(shape) for axis in ((axes,) if isinstance(axes, int) else axes)}
    if keeps:
        return tuple(1 if axis in reduced else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in reduced)


def _adaptive_pool(arguments: Sequence[Any]) -> Shape | None:
    shape, sizes = tuple(arguments[0].shape), arguments[1]
    return (*shape[: -len(sizes)], *sizes) if isinstance(sizes, (list, tuple)) else None


def _pool(padding_at: int, dilation_at: int | None, ceil_at: int) -> Callable[..., Shape | None]:
    def rule(arguments: Sequence[Any]) -> Shape | None:
        shape = tuple(arguments[0].shape)
        window = arguments[1]
        stride = arguments[2] or window
        padding = arguments[padding_at]
        dilation = (1,) if dilation_at is None else arguments[dilation_at]
        if arguments[ceil_at]:
            return None
        rank = len(shape) - 2
        sizes = []
        for axis in range(rank):
            side, step, pad, spread = (
                value[axis % len(value)] for value in (window, stride, padding, dilation)
            )
            sizes.append((shape[2 + axis] + 2 * pad - spread * (side - 1) - 1) // step + 1)
        return (*shape[:2], *sizes) if sizes and min(sizes) > 0 else None

    return rule


# Functions whose output is contiguous, whatever the strides of their inputs.
_CONTIGUOUS = words(
    "linear matmul mm bmm layer_norm softmax log_softmax _grouped_mm scaled_dot_product_attention"
)
_UNARY = words(
    "relu relu6 silu gelu sigmoid tanh hardswish hardsigmoid hardtanh leaky_relu elu selu celu "
    "mish softplus exp log neg sqrt rsqrt abs erf sin cos square reciprocal"
)
_ELEMENTWISE = _UNARY | words("add sub mul div pow clamp clamp_min clamp_max batch_norm")
_RULES: dict[str, Callable[[Sequence[Any]], Shape | None]] = {
    **dict.fromkeys(_UNARY, _like_first),
    **dict.fromkeys(
        words("batch_norm layer_norm group_norm instance_norm rms_norm prelu clone"), _like_first
    ),
    **dict.fromkeys(("softmax", "log_softmax", "_softmax", "_log_softmax"), _softmax),
    **dict.fromkeys(words("add sub rsub mul div pow maximum minimum"), _broadcast),
    **dict.fromkeys(words("clamp clamp_min clamp_max"), _clamped),
    "linear": _linear,
    **dict.fromkeys(words("matmul mm bmm"), _matmul),
    "_grouped_mm": _grouped_matmul,
    **dict.fromkeys(words("conv1d conv2d conv3d"), _convolution),
    "scaled_dot_product_attention": _attention,
    "cat": _concat,
    **dict.fromkeys(words("mean sum"), _mean),
    **dict.fromkeys(
        words("adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"), _adaptive_pool
    ),
    **dict.fromkeys(words("max_pool1d max_pool2d max_pool3d"), _pool(3, 4, 5)),
    **dict.fromkeys(words("avg_pool1d avg_pool2d avg_pool3d"), _pool(3, None, 4)),
}
