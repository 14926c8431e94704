"""Readers of the texts in which benchmarks write their architectures."""

from __future__ import annotations

import json
from typing import Any

from nasplug.search_spaces.errors import InputError

__all__ = ["integer_fields", "json_value", "shown"]

_SHOWN = 200


def shown(text: str) -> str:
    """Shorten a text for an error message."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def json_value(text: str, kind: type, form: str) -> Any:
    """Read a JSON text of the given type.

    Raises:
        InputError: If the text is no JSON of that type; `form` names the right form.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, kind):
        raise InputError(f"{shown(text)} is not {form}")
    return value


def integer_fields(text: str, form: str) -> dict[str, list[int]]:
    """Read the fields of a text such as `r=204;d=2,3,4`.

    Raises:
        InputError: If a field is malformed or comes twice; `form` names the right form.
    """
    fields: dict[str, list[int]] = {}
    for part in text.split(";"):
        name, _, values = part.strip().partition("=")
        items = [item.strip() for item in values.split(",")]
        if name in fields or not all(item.isascii() and item.isdecimal() for item in items):
            raise InputError(f"{shown(text)} is not {form}")
        fields[name] = [int(item) for item in items]
    return fields
