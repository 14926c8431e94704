"""The space of Accel-NASBench (Ahmad et al., DAC 2024): seven MnasNet-like blocks on ImageNet.

Parameters and multiply-accumulates are those of the published networks. The publication does not
name the activations: they are assumed to be ReLU, with a sigmoid as the gate of the excitation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.networks.blocks import classifier, excitation, inverted_residual
from nasplug.search_spaces.networks.builder import NetworkBuilder
from nasplug.search_spaces.networks.encodings import integer_fields, json_value, shown
from nasplug.search_spaces.networks.family import Choices, Code, Decision, Family, Task
from nasplug.search_spaces.networks.network_space import NetworkSpace

__all__ = ["ACCEL", "accel"]

# Channels and stride of each block.
_BLOCKS = ((16, 1), (24, 2), (40, 2), (80, 2), (112, 1), (192, 2), (320, 1))
_STEM = 32
_HEAD = 1280
_SQUEEZE = 4
_CHOICES: dict[str, tuple[Any, ...]] = {
    "e": (1, 4, 6),
    "k": (3, 5),
    "l": (1, 2, 3),
    "se": (False, True),
}
# The one block that may have a fourth layer.
_LONG_BLOCK = 5
# EfficientNet-B0, as far as this space has its choices.
_STANDARD = {
    "e": (1, 6, 6, 6, 6, 6, 6),
    "k": (3, 3, 5, 3, 5, 5, 3),
    "l": (1, 2, 2, 3, 3, 4, 1),
    "se": (True,) * len(_BLOCKS),
}
_FORM = "an Accel-NASBench architecture; write e=…;k=…;l=…;se=… with seven numbers each, or JSON"


def _build(net: NetworkBuilder, chosen: Choices, classes: int) -> int:
    x = net.relu(net.conv(net.input, _STEM, 3, stride=2))
    for block, (channels, stride) in enumerate(_BLOCKS):
        name = f"block{block}"
        for layer in range(chosen[f"{name}_l"]):
            in_channels = net.channels(x)
            squeezed = in_channels // _SQUEEZE
            excite = excitation(squeezed, NetworkBuilder.relu, NetworkBuilder.sigmoid)
            x = inverted_residual(
                net,
                x,
                channels,
                chosen[f"{name}_k"],
                1 if layer else stride,
                in_channels * chosen[f"{name}_e"],
                NetworkBuilder.relu,
                excite if chosen[f"{name}_se"] else None,
            )
    x = net.relu(net.conv(x, _HEAD))
    return classifier(net, x, classes)


def _code(chosen: Choices, images: Task) -> Code:
    rows = [[chosen[f"block{b}_{letter}"] for letter in _CHOICES] for b in range(len(_BLOCKS))]
    channels, strides = zip(*_BLOCKS, strict=True)
    return "accel", {
        "BLOCKS": tuple(map(tuple, rows)),
        "CHANNELS": channels,
        "STRIDES": strides,
        "STEM": _STEM,
        "HEAD": _HEAD,
    }


def _decisions() -> tuple[Decision, ...]:
    return tuple(
        Decision(
            f"block{block}_{letter}",
            (*choices, 4) if letter == "l" and block == _LONG_BLOCK else choices,
            _STANDARD[letter][block],
        )
        for block in range(len(_BLOCKS))
        for letter, choices in _CHOICES.items()
    )


def _write(chosen: Choices) -> str:
    return ";".join(
        f"{letter}=" + ",".join(str(int(chosen[f"block{b}_{letter}"])) for b in range(len(_BLOCKS)))
        for letter in _CHOICES
    )


def _read(text: str) -> Choices:
    if text.startswith("{"):
        values_by_name: Mapping[str, Any] = json_value(text, dict, _FORM)
        return {name: values_by_name.get(name) for name in (d.name for d in _decisions())}
    fields = integer_fields(text, _FORM)
    if fields.keys() != _CHOICES.keys() or any(len(v) != len(_BLOCKS) for v in fields.values()):
        raise InputError(f"{shown(text)} is not {_FORM}")
    return {
        f"block{b}_{letter}": v for letter, values in fields.items() for b, v in enumerate(values)
    }


ACCEL = Family("accel", _decisions(), _build, write=_write, read=_read, code=_code)


def accel() -> NetworkSpace:
    """Open the space `accel`."""
    return NetworkSpace(ACCEL)
