"""Fused operators of ONNX files, taken apart into nodes of ONNX's own operators.

The nodes are read in the place of the fused one, so that its output has the right shape, and its
graph is that of the network before an optimiser fused it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.importers.onnx_loading import shown
from nasplug.search_spaces.importers.onnx_node import Constant, Shape, Tensor

if TYPE_CHECKING:
    import onnx

__all__ = ["Expansion"]

INT64 = 7


class Expansion:
    """Nodes and constants that stand for one node.

    Attributes:
        nodes: The nodes so far, in the order in which they run.
        constants: Constants that they read, by name.
        views: Results that are the memory of what they read, with its axes in another order.
        op: Type of the fused operator.
        opset: Version of ONNX's operators that the file uses.
    """

    def __init__(
        self,
        node: onnx.NodeProto,
        known: Callable[[str], Constant | Tensor | None],
        opset: int,
        model: str,
    ) -> None:
        """Begin with no nodes.

        Args:
            node: The fused node.
            known: Shape and element type of a tensor by its name.
            opset: Version of ONNX's operators that the file uses.
            model: Name of the model in error messages.
        """
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Constant] = {}
        self.views: set[str] = set()
        self.op = node.op_type
        self.opset = opset
        self._node = node
        self._known = known
        self._model = model
        self._attributes = {attribute.name: attribute for attribute in node.attribute}
        self._stem = next(filter(None, node.output), node.op_type)

    def input(self, k: int) -> str:
        """Name of input `k`; empty if it is left out."""
        return self._node.input[k] if 0 <= k < len(self._node.input) else ""

    def inputs(self, *slots: int) -> list[str]:
        """Names of some inputs, without those that are left out at the end."""
        found = [self.input(k) for k in slots]
        while found and not found[-1]:
            found.pop()
        return found

    def output(self, k: int = 0) -> str:
        """Name of output `k`; empty if it is left out."""
        return self._node.output[k] if k < len(self._node.output) else ""

    def tensor(self, k: int) -> Constant | Tensor | None:
        """Input `k`, with its shape and type; None if it is left out."""
        return self._known(self.input(k)) if self.input(k) else None

    def shape(self, k: int, *ranks: int) -> Shape:
        """Shape of input `k`, of one of some ranks; of any rank but 0 where none is named.

        Raises:
            InputError: If it is left out, not known, or of another rank.
        """
        tensor = self.tensor(k)
        if tensor is None or tensor.shape is None:
            raise self.wrong(f"input {k} has no known shape")
        rank = len(tensor.shape)
        if rank not in ranks and (ranks or not rank):
            wanted = " or ".join(map(str, ranks)) or "some"
            raise self.wrong(f"input {k} has shape {list(tensor.shape)}; expected {wanted} axes")
        return tensor.shape

    def whole(self, name: str, default: int | None = None) -> int:
        """Read an attribute that is a whole number.

        Raises:
            InputError: If it is missing without a default, or something else.
        """
        from onnx import AttributeProto

        attribute = self._attributes.get(name)
        if attribute is None and default is not None:
            return default
        if attribute is None or attribute.type != AttributeProto.INT:
            raise self.wrong(f"attribute {name} is no whole number")
        return int(attribute.i)

    def sizes(self, name: str) -> tuple[int, ...]:
        """Read an attribute that is a list of whole numbers; empty if it is missing."""
        attribute = self._attributes.get(name)
        return () if attribute is None else tuple(attribute.ints)

    def has(self, name: str) -> bool:
        """Whether the node has an attribute."""
        return name in self._attributes

    def text(self, name: str) -> str:
        """Read an attribute that is a word; empty if it is missing."""
        attribute = self._attributes.get(name)
        return attribute.s.decode("utf-8", "replace") if attribute is not None else ""

    def wrong(self, what: str) -> InputError:
        """Make the error for a node that cannot be taken apart."""
        label = ".".join(filter(None, (self._node.domain, self._node.op_type)))
        return InputError(f"{self._model}: a {label} that writes {shown(self._stem)}: {what}")

    def add(
        self,
        op: str,
        inputs: Sequence[str],
        output: str | None = None,
        *,
        copied: Sequence[str] = (),
        **attributes: Any,
    ) -> str:
        """Append a node and return the name of its first output.

        Args:
            op: One of ONNX's own operators.
            inputs: Names of what it reads.
            output: Name of its output; a new one if it is left out.
            copied: Attributes that it has from the fused node, where that has them.
            attributes: Further attributes.
        """
        from onnx import helper

        result = output or self._new_name()
        node = helper.make_node(op, list(inputs), [result], **attributes)
        node.attribute.extend(self._attributes[n] for n in copied if n in self._attributes)
        self.nodes.append(node)
        return result

    def add_many(self, op: str, inputs: Sequence[str], outputs: int) -> list[str]:
        """Append a node with several outputs, and return their names."""
        from onnx import helper

        names = [f"{self._new_name()}.{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names))
        return names

    def add_as(self, op: str, inputs: Sequence[str], copied: Sequence[str]) -> None:
        """Append a node that writes all outputs of the fused one."""
        from onnx import helper

        node = helper.make_node(op, list(inputs), list(self._node.output))
        node.attribute.extend(self._attributes[n] for n in copied if n in self._attributes)
        self.nodes.append(node)

    def ints(self, *values: int) -> str:
        """Make a constant of whole numbers, and return its name."""
        array = np.array(values, np.int64)
        return self.constant(Constant(array.shape, INT64, array))

    def constant(self, value: Constant) -> str:
        """Keep a constant under a new name, and return that."""
        name = f"{self._new_name()}.{len(self.constants)}"
        self.constants[name] = value
        return name

    def reshape(self, source: str, *shape: int) -> str:
        """Append a Reshape; 0 keeps an axis, and −1 takes what is left."""
        return self.add("Reshape", [source, self.ints(*shape)])

    def other_layout(self, source: str, rank: int, to_last: bool) -> str:
        """Append the change between channels first and last, which moves no data."""
        inner = range(2, rank) if to_last else range(1, rank - 1)
        perm = [0, *inner, 1] if to_last else [0, rank - 1, *inner]
        result = self.add("Transpose", [source], perm=perm)
        self.views.add(result)
        return result

    def slice(self, source: str, axis: int, start: int, end: int) -> str:
        """Append a Slice along one axis."""
        bounds = [self.ints(start), self.ints(end), self.ints(axis)]
        return self.add("Slice", [source, *bounds])

    def finish(self, source: str, k: int = 0) -> None:
        """Let output `k` be a result so far."""
        if self.output(k):
            self.add("Identity", [source], self.output(k))

    def _new_name(self) -> str:
        return f"{self._stem}#{len(self.nodes)}"
