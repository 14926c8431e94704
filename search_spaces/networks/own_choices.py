"""Spaces of one's own choices, such as `gpt:embed=256|512,layers=4..6`: their texts and checks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from typing import Any

from nasplug.search_spaces.errors import InputError, closest
from nasplug.search_spaces.networks.encodings import shown

__all__ = ["check_names", "check_whole", "choices_text", "distinct_values", "read_choices"]

_MOST_IN_RANGE = 1_000


def distinct_values(name: str, values: Any) -> tuple[Any, ...]:
    """Sort the values of a choice, each of them once.

    Raises:
        InputError: If `values` is no list, or has no value.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence) or not values:
        raise InputError(f"{name} is {shown(str(values))}; give a list of values")
    return tuple(sorted(set(values)))


def check_whole(name: str, value: Any, least: int = 1) -> None:
    """Check that a value is a whole number of at least `least`.

    Raises:
        InputError: If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} {value!r} is not a whole number of at least {least}")


def check_names(given: Iterable[str], names: Sequence[str], kind: str) -> None:
    """Check that choices have known names.

    Args:
        given: Names of the choices.
        names: Names that a choice may have.
        kind: Networks that are chosen, for the message, such as `"a language model"`.

    Raises:
        InputError: If a name is unknown.
    """
    unknown = next((name for name in given if name not in names), None)
    if unknown is not None:
        raise InputError(
            f"unknown choice {unknown[:40]!r} of {kind}; known: {closest(unknown, names)}"
        )


def choices_text(choices: Any, whole: Any = None) -> str:
    """Write what differs from other choices, as `read_choices` reads it.

    Args:
        choices: A dataclass whose fields are numbers, truths, and tuples of them.
        whole: Choices of the same class; those by default if left out.
    """
    parts = []
    for field in fields(choices):
        value = getattr(choices, field.name)
        if value != (field.default if whole is None else getattr(whole, field.name)):
            several = value if isinstance(value, tuple) else (value,)
            parts.append(f"{field.name}={'|'.join(map(_written, several))}")
    return ",".join(parts)


def _written(value: Any) -> str:
    return str(int(value)) if value == int(value) else str(value)


def read_choices(
    text: str, names: Iterable[str], lists: Collection[str], kind: str, decimals: str = ""
) -> dict[str, Any]:
    """Read choices such as `embed=256|512,layers=4..6,length=128`.

    Args:
        text: The choices.
        names: Names that a choice may have.
        lists: Those of them that may have several values.
        kind: Networks that are chosen, for messages, such as `"a language model"`.
        decimals: Name of the choice whose values may have a decimal point.

    Raises:
        InputError: If a name is unknown or comes twice, or a value is no number.
    """
    names, chosen = tuple(names), {}
    for item in text.split(",") if text else []:
        name, equals, values = (part.strip() for part in item.partition("="))
        check_names([name], names, kind)
        if not equals:
            raise InputError(f"{name} has no value; write it like {name}=2")
        if name in chosen:
            raise InputError(f"{name} is given twice; give it once")
        numbers = tuple(
            number for part in values.split("|") for number in _numbers(name, part, decimals)
        )
        if name not in lists and len(numbers) != 1:
            raise InputError(f"{name} is {shown(values)}; give one number")
        chosen[name] = numbers if name in lists else numbers[0]
    return chosen


def _numbers(name: str, text: str, decimals: str) -> Sequence[float]:
    """Read a number, or a range of whole numbers such as `4..6`."""
    first, dots, last = (part.strip() for part in text.partition(".."))
    whole, point, part = first.partition(".")
    if name == decimals and point and not dots and _is_number(whole) and _is_number(part):
        number = float(first)
        return [int(number) if number.is_integer() else number]
    ends = (first, last) if dots else (first, first)
    if not all(map(_is_number, ends)):
        raise InputError(f"{name} has {shown(text)}, which is no whole number and no range as 4..6")
    low, high = map(int, ends)
    if not low <= high <= low + _MOST_IN_RANGE:
        raise InputError(f"{name} has the range {shown(text)}; give the smaller number first")
    return range(low, high + 1)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10
