"""Calls of a space under test: each fails by one sentence that names the method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any

import numpy as np

from nasplug.search_spaces import Architecture, Graph, SearchSpace
from nasplug.testing.expectations import expect

__all__ = ["Calls"]

# Type -> the methods and properties that give it.
RETURNS: dict[type, tuple[str, ...]] = {
    Architecture: ("from_params", "mutate", "parse", "sample", "__getitem__"),
    Graph: ("normal_form", "to_graph", "to_network"),
    Integral: ("index", "__len__"),
    Mapping: ("parts", "standards", "totals"),
    bool: ("has_networks", "whole_networks", "writes_code", "writes_onnx"),
    dict: ("distributions", "to_params"),
    list: ("neighbors", "to_graphs"),
    np.ndarray: ("codes", "counts", "normal_codes"),
    str: ("family_of", "name", "to_code"),
    tuple: ("tasks",),
}
ITEMS = {"neighbors": Architecture, "tasks": str, "to_graphs": Graph}


class Calls:
    """Calls of a space, which fail by one sentence that names the method.

    Attributes:
        space: The space.
        last: The method or property that was used last.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.last = "name"

    def __getattr__(self, name: str) -> Any:
        if not callable(getattr(type(self.space), name, None)):
            return self._checked(name, lambda: getattr(self.space, name))
        return lambda *args, **options: self._checked(
            name, lambda: getattr(self.space, name)(*args, **options)
        )

    def _checked(self, name: str, use: Callable[[], Any]) -> Any:
        self.last = name
        try:
            value = use()
        except Exception as error:
            raise AssertionError(
                f"{name} raises {type(error).__name__} for valid input: {error}"
            ) from error
        actual = type(value).__name__
        wanted = next((kind for kind, names in RETURNS.items() if name in names), object)
        expect(
            isinstance(value, wanted), f"{name} returns {actual}, but must return {wanted.__name__}"
        )
        for item in value if name in ITEMS else ():
            wanted = ITEMS[name]
            is_right = isinstance(item, wanted)
            expect(
                is_right,
                f"{name} returns {item!r} in a {actual}; its items must be {wanted.__name__}",
            )
        return value
