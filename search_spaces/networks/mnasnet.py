"""MnasNet (Tan et al., CVPR 2019); the standard network is MnasNet-B1, which has no excitation."""

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

__all__ = ["MNASNET"]

_STAGES = (
    Stage(channels=24, depth=3, kernel=3, expansion=3, stride=2),
    Stage(40, 3, 5, 3, 2),
    Stage(80, 3, 5, 6, 2),
    Stage(96, 2, 3, 6, 1),
    Stage(192, 4, 5, 6, 2),
    Stage(320, 1, 3, 6, 1),
)
# Squeezed channels as a part of the block's input.
_SQUEEZE = 4


def _build(net: NetworkBuilder, chosen: Choices, classes: int) -> int:
    def excite(stage: int, in_channels: int) -> Callable[[NetworkBuilder, int], int] | None:
        if not chosen[f"se_{stage}"]:
            return None
        return lambda net, x: squeeze_excite(
            net, x, max(1, in_channels // _SQUEEZE), NetworkBuilder.relu, NetworkBuilder.sigmoid
        )

    x = net.relu(net.conv(net.input, make_divisible(32 * chosen["w_0"]), 3, stride=2))
    x = net.relu(net.depthwise(x, chosen["k_0"]))
    x = net.conv(x, make_divisible(16 * chosen["w_0"]))
    x = residual_stages(net, x, _STAGES, chosen, NetworkBuilder.relu, excite)
    x = net.relu(net.conv(x, make_divisible(1280 * chosen["w_7"])))
    return net.linear(net.flatten(net.global_pool(x)), classes)


MNASNET = Family(
    "mnasnet",
    (
        Decision("k_0", KERNELS, 3),
        Decision("w_0", WIDTHS, 1.0),
        *stage_decisions(_STAGES, depths=(1, 2, 3, 4), expansions=(3, 4, 6)),
        *(Decision(f"se_{s}", (False, True), False) for s in range(1, len(_STAGES) + 1)),
        Decision("w_7", WIDTHS, 1.0),
    ),
    _build,
    standards={"mnasnet1.0": {}},
)
