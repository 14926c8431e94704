"""Once-for-All MobileNetV3 (Cai et al., ICLR 2020): five elastic stages at an elastic resolution.

Depth 2 to 4 a stage, kernel 3, 5 or 7 and expansion 3, 4 or 6 a block, an image of 128 to 224
pixels. HELP does not say which width it measured; the network that it deploys has width 1.2
(`ofa_mbv3_d234_e346_k357_w1.2`), so that width is assumed and built here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.networks.blocks import (
    KERNELS,
    block_decisions,
    excitation,
    inverted_residual,
)
from nasplug.search_spaces.networks.builder import NetworkBuilder, make_divisible
from nasplug.search_spaces.networks.encodings import integer_fields, json_value, shown
from nasplug.search_spaces.networks.family import Choices, Decision, Family
from nasplug.search_spaces.networks.network_space import NetworkSpace

__all__ = ["OFA", "ofa"]

_WIDTH = 1.2
# Channels, stride, excitation and hard-swish of each elastic stage.
_STAGES = (
    (24, 2, False, False),
    (40, 2, True, False),
    (80, 2, False, True),
    (112, 1, True, True),
    (160, 2, True, True),
)
_DEPTHS = (2, 3, 4)
_BLOCKS = _DEPTHS[-1]
_EXPANSIONS = (3, 4, 6)
_RESOLUTIONS = tuple(range(128, 225, 4))
_FORM = (
    "a Once-for-All architecture; write r=224;d=2,2,2,2,2;ks=…20 kernels;e=…20 expansions, or JSON"
)


def _channels(standard: int) -> int:
    return make_divisible(standard * _WIDTH)


def _build(net: NetworkBuilder, chosen: Choices, classes: int) -> int:
    x = net.hard_swish(net.conv(net.input, _channels(16), 3, stride=2))
    x = inverted_residual(net, x, _channels(16), 3, 1, net.channels(x), NetworkBuilder.relu)
    for s, (channels, stride, excited, swish) in enumerate(_STAGES, start=1):
        for b in range(1, chosen[f"d_{s}"] + 1):
            hidden = make_divisible(net.channels(x) * chosen[f"e_{s}_{b}"])
            squeezed = make_divisible(hidden // 4)
            excite = excitation(squeezed, NetworkBuilder.relu, NetworkBuilder.hard_sigmoid)
            x = inverted_residual(
                net,
                x,
                _channels(channels),
                chosen[f"k_{s}_{b}"],
                stride if b == 1 else 1,
                hidden,
                NetworkBuilder.hard_swish if swish else NetworkBuilder.relu,
                excite if excited else None,
            )
    x = net.global_pool(net.hard_swish(net.conv(x, _channels(960))))
    x = net.hard_swish(net.conv(x, _channels(1280), bias=False))
    return net.linear(net.flatten(x), classes)


def _decisions() -> tuple[Decision, ...]:
    decisions = [Decision("r", _RESOLUTIONS, 224)]
    for s in range(1, len(_STAGES) + 1):
        depth = Decision(f"d_{s}", _DEPTHS, 4)
        decisions += [depth, *block_decisions(depth, k=(KERNELS, 7), e=(_EXPANSIONS, 6))]
    return tuple(decisions)


_ALL_BLOCKS = [(s, b) for s in range(1, len(_STAGES) + 1) for b in range(1, _BLOCKS + 1)]


def _write(chosen: Choices) -> str:
    def text(letter: str) -> str:
        exists = ((s, b, b <= chosen[f"d_{s}"]) for s, b in _ALL_BLOCKS)
        return ",".join(str(chosen[f"{letter}_{s}_{b}"] if on else 0) for s, b, on in exists)

    depths = ",".join(str(chosen[f"d_{s}"]) for s in range(1, len(_STAGES) + 1))
    return f"r={chosen['r']};d={depths};ks={text('k')};e={text('e')}"


def _read(text: str) -> Choices:
    is_json = text.startswith("{")
    fields: Mapping[str, Any]
    fields = json_value(text, dict, _FORM) if is_json else integer_fields(text, _FORM)
    r, d, ks, e = (fields.get(name) for name in ("r", "d", "ks", "e"))
    if (
        not isinstance(d, list)
        or not isinstance(ks, list)
        or not isinstance(e, list)
        or (len(d), len(ks), len(e)) != (len(_STAGES), len(_ALL_BLOCKS), len(_ALL_BLOCKS))
    ):
        raise InputError(f"{shown(text)} is not {_FORM}")
    chosen: dict[str, Any] = {"r": r[0] if isinstance(r, list) and len(r) == 1 else r}
    chosen.update({f"d_{s}": depth for s, depth in enumerate(d, start=1)})
    for (s, b), kernel, expansion in zip(_ALL_BLOCKS, ks, e, strict=True):
        # Values for a block that does not exist do not count.
        chosen[f"k_{s}_{b}"], chosen[f"e_{s}_{b}"] = kernel, expansion
    return chosen


OFA = Family(
    "ofa",
    _decisions(),
    _build,
    start=lambda task, chosen: NetworkBuilder(int(chosen["r"])),
    write=_write,
    read=_read,
)


def ofa() -> NetworkSpace:
    """Open the space `ofa`."""
    return NetworkSpace(OFA)
