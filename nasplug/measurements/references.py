"""References of graphs: the package and the name that a network is built by, and its input."""

from __future__ import annotations

import json
import re
from functools import cache

__all__ = ["gpt_reference", "network_reference", "operator_reference", "sizes"]

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

# A network of paddleclas that is the same as a network of another package: equal parameters.
_TWIN = re.compile(r"paddleclas:[^|]*\|(?P<twin>[^|]*)=$")
_CONFIG = re.compile(r"transformers: ?config (of )?(?P<name>.*)$")
_NEUSIGHT = re.compile(r"scripts/asplos/data/DLmodel_configs/(?P<name>\w+)\.json")
_BY_NAME = ("torchvision", "timm", "transformers", "pytorchcv", "ultralytics", "paddleclas")


@cache
def network_reference(source: str, shape: str) -> str:
    """Reference of a network, such as `timm:resnet50@224`; empty if no name builds it.

    Args:
        source: Package and name as the tables write them.
        shape: Sizes of the input as `sizes` gives them.
    """
    config = _CONFIG.match(source)
    if config:
        in_file = _NEUSIGHT.fullmatch(config["name"])
        name = f"neusight/{in_file['name']}" if in_file else config["name"]
        source = f"transformers:{name}"
    elif source.startswith("paddleclas:"):
        twin = _TWIN.match(source)
        # ~ and ? say that the networks differ, or that nobody could compare them.
        source = twin["twin"] if twin else source.partition("|")[0]
    elif source.startswith(("ncnn:", "KernelBench:")):
        package, _, path = source.partition(":")
        name = path.removeprefix("benchmark/models/").removesuffix(".param").replace(".py@", "@")
        return f"{package.lower()}:{name}"
    package, _, name = source.partition(":")
    if package not in _BY_NAME or not name or "backbone" in name:
        return ""
    side = _side(shape)
    return f"{package}:{name}{f'@{side}' if side else ''}"


def _side(shape: str) -> str:
    """Side of a square image, height and width of another, or the length of a sequence."""
    parts = shape.split("x")
    if not all(part.isdecimal() for part in parts):
        return ""
    # A sequence is 384 or 1x384.
    image = parts[1:] if len(parts) == 2 and parts[0] == "1" else parts[-2:]
    return image[0] if len(image) == 1 or image[0] == image[1] else "x".join(image)


@cache
def operator_reference(name: str, attributes: str) -> str:
    """Reference of an operator: its name and sizes, such as `op:linear{M=8,K=64,N=64,bias=1}`.

    Args:
        name: Name of the operator.
        attributes: A JSON object of its sizes.
    """
    parts = [f"{key}={_short(value)}" for key, value in json.loads(attributes).items()]
    return f"op:{name}{{{','.join(parts)}}}"


def _short(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


@cache
def sizes(shape: str, has_batch: bool = True) -> str:
    """Sizes of an input without its batch: `"12x3x224x224"` is `"3x224x224"`."""
    plain = shape.replace(" x ", "x").strip()
    parts = plain.split("x")
    if not has_batch or len(parts) < 2 or not all(part.isdecimal() for part in parts):
        return plain
    return "x".join(parts[1:])


def gpt_reference(embed: int, heads: str, mlp: str, bias: int) -> str:
    """Reference of a language model, such as `gpt:embed=192,bias=0,heads=cc8,mlp=422`.

    A layer has one digit of base 36 in `heads`, the number of its heads, and one in `mlp`, the
    width of its MLP in units of the embedding.
    """
    digits = ["".join(_DIGITS[int(number)] for number in text.split()) for text in (heads, mlp)]
    return f"gpt:embed={embed},bias={bias},heads={digits[0]},mlp={digits[1]}"
