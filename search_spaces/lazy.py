"""Names of a package that are imported when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["loader"]


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
