"""Chains of convolutions with three linear layers at the end: AlexNet and VGG, without dropout."""

from __future__ import annotations

from nasplug.search_spaces.networks.blocks import DENSE_KERNELS, WIDTHS, block_decisions
from nasplug.search_spaces.networks.builder import NetworkBuilder, make_divisible
from nasplug.search_spaces.networks.family import Choices, Code, Decision, Family, Task

__all__ = ["ALEXNET", "VGG"]

_FEATURES = 4096


def _linear_layers(net: NetworkBuilder, x: int, chosen: Choices, classes: int) -> int:
    x = net.flatten(x)
    for layer in (6, 7):
        x = net.relu(net.linear(x, make_divisible(_FEATURES * chosen[f"w_{layer}"])))
    return net.linear(x, classes)


# Channels and kernel of AlexNet's five convolutions; pooling comes after the 1st, 2nd and 5th.
_LAYERS = ((64, 11), (192, 5), (384, 3), (256, 3), (256, 3))
_POOLED = (1, 2, 5)
# Kernels of the first convolution, whose stride is 4.
_FIRST_KERNELS = (7, 9, 11, 13)


def _alexnet(net: NetworkBuilder, chosen: Choices, classes: int) -> int:
    x = net.input
    for layer, (channels, _) in enumerate(_LAYERS, start=1):
        kernel = chosen[f"k_{layer}"]
        width = make_divisible(channels * chosen[f"w_{layer}"])
        if layer == 1:
            # The padding that leaves 55 pixels of 224, whatever the kernel.
            x = net.conv(x, width, kernel, stride=4, padding=(kernel - 7) // 2)
        else:
            x = net.conv(x, width, kernel)
        x = net.relu(x)
        if layer in _POOLED:
            x = net.max_pool(x, 3, 2)
    return _linear_layers(net, x, chosen, classes)


def _hidden(chosen: Choices) -> tuple[int, ...]:
    """Features of the hidden linear layers."""
    return tuple(make_divisible(_FEATURES * chosen[f"w_{layer}"]) for layer in (6, 7))


def _alexnet_code(chosen: Choices, images: Task) -> Code:
    rows = []
    for layer, (channels, _) in enumerate(_LAYERS, start=1):
        width, kernel = make_divisible(channels * chosen[f"w_{layer}"]), chosen[f"k_{layer}"]
        stride, padding = (4, (kernel - 7) // 2) if layer == 1 else (1, kernel // 2)
        rows.append((width, kernel, stride, padding, layer in _POOLED))
    return "alexnet", {"CONVOLUTIONS": tuple(rows), "HIDDEN": _hidden(chosen)}


# The one-column form of Krizhevsky, arXiv 1404.5997.
ALEXNET = Family(
    "alexnet",
    (
        *(
            Decision(f"k_{layer}", _FIRST_KERNELS if layer == 1 else DENSE_KERNELS, kernel)
            for layer, (_, kernel) in enumerate(_LAYERS, start=1)
        ),
        *(Decision(f"w_{layer}", WIDTHS, 1.0) for layer in range(1, 8)),
    ),
    _alexnet,
    standards={"alexnet": {}},
    code=_alexnet_code,
)

# Channels of VGG's stages, and the number of convolutions in each stage of VGG-16.
_CHANNELS = (64, 128, 256, 512, 512)
_DEPTHS = (2, 2, 3, 3, 3)
_DEPTH_CHOICES = (1, 2, 3, 4)


def _vgg(net: NetworkBuilder, chosen: Choices, classes: int) -> int:
    x = net.input
    for s, channels in enumerate(_CHANNELS, start=1):
        width = make_divisible(channels * chosen[f"w_{s}"])
        for b in range(1, chosen[f"d_{s}"] + 1):
            x = net.relu(net.conv(x, width, chosen[f"k_{s}_{b}"]))
        x = net.max_pool(x, 2, 2)
    return _linear_layers(net, x, chosen, classes)


def _vgg_code(chosen: Choices, images: Task) -> Code:
    stages = tuple(
        (
            make_divisible(channels * chosen[f"w_{s}"]),
            tuple(chosen[f"k_{s}_{b}"] for b in range(1, chosen[f"d_{s}"] + 1)),
        )
        for s, channels in enumerate(_CHANNELS, start=1)
    )
    return "vgg", {"STAGES": stages, "HIDDEN": _hidden(chosen)}


def _vgg_decisions() -> tuple[Decision, ...]:
    decisions: list[Decision] = []
    for s, standard in enumerate(_DEPTHS, start=1):
        depth = Decision(f"d_{s}", _DEPTH_CHOICES, standard)
        decisions += [depth, Decision(f"w_{s}", WIDTHS, 1.0)]
        decisions += block_decisions(depth, k=(DENSE_KERNELS, 3))
    return (*decisions, *(Decision(f"w_{layer}", WIDTHS, 1.0) for layer in (6, 7)))


def _depths(*depths: int) -> Choices:
    return {f"d_{s}": depth for s, depth in enumerate(depths, start=1)}


# Simonyan & Zisserman, ICLR 2015.
VGG = Family(
    "vgg",
    _vgg_decisions(),
    _vgg,
    standards={
        "vgg16": {},
        "vgg11": _depths(1, 1, 2, 2, 2),
        "vgg13": _depths(2, 2, 2, 2, 2),
        "vgg19": _depths(2, 2, 4, 4, 4),
    },
    code=_vgg_code,
)
