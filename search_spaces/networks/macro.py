"""NAS-Bench-Macro (Su et al., "Prioritized Architecture Sampling", CVPR 2021): 6,561 networks.

Eight blocks in three stages; each is an identity (0), an inverted bottleneck of kernel 3 and
expansion 3 (1) or of kernel 5 and expansion 6 (2). An identity into a stage is a strided 1×1
convolution without activation. 3,969 of the networks differ.
"""

from __future__ import annotations

import itertools

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.networks.blocks import classifier, inverted_residual
from nasplug.search_spaces.networks.builder import NetworkBuilder
from nasplug.search_spaces.networks.encodings import shown
from nasplug.search_spaces.networks.family import Choices, Code, Decision, Family, Task
from nasplug.search_spaces.networks.network_space import FiniteNetworkSpace

__all__ = ["MACRO", "macro"]

# In the order of the benchmark's digits.
_OPS = ("identity", "mb3_k3", "mb6_k5")
# Kernel and expansion.
_BLOCKS = {"mb3_k3": (3, 3), "mb6_k5": (5, 6)}
_STAGES = (2, 3, 3)
_STEM = 32
_HEAD = 1280


def _build(net: NetworkBuilder, chosen: Choices, classes: int) -> int:
    x = net.relu(net.conv(net.input, _STEM, 3))
    block = 0
    for depth in _STAGES:
        channels = 2 * net.channels(x)
        for b in range(depth):
            block += 1
            op, stride = chosen[f"block_{block}"], 1 if b else 2
            if op == "identity":
                x = x if b else net.conv(x, channels, 1, stride)
            else:
                kernel, expansion = _BLOCKS[op]
                hidden = expansion * net.channels(x)
                x = inverted_residual(net, x, channels, kernel, stride, hidden, NetworkBuilder.relu)
    x = net.relu(net.conv(x, _HEAD))
    return classifier(net, x, classes)


def _code(chosen: Choices, images: Task) -> Code:
    ops = iter([chosen[f"block_{k}"] for k in range(1, sum(_STAGES) + 1)])
    stages = tuple(tuple(itertools.islice(ops, depth)) for depth in _STAGES)
    return "macro", {"STAGES": stages, "STEM": _STEM, "HEAD": _HEAD}


def _write(chosen: Choices) -> str:
    return "".join(str(_OPS.index(chosen[f"block_{k}"])) for k in range(1, sum(_STAGES) + 1))


def _identity(chosen: Choices) -> str:
    """The digits of each stage without the identities that change nothing."""
    digits = _write(chosen)
    stages = []
    for depth in _STAGES:
        stages.append(digits[0] + digits[1:depth].replace("0", ""))
        digits = digits[depth:]
    return "/".join(stages)


def _read(text: str) -> Choices:
    if len(text) != sum(_STAGES) or not set(text) <= set("012"):
        raise InputError(
            f"{shown(text)} is not a NAS-Bench-Macro architecture; write eight digits 0, 1 or 2"
        )
    return {f"block_{k}": _OPS[int(digit)] for k, digit in enumerate(text, start=1)}


MACRO = Family(
    "macro",
    tuple(Decision(f"block_{k}", _OPS, "mb6_k5") for k in range(1, sum(_STAGES) + 1)),
    _build,
    tasks={"cifar10": Task(32, 10)},
    identity=_identity,
    write=_write,
    read=_read,
    code=_code,
)


def macro() -> FiniteNetworkSpace:
    """Open the space `macro`, in the order of its digits."""
    return FiniteNetworkSpace(MACRO)
