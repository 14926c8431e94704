"""Another batch for an ONNX file: constants in which an exporter wrote down the old one.

A file is read a second time with another size on the first axes of its inputs. Where a node then
does not fit, or its output does not change with its input, constants that hold the old batch are
tried with the new one: targets of Reshape and Expand, repeats of a Tile, class tokens, masks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.importers.onnx_node import Constant, NodeView, Shape, Tensor
from nasplug.search_spaces.operators import RESHAPES

if TYPE_CHECKING:
    import onnx

__all__ = ["OtherBatch", "resized"]

# Makes the view of a node, with other constants in place of those of the file.
MakeView = Callable[[Mapping[str, Constant]], NodeView]

# Inputs by whose value operators choose the sizes of their output.
_SIZE_SLOTS = {
    **{"Reshape": 1, "Expand": 1, "Tile": 1, "Resize": 3, "ConstantOfShape": 0},
    **{"AffineGrid": 1, "MaxUnpool": 2},
}
# Operators that mix the entries of some axes, so that none of those may be the batch.
_NORMALISED = {"Softmax": -1, "LogSoftmax": -1, "Hardmax": -1, "LpNormalization": -1}
_POOLS = frozenset(
    {"MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"}
    | {"Resize", "Upsample", "InstanceNormalization"}
)
_FIRST_ONLY = frozenset(
    {"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "GroupNormalization", "LRN"}
    | {"DepthToSpace", "SpaceToDepth", "GridSample", "Attention"}
)
_RECURRENT = frozenset({"LSTM", "GRU", "RNN"})


@dataclass(frozen=True)
class OtherBatch:
    """Change of the batch between two readings of a file.

    Attributes:
        tensors: Computed tensors of the first reading, by name.
        constants: Constants of the first reading, by name.
        old: Batch of the first reading.
        new: Batch of the second one.
        opset: Version of ONNX's operators that the file uses.
        within: For tensors in which an axis holds the batch and more, elements of that axis before
            the batch: 1 if the batch is its outer part.
    """

    tensors: Mapping[str, Tensor]
    constants: Mapping[str, Constant]
    old: int
    new: int
    opset: int
    within: dict[str, int] = field(default_factory=dict)

    def view(
        self,
        node: onnx.NodeProto,
        constants: Mapping[str, Constant],
        tensors: Mapping[str, Tensor],
        view_with: MakeView,
    ) -> NodeView:
        """View of a node in the second reading, with constants that fit the new batch.

        Args:
            node: A node of the file.
            constants: Constants of the second reading so far.
            tensors: Computed tensors of the second reading so far.
            view_with: Function that makes the view with given constants in place of others.

        Raises:
            InputError: If no constants fit, or if the node mixes the entries of the batch.
        """
        grown = {
            name: tensors[name].shape
            for name in node.input
            if name in tensors and tensors[name].shape != self._before(name)
        }
        if not grown or node.op_type in ("Shape", "Size"):
            return view_with({})
        self._check_mixing(node, grown, constants)
        first: NodeView | None = None
        failure: InputError | None = None
        for other in self._choices(node, grown, constants):
            try:
                view = view_with(other)
            except InputError as error:
                failure = failure or error
                continue
            if self._follows(node, view):
                self._locate(node, grown)
                return view
            first = first or view
        if first is None:
            assert failure is not None
            raise failure
        return first

    def _before(self, name: str) -> Shape | None:
        """Shape of a tensor in the first reading."""
        tensor = self.tensors.get(name)
        return None if tensor is None else tensor.shape

    def _follows(self, node: onnx.NodeProto, view: NodeView) -> bool:
        """Whether the outputs have changed with the batch."""
        for output, tensor in zip(node.output, view.outputs, strict=False):
            before = self._before(output)
            if before is None or tensor.shape is None:
                continue
            if math.prod(tensor.shape) * self.old != math.prod(before) * self.new:
                return False
        return True

    def _choices(
        self,
        node: onnx.NodeProto,
        grown: Mapping[str, Shape | None],
        constants: Mapping[str, Constant],
    ) -> Iterator[dict[str, Constant]]:
        """Constants to try: those of the file, then those whose sizes are the old batch or hold it.

        The target of a Reshape follows from the shapes before it, since a -1 in it fits anything.
        """
        if node.op_type == "Reshape" and node.input[0] in grown:
            target = self._target(node, grown[node.input[0]], constants)
            if target is not None:
                yield {node.input[1]: target}
                return
        yield {}
        slot = _SIZE_SLOTS.get(node.op_type)
        for multiples in (False, True):
            changed = {
                name: self._changed(constants[name], k == slot, multiples)
                for k, name in enumerate(node.input)
                if name in constants
            }
            yield {name: constant for name, constant in changed.items() if constant is not None}

    def _changed(self, constant: Constant, is_shape: bool, multiples: bool) -> Constant | None:
        """The constant for the new batch; None if nothing in it is of that size."""
        if is_shape:
            if constant.value is None:
                return None
            sizes = resized(constant.value.ravel().tolist(), self.old, self.new, multiples)
            return None if sizes is None else _sizes(constant, sizes)
        if constant.shape is None or len(constant.shape) < (1 if self.old > 1 else 2):
            return None
        shape = resized(constant.shape, self.old, self.new, multiples)
        if shape is None:
            return None
        value = constant.value
        if value is not None:
            axis = next(k for k, size in enumerate(shape) if size != constant.shape[k])
            value = np.take(value, np.arange(shape[axis]) % value.shape[axis], axis)
        return replace(constant, shape=shape, value=value)

    def _target(
        self, node: onnx.NodeProto, now: Shape | None, constants: Mapping[str, Constant]
    ) -> Constant | None:
        """The target of a Reshape for the new batch; None if it is computed from the batch.

        Raises:
            InputError: If no axis of the output can hold the batch.
        """
        target, old_target = constants.get(node.input[1]), self.constants.get(node.input[1])
        before, after = self._before(node.input[0]), self._before(node.output[0])
        if target is None or old_target is None or now is None or before is None or after is None:
            return None
        value, old_value = target.value, old_target.value
        if value is None or old_value is None or not np.array_equal(value, old_value):
            return None
        axis = self._axis(node.input[0], now, after)
        if axis is None:
            raise InputError(f"a Reshape to {list(after)} holds no axis for a batch of {self.old}")
        size = after[axis] // self.old * self.new
        return _sizes(target, (*after[:axis], size, *after[axis + 1 :]))

    def _axis(self, source: str, now: Shape, after: Shape) -> int | None:
        """Axis of a Reshape's old output that holds the batch."""
        outer = self._outer(source, now)
        if outer is None or not math.prod(after):
            return None
        ends = [math.prod(after[: k + 1]) for k in range(len(after))]
        starts = [1, *ends[:-1]]
        if self.old > 1:
            fits = (
                k
                for k, (start, end) in enumerate(zip(starts, ends, strict=True))
                if outer % start == 0 and end % (outer * self.old) == 0
            )
            return next(fits, None)
        # A batch of one may be an axis of its own, or any of those that meet at its place.
        own = [k for k, start in enumerate(starts) if start == outer and after[k] == 1]
        begins = [k for k, start in enumerate(starts[:-1]) if start == outer]
        finishes = [k for k, end in enumerate(ends) if end == outer]
        inside = [
            k
            for k, (start, end) in enumerate(zip(starts, ends, strict=True))
            if start <= outer <= end
        ]
        return next(iter([*own, *begins, *finishes, *inside]), None)

    def _outer(self, name: str, now: Shape | None) -> int | None:
        """Number of elements before the batch in a tensor; None if that is not clear."""
        before = self._before(name)
        if before is None or now is None or len(before) != len(now):
            return None
        changed = [k for k, size in enumerate(before) if size != now[k]]
        if len(changed) != 1:
            return None
        return math.prod(before[: changed[0]]) * self.within.get(name, 1)

    def _locate(self, node: onnx.NodeProto, grown: Mapping[str, Shape | None]) -> None:
        """Note where within its axis each output holds the batch."""
        within = max(self.within.get(name, 1) for name in grown)
        for output in node.output:
            self.within[output] = within
        outer = self._outer(node.input[0], grown.get(node.input[0]))
        after = self._before(node.output[0])
        if node.op_type in RESHAPES and outer is not None and after is not None:
            axis = self._axis(node.input[0], grown[node.input[0]] or (), after)
            if axis is not None:
                self.within[node.output[0]] = max(outer // math.prod(after[:axis]), 1)

    def _check_mixing(
        self,
        node: onnx.NodeProto,
        grown: Mapping[str, Shape | None],
        constants: Mapping[str, Constant],
    ) -> None:
        """Refuse an operator that reads across the entries of the batch."""
        before, now = self._before(node.input[0]), grown.get(node.input[0])
        if before is None or now is None or len(before) != len(now):
            return
        batch_axes = {k for k, size in enumerate(before) if size != now[k]}
        if batch_axes & set(self._mixed(node, len(before), constants)):
            raise InputError(f"a {node.op_type} reads across the first axis of the inputs")

    def _mixed(
        self, node: onnx.NodeProto, rank: int, constants: Mapping[str, Constant]
    ) -> range | tuple[int, ...]:
        """Axes of the first input along which an operator mixes the entries."""
        whole = {a.name: a.i for a in node.attribute}
        op = node.op_type
        if op in _NORMALISED:
            axis = whole.get("axis", -1 if self.opset >= 13 or op == "LpNormalization" else 1)
            axis %= rank
            return range(axis, rank if self.opset < 13 and op != "LpNormalization" else axis + 1)
        if op == "LayerNormalization":
            return range(whole.get("axis", -1) % rank, rank)
        if op == "CumSum" and len(node.input) > 1 and node.input[1] in constants:
            number = constants[node.input[1]].number
            return () if math.isnan(number) else (int(number) % rank,)
        if op in _RECURRENT:
            return (whole.get("layout", 0), 2)
        return range(1 if op in _FIRST_ONLY else 2 if op in _POOLS else rank, rank)


def resized(shape: Shape | list[int], old: int, new: int, multiples: bool) -> Shape | None:
    """The shape with a new batch on the first axis of the old size, or of a multiple of it.

    None if no axis is of such a size.
    """
    for k, size in enumerate(shape):
        if size == old or (multiples and size > 0 and size % old == 0):
            return (*shape[:k], size // old * new, *shape[k + 1 :])
    return None


def _sizes(constant: Constant, sizes: Shape) -> Constant:
    """A constant that holds other sizes."""
    value = np.asarray(sizes, np.int64)
    return replace(constant, shape=value.shape, value=value)
