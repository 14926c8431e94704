"""Sequences and optional values of an ONNX graph: lists of names while the graph is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.importers.onnx_loading import part_name, shown
from nasplug.search_spaces.importers.onnx_node import Constant
from nasplug.search_spaces.importers.onnx_values import Values

if TYPE_CHECKING:
    import onnx

__all__ = ["Array", "Emit", "join", "read_sequence"]

Array = NDArray[Any]

# Elements of a sequence.
MAX_PARTS = 20_000
_BOOL, _INT64 = 9, 7


class Emit(Protocol):
    """Reader of a tensor operator that stands for a part of a node in the file."""

    def __call__(
        self, op: str, inputs: Sequence[str | Array], outputs: Sequence[str], **attributes: Any
    ) -> None:
        """Read an operator; arrays among its inputs are constants."""


def read_sequence(
    node: onnx.NodeProto, attributes: dict[str, Any], values: Values, emit: Emit
) -> bool:
    """Read a node of sequences or optional values; return False for any other.

    Args:
        node: A node of one of ONNX's own operators.
        attributes: Its attribute values by name.
        values: Values that it may read; its outputs are added.
        emit: Reader of the tensor operators that it stands for.

    Raises:
        InputError: If it depends on values that are known only at run time, or its inputs do not
            fit.
    """
    handler = _HANDLERS.get(node.op_type)
    if handler is None:
        passed = any(name in values.sequences or name in values.empty for name in node.input)
        if not passed:
            return False
        if node.op_type != "Identity":
            names = [n for n in node.input if n in values.sequences or n in values.empty]
            raise InputError(
                f"{values.model}: a {node.op_type} reads {shown(names[0])}, which is a sequence or "
                "an empty optional value; expected a tensor"
            )
        handler = _identity
    if not node.output:
        raise InputError(f"{values.model}: a {node.op_type} has no output; the file is damaged")
    handler(_Node(node, attributes, values, emit))
    return True


class _Node:
    """One node of sequences, with what it reads."""

    def __init__(
        self, node: onnx.NodeProto, attributes: dict[str, Any], values: Values, emit: Emit
    ) -> None:
        self.op = node.op_type
        self.inputs, self.output = list(node.input), node.output[0]
        self.attributes, self.values, self._emit = attributes, values, emit

    def emit(
        self, op: str, inputs: Sequence[str | Array], outputs: Sequence[str], **attributes: Any
    ) -> None:
        """Read a tensor operator that stands for a part of the node."""
        try:
            self._emit(op, inputs, outputs, **attributes)
        except InputError:
            # The file has no such operator, so its message would name what is not there.
            raise self.error("does not fit the tensors that it reads") from None

    def error(self, text: str) -> InputError:
        return InputError(
            f"{self.values.model}: the {self.op} that writes {shown(self.output)} {text}"
        )

    def name(self, k: int) -> str:
        """Name of an input that must be there."""
        if k >= len(self.inputs) or not self.inputs[k]:
            raise self.error(f"lacks input {k}")
        name: str = self.inputs[k]
        return name

    def elements(self) -> tuple[str, ...]:
        """Elements of the sequence that it reads."""
        name = self.name(0)
        if name not in self.values.sequences:
            raise self.error(f"reads {shown(name)}; expected a sequence")
        return self.values.sequences[name]

    def position(self, k: int, length: int, default: int, end: int = 0) -> int:
        """Position in a sequence, counted from its begin; `end` places after it are in range."""
        if k >= len(self.inputs) or not self.inputs[k]:
            return default
        constant = self.values.constants.get(self.inputs[k])
        if constant is None or constant.value is None or constant.value.size != 1:
            raise self.error("takes an element whose position is known only at run time")
        position = int(constant.value.flat[0])
        if not -length <= position < length + end:
            raise self.error(f"names element {position} of a sequence of {length}")
        return position + length if position < 0 else position

    def whole(self, name: str, default: int) -> int:
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise self.error(f"has an attribute {name} that is no whole number")
        return value

    def set(self, elements: Sequence[str]) -> None:
        """Write a sequence."""
        missing = [name for name in elements if name not in self.values]
        if missing:
            raise self.error(f"reads {shown(missing[0])}, which nothing writes")
        self.values.sequences[self.output] = tuple(elements)

    def set_number(self, value: int | bool, elem_type: int) -> None:
        """Write a constant of one number."""
        array: Array = np.asarray(value, np.bool_ if elem_type == _BOOL else np.int64)
        self.values.constants[self.output] = Constant((), elem_type, array)


def _at(node: _Node) -> None:
    elements = node.elements()
    node.name(1)
    node.values.bind(node.output, elements[node.position(1, len(elements), 0)])


def _insert(node: _Node) -> None:
    elements, new = list(node.elements()), node.name(1)
    length = len(elements)
    elements.insert(node.position(2, length, length, end=1), new)
    if len(elements) > MAX_PARTS:
        raise node.error(f"makes a sequence of more than {MAX_PARTS:,} elements")
    node.set(elements)


def _erase(node: _Node) -> None:
    elements = list(node.elements())
    if not elements:
        raise node.error("drops an element of an empty sequence")
    del elements[node.position(1, len(elements), len(elements) - 1)]
    node.set(elements)


def _split(node: _Node) -> None:
    name, axis = node.name(0), node.whole("axis", 0)
    shape = node.values.shape(name)
    if shape is None:
        raise node.error("splits a tensor whose size is known only at run time")
    if not -len(shape) <= axis < len(shape):
        raise node.error(f"splits axis {axis} of a tensor of shape {list(shape)[:10]}")
    has_sizes = len(node.inputs) > 1 and bool(node.inputs[1])
    keep = has_sizes or node.whole("keepdims", 1) != 0
    sizes = _part_sizes(node, shape[axis]) if has_sizes else [1] * min(shape[axis], MAX_PARTS + 1)
    if len(sizes) > MAX_PARTS:
        raise node.error(f"makes more than {MAX_PARTS:,} parts")
    if min(sizes, default=0) < 0 or sum(sizes) != shape[axis]:
        raise node.error(f"splits {shape[axis]} elements into parts of {sizes[:10]}")
    parts = [part_name(node.output, k) for k in range(len(sizes))]
    if not keep:
        for k, part in enumerate(parts):
            node.emit("Gather", [name, np.asarray(k)], [part], axis=axis)
    elif len(parts) == 1:
        node.values.bind(parts[0], name)
    elif parts:
        node.emit("Split", [name, np.asarray(sizes)], parts, axis=axis)
    node.set(parts)


def _part_sizes(node: _Node, size: int) -> list[int]:
    """Sizes of the parts that `size` elements are split into."""
    split = node.values.constants.get(node.inputs[1])
    if split is None or split.value is None:
        raise node.error("splits into parts whose sizes are known only at run time")
    sizes = [int(part) for part in split.value.flat]
    if split.value.ndim:
        return sizes
    if sizes[0] < 1:
        raise node.error(f"splits {size} elements into parts of {sizes[0]}")
    starts = range(0, size, sizes[0])[: MAX_PARTS + 1]
    return [min(sizes[0], size - start) for start in starts]


def _concat(node: _Node) -> None:
    elements, axis = node.elements(), node.whole("axis", 0)
    if not elements:
        raise node.error("joins the elements of an empty sequence")
    join(node.emit, elements, node.output, axis, new_axis=node.whole("new_axis", 0) != 0)


def join(emit: Emit, elements: Sequence[str], output: str, axis: int, *, new_axis: bool) -> None:
    """Write tensors side by side along an axis of theirs, or along a new one."""
    if new_axis:
        rows = [part_name(output, k) for k in range(len(elements))]
        for element, row in zip(elements, rows, strict=True):
            emit("Unsqueeze", [element, np.asarray([axis])], [row])
        elements = rows
    emit("Concat", elements, [output], axis=axis)


def _identity(node: _Node) -> None:
    node.values.bind(node.output, node.name(0))


def _optional(node: _Node) -> None:
    node.values.bind(node.output, node.inputs[0] if node.inputs else "")


def _get(node: _Node) -> None:
    name = node.name(0)
    if name in node.values.empty:
        raise node.error("reads an optional value that holds nothing")
    node.values.bind(node.output, name)


def _has(node: _Node) -> None:
    name = node.inputs[0] if node.inputs else ""
    node.set_number(bool(name) and name not in node.values.empty, _BOOL)


_HANDLERS: dict[str, Callable[[_Node], None]] = {
    "SequenceConstruct": lambda node: node.set(node.inputs),
    "SequenceEmpty": lambda node: node.set(()),
    "SequenceAt": _at,
    "SequenceInsert": _insert,
    "SequenceErase": _erase,
    "SequenceLength": lambda node: node.set_number(len(node.elements()), _INT64),
    "SplitToSequence": _split,
    "ConcatFromSequence": _concat,
    "Optional": _optional,
    "OptionalGetElement": _get,
    "OptionalHasElement": _has,
}
