"""Graphs and local functions inside of an ONNX graph, read as often as they run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.importers.loops import Loop
from nasplug.search_spaces.importers.onnx_constants import constant, sparse_constant
from nasplug.search_spaces.importers.onnx_loading import MAX_RAW_NODES, shown
from nasplug.search_spaces.importers.onnx_node import Constant, named
from nasplug.search_spaces.importers.onnx_scope import Body, Scope
from nasplug.search_spaces.importers.onnx_sequences import Emit
from nasplug.search_spaces.importers.onnx_values import Values

if TYPE_CHECKING:
    import onnx

__all__ = ["InnerGraphs", "written_by"]

# Functions and graphs inside of each other; protobuf alone limits graphs to some 30.
MAX_DEPTH = 50


class InnerGraphs:
    """Reader of bodies of control flow and of local functions.

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
        self.runs = self.nodes = self.depth = self.level = 0
        # The outermost loop that is being unrolled, for an error message.
        self.loop: Loop | None = None

    def _error(self, flat: onnx.NodeProto, text: str) -> InputError:
        return InputError(
            f"{self.values.model}: the {flat.op_type[:80]} that writes {written_by(flat)} {text}"
        )

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
            how = "with its functions expanded"
            if self.loop is not None:
                how = f"after {len(self.loop.trips):,} trips of {self.loop.label}"
            raise InputError(
                f"{self.values.model} has more than {MAX_RAW_NODES:,} nodes {how}; at most "
                f"{MAX_RAW_NODES:,} are read: give it a shorter input, or read its parts as "
                "networks of their own"
            )

    @contextmanager
    def _trip(self) -> Iterator[None]:
        """Read a trip of a loop in a block, and note its steps if no other loop is around it."""
        self._spend()
        self.level += 1
        start = len(self.values.network.steps)
        yield
        if self.level == 1 and self.loop is not None:
            self.loop.trips.append((start, len(self.values.network.steps)))
        self.level -= 1

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

    def _check_fit(
        self, flat: onnx.NodeProto, body: Body, inputs: int, fewest_outputs: int
    ) -> None:
        if len(body.inputs) != inputs or len(body.outputs) < fewest_outputs:
            raise self._error(
                flat,
                f"gives its graph {inputs} inputs, and the graph has {len(body.inputs)} inputs and "
                f"{len(body.outputs)} outputs",
            )


def written_by(flat: onnx.NodeProto) -> str:
    """Name the first output of a node, for an error message."""
    return shown(next(iter(flat.output), ""))
