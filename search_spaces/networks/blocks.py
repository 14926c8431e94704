"""Blocks that several families share, and the decisions about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from nasplug.search_spaces.networks.builder import NetworkBuilder
from nasplug.search_spaces.networks.family import Decision, Value, at_least

__all__ = [
    "DENSE_KERNELS",
    "KERNELS",
    "WIDTHS",
    "Layer",
    "SwishBlock",
    "block_decisions",
    "classifier",
    "excitation",
    "inverted_residual",
]

# A function that appends operators to a network, such as an activation.
Layer = Callable[[NetworkBuilder, int], int]

# Sides of a window: in blocks with depthwise convolutions and in stems, and in dense layers.
KERNELS = (3, 5, 7)
DENSE_KERNELS = (1, 3, 5, 7)
# Factors on the standard network's channels: about the range of nn-Meter's generator.
WIDTHS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def block_decisions(depth: Decision, **choices: tuple[tuple[Value, ...], Value]) -> list[Decision]:
    """Decisions about each block of a stage, which count if the block exists.

    Args:
        depth: Number of blocks in the stage, named `d_<stage>`.
        choices: Letter of a decision -> its values, and that of the standard network. The names
            are `<letter>_<stage>_<block>`, with blocks from 1 on.
    """
    stage = depth.name.removeprefix("d_")
    return [
        Decision(f"{letter}_{stage}_{block}", values, default, (at_least(depth, block),))
        for block in range(1, int(depth.choices[-1]) + 1)
        for letter, (values, default) in choices.items()
    ]


def excitation(squeezed: int, activation: Layer, gate: Layer) -> Layer:
    """Make a layer that scales channels by a gate on their means (Hu et al., CVPR 2018).

    Args:
        squeezed: Channels between the two convolutions of the gate.
        activation: Applied after the first convolution.
        gate: Applied after the second one.
    """

    def excite(net: NetworkBuilder, x: int) -> int:
        y = activation(net, net.conv(net.global_pool(x), squeezed))
        return net.mul(x, gate(net, net.conv(y, net.channels(x))))

    return excite


def inverted_residual(
    net: NetworkBuilder,
    x: int,
    out_channels: int,
    kernel: int,
    stride: int,
    hidden: int,
    activation: Layer,
    excite: Layer | None = None,
) -> int:
    """Expand, convolve by channel, project (MobileNetV2), with the input added if shapes allow.

    Args:
        net: The network.
        x: Input.
        out_channels: Channels of the output.
        kernel: Side of the window, in pixels.
        stride: Step of the window.
        hidden: Channels inside the block; no expansion if the input has as many.
        activation: Applied after the first two convolutions.
        excite: Applied after the second activation.
    """
    y = x
    if hidden != net.channels(x):
        y = activation(net, net.conv(y, hidden))
    y = activation(net, net.depthwise(y, kernel, stride))
    if excite is not None:
        y = excite(net, y)
    y = net.conv(y, out_channels)
    return net.add(y, x) if stride == 1 and net.channels(x) == out_channels else y


class SwishBlock(NamedTuple):
    """Block of a MobileNetV3.

    Attributes:
        channels: Channels of the output.
        hidden: Channels inside the block.
        kernel: Side of the window, in pixels.
        stride: Step of the window.
        squeezed: Channels inside the excitation; 0 for a block without one.
        swish: Whether the activation is a hard-swish instead of a ReLU.
    """

    channels: int
    hidden: int
    kernel: int
    stride: int
    squeezed: int
    swish: bool

    def add_to(self, net: NetworkBuilder, x: int) -> int:
        """Append the block to a network."""
        activation = NetworkBuilder.hard_swish if self.swish else NetworkBuilder.relu
        excite = excitation(self.squeezed, NetworkBuilder.relu, NetworkBuilder.hard_sigmoid)
        return inverted_residual(
            *(net, x, self.channels, self.kernel, self.stride, self.hidden, activation),
            excite if self.squeezed else None,
        )

    def row(self) -> tuple[int | str, ...]:
        """The row of a template's constant `BLOCKS`."""
        return (*self[:-1], "hard_swish" if self.swish else "relu")


def classifier(net: NetworkBuilder, x: int, classes: int) -> int:
    """Append the mean over all pixels and a linear layer."""
    return net.linear(net.flatten(net.global_pool(x)), classes)
