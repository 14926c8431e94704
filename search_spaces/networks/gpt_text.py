"""Texts of decoder-only language models, and HW-GPT-Bench's own descriptions of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.networks.encodings import json_value, shown
from nasplug.search_spaces.networks.family import Choices

__all__ = ["FORM", "PUBLISHED", "PUBLISHED_LISTS", "read_text", "write_text"]

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
FORM = (
    "a language model; write embed=768,bias=1,heads=cc…,mlp=44… with one digit a layer, of base "
    "36, or numbers joined by dashes"
)
_TEXT = re.compile(
    r"embed=(?P<embed>[0-9]{1,9}),bias=(?P<bias>[01])"
    r"(,kv_heads=(?P<kv_heads>[0-9]{1,9}))?(,gated=(?P<gated>[01]))?"
    r",heads=(?P<heads>[0-9a-z-]+),mlp=(?P<mlp>[0-9a-z-]+)"
)
# Names in HW-GPT-Bench's own descriptions of networks.
PUBLISHED = {"embed": "sample_embed_dim", "layers": "sample_n_layer", "bias": "sample_bias"}
PUBLISHED_LISTS = {"heads": "sample_n_head", "mlp": "sample_mlp_ratio"}


def write_text(chosen: Choices) -> str:
    """Write the text of a network, with a digit or a number a layer."""
    layers = range(1, chosen["layers"] + 1)
    parts = {
        name: int(chosen[name]) for name in ("embed", "bias", "kv_heads", "gated") if name in chosen
    }
    lists = {
        name: _written_list([chosen[f"{name}_{k}"] for k in layers]) for name in ("heads", "mlp")
    }
    return ",".join(f"{name}={value}" for name, value in {**parts, **lists}.items())


def _written_list(numbers: Sequence[int]) -> str:
    if max(numbers) < len(_DIGITS):
        return "".join(_DIGITS[number] for number in numbers)
    return "-".join(map(str, numbers)) + ("-" if len(numbers) == 1 else "")


def _read_list(text: str) -> list[int]:
    """Read a number a layer: a digit of base 36 each, or decimals joined by dashes."""
    if "-" not in text:
        return [int(digit, 36) for digit in text]
    parts = text.removesuffix("-").split("-")
    if not all(part.isdecimal() and len(part) < 10 for part in parts):
        raise InputError(f"{shown(text)} is not {FORM}")
    return [int(part) for part in parts]


def read_text(text: str) -> dict[str, Any]:
    """Read the text of a network, or a JSON object as HW-GPT-Bench describes it.

    Raises:
        InputError: If it is of another form.
    """
    if text.startswith("{"):
        return _read_published(text)
    match = _TEXT.fullmatch(text)
    if match is None:
        raise InputError(f"{shown(text)} is not {FORM}")
    heads, ratios = _read_list(match["heads"]), _read_list(match["mlp"])
    chosen: dict[str, Any] = {"embed": int(match["embed"]), "bias": match["bias"] == "1"}
    if match["kv_heads"] is not None:
        chosen["kv_heads"] = int(match["kv_heads"])
    if match["gated"] is not None:
        chosen["gated"] = match["gated"] == "1"
    return _with_layers(text, chosen, heads, ratios)


def _with_layers(
    text: str, chosen: dict[str, Any], heads: Sequence[Any], ratios: Sequence[Any]
) -> dict[str, Any]:
    if len(heads) != len(ratios):
        raise InputError(
            f"{shown(text)} has the heads of {len(heads)} layers and the MLPs of {len(ratios)}; "
            "give one of each a layer"
        )
    chosen["layers"] = len(heads)
    for layer, (count, ratio) in enumerate(zip(heads, ratios, strict=True), 1):
        chosen[f"heads_{layer}"], chosen[f"mlp_{layer}"] = count, ratio
    return chosen


def _read_published(text: str) -> dict[str, Any]:
    """Read a network as HW-GPT-Bench describes it; its lists may go on beyond the last layer."""
    values: Mapping[str, Any] = json_value(text, dict, FORM)
    chosen: dict[str, Any] = {name: values.get(key) for name, key in PUBLISHED.items()}
    lists: dict[str, Any] = {name: values.get(key) for name, key in PUBLISHED_LISTS.items()}
    count = chosen["layers"]
    if type(count) is not int or not all(
        isinstance(numbers, list) and len(numbers) >= count > 0 for numbers in lists.values()
    ):
        raise InputError(f"{shown(text)} is not {FORM}")
    return _with_layers(text, chosen, lists["heads"][:count], lists["mlp"][:count])
