"""Stages of inverted residuals: MobileNetV2, MnasNet and EfficientNet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from nasplug.search_spaces.networks.blocks import (
    KERNELS,
    WIDTHS,
    Layer,
    block_decisions,
    classifier,
    excitation,
    inverted_residual,
)
from nasplug.search_spaces.networks.builder import NetworkBuilder, make_divisible
from nasplug.search_spaces.networks.family import Choices, Code, Decision, Family, Task

__all__ = ["EFFICIENTNET", "MNASNET", "MOBILENETV2"]

_DEPTHS = (1, 2, 3, 4)
_HEAD = 1280
# Squeezed channels as a part of the block's input.
_SQUEEZE = 4


@dataclass(frozen=True)
class _Stage:
    """Run of equal blocks in a standard network; the first block has the stride."""

    channels: int
    depth: int
    kernel: int
    expansion: int
    stride: int


def _decisions(
    stages: tuple[_Stage, ...], expansions: tuple[int, ...], further: tuple[Decision, ...] = ()
) -> tuple[Decision, ...]:
    """Kernel and width of the stem; depth, width and blocks of each stage; width of the head."""
    decisions = [Decision("k_0", KERNELS, 3), Decision("w_0", WIDTHS, 1.0)]
    for s, stage in enumerate(stages, start=1):
        depth = Decision(f"d_{s}", _DEPTHS, stage.depth)
        decisions += [depth, Decision(f"w_{s}", WIDTHS, 1.0)]
        decisions += block_decisions(
            depth, k=(KERNELS, stage.kernel), e=(expansions, stage.expansion)
        )
    return (*decisions, *further, Decision(f"w_{len(stages) + 1}", WIDTHS, 1.0))


class _Block(NamedTuple):
    """Block of a network; `stage` is counted from 1."""

    channels: int
    expansion: int
    kernel: int
    stride: int
    stage: int


def _blocks(stages: tuple[_Stage, ...], chosen: Choices) -> Iterator[_Block]:
    for s, stage in enumerate(stages, start=1):
        channels = make_divisible(stage.channels * chosen[f"w_{s}"])
        for b in range(1, chosen[f"d_{s}"] + 1):
            stride = stage.stride if b == 1 else 1
            yield _Block(channels, chosen[f"e_{s}_{b}"], chosen[f"k_{s}_{b}"], stride, s)


def _head(stages: tuple[_Stage, ...], chosen: Choices) -> int:
    """Channels of the last convolution."""
    return make_divisible(_HEAD * chosen[f"w_{len(stages) + 1}"])


def _stages_and_head(
    net: NetworkBuilder,
    x: int,
    stages: tuple[_Stage, ...],
    chosen: Choices,
    classes: int,
    activation: Layer,
    excite: Callable[[int, int], Layer | None] = lambda stage, channels: None,
) -> int:
    """Append everything after the stem.

    `excite` makes the excitation of a block from its stage, counted from 1, and the channels of its
    input.
    """
    for block in _blocks(stages, chosen):
        channels = net.channels(x)
        x = inverted_residual(
            net,
            x,
            block.channels,
            block.kernel,
            block.stride,
            channels * block.expansion,
            activation,
            excite(block.stage, channels),
        )
    x = activation(net, net.conv(x, _head(stages, chosen)))
    return classifier(net, x, classes)


def _code(template: str, stages: tuple[_Stage, ...], chosen: Choices, images: Task) -> Code:
    stem: tuple[int, ...] = (make_divisible(32 * chosen["w_0"]), chosen["k_0"])
    rows: list[tuple[int, ...]] = [block[:-1] for block in _blocks(stages, chosen)]
    if template == "mnasnet":
        stem = (*stem, make_divisible(16 * chosen["w_0"]))
        excited = [chosen[f"se_{block.stage}"] for block in _blocks(stages, chosen)]
        rows = [(*row, is_excited) for row, is_excited in zip(rows, excited, strict=True)]
    return template, {"STEM": stem, "HEAD": _head(stages, chosen), "BLOCKS": tuple(rows)}


def _excitation(channels: int, activation: Layer) -> Layer:
    """Excitation of a block whose input has so many channels."""
    return excitation(max(1, channels // _SQUEEZE), activation, NetworkBuilder.sigmoid)


_MOBILENETV2 = (
    _Stage(channels=16, depth=1, kernel=3, expansion=1, stride=1),
    _Stage(24, 2, 3, 6, 2),
    _Stage(32, 3, 3, 6, 2),
    _Stage(64, 4, 3, 6, 2),
    _Stage(96, 3, 3, 6, 1),
    _Stage(160, 3, 3, 6, 2),
    _Stage(320, 1, 3, 6, 1),
)


def _mobilenetv2(net: NetworkBuilder, chosen: Choices, classes: int) -> int:
    x = net.relu6(net.conv(net.input, make_divisible(32 * chosen["w_0"]), chosen["k_0"], stride=2))
    return _stages_and_head(net, x, _MOBILENETV2, chosen, classes, NetworkBuilder.relu6)


# Sandler et al., CVPR 2018.
MOBILENETV2 = Family(
    "mobilenetv2",
    _decisions(_MOBILENETV2, (1, 3, 4, 6)),
    _mobilenetv2,
    standards={"mobilenetv2": {}},
    code=partial(_code, "mobilenetv2", _MOBILENETV2),
)

_MNASNET = (
    _Stage(channels=24, depth=3, kernel=3, expansion=3, stride=2),
    _Stage(40, 3, 5, 3, 2),
    _Stage(80, 3, 5, 6, 2),
    _Stage(96, 2, 3, 6, 1),
    _Stage(192, 4, 5, 6, 2),
    _Stage(320, 1, 3, 6, 1),
)


def _mnasnet(net: NetworkBuilder, chosen: Choices, classes: int) -> int:
    def excite(stage: int, channels: int) -> Layer | None:
        return _excitation(channels, NetworkBuilder.relu) if chosen[f"se_{stage}"] else None

    x = net.relu(net.conv(net.input, make_divisible(32 * chosen["w_0"]), 3, stride=2))
    x = net.relu(net.depthwise(x, chosen["k_0"]))
    x = net.conv(x, make_divisible(16 * chosen["w_0"]))
    return _stages_and_head(net, x, _MNASNET, chosen, classes, NetworkBuilder.relu, excite)


# Tan et al., CVPR 2019; the standard network is MnasNet-B1, which has no excitation.
MNASNET = Family(
    "mnasnet",
    _decisions(
        _MNASNET,
        (3, 4, 6),
        tuple(Decision(f"se_{s}", (False, True), False) for s in range(1, len(_MNASNET) + 1)),
    ),
    _mnasnet,
    standards={"mnasnet1.0": {}},
    code=partial(_code, "mnasnet", _MNASNET),
)

_EFFICIENTNET = (
    _Stage(channels=16, depth=1, kernel=3, expansion=1, stride=1),
    _Stage(24, 2, 3, 6, 2),
    _Stage(40, 2, 5, 6, 2),
    _Stage(80, 3, 3, 6, 2),
    _Stage(112, 3, 5, 6, 1),
    _Stage(192, 4, 5, 6, 2),
    _Stage(320, 1, 3, 6, 1),
)


def _efficientnet(net: NetworkBuilder, chosen: Choices, classes: int) -> int:
    def excite(stage: int, channels: int) -> Layer:
        return _excitation(channels, NetworkBuilder.silu)

    x = net.silu(net.conv(net.input, make_divisible(32 * chosen["w_0"]), chosen["k_0"], stride=2))
    return _stages_and_head(net, x, _EFFICIENTNET, chosen, classes, NetworkBuilder.silu, excite)


# Tan & Le, ICML 2019; the standard network is EfficientNet-B0.
EFFICIENTNET = Family(
    "efficientnet",
    _decisions(_EFFICIENTNET, (1, 3, 4, 6)),
    _efficientnet,
    standards={"efficientnet_b0": {}},
    code=partial(_code, "efficientnet", _EFFICIENTNET),
)
