"""Checks of the options of a predictor that is created by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from nasplug.search_spaces import InputError

__all__ = ["check_accuracy", "check_numbers", "check_options"]

# Of any number that an option has.
MOST = 10**10


def check_options(options: Iterable[str], known: Sequence[str]) -> None:
    """Refuse what is no option.

    Raises:
        InputError: If one is not among the known.
    """
    for name in options:
        if name not in known:
            raise InputError(f"unknown option {name!r}; there are {', '.join(known)}")


def check_numbers(config: Any) -> None:
    """Refuse numbers of a configuration that are out of range, or no numbers.

    Args:
        config: A dataclass; fields of type `int` and `float` are checked, and `None` passes where
            the type says so.

    Raises:
        InputError: If a field is not such a number from 0 to 1e10.
    """
    for field in fields(config):
        kinds = str(field.type).split(" | ")
        value = getattr(config, field.name)
        if not {"int", "float"} & set(kinds) or (value is None and "None" in kinds):
            continue
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        is_number = is_whole or (isinstance(value, float) and "float" in kinds)
        if not is_number or not 0 <= value <= MOST:
            kind = "number" if "float" in kinds else "whole number"
            raise InputError(f"{field.name} is {str(value)[:50]}; give a {kind} from 0 to 1e10")


def check_accuracy(kind: str, config: Any, options: Iterable[str]) -> None:
    """Refuse another kind than accuracy, and what is no field of a configuration.

    Args:
        kind: What was asked for.
        config: A dataclass; its field `targets` is no option.
        options: Names of the options that were given.

    Raises:
        InputError: If the kind or an option is unknown.
    """
    if kind != "accuracy":
        raise InputError(f"this predictor is one of accuracy, not of {kind}")
    check_options(options, [f.name for f in fields(config) if f.name != "targets"])
