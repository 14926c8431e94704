"""Layers of ncnn's `.param` files, and the shapes of their outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Layer", "Shape", "following_shape", "stated_shapes"]

Shape = tuple[int, ...]
# Array of the sizes of a layer's outputs, which ncnn's tools write: axes, width, height, channels.
_SHAPES = -23330
# Arrays of a crop: first and last position, and the axes that they are of.
_STARTS, _ENDS, _AXES = -23309, -23310, -23311
# Layers whose output is as large as their input; of several inputs the largest is meant.
_KEEPING = frozenset(
    (
        *("ReLU", "Swish", "HardSwish", "HardSigmoid", "Sigmoid", "TanH", "GELU", "Mish", "Clip"),
        *("Softmax", "LRN", "Dropout", "BatchNorm", "LayerNorm", "ShuffleChannel", "BinaryOp"),
        *("Eltwise", "MultiHeadAttention", "DetectionOutput", "Yolov3DetectionOutput"),
    )
)
# A padding below it is a mark of TensorFlow's: as many pixels as the step allows.
_AUTOMATIC = -200


@dataclass(frozen=True)
class Layer:
    """Line of the file: type, name, the blobs that it reads and writes, and its parameters."""

    type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: dict[int, str]

    def numbers(self, key: int) -> list[int]:
        """An array of whole numbers, which stands in the file behind its length."""
        return [int(number) for number in self.parameters[key].split(",")[1:]]

    def number(self, key: int, default: int = 0) -> int:
        """A parameter, whole."""
        return int(float(self.parameters.get(key, default)))


def stated_shapes(layer: Layer) -> list[Shape]:
    """Shapes of a layer's outputs as the file names them, batch first; empty if it does not."""
    if _SHAPES not in layer.parameters:
        return []
    numbers = layer.numbers(_SHAPES)
    shapes: list[Shape] = []
    for k in range(0, len(numbers), 4):
        axes, width, height, channels = numbers[k : k + 4]
        # Width is the last axis in ncnn's order, and channels the first.
        by_axes = {1: (1, width), 2: (1, height, width)}
        shapes.append(by_axes.get(axes, (1, channels, height, width)))
    return shapes


def following_shape(layer: Layer, shapes: Sequence[Shape]) -> Shape:
    """Shape of each output of a layer, which follows from the shapes of its inputs.

    Raises:
        ValueError: If it does not.
        KeyError: If a parameter is missing.
    """
    if layer.type in _KEEPING:
        return max(shapes, key=lambda shape: (len(shape), shape))
    if layer.type not in _RULES:
        raise ValueError("the file does not say the size of its output")
    return _RULES[layer.type](layer, shapes)


def _constant(layer: Layer, shapes: Sequence[Shape]) -> Shape:
    """Shape of an input or a constant: channels, height and width, as many as there are."""
    sizes = [layer.number(key) for key in (2, 1, 0) if key in layer.parameters]
    sizes = [size for size in sizes if size] if layer.type == "MemoryData" else sizes
    if not sizes or not all(size > 0 for size in sizes):
        raise ValueError("the size of the input is open; give input_shape")
    return (1, *sizes)


def _concatenated(layer: Layer, shapes: Sequence[Shape]) -> Shape:
    axis = layer.number(0) + 1
    total = sum(shape[axis] for shape in shapes)
    return (*shapes[0][:axis], total, *shapes[0][axis + 1 :])


def _sliced(layer: Layer, shapes: Sequence[Shape]) -> Shape:
    """Shape of one of the equal parts along the first axis."""
    if layer.number(1):
        raise ValueError("a slice along another axis than the first")
    return (1, shapes[0][1] // len(layer.outputs), *shapes[0][2:])


def _permuted(layer: Layer, shapes: Sequence[Shape]) -> Shape:
    if len(shapes[0]) != 3:
        raise ValueError("a permutation of other than two axes")
    return (1, shapes[0][2], shapes[0][1])


def _resized(layer: Layer, shapes: Sequence[Shape]) -> Shape:
    scales = (float(layer.parameters[1]), float(layer.parameters[2]))
    sides = (int(side * scale) for side, scale in zip(shapes[0][2:], scales, strict=True))
    return (1, shapes[0][1], *sides)


def _padded(layer: Layer, shapes: Sequence[Shape]) -> Shape:
    """Shape with more rows, columns and channels."""
    top, bottom, left, right = (layer.number(key) for key in range(4))
    _, channels, height, width = shapes[0]
    more = layer.number(7) + layer.number(8)
    return (1, channels + more, height + top + bottom, width + left + right)


def _reshaped(layer: Layer, shapes: Sequence[Shape]) -> Shape:
    """Shape after a Reshape; one size may be open (-1)."""
    shape = shapes[0]
    sizes = [layer.number(key) for key in (2, 1, 0) if key in layer.parameters]
    known = math.prod(size for size in sizes if size > 0)
    return (1, *(size if size > 0 else math.prod(shape) // known for size in sizes))


def _cropped(layer: Layer, shapes: Sequence[Shape]) -> Shape:
    shape = shapes[0]
    sizes = list(shape)
    for start, end, axis in zip(
        layer.numbers(_STARTS), layer.numbers(_ENDS), layer.numbers(_AXES), strict=True
    ):
        last = min(end, shape[axis + 1]) if end >= 0 else shape[axis + 1] + end
        sizes[axis + 1] = last - start
    return tuple(sizes)


def _windowed(layer: Layer, shapes: Sequence[Shape]) -> Shape:
    """Shape after a convolution or a pool with equal padding on both sides."""
    shape = shapes[0]
    is_pool = layer.type == "Pooling"
    if is_pool and layer.number(4):
        return (1, shape[1], 1, 1)
    width, step = layer.number(1), layer.number(2 if is_pool else 3, 1)
    kernel = (layer.number(11, width), width)
    stride = (layer.number(12 if is_pool else 13, step), step)
    dilation = 1 if is_pool else layer.number(2, 1)
    pad = layer.number(3 if is_pool else 4)
    sides = []
    for side, window, stepped in zip(shape[2:], kernel, stride, strict=True):
        reach = dilation * (window - 1) + 1
        if pad < _AUTOMATIC:
            sides.append(-(-side // stepped))
        elif is_pool and layer.number(5) == 0:
            sides.append(-(-(side + 2 * pad - reach) // stepped) + 1)
        else:
            sides.append((side + 2 * pad - reach) // stepped + 1)
    return (1, shape[1] if is_pool else layer.number(0), *sides)


_RULES: dict[str, Callable[[Layer, Sequence[Shape]], Shape]] = {
    **dict.fromkeys(("Input", "MemoryData"), _constant),
    **dict.fromkeys(("Convolution", "ConvolutionDepthWise", "Pooling"), _windowed),
    "InnerProduct": lambda layer, shapes: (1, layer.number(0)),
    "Gemm": lambda layer, shapes: (*shapes[0][:-1], layer.number(8)),
    "Concat": _concatenated,
    "Slice": _sliced,
    "Reshape": _reshaped,
    "Permute": _permuted,
    "Crop": _cropped,
    "Interp": _resized,
    "Padding": _padded,
}
