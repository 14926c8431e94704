"""What may be asked of a predictor that is created by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from nasplug.search_spaces import InputError

__all__ = ["check_accuracy", "check_options"]


def check_options(options: Iterable[str], known: Sequence[str]) -> None:
    """Refuse what is no option.

    Raises:
        InputError: If one is not among the known.
    """
    for name in options:
        if name not in known:
            raise InputError(f"unknown option {name!r}; there are {', '.join(known)}")


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
