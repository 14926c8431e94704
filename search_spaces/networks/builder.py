"""Builder of networks, operator by operator, with shapes inferred on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.operators import Operator, Window
from nasplug.search_spaces.pricing import network_graph

if TYPE_CHECKING:
    import onnx

__all__ = ["NetworkBuilder", "make_divisible"]


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round a number of channels to a multiple, never down by more than a tenth.

    This is the rule of the MobileNets' reference code.
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class NetworkBuilder:
    """Builder that collects the operators of a network for one image.

    Every method that adds an operator takes the positions of earlier operators and returns its own.
    Batch normalisation is folded from the start, as inference engines do: a convolution has a bias.

    Args:
        side: Height and width of the input image, in pixels.
        channels: Channels of the input image.
    """

    def __init__(self, side: int, channels: int = 3) -> None:
        self.operators = [Operator("Input", (), (1, channels, side, side))]
        self.windows: dict[int, Window] = {}

    @property
    def input(self) -> int:
        """Position of the input image."""
        return 0

    def channels(self, x: int) -> int:
        """Channels of an operator's output."""
        return self.operators[x].shape[1]

    def side(self, x: int) -> int:
        """Height of an operator's output, in pixels."""
        return self.operators[x].shape[2]

    def _add(self, operator: Operator, window: Window | None = None) -> int:
        self.operators.append(operator)
        position = len(self.operators) - 1
        if window is not None:
            self.windows[position] = window
        return position

    def conv(
        self,
        x: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        padding: int | None = None,
        bias: bool = True,
    ) -> int:
        """Append a square convolution; without `padding` it keeps the side at stride 1."""
        _, channels, height, width = self.operators[x].shape
        pad = (kernel - 1) // 2 if padding is None else padding
        return self._add(
            Operator(
                "Conv",
                (x,),
                (
                    1,
                    out_channels,
                    _out(height, kernel, stride, pad),
                    _out(width, kernel, stride, pad),
                ),
                (out_channels, channels // groups, kernel, kernel),
                bias,
                (kernel, kernel),
                (stride, stride),
                groups,
            ),
            Window(pad),
        )

    def depthwise(self, x: int, kernel: int, stride: int = 1) -> int:
        """Append a convolution of each channel by itself."""
        return self.conv(x, self.channels(x), kernel, stride, groups=self.channels(x))

    def _elementwise(self, op: str, x: int) -> int:
        return self._add(Operator(op, (x,), self.operators[x].shape))

    def relu(self, x: int) -> int:
        """Append max(x, 0)."""
        return self._elementwise("Relu", x)

    def relu6(self, x: int) -> int:
        """Append min(max(x, 0), 6)."""
        return self._elementwise("Clip", x)

    def sigmoid(self, x: int) -> int:
        """Append 1 / (1 + exp(-x))."""
        return self._elementwise("Sigmoid", x)

    def hard_sigmoid(self, x: int) -> int:
        """Append relu6(x + 3) / 6."""
        return self._elementwise("HardSigmoid", x)

    def silu(self, x: int) -> int:
        """Append x · sigmoid(x)."""
        return self._elementwise("Silu", x)

    def hard_swish(self, x: int) -> int:
        """Append x · hard_sigmoid(x)."""
        return self._elementwise("HardSwish", x)

    def zero(self, x: int) -> int:
        """Append x · 0."""
        return self._elementwise("Mul", x)

    def batch_norm(self, x: int) -> int:
        """Append a normalisation that may have no convolution to be folded into."""
        shape = self.operators[x].shape
        return self._add(Operator("BatchNormalization", (x,), shape, other_params=2 * shape[1]))

    def add(self, *terms: int) -> int:
        """Append the sum of tensors of one shape."""
        total = terms[0]
        for term in terms[1:]:
            total = self._add(Operator("Add", (total, term), self.operators[total].shape))
        return total

    def mul(self, x: int, scale: int) -> int:
        """Append the product of x with one number a channel, or with a tensor of x's shape."""
        return self._add(Operator("Mul", (x, scale), self.operators[x].shape))

    def concat(self, parts: Sequence[int]) -> int:
        """Join tensors along the channels."""
        _, _, height, width = self.operators[parts[0]].shape
        channels = sum(self.channels(part) for part in parts)
        return self._add(Operator("Concat", tuple(parts), (1, channels, height, width)))

    def first_channels(self, x: int, channels: int) -> int:
        """Cut a tensor to its first channels; x itself if it has no more."""
        shape = self.operators[x].shape
        if shape[1] == channels:
            return x
        return self._add(Operator("Slice", (x,), (1, channels, *shape[2:])))

    def max_pool(
        self, x: int, kernel: int, stride: int, padding: int = 0, ceil: bool = False
    ) -> int:
        """Append the maximum over a window; `ceil` keeps a last window that is not full."""
        return self._pool("MaxPool", x, kernel, stride, Window(padding, ceil))

    def avg_pool(self, x: int, kernel: int, stride: int, padding: int = 0) -> int:
        """Append the mean over the part of a window that lies in the image."""
        return self._pool("AveragePool", x, kernel, stride, Window(padding))

    def _pool(self, op: str, x: int, kernel: int, stride: int, window: Window) -> int:
        _, channels, height, width = self.operators[x].shape
        sides = [_out(s, kernel, stride, window.padding, window.ceil) for s in (height, width)]
        shape = (1, channels, *sides)
        return self._add(
            Operator(op, (x,), shape, kernel=(kernel, kernel), stride=(stride, stride)), window
        )

    def global_pool(self, x: int) -> int:
        """Append the mean over all pixels."""
        return self._add(Operator("GlobalAveragePool", (x,), (1, self.channels(x), 1, 1)))

    def flatten(self, x: int) -> int:
        """Reshape all numbers of an image to a vector."""
        return self._reshape(x, (1, math.prod(self.operators[x].shape)))

    def _reshape(self, x: int, shape: tuple[int, ...]) -> int:
        return self._add(Operator("Reshape", (x,), shape))

    def channel_shuffle(self, x: int, groups: int) -> int:
        """Interleave the channels of the groups (ShuffleNet)."""
        _, channels, height, width = self.operators[x].shape
        split = (1, groups, channels // groups, height, width)
        x = self._reshape(x, split)
        x = self._add(Operator("Transpose", (x,), (1, split[2], groups, height, width)))
        return self._reshape(x, (1, channels, height, width))

    def linear(self, x: int, out_features: int) -> int:
        """Append a linear layer with bias on a vector."""
        weights = (out_features, self.channels(x))
        return self._add(Operator("Gemm", (x,), (1, out_features), weights, bias=True))

    def graph(self, output: int) -> Graph:
        """Convert the operators that `output` needs to a graph."""
        return network_graph(self.operators, (output,))

    def onnx_model(
        self, output: int, seed: int = 0, batch_size: int = 1, name: str = "network"
    ) -> onnx.ModelProto:
        """Write a runnable ONNX model with random weights; see `onnx_model.network_model`."""
        from nasplug.search_spaces.networks.onnx_model import network_model

        return network_model(self.operators, self.windows, output, seed, batch_size, name)


def _out(side: int, kernel: int, stride: int, padding: int, ceil: bool = False) -> int:
    """Side of a window operator's output."""
    free = side + 2 * padding - kernel
    if free < 0:
        raise InputError(f"a window of {kernel} pixels does not fit into an image of {side} pixels")
    if not ceil:
        return free // stride + 1
    out = -(-free // stride) + 1
    # The last window must start inside the image or its padding on the left.
    return out - 1 if (out - 1) * stride >= side + padding else out
