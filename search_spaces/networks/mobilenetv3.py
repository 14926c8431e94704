"""MobileNetV3, large and small (Howard et al., ICCV 2019)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nasplug.search_spaces.networks.blocks import (
    KERNELS,
    WIDTHS,
    SwishBlock,
    block_decisions,
)
from nasplug.search_spaces.networks.builder import NetworkBuilder, make_divisible
from nasplug.search_spaces.networks.family import Choices, Code, Decision, Family, Task, Value

__all__ = ["MOBILENETV3"]


@dataclass(frozen=True)
class _Stage:
    """A stage of a standard network; `hidden` are the expanded channels of its blocks."""

    channels: int
    hidden: tuple[int, ...]
    kernel: int
    excited: bool
    swish: bool
    stride: int


_LARGE = (
    _Stage(channels=16, hidden=(16,), kernel=3, excited=False, swish=False, stride=1),
    _Stage(24, (64, 72), 3, False, False, 2),
    _Stage(40, (72, 120, 120), 5, True, False, 2),
    _Stage(80, (240, 200, 184, 184), 3, False, True, 2),
    _Stage(112, (480, 672), 3, True, True, 1),
    _Stage(160, (672, 960, 960), 5, True, True, 2),
)
_SMALL = (
    _Stage(channels=16, hidden=(16,), kernel=3, excited=True, swish=False, stride=2),
    _Stage(24, (72, 88), 3, False, False, 2),
    _Stage(40, (96, 240, 240), 5, True, True, 2),
    _Stage(48, (120, 144), 5, True, True, 1),
    _Stage(96, (288, 576, 576), 5, True, True, 2),
)
# Variant -> its stages and the features of its last hidden layer.
_VARIANTS = {"large": (_LARGE, 1280), "small": (_SMALL, 1024)}
_STEM = 16
_DEPTHS = (1, 2, 3, 4)
# Factor on a block's expanded channels.
_EXPANSIONS = (0.5, 0.75, 1.0, 1.25)


def _stem(chosen: Choices) -> int:
    """Channels of the first convolution."""
    return make_divisible(_STEM * chosen["w_0"])


def _features(chosen: Choices) -> int:
    """Features of the hidden linear layer."""
    return make_divisible(_VARIANTS[chosen["variant"]][1] * chosen["w_7"])


def _blocks(chosen: Choices) -> Iterator[SwishBlock]:
    channels, standard_channels = _stem(chosen), _STEM
    for s, stage in enumerate(_VARIANTS[chosen["variant"]][0], start=1):
        width = make_divisible(stage.channels * chosen[f"w_{s}"])
        for b in range(1, chosen[f"d_{s}"] + 1):
            # A block beyond the standard network's is like its last one.
            expansion = stage.hidden[min(b, len(stage.hidden)) - 1] / standard_channels
            hidden = make_divisible(channels * expansion * chosen[f"e_{s}_{b}"])
            stride = stage.stride if b == 1 else 1
            squeezed = make_divisible(hidden // 4) if stage.excited else 0
            yield SwishBlock(width, hidden, chosen[f"k_{s}_{b}"], stride, squeezed, stage.swish)
            channels, standard_channels = width, stage.channels


def _build(net: NetworkBuilder, chosen: Choices, classes: int) -> int:
    x = net.hard_swish(net.conv(net.input, _stem(chosen), 3, stride=2))
    for block in _blocks(chosen):
        x = block.add_to(net, x)
    x = net.hard_swish(net.conv(x, 6 * net.channels(x)))
    x = net.flatten(net.global_pool(x))
    x = net.hard_swish(net.linear(x, _features(chosen)))
    return net.linear(x, classes)


def _code(chosen: Choices, images: Task) -> Code:
    blocks = tuple(block.row() for block in _blocks(chosen))
    return "mobilenetv3", {
        "STEM": _stem(chosen),
        "FEATURES": _features(chosen),
        "BLOCKS": blocks,
    }


def _decisions() -> tuple[Decision, ...]:
    decisions = [
        Decision("variant", tuple(_VARIANTS), "large"),
        Decision("w_0", WIDTHS, 1.0),
    ]
    for s, stage in enumerate(_LARGE, start=1):
        exists = (("variant", ("large",)),) if s > len(_SMALL) else ()
        depth = Decision(f"d_{s}", _DEPTHS, len(stage.hidden), exists)
        decisions += [depth, Decision(f"w_{s}", WIDTHS, 1.0, exists)]
        decisions += block_decisions(depth, k=(KERNELS, stage.kernel), e=(_EXPANSIONS, 1.0))
    return (*decisions, Decision("w_7", WIDTHS, 1.0))


def _small() -> Choices:
    choices: dict[str, Value] = {"variant": "small"}
    for s, stage in enumerate(_SMALL, start=1):
        choices[f"d_{s}"] = len(stage.hidden)
        choices.update({f"k_{s}_{b}": stage.kernel for b in _DEPTHS})
    return choices


MOBILENETV3 = Family(
    "mobilenetv3",
    _decisions(),
    _build,
    standards={"mobilenetv3_large": {}, "mobilenetv3_small": _small()},
    code=_code,
)
