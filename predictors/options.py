"""Checks of the options of a predictor that is created by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from nasplug.search_spaces import InputError

__all__ = [
    "accuracy_config",
    "accuracy_predictor",
    "check_numbers",
    "check_options",
    "field_names",
    "grouped",
]

Config = TypeVar("Config")
Made = TypeVar("Made")

# Of any number that an option has.
MOST = 10**10


def field_names(config: Any, without: Collection[str] = ()) -> list[str]:
    """Names of the fields of a dataclass but for some."""
    return [field.name for field in fields(config) if field.name not in without]


def check_options(options: Iterable[str], known: Sequence[str]) -> None:
    """Refuse options that are not known.

    Raises:
        InputError: If one is not.
    """
    for name in options:
        if name not in known:
            raise InputError(f"unknown option {name!r}; known: {', '.join(known)}")


def grouped(options: Mapping[str, Any], *groups: Collection[str]) -> list[dict[str, Any]]:
    """The options whose names are in each of several groups."""
    return [{k: v for k, v in options.items() if k in names} for names in groups]


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


def accuracy_config(
    form: type[Config], kind: str, targets: Sequence[str], options: Mapping[str, Any]
) -> Config:
    """A configuration of a predictor of accuracy, whose first field is `targets`.

    Raises:
        InputError: If the kind or an option is unknown.
    """
    if kind != "accuracy":
        raise InputError(f"this predictor predicts accuracy, not {kind}")
    check_options(options, field_names(form, ("targets",)))
    return form(tuple(targets), **options)  # type: ignore[call-arg]


def accuracy_predictor(
    make: Callable[[Config], Made],
    form: type[Config],
    kind: str = "accuracy",
    targets: Sequence[str] = ("accuracy",),
    **options: Any,
) -> Made:
    """Make a predictor of its `accuracy_config`."""
    return make(accuracy_config(form, kind, targets, options))
