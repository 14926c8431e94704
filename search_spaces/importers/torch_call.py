"""Calls of ATen functions in a PyTorch module's forward pass, with their arguments."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from nasplug.search_spaces.errors import InputError

__all__ = ["Call", "Computed", "Shape", "Weight", "flat", "is_floating", "words"]

Shape = tuple[int, ...]
Parameters = tuple[tuple[str, int], ...]


def words(text: str) -> frozenset[str]:
    """Names in a text, separated by spaces."""
    return frozenset(text.split())


def is_floating(type_name: str) -> bool:
    """Whether an element type is one of floating-point numbers."""
    return "float" in type_name


@dataclass(frozen=True, slots=True)
class Weight:
    """Tensor that does not depend on the inputs: a parameter, a buffer, a constant.

    Attributes:
        shape: Shape.
        type: Element type in which it is read.
        parameters: Name and number of elements of each parameter from which it is computed.
        stored: Element type in which it is stored, where it is widened before use; else empty.
    """

    shape: Shape
    type: str = "float32"
    parameters: Parameters = ()
    stored: str = ""

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def params(self) -> int:
        """Elements that count as weights; a single number does not count, as in ONNX files."""
        return self.size if is_floating(self.type) and self.size > 1 else 0


def flat(arguments: Iterable[Any]) -> Iterator[Any]:
    """Yield the arguments, and the items of lists in their place."""
    for value in arguments:
        if isinstance(value, (list, tuple)):
            yield from value
        else:
            yield value


@dataclass(frozen=True, slots=True)
class Call:
    """Call of an ATen function.

    Attributes:
        name: Name without the overload, such as `"conv2d"`.
        arguments: Arguments by position, defaults filled in: a `Computed` for a computed tensor, a
            `Weight` for a constant one, any other value as it is.
        outputs: Shape of each output.
        types: Element types of the first input and of the first output.
    """

    name: str
    arguments: tuple[Any, ...]
    outputs: tuple[Shape, ...]
    types: tuple[str, str]

    @property
    def shape(self) -> Shape:
        """Shape of the first output."""
        return self.outputs[0]

    def argument(self, k: int, default: Any = None) -> Any:
        """Argument `k`, or `default` where it is left out or None."""
        value = self.arguments[k] if k < len(self.arguments) else None
        return default if value is None else value

    def step(self, k: int) -> int | None:
        """Step of argument `k` if it is a computed tensor."""
        value = self.argument(k)
        return value.step if isinstance(value, Computed) else None

    def source(self, k: int = 0) -> int:
        """The step of argument `k`.

        Raises:
            InputError: If the argument is not computed.
        """
        step = self.step(k)
        if step is None:
            raise InputError(
                f"argument {k} of {self.name} is a constant; expected a computed tensor"
            )
        return step

    def weight(self, k: int) -> Weight | None:
        """Argument `k` if it is a constant tensor."""
        value = self.argument(k)
        return value if isinstance(value, Weight) else None

    @property
    def data(self) -> list[int]:
        """Steps that the call reads, including those in lists."""
        return [part.step for part in flat(self.arguments) if isinstance(part, Computed)]

    @property
    def weights(self) -> list[Weight]:
        """Constant tensors that the call reads, including those in lists."""
        return [part for part in flat(self.arguments) if isinstance(part, Weight)]

    def params(self) -> int:
        """Elements of the constant tensors that count as weights."""
        return sum(part.params for part in self.weights)


@dataclass(frozen=True, slots=True)
class Computed:
    """Computed tensor, named by the position of its step."""

    step: int
