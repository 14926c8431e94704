"""ResNet (He et al., CVPR 2016), with the stride in a bottleneck's middle as torchvision has it."""

from __future__ import annotations

from nasplug.search_spaces.networks.blocks import (
    DENSE_KERNELS,
    KERNELS,
    WIDTHS,
    block_decisions,
    classifier,
)
from nasplug.search_spaces.networks.builder import NetworkBuilder, make_divisible
from nasplug.search_spaces.networks.family import Choices, Code, Decision, Family, Task

__all__ = ["RESNET"]

_CHANNELS = (64, 128, 256, 512)
_DEPTHS = (2, 2, 2, 2)
_DEPTH_CHOICES = (1, 2, 3, 4, 5, 6)
# A bottleneck's output has four times the channels of its middle.
_EXPANSION = {"basic": 1, "bottleneck": 4}


def _block(net: NetworkBuilder, x: int, kind: str, width: int, kernel: int, stride: int) -> int:
    out_channels = width * _EXPANSION[kind]
    if kind == "basic":
        y = net.relu(net.conv(x, width, kernel, stride))
        y = net.conv(y, width, kernel)
    else:
        y = net.relu(net.conv(x, width))
        y = net.relu(net.conv(y, width, kernel, stride))
        y = net.conv(y, out_channels)
    if stride > 1 or net.channels(x) != out_channels:
        x = net.conv(x, out_channels, 1, stride)
    return net.relu(net.add(y, x))


def _build(net: NetworkBuilder, chosen: Choices, classes: int) -> int:
    x = net.conv(net.input, make_divisible(64 * chosen["w_0"]), chosen["k_0"], stride=2)
    x = net.max_pool(net.relu(x), 3, 2, padding=1)
    for s, channels in enumerate(_CHANNELS, start=1):
        width = make_divisible(channels * chosen[f"w_{s}"])
        for b in range(1, chosen[f"d_{s}"] + 1):
            stride = 2 if s > 1 and b == 1 else 1
            x = _block(net, x, chosen["block"], width, chosen[f"k_{s}_{b}"], stride)
    return classifier(net, x, classes)


def _code(chosen: Choices, images: Task) -> Code:
    stages = tuple(
        (
            make_divisible(channels * chosen[f"w_{s}"]),
            tuple(chosen[f"k_{s}_{b}"] for b in range(1, chosen[f"d_{s}"] + 1)),
        )
        for s, channels in enumerate(_CHANNELS, start=1)
    )
    template = "resnet" if chosen["block"] == "basic" else "resnet_bottleneck"
    stem = (make_divisible(64 * chosen["w_0"]), chosen["k_0"])
    return template, {"STEM": stem, "STAGES": stages}


def _decisions() -> tuple[Decision, ...]:
    decisions = [
        Decision("block", tuple(_EXPANSION), "basic"),
        Decision("k_0", KERNELS, 7),
        Decision("w_0", WIDTHS, 1.0),
    ]
    for s, standard in enumerate(_DEPTHS, start=1):
        depth = Decision(f"d_{s}", _DEPTH_CHOICES, standard)
        decisions += [depth, Decision(f"w_{s}", WIDTHS, 1.0)]
        decisions += block_decisions(depth, k=(DENSE_KERNELS, 3))
    return tuple(decisions)


_DEEPER: Choices = {"d_1": 3, "d_2": 4, "d_3": 6, "d_4": 3}

RESNET = Family(
    "resnet",
    _decisions(),
    _build,
    standards={
        "resnet18": {},
        "resnet34": _DEEPER,
        "resnet50": {**_DEEPER, "block": "bottleneck"},
    },
    code=_code,
)
