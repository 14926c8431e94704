"""EfficientNet (Tan & Le, ICML 2019); the standard network is EfficientNet-B0."""

from __future__ import annotations

from collections.abc import Callable

from nasplug.search_spaces.networks.blocks import (
    KERNELS,
    WIDTHS,
    Stage,
    residual_stages,
    squeeze_excite,
    stage_decisions,
)
from nasplug.search_spaces.networks.builder import NetworkBuilder, make_divisible
from nasplug.search_spaces.networks.family import Choices, Decision, Family

__all__ = ["EFFICIENTNET"]

_STAGES = (
    Stage(channels=16, depth=1, kernel=3, expansion=1, stride=1),
    Stage(24, 2, 3, 6, 2),
    Stage(40, 2, 5, 6, 2),
    Stage(80, 3, 3, 6, 2),
    Stage(112, 3, 5, 6, 1),
    Stage(192, 4, 5, 6, 2),
    Stage(320, 1, 3, 6, 1),
)
# Squeezed channels as a part of the block's input.
_SQUEEZE = 4


def _excite(stage: int, in_channels: int) -> Callable[[NetworkBuilder, int], int]:
    return lambda net, x: squeeze_excite(
        net, x, max(1, in_channels // _SQUEEZE), NetworkBuilder.silu, NetworkBuilder.sigmoid
    )


def _build(net: NetworkBuilder, chosen: Choices, classes: int) -> int:
    stem = make_divisible(32 * chosen["w_0"])
    x = net.silu(net.conv(net.input, stem, chosen["k_0"], stride=2))
    x = residual_stages(net, x, _STAGES, chosen, NetworkBuilder.silu, _excite)
    x = net.silu(net.conv(x, make_divisible(1280 * chosen["w_8"])))
    return net.linear(net.flatten(net.global_pool(x)), classes)


EFFICIENTNET = Family(
    "efficientnet",
    (
        Decision("k_0", KERNELS, 3),
        Decision("w_0", WIDTHS, 1.0),
        *stage_decisions(_STAGES, depths=(1, 2, 3, 4), expansions=(1, 3, 4, 6)),
        Decision("w_8", WIDTHS, 1.0),
    ),
    _build,
    standards={"efficientnet_b0": {}},
)
