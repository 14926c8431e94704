"""Blocks that several families share, and the decisions about a stage of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nasplug.search_spaces.networks.builder import NetworkBuilder, make_divisible
from nasplug.search_spaces.networks.family import Choices, Decision, at_least

__all__ = [
    "DENSE_KERNELS",
    "KERNELS",
    "WIDTHS",
    "Activation",
    "Stage",
    "inverted_residual",
    "residual_stages",
    "squeeze_excite",
    "stage_decisions",
]

Activation = Callable[[NetworkBuilder, int], int]

# Sides of a window: in blocks with depthwise convolutions and in stems, and in dense layers.
KERNELS = (3, 5, 7)
DENSE_KERNELS = (1, 3, 5, 7)
# Factors on the standard network's channels: about the range of nn-Meter's generator.
WIDTHS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def squeeze_excite(
    net: NetworkBuilder, x: int, squeezed: int, activation: Activation, gate: Activation
) -> int:
    """Scale channels by a gate on their means (Hu et al., CVPR 2018), `squeezed` of them inside."""
    y = net.global_pool(x)
    y = activation(net, net.conv(y, squeezed))
    y = gate(net, net.conv(y, net.channels(x)))
    return net.mul(x, y)


def inverted_residual(
    net: NetworkBuilder,
    x: int,
    out_channels: int,
    kernel: int,
    stride: int,
    hidden: int,
    activation: Activation,
    excite: Callable[[NetworkBuilder, int], int] | None = None,
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


@dataclass(frozen=True)
class Stage:
    """Run of equal blocks in a standard network; the first block has the stride."""

    channels: int
    depth: int
    kernel: int
    expansion: int
    stride: int


def stage_decisions(
    stages: Sequence[Stage],
    depths: tuple[int, ...],
    expansions: tuple[int, ...],
    kernels: tuple[int, ...] = KERNELS,
    widths: tuple[float, ...] = WIDTHS,
) -> tuple[Decision, ...]:
    """Depth `d_s`, width `w_s` of every stage, kernel `k_s_b` and expansion `e_s_b` of its blocks.

    Stages and blocks count from 1.
    """
    decisions: list[Decision] = []
    for s, stage in enumerate(stages, start=1):
        depth = Decision(f"d_{s}", depths, stage.depth)
        decisions += [depth, Decision(f"w_{s}", widths, 1.0)]
        for b in range(1, depths[-1] + 1):
            needs = (at_least(depth, b),) if b > depths[0] else ()
            decisions.append(Decision(f"k_{s}_{b}", kernels, stage.kernel, needs))
            decisions.append(Decision(f"e_{s}_{b}", expansions, stage.expansion, needs))
    return tuple(decisions)


def residual_stages(
    net: NetworkBuilder,
    x: int,
    stages: Sequence[Stage],
    chosen: Choices,
    activation: Activation,
    excite: Callable[[int, int], Callable[[NetworkBuilder, int], int] | None] | None = None,
) -> int:
    """Append stages of inverted residuals, as the decisions of `stage_decisions` say.

    Args:
        net: The network.
        x: Input.
        stages: The standard network.
        chosen: A choice for each decision.
        activation: Activation of all blocks.
        excite: Makes the `excite` of `inverted_residual` from a stage's number (from 1 on) and the
            channels of a block's input.
    """
    for s, stage in enumerate(stages, start=1):
        channels = make_divisible(stage.channels * chosen[f"w_{s}"])
        for b in range(1, chosen[f"d_{s}"] + 1):
            in_channels = net.channels(x)
            x = inverted_residual(
                net,
                x,
                channels,
                chosen[f"k_{s}_{b}"],
                stage.stride if b == 1 else 1,
                in_channels * chosen[f"e_{s}_{b}"],
                activation,
                None if excite is None else excite(s, in_channels),
            )
    return x
