"""Imports that wait: names of a package until they are first used, packages of an extra."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from nasplug.search_spaces.errors import InputError

__all__ = ["from_extra", "loader"]


@contextmanager
def from_extra(extra: str) -> Iterator[None]:
    """Import what only an extra of this package installs.

    Raises:
        InputError: If it is not installed.

    Example:
        >>> with from_extra("train"):
        ...     import json
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(
            f"this needs {str(error.name).partition('.')[0]}, which is not installed; install it "
            f"with pip install 'nasplug[{extra}]'"
        ) from None


def loader(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Make a `__getattr__` for a package (PEP 562) that imports the module of a name on first use.

    Args:
        package: The package's `__name__`.
        homes: Name to the full name of the module that defines it.

    Returns:
        A function that gives the value of a name, and raises `AttributeError` for other names.

    Example:
        >>> get = loader("mathematics", {"sqrt": "math"})
        >>> get("sqrt")(4.0)
        2.0
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return get
