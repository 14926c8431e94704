"""SqueezeNet 1.0 (Iandola et al., arXiv 1602.07360) and its cheaper release 1.1."""

from __future__ import annotations

from nasplug.search_spaces.networks.blocks import DENSE_KERNELS, KERNELS, WIDTHS
from nasplug.search_spaces.networks.builder import NetworkBuilder, make_divisible
from nasplug.search_spaces.networks.family import Choices, Code, Decision, Family, Task

__all__ = ["SQUEEZENET"]

# Channels of the eight fire modules: squeezed, and of each of the two expanding branches.
_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
# Release -> channels of the first convolution, fire modules before which a pooling comes.
_RELEASES = {"1.0": (96, (1, 4, 8)), "1.1": (64, (1, 3, 5))}


def _fire(net: NetworkBuilder, x: int, squeezed: int, expanded: int, kernel: int) -> int:
    x = net.relu(net.conv(x, squeezed))
    branches = [net.relu(net.conv(x, expanded, k)) for k in (1, kernel)]
    return net.concat(branches)


def _build(net: NetworkBuilder, chosen: Choices, classes: int) -> int:
    first, pooled = _RELEASES[chosen["release"]]
    width = make_divisible(first * chosen["w_0"])
    x = net.relu(net.conv(net.input, width, chosen["k_0"], stride=2, padding=0))
    for m, (squeezed, expanded) in enumerate(_FIRES, start=1):
        if m in pooled:
            x = net.max_pool(x, 3, 2, ceil=True)
        inner = make_divisible(squeezed * chosen[f"s_{m}"])
        outer = make_divisible(expanded * chosen[f"w_{m}"])
        x = _fire(net, x, inner, outer, chosen[f"k_{m}"])
    x = net.relu(net.conv(x, classes))
    return net.flatten(net.global_pool(x))


def _code(chosen: Choices, images: Task) -> Code:
    first, pooled = _RELEASES[chosen["release"]]
    fires = tuple(
        (
            make_divisible(squeezed * chosen[f"s_{m}"]),
            make_divisible(expanded * chosen[f"w_{m}"]),
            chosen[f"k_{m}"],
        )
        for m, (squeezed, expanded) in enumerate(_FIRES, start=1)
    )
    stem = (make_divisible(first * chosen["w_0"]), chosen["k_0"])
    return "squeezenet", {"STEM": stem, "FIRES": fires, "POOLED": pooled}


def _decisions() -> tuple[Decision, ...]:
    decisions = [
        Decision("release", tuple(_RELEASES), "1.0"),
        Decision("k_0", KERNELS, 7),
        Decision("w_0", WIDTHS, 1.0),
    ]
    for m in range(1, len(_FIRES) + 1):
        decisions.append(Decision(f"k_{m}", DENSE_KERNELS, 3))
        decisions.append(Decision(f"s_{m}", WIDTHS, 1.0))
        decisions.append(Decision(f"w_{m}", WIDTHS, 1.0))
    return tuple(decisions)


SQUEEZENET = Family(
    "squeezenet",
    _decisions(),
    _build,
    standards={"squeezenet1.0": {}, "squeezenet1.1": {"release": "1.1", "k_0": 3}},
    code=_code,
)
