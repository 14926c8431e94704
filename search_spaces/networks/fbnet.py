"""The FBNet space (Wu et al., CVPR 2019) as HW-NAS-Bench (Li et al., ICLR 2021) builds it.

22 layers in seven stages, one of nine operations each: an inverted bottleneck of kernel 3 or 5 with
expansion 1, 3 or 6, or with expansion 1 and two shuffled groups, or `skip`. HELP's latencies are of
its CIFAR-100 networks, which keep the image's 32 pixels through the first two stages and end in
1504 channels; the ImageNet network ends in 1984.
"""

from __future__ import annotations

import itertools
import re

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.networks.blocks import classifier
from nasplug.search_spaces.networks.builder import NetworkBuilder
from nasplug.search_spaces.networks.encodings import json_value, shown
from nasplug.search_spaces.networks.family import Choices, Code, Decision, Family, Task
from nasplug.search_spaces.networks.network_space import NetworkSpace

__all__ = ["FBNET", "OPS", "fbnet"]

# Kernel, expansion, groups.
_BLOCKS = {
    "k3_e1": (3, 1, 1),
    "k3_e1_g2": (3, 1, 2),
    "k3_e3": (3, 3, 1),
    "k3_e6": (3, 6, 1),
    "k5_e1": (5, 1, 1),
    "k5_e1_g2": (5, 1, 2),
    "k5_e3": (5, 3, 1),
    "k5_e6": (5, 6, 1),
}
# In HELP's order of indices.
OPS = (*_BLOCKS, "skip")
# Layers and channels of each stage; its stride on CIFAR and on ImageNet.
_STAGES = (
    (1, 16, 1, 1),
    (4, 24, 1, 2),
    (4, 32, 2, 2),
    (4, 64, 2, 2),
    (4, 112, 1, 1),
    (4, 184, 2, 2),
    (1, 352, 1, 1),
)
_LAYERS = sum(depth for depth, *_ in _STAGES)
_STEM = 16
# Channels before the classifier, on CIFAR and on ImageNet.
_HEADS = (1504, 1984)
_SMALL_IMAGE = 32
_FORM = f"an FBNet architecture; write {_LAYERS} of {', '.join(OPS)}, joined by |, or their indices"


def _layer(net: NetworkBuilder, x: int, op: str, channels: int, stride: int) -> int:
    same = stride == 1 and net.channels(x) == channels
    if op == "skip":
        return x if same else net.relu(net.conv(x, channels, 1, stride))
    kernel, expansion, groups = _BLOCKS[op]
    y = net.relu(net.conv(x, net.channels(x) * expansion, groups=groups))
    if groups > 1:
        y = net.channel_shuffle(y, groups)
    y = net.relu(net.depthwise(y, kernel, stride))
    y = net.conv(y, channels, groups=groups)
    return net.add(y, x) if same else y


def _build(net: NetworkBuilder, chosen: Choices, classes: int) -> int:
    large = net.side(net.input) > _SMALL_IMAGE
    x = net.relu(net.conv(net.input, _STEM, 3, stride=2 if large else 1))
    layer = 0
    for depth, channels, *strides in _STAGES:
        for b in range(depth):
            layer += 1
            x = _layer(net, x, chosen[f"op_{layer}"], channels, strides[large] if b == 0 else 1)
    x = net.relu(net.conv(x, _HEADS[large]))
    return classifier(net, x, classes)


def _code(chosen: Choices, images: Task) -> Code:
    large = images.side > _SMALL_IMAGE
    ops = iter(_ops(chosen))
    stages = tuple(
        (channels, strides[large], tuple(itertools.islice(ops, depth)))
        for depth, channels, *strides in _STAGES
    )
    stem = {"STEM": _STEM, "STEM_STRIDE": 2 if large else 1}
    return "fbnet", {"STAGES": stages, "HEAD": _HEADS[large], **stem}


def _ops(chosen: Choices) -> list[str]:
    return [chosen[f"op_{layer}"] for layer in range(1, _LAYERS + 1)]


def _identity(chosen: Choices) -> str:
    """The operations of each stage without the skips that change nothing."""
    ops = _ops(chosen)
    stages = []
    for depth, *_ in _STAGES:
        stage_ops, ops = ops[:depth], ops[depth:]
        # A skip into a stage changes its channels.
        stages.append("|".join(op for b, op in enumerate(stage_ops) if op != "skip" or b == 0))
    return "/".join(stages)


def _read(text: str) -> Choices:
    items = json_value(text, list, _FORM) if text.startswith("[") else re.split(r"\s*\|\s*", text)
    if len(items) != _LAYERS:
        raise InputError(f"{shown(text)} is not {_FORM}")
    ops = [OPS[item] if type(item) is int and 0 <= item < len(OPS) else item for item in items]
    for op in ops:
        if op not in OPS:
            raise InputError(f"operation {op!r} in {shown(text)} is not one of {', '.join(OPS)}")
    return {f"op_{layer}": op for layer, op in enumerate(ops, start=1)}


FBNET = Family(
    "fbnet",
    tuple(Decision(f"op_{layer}", OPS, "k3_e6") for layer in range(1, _LAYERS + 1)),
    _build,
    tasks={"cifar100": Task(_SMALL_IMAGE, 100), "imagenet": Task(224, 1000)},
    identity=_identity,
    write=lambda chosen: "|".join(_ops(chosen)),
    read=_read,
    code=_code,
)


def fbnet() -> NetworkSpace:
    """Open the space `fbnet`."""
    return NetworkSpace(FBNET)
