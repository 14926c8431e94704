"""Control flow and local functions of an ONNX graph, read as the nodes that run.

An If takes the branch that its condition names, a Loop or a Scan runs as often as its trip count
says, a local function is its nodes: all as far as shapes and constants decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.importers.onnx_constants import constant, sparse_constant
from nasplug.search_spaces.importers.onnx_loading import (
    MAX_RAW_NODES,
    SAME_AS_DEFAULT,
    graphs_of,
    part_name,
    shown,
)
from nasplug.search_spaces.importers.onnx_node import Constant, named
from nasplug.search_spaces.importers.onnx_scope import Body, Scope
from nasplug.search_spaces.importers.onnx_sequences import Emit, join
from nasplug.search_spaces.importers.onnx_values import Values

if TYPE_CHECKING:
    import onnx

__all__ = ["ControlFlow"]

# Functions and graphs inside of each other; protobuf alone limits graphs to some 30.
MAX_DEPTH = 50
_BOOL, _INT64 = 9, 7


class ControlFlow:
    """Reader of the nodes that run other nodes.

    Args:
        model: The model, with its functions.
        values: Values of the graph so far.
        read_node: Reader of a node in a scope.
        emit: Reader of a tensor operator that stands for a part of a node.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        values: Values,
        read_node: Callable[[onnx.NodeProto, Scope], None],
        emit: Emit,
    ) -> None:
        self.values, self.read_node, self.emit = values, read_node, emit
        self.opset_imports = list(model.opset_import)
        self.functions = {(f.domain, f.name, f.overload): f for f in model.functions}
        self.bodies: dict[tuple[str, str, str], Body] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.runs = self.nodes = self.depth = 0
        # The outermost loop that is being unrolled, for an error message.
        self.loop = ""

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
        outermost = not self.loop
        if outermost and node.op_type != "If":
            self.loop = f"the {node.op_type} that writes {_writes(flat)}"
        handler(self, flat, dict(graphs_of(node)), scope)
        if outermost:
            self.loop = ""
        return True

    def _error(self, flat: onnx.NodeProto, text: str) -> InputError:
        return InputError(
            f"{self.values.model}: the {flat.op_type[:80]} that writes {_writes(flat)} {text}"
        )

    # -------------------------------------------------------------------------------- running

    def run(self, body: Body, scope: Scope) -> list[str]:
        """Read the nodes of a body; the names of its outputs in the list of values."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise InputError(
                f"{self.values.model} nests functions and control flow deeper than {MAX_DEPTH} "
                "levels"
            )
        scope.declared = body.declared
        for name, value in self._constants(body, scope).items():
            self.values.constants[scope.add(name)] = value
        for node in body.nodes:
            self._spend()
            self.read_node(node, scope)
        self.depth -= 1
        for name in body.outputs:
            if name not in scope or scope.flat(name) not in self.values:
                raise InputError(
                    f"{self.values.model}: graph {shown(body.name)} has an output {shown(name)} "
                    "that no node writes"
                )
        return [scope.flat(name) for name in body.outputs]

    def _constants(self, body: Body, scope: Scope) -> dict[str, Constant]:
        model = self.values.model
        if body.constants is None:
            constants = {tensor.name: constant(tensor, model) for tensor in body.tensors}
            for sparse in body.sparse:
                constants[sparse.values.name] = sparse_constant(sparse, model)
            body.constants = {
                name: named(value, scope.tensor(name)) for name, value in constants.items()
            }
        return body.constants

    def _spend(self) -> None:
        self.nodes += 1
        if self.nodes > MAX_RAW_NODES:
            unrolled = f"with {self.loop} unrolled" if self.loop else "with its functions expanded"
            raise InputError(
                f"{self.values.model} has more than {MAX_RAW_NODES:,} nodes {unrolled}; "
                f"at most {MAX_RAW_NODES:,} are read"
            )

    def _inner(self, scope: Scope, body: Body) -> Scope:
        self.runs += 1
        return scope.inner(body.name, self.runs)

    def _body(
        self, flat: onnx.NodeProto, graphs: dict[str, onnx.GraphProto], name: str, scope: Scope
    ) -> Body:
        if name not in graphs:
            raise self._error(flat, f"lacks its graph {name}")
        return Body(graphs[name], scope, self.values.model)

    def _call(self, flat: onnx.NodeProto, key: tuple[str, str, str]) -> None:
        """Read a call of a local function."""
        function = self.functions[key]
        if key in self.calls:
            raise InputError(f"{self.values.model} has functions that call themselves")
        if key not in self.bodies:
            self.bodies[key] = Body(function, (), self.values.model)
        body = self.bodies[key]
        stated = {opset.domain for opset in function.opset_import}
        imports = [*function.opset_import]
        imports += [opset for opset in self.opset_imports if opset.domain not in stated]
        attributes = {attribute.name: attribute for attribute in function.attribute_proto}
        attributes.update((attribute.name, attribute) for attribute in flat.attribute)
        self.runs += 1
        scope = Scope(imports, run=self.runs, title=body.name, attributes=attributes)
        if len(flat.input) > len(body.inputs) or len(flat.output) > len(body.outputs):
            raise self._error(flat, "has more inputs or outputs than its function")
        for k, name in enumerate(body.inputs):
            scope.names[name] = flat.input[k] if k < len(flat.input) else ""
        self.calls.append(key)
        self._bind(flat, self.run(body, scope))
        self.calls.pop()

    def _bind(self, flat: onnx.NodeProto, results: Sequence[str]) -> None:
        if len(flat.output) > len(results):
            raise self._error(flat, f"has more outputs than the {len(results)} of its graph")
        for output, result in zip(flat.output, results, strict=False):
            if output:
                self.values.bind(output, result)

    # ------------------------------------------------------------------- branches and loops

    def _number(self, flat: onnx.NodeProto, k: int, label: str) -> float | None:
        """Value of an input that decides what runs; None if it is left out."""
        name = flat.input[k] if k < len(flat.input) else ""
        return self._known(flat, name, label) if name else None

    def _known(self, flat: onnx.NodeProto, name: str, label: str) -> float:
        value = self.values.constants.get(name)
        if value is None:
            inputs = self.values.inputs_of(name)
            sizes = [math.prod(self.values.shape(source) or ()) for source in inputs]
            remedy = "export the network with what then runs alone"
            if inputs and max(sizes) == 1:
                names = " and ".join(shown(source) for source in inputs)
                what = "input" if len(inputs) == 1 else "inputs"
                remedy = f"it follows from {what} {names}, whose value can be given: "
                remedy += (
                    f"--input-value {inputs[0][:80]}=1 or input_values={{{shown(inputs[0])}: 1}}"
                )
            raise self._error(
                flat,
                f"has a {label} {shown(name)} that is known only at run time, so it has no one "
                f"latency; {remedy}",
            )
        if value.value is None or value.value.size != 1:
            raise self._error(flat, f"has a {label} {shown(name)} whose value is not in the file")
        return float(value.value.flat[0])

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
            self._spend()
            inner = self._inner(scope, body)
            self._set(inner.add(body.inputs[0]), trip, _INT64)
            self._set(inner.add(body.inputs[1]), 1, _BOOL)
            inner.names.update(zip(body.inputs[2:], states, strict=True))
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
            self._spend()
            inner = self._inner(scope, body)
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
            self._spend()
            inner = self._inner(scope, body)
            for formal, name in zip(body.inputs, flat.input, strict=True):
                inner.names[formal] = sequences[name][k] if name in sequences else name
            rows.append(self.run(body, inner))
        for k, output in enumerate(flat.output):
            if k >= len(body.outputs):
                raise self._error(flat, "has more outputs than its graph")
            if output:
                sequences[output] = tuple(row[k] for row in rows)

    # -------------------------------------------------------------------------------- pieces

    def _check_fit(
        self, flat: onnx.NodeProto, body: Body, inputs: int, fewest_outputs: int
    ) -> None:
        if len(body.inputs) != inputs or len(body.outputs) < fewest_outputs:
            raise self._error(
                flat,
                f"gives its graph {inputs} inputs, and the graph has {len(body.inputs)} inputs and "
                f"{len(body.outputs)} outputs",
            )

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


def _writes(flat: onnx.NodeProto) -> str:
    return shown(next(iter(flat.output), ""))


_Handler = Callable[[ControlFlow, "onnx.NodeProto", "dict[str, onnx.GraphProto]", Scope], None]
_HANDLERS: dict[str, _Handler] = {
    "If": ControlFlow._if,
    "Loop": ControlFlow._loop,
    "Scan": ControlFlow._scan,
    "SequenceMap": ControlFlow._sequence_map,
}
