"""Sizes that an exported program has written down, for another batch.

A program is read a second time with one image. Where its operators name the size of their output,
they are given that of the first reading, with one image in place of several.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nasplug.search_spaces.importers.torch_call import Shape, words

__all__ = ["NAMES_SIZES", "WrittenSizes"]

_VIEWS = words("view reshape _unsafe_view")
# Functions that are given the shape of their result, by the position of that argument.
NAMES_SIZES = {
    **dict.fromkeys(_VIEWS | words("expand new_zeros new_ones new_full"), 1),
    **dict.fromkeys(words("new_empty broadcast_to"), 1),
    **dict.fromkeys(words("zeros ones full empty"), 0),
}


class WrittenSizes:
    """Shapes of the results of calls that name them, in the order in which the calls begin.

    Attributes:
        results: Shapes of this reading; empty until a call ends.
        written: Sizes that the calls were given, and elements of the first argument.
    """

    def __init__(self, before: WrittenSizes | None = None, times: int = 1) -> None:
        """Begin with no results.

        Args:
            before: Shapes of the reading of `times` images; None in that reading itself.
            times: Images of the first reading.
        """
        self.results: list[Shape] = []
        self.written: list[tuple[Any, int]] = []
        self._before = before
        self._times = times

    def begin(self, name: str, args: Sequence[Any]) -> tuple[int, Sequence[Any]]:
        """Note a call; its number, and its arguments with the size for one image."""
        k = NAMES_SIZES[name]
        written = args[k] if k < len(args) else None
        elements = args[0].numel() if k and args else 0
        self.written.append((written, elements))
        # Others may begin within this call.
        self.results.append(())
        number = len(self.written) - 1
        return number, self._changed(name, number, written, elements, args)

    def _changed(
        self, name: str, number: int, written: Any, elements: int, args: Sequence[Any]
    ) -> Sequence[Any]:
        """Arguments of a call with the size for one image, where it names that of several."""
        k = NAMES_SIZES[name]
        if self._before is None or number >= len(self._before.results):
            return args
        shape = self._before.results[number]
        first, first_elements = self._before.written[number]
        # Sizes that the program computes have changed with its inputs.
        if written != first or not isinstance(written, (list, tuple)):
            return args
        if name in _VIEWS and elements == first_elements:
            return args
        axis = self._axis(name, shape)
        if axis is None or len(written) != len(shape):
            return args
        sizes = [*shape[:axis], shape[axis] // self._times, *shape[axis + 1 :]]
        return [*args[:k], sizes, *args[k + 1 :]]

    def _axis(self, name: str, shape: Shape) -> int | None:
        """Axis of a result that holds the images."""
        if name in _VIEWS:
            # Images may be joined with windows or words.
            fits = (k for k, size in enumerate(shape) if size and size % self._times == 0)
            return next(fits, None)
        return next((k for k, size in enumerate(shape) if size == self._times), None)
