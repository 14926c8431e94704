"""Once-for-All MobileNetV3 (Cai et al., ICLR 2020): five elastic stages at an elastic resolution.

Depth 2 to 4 a stage, kernel 3, 5 or 7 and expansion 3, 4 or 6 a block, an image of 128 to 224
pixels. HELP does not say which width it measured; the network that it deploys has width 1.2
(`ofa_mbv3_d234_e346_k357_w1.2`), so that width is assumed and built here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.networks.blocks import KERNELS, SwishBlock, block_decisions
from nasplug.search_spaces.networks.builder import NetworkBuilder, make_divisible
from nasplug.search_spaces.networks.encodings import integer_fields, json_value, shown
from nasplug.search_spaces.networks.family import Choices, Code, Decision, Family, Task
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


# Channels of the first convolution, of the last one, and of the one after the pooling.
_STEM, _HEAD, _FEATURES = _channels(16), _channels(960), _channels(1280)


def _elastic_blocks(chosen: Choices) -> Iterator[SwishBlock]:
    yield SwishBlock(_STEM, _STEM, kernel=3, stride=1, squeezed=0, swish=False)
    in_channels = _STEM
    for s, (standard, first_stride, excited, swish) in enumerate(_STAGES, start=1):
        channels = _channels(standard)
        for b in range(1, chosen[f"d_{s}"] + 1):
            hidden = make_divisible(in_channels * chosen[f"e_{s}_{b}"])
            stride = first_stride if b == 1 else 1
            squeezed = make_divisible(hidden // 4) if excited else 0
            yield SwishBlock(channels, hidden, chosen[f"k_{s}_{b}"], stride, squeezed, swish)
            in_channels = channels


def _build(net: NetworkBuilder, chosen: Choices, classes: int) -> int:
    x = net.hard_swish(net.conv(net.input, _STEM, 3, stride=2))
    for block in _elastic_blocks(chosen):
        x = block.add_to(net, x)
    x = net.global_pool(net.hard_swish(net.conv(x, _HEAD)))
    x = net.hard_swish(net.conv(x, _FEATURES, bias=False))
    return net.linear(net.flatten(x), classes)


def _code(chosen: Choices, images: Task) -> Code:
    blocks = tuple(block.row() for block in _elastic_blocks(chosen))
    return "ofa", {"STEM": _STEM, "HEAD": _HEAD, "FEATURES": _FEATURES, "BLOCKS": blocks}


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
    code=_code,
)


def ofa() -> NetworkSpace:
    """Open the space `ofa`."""
    return NetworkSpace(OFA)
