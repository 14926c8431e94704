"""Tensors of a traced forward pass: shapes and types without memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from nasplug.search_spaces.importers.torch_call import Computed, Weight
from nasplug.search_spaces.importers.torch_places import refuse

__all__ = [
    "Node",
    "Traced",
    "Value",
    "is_quantised",
    "mapped",
    "parts",
    "real_of",
    "tensors_in",
    "type_name",
]

_TYPES = {"quint8": "uint8", "qint8": "int8", "qint32": "int32", "complex32": "float32"}


def type_name(dtype: torch.dtype) -> str:
    """Name of an element type, a key of `costs.TYPE_BYTES`."""
    name = str(dtype).removeprefix("torch.")
    return "float8" if name.startswith("float8") else _TYPES.get(name, name)


Value = Computed | Weight


class Node:
    """Source of a traced tensor.

    Attributes:
        value: The step that computes it, or the constant that it is.
        real: The same tensor with values, if it is a small constant.
        parent: Node of the tensor of which it is a view.
        view: Function that computes its value from the value of the parent.
        unview: Function that writes its value back: the parent's value from the two values.
        version: How often memory was written that it shows; a view may lag behind its root.
        is_quantised: Whether the tensor, traced as one of floats, holds integers and a scale.
    """

    __slots__ = ("is_quantised", "parent", "real", "unview", "value", "version", "view")

    def __init__(self, value: Value) -> None:
        self.value = value
        self.real: torch.Tensor | None = None
        self.parent: Node | None = None
        self.view: Callable[[Value], Value] | None = None
        self.unview: Callable[[Value, Value], Value] | None = None
        self.version = 0
        self.is_quantised = False

    @property
    def root(self) -> Node:
        """Node of the tensor that owns the memory."""
        node = self
        while node.parent is not None:
            node = node.parent
        return node

    def current(self) -> Value:
        """Step or constant, after all that was written to the memory."""
        if self.parent is not None and self.version != (version := self.root.version):
            assert self.view is not None
            self.value = self.view(self.parent.current())
            self.version, self.real = version, None
        return self.value

    def assign(self, value: Value) -> None:
        """Set the value, and that of all memory that the tensor shows."""
        chain = [self]
        while (parent := chain[-1].parent) is not None:
            chain.append(parent)
        before = [node.current() for node in chain]
        version = chain[-1].version + 1
        for k, node in enumerate(chain):
            if k:
                unview = chain[k - 1].unview
                assert unview is not None
                value = unview(value, before[k])
            node.value, node.version, node.real = value, version, None


class Traced(torch.Tensor):
    """Tensor of a traced forward pass: a shape, a type, a device and a node, without memory."""

    node: Node

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        # After the pass, where the module kept a constant for later.
        args, kwargs = mapped(real_of, args), mapped(real_of, kwargs or {})
        return func(*args, **kwargs)

    def tolist(self) -> Any:
        """Values, as nested lists."""
        with torch._C._DisableTorchDispatch():
            return real_of(self).tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """Values, as a NumPy array."""
        with torch._C._DisableTorchDispatch():
            return real_of(self).numpy(force=force)

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        with torch._C._DisableTorchDispatch():
            return real_of(self).__array__(*arguments, **options)

    def __repr__(self, *, tensor_contents: Any = None) -> Any:  # type: ignore[override]
        return f"Traced(shape={tuple(self.shape)}, dtype={self.dtype})"


def real_of(value: Any) -> Any:
    """The value itself, or the tensor with values that a traced tensor stands for."""
    if not isinstance(value, Traced):
        return value
    if value.node.real is None:
        refuse()
    return value.node.real


def is_quantised(value: Any) -> bool:
    """Whether a value is a traced tensor that holds integers and a scale."""
    return isinstance(value, Traced) and value.node.is_quantised


def mapped(change: Callable[[Any], Any], value: Any) -> Any:
    """Change every value in nested lists, tuples and dictionaries."""
    if isinstance(value, (list, tuple)):
        return [mapped(change, part) for part in value]
    if isinstance(value, dict):
        return {key: mapped(change, part) for key, part in value.items()}
    return change(value)


def parts(values: Sequence[Any]) -> Iterator[Any]:
    """Yield all values, in nested lists too."""
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from parts(value)
        else:
            yield value


def tensors_in(value: Any, depth: int = 12) -> Iterator[torch.Tensor]:
    """Tensors in a module's input or result: in lists, dictionaries and objects, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth == 0 or isinstance(value, (str, bytes, int, float, type, torch.nn.Module)):
        return
    elif isinstance(value, dict):
        for part in value.values():
            yield from tensors_in(part, depth - 1)
    elif isinstance(value, (list, tuple, set)):
        for part in value:
            yield from tensors_in(part, depth - 1)
    elif hasattr(value, "__dict__") and not callable(value):
        for part in vars(value).values():
            yield from tensors_in(part, depth - 1)
