"""Control flow and local functions of an ONNX graph, read as the nodes that run.

An If takes the branch that its condition names, a Loop or a Scan runs as often as its trip count
says, a local function is its nodes: all as far as shapes and constants decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.importers.loops import Loop
from nasplug.search_spaces.importers.onnx_loading import (
    SAME_AS_DEFAULT,
    graphs_of,
    part_name,
    shown,
)
from nasplug.search_spaces.importers.onnx_node import Constant
from nasplug.search_spaces.importers.onnx_running import InnerGraphs, written_by
from nasplug.search_spaces.importers.onnx_scope import Body, Scope
from nasplug.search_spaces.importers.onnx_sequences import join

if TYPE_CHECKING:
    import onnx

__all__ = ["ControlFlow"]

_BOOL, _INT64 = 9, 7


class ControlFlow(InnerGraphs):
    """Reader of the nodes that run other nodes; see `InnerGraphs` for its arguments."""

    def read(self, node: onnx.NodeProto, flat: onnx.NodeProto, scope: Scope) -> bool:
        """Read a node that runs other nodes; return False for any other.

        Args:
            node: The node of the file.
            flat: The same with its names in the list of values.
            scope: Names that the node sees.

        Raises:
            InputError: If which nodes run, or how often, is known only at run time, or if they are
                too many.
        """
        key = (node.domain, node.op_type, node.overload)
        if key in self.functions:
            self._call(flat, key)
            return True
        handler = _HANDLERS.get(node.op_type) if node.domain in SAME_AS_DEFAULT else None
        if handler is None:
            return False
        outermost = self.loop is None
        if outermost and node.op_type != "If":
            self.loop = Loop(f"the {node.op_type} that writes {written_by(flat)}")
            self.values.network.loops.append(self.loop)
        handler(self, flat, dict(graphs_of(node)), scope)
        if outermost:
            self.loop = None
        return True

    def _if(self, flat: onnx.NodeProto, graphs: dict[str, onnx.GraphProto], scope: Scope) -> None:
        condition = self._number(flat, 0, "condition")
        branch = "then_branch" if condition else "else_branch"
        body = self._body(flat, graphs, branch, scope)
        self._bind(flat, self.run(body, self._inner(scope, body)))

    def _loop(self, flat: onnx.NodeProto, graphs: dict[str, onnx.GraphProto], scope: Scope) -> None:
        body = self._body(flat, graphs, "body", scope)
        trips = self._number(flat, 0, "trip count")
        going = self._number(flat, 1, "condition") != 0
        states = list(flat.input[2:])
        self._check_fit(flat, body, len(states) + 2, len(states) + 1)
        rows: list[list[str]] = []
        trip = 0
        while going and (trips is None or trip < trips):
            inner = self._inner(scope, body)
            self._set(inner.add(body.inputs[0]), trip, _INT64)
            self._set(inner.add(body.inputs[1]), 1, _BOOL)
            inner.names.update(zip(body.inputs[2:], states, strict=True))
            with self._trip():
                condition, *results = self.run(body, inner)
            states = results[: len(states)]
            rows.append(results[len(states) :])
            trip += 1
            if trip != trips:
                going = self._known(flat, condition, "condition") != 0
        axes = [0] * (len(body.outputs) - 1 - len(states))
        self._finish(flat, body, states, rows, axes)

    def _scan(self, flat: onnx.NodeProto, graphs: dict[str, onnx.GraphProto], scope: Scope) -> None:
        body = self._body(flat, graphs, "body", scope)
        attributes = {a.name: a for a in flat.attribute}
        count = attributes["num_scan_inputs"].i if "num_scan_inputs" in attributes else 0
        batched = scope.opsets.get("", 1) < 9
        names = list(flat.input[1:] if batched else flat.input)
        states, scanned = names[: len(names) - count], names[len(names) - count :]
        if not 0 < count <= len(names):
            raise self._error(flat, f"scans {count} of its {len(names)} inputs")
        self._check_fit(flat, body, len(names), len(states))

        def settings(name: str, number: int) -> list[int]:
            numbers = list(attributes[name].ints) if name in attributes else []
            if numbers and len(numbers) != number:
                raise self._error(flat, f"has {len(numbers)} {name}; expected {number}")
            return numbers or [0] * number

        axes = settings("scan_input_axes", count)
        back = settings("directions" if batched else "scan_input_directions", count)
        outputs = len(body.outputs) - len(states)
        if not batched:
            out_axes = settings("scan_output_axes", outputs)
            out_back = settings("scan_output_directions", outputs)
            states, rows = self._scanned(flat, body, scope, states, scanned, axes, back)
            self._finish(flat, body, states, rows, out_axes, out_back)
            return
        # Version 8 runs each entry of a batch by itself.
        if flat.input[0]:
            raise self._error(flat, "has sequence lengths of its own; expected one length")
        entries = self._length(flat, names, [0] * len(names))
        finals: list[list[str]] = []
        for entry in range(entries):
            parts = [self._part(flat, name, 0, entry) for name in names]
            entry_states, entry_scanned = parts[: len(states)], parts[len(states) :]
            entry_states, rows = self._scanned(
                flat, body, scope, entry_states, entry_scanned, axes, back
            )
            columns = []
            for k in range(outputs):
                columns.append(part_name(next(iter(flat.output), "scanned"), self._next()))
                self._join(flat, [row[k] for row in rows], columns[-1], 0)
            finals.append([*entry_states, *columns])
        self._finish(flat, body, [], finals, [0] * len(body.outputs))

    def _scanned(
        self,
        flat: onnx.NodeProto,
        body: Body,
        scope: Scope,
        states: list[str],
        scanned: list[str],
        axes: list[int],
        back: list[int],
    ) -> tuple[list[str], list[list[str]]]:
        """Final states of a scan, and its results of each trip."""
        length = self._length(flat, scanned, axes)
        rows: list[list[str]] = []
        for trip in range(length):
            inner = self._inner(scope, body)
            with self._trip():
                parts = [
                    self._part(flat, name, axis, length - 1 - trip if backwards else trip)
                    for name, axis, backwards in zip(scanned, axes, back, strict=True)
                ]
                inner.names.update(zip(body.inputs, [*states, *parts], strict=True))
                results = self.run(body, inner)
            states = results[: len(states)]
            rows.append(results[len(states) :])
        return states, rows

    def _sequence_map(
        self, flat: onnx.NodeProto, graphs: dict[str, onnx.GraphProto], scope: Scope
    ) -> None:
        body = self._body(flat, graphs, "body", scope)
        self._check_fit(flat, body, len(flat.input), 0)
        sequences = self.values.sequences
        lists = [sequences[name] for name in flat.input if name in sequences]
        if not flat.input or flat.input[0] not in sequences or len({len(x) for x in lists}) != 1:
            raise self._error(flat, "expects sequences of one length")
        rows = []
        for k in range(len(lists[0])):
            inner = self._inner(scope, body)
            for formal, name in zip(body.inputs, flat.input, strict=True):
                inner.names[formal] = sequences[name][k] if name in sequences else name
            with self._trip():
                rows.append(self.run(body, inner))
        for k, output in enumerate(flat.output):
            if k >= len(body.outputs):
                raise self._error(flat, "has more outputs than its graph")
            if output:
                sequences[output] = tuple(row[k] for row in rows)

    # -------------------------------------------------------------------------------- pieces

    def _set(self, name: str, value: int, elem_type: int) -> None:
        array = np.asarray(value, np.bool_ if elem_type == _BOOL else np.int64)
        self.values.constants[name] = Constant((), elem_type, array)

    def _next(self) -> int:
        self.runs += 1
        return self.runs

    def _length(self, flat: onnx.NodeProto, names: Sequence[str], axes: Sequence[int]) -> int:
        lengths = set()
        for name, axis in zip(names, axes, strict=True):
            shape = self.values.shape(name)
            if shape is None:
                raise self._error(flat, f"runs over {shown(name)}, whose size is not known")
            if not -len(shape) <= axis < len(shape):
                raise self._error(flat, f"runs over axis {axis} of {shown(name)}, {list(shape)}")
            lengths.add(shape[axis])
        if len(lengths) != 1:
            raise self._error(flat, f"runs over tensors of lengths {sorted(lengths)[:10]}")
        return lengths.pop()

    def _part(self, flat: onnx.NodeProto, name: str, axis: int, position: int) -> str:
        part = part_name(name, self._next())
        self.emit("Gather", [name, np.asarray(position)], [part], axis=axis)
        return part

    def _join(self, flat: onnx.NodeProto, parts: Sequence[str], output: str, axis: int) -> None:
        """Write the results of all trips side by side, along a new axis."""
        try:
            join(self.emit, parts, output, axis, new_axis=True)
        except InputError:
            raise self._error(flat, "has results of several shapes, one a trip") from None

    def _finish(
        self,
        flat: onnx.NodeProto,
        body: Body,
        states: Sequence[str],
        rows: Sequence[Sequence[str]],
        axes: Sequence[int],
        back: Sequence[int] = (),
    ) -> None:
        """Write the final states, and the results of all trips side by side."""
        if len(flat.output) > len(states) + len(axes):
            raise self._error(flat, "has more outputs than its graph")
        for output, state in zip(flat.output, states, strict=False):
            if output:
                self.values.bind(output, state)
        for k, output in enumerate(flat.output[len(states) :]):
            parts = [row[k] for row in rows]
            if not output:
                continue
            if not parts:
                self.values.constants[output] = Constant(None, 0)
                continue
            if k < len(back) and back[k]:
                parts.reverse()
            axis = axes[k]
            shape = self.values.shape(parts[0])
            if axis < 0 and shape is not None:
                axis += len(shape) + 1
            self._join(flat, parts, output, axis)


_Handler = Callable[[ControlFlow, "onnx.NodeProto", "dict[str, onnx.GraphProto]", Scope], None]
_HANDLERS: dict[str, _Handler] = {
    "If": ControlFlow._if,
    "Loop": ControlFlow._loop,
    "Scan": ControlFlow._scan,
    "SequenceMap": ControlFlow._sequence_map,
}
