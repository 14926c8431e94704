"""GoogLeNet (Szegedy et al., CVPR 2015), with batch normalisation and without auxiliary heads.

The standard network follows torchvision: its third branch has a 3×3 window where the paper has 5×5
(`googlenet_5x5`).
"""

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

__all__ = ["GOOGLENET"]

# Channels of each module: 1×1; reduced and 3×3; reduced and 5×5; after the pooling.
_STAGES = {
    3: ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    4: (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    5: ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
}
_DEPTHS = {3: (1, 2, 3), 4: (3, 4, 5, 6), 5: (1, 2, 3)}


def _conv(net: NetworkBuilder, x: int, channels: int, kernel: int = 1, stride: int = 1) -> int:
    return net.relu(net.conv(x, channels, kernel, stride))


def _inception(net: NetworkBuilder, x: int, channels: tuple[int, ...], k: int, j: int) -> int:
    direct, reduced, middle, reduced_more, wide, pooled = channels
    return net.concat(
        [
            _conv(net, x, direct),
            _conv(net, _conv(net, x, reduced), middle, k),
            _conv(net, _conv(net, x, reduced_more), wide, j),
            _conv(net, net.max_pool(x, 3, 1, padding=1), pooled),
        ]
    )


def _channels(
    modules: tuple[tuple[int, ...], ...], s: int, b: int, chosen: Choices
) -> tuple[int, ...]:
    """Channels of a module of a stage."""
    # A module beyond the standard network's is like its last one.
    standard = modules[min(b, len(modules)) - 1]
    return tuple(make_divisible(c * chosen[f"w_{s}_{b}"]) for c in standard)


def _build(net: NetworkBuilder, chosen: Choices, classes: int) -> int:
    x = _conv(net, net.input, make_divisible(64 * chosen["w_1"]), chosen["k_1"], stride=2)
    x = net.max_pool(x, 3, 2, ceil=True)
    x = _conv(net, x, net.channels(x))
    x = _conv(net, x, make_divisible(192 * chosen["w_2"]), chosen["k_2"])
    x = net.max_pool(x, 3, 2, ceil=True)
    for s, modules in _STAGES.items():
        if s > 3:
            x = net.max_pool(x, 3 if s == 4 else 2, 2, ceil=True)
        for b in range(1, chosen[f"d_{s}"] + 1):
            channels = _channels(modules, s, b, chosen)
            x = _inception(net, x, channels, chosen[f"k_{s}_{b}"], chosen[f"j_{s}_{b}"])
    return classifier(net, x, classes)


def _code(chosen: Choices, images: Task) -> Code:
    stages = []
    for s, modules in _STAGES.items():
        rows = []
        for b in range(1, chosen[f"d_{s}"] + 1):
            channels = _channels(modules, s, b, chosen)
            direct, *pairs, pooled = channels
            windows = chosen[f"k_{s}_{b}"], chosen[f"j_{s}_{b}"]
            rows.append((direct, tuple(pairs[:2]), tuple(pairs[2:]), pooled, *windows))
        stages.append(tuple(rows))
    stem = [(make_divisible(64 * chosen["w_1"]), chosen["k_1"])]
    stem += [(make_divisible(192 * chosen["w_2"]), chosen["k_2"])]
    return "googlenet", {"STEM": tuple(stem), "STAGES": tuple(stages)}


def _decisions() -> tuple[Decision, ...]:
    decisions = [Decision("k_1", KERNELS, 7), Decision("w_1", WIDTHS, 1.0)]
    decisions += [Decision("k_2", DENSE_KERNELS, 3), Decision("w_2", WIDTHS, 1.0)]
    for s, modules in _STAGES.items():
        depth = Decision(f"d_{s}", _DEPTHS[s], len(modules))
        windows = DENSE_KERNELS, 3
        decisions += [depth, *block_decisions(depth, w=(WIDTHS, 1.0), k=windows, j=windows)]
    return tuple(decisions)


GOOGLENET = Family(
    "googlenet",
    _decisions(),
    _build,
    standards={
        "googlenet": {},
        "googlenet_5x5": {d.name: 5 for d in _decisions() if d.name.startswith("j_")},
    },
    code=_code,
)
