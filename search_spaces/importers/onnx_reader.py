"""Reader of the nodes of an ONNX graph as steps of a network."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.importers.batches import (
    Reading,
)
from nasplug.search_spaces.importers.network import ImportedNetwork
from nasplug.search_spaces.importers.onnx_batches import OtherBatch
from nasplug.search_spaces.importers.onnx_constants import (
    constant_node,
    folded,
    shape_value,
)
from nasplug.search_spaces.importers.onnx_control import ControlFlow
from nasplug.search_spaces.importers.onnx_expansion import Expansion
from nasplug.search_spaces.importers.onnx_fused import expanded
from nasplug.search_spaces.importers.onnx_inference import Inference, check_counts, node_schema
from nasplug.search_spaces.importers.onnx_inputs import Inputs
from nasplug.search_spaces.importers.onnx_loading import (
    SAME_AS_DEFAULT,
    part_name,
    shown,
    sorted_nodes,
)
from nasplug.search_spaces.importers.onnx_node import (
    Constant,
    NodeView,
    Shape,
    Tensor,
    element_type,
    named,
)
from nasplug.search_spaces.importers.onnx_operators import HANDLED, add_steps
from nasplug.search_spaces.importers.onnx_scope import Scope
from nasplug.search_spaces.importers.onnx_sequences import Array, read_sequence
from nasplug.search_spaces.importers.onnx_unknown import (
    NEEDS_SHAPE,
    cause,
    unreadable,
)
from nasplug.search_spaces.importers.onnx_values import Values
from nasplug.search_spaces.operators import KNOWN_OPS

if TYPE_CHECKING:
    import onnx

__all__ = ["OnnxReader"]

# Version of the nodes that stand for parts of one in the file.
_EMITTED_OPSET = 17
_LEFT_OUT = Tensor(0, None)


class OnnxReader:
    """Reader that walks the nodes once, in order, and keeps the tensor or step of each name.

    Args:
        model: The model.
        name: Name of the model in error messages.
        constants: Initialisers by name.
        inputs: The inputs, with their sizes.
        other: For a second reading, the change of the batch.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        name: str,
        constants: Mapping[str, Constant],
        inputs: Inputs,
        other: OtherBatch | None = None,
    ) -> None:
        from onnx import helper

        self.model = model
        self.name = name
        self.inputs = inputs
        self.other = other
        self.network = ImportedNetwork(name)
        self.values = Values(self.network, name)
        self.constants, self.tensors = self.values.constants, self.values.tensors
        self.steps = self.values.steps
        self.constants.update(constants)
        self.constants.update(
            (k, _input_constant(weight, k)) for k, weight in inputs.constants.items()
        )
        self.control = ControlFlow(model, self.values, self._read_node, self._emit)
        # Names and versions of operators that the current node sees.
        self.scope = Scope(list(model.opset_import), self.values)
        self.emitted = Scope([helper.make_opsetid("", _EMITTED_OPSET)])
        self.unknown: dict[str, None] = {}
        self.shapeless: dict[str, None] = {}
        for tensor, inferred in inputs.data.items():
            self.tensors[tensor] = inferred
            self.steps[tensor] = self.network.add(
                "Input", (), inferred.shape or (), type=element_type(inferred.elem_type)
            )
        self.inference = Inference(model, self.values, other, inputs.is_declared)

    def read(self) -> Reading:
        """Read all nodes."""
        sources = {*self.constants, *self.steps}
        scope = self.scope
        for node in sorted_nodes(self.model.graph.node, sources, sources, self.name):
            self._read_node(node, scope)
        ends = []
        for output in self.model.graph.output:
            if output.name not in self.values:
                raise InputError(
                    f"{self.name} has an output {output.name[:80]!r} that no node writes"
                )
            ends += self.values.ends(output.name)
        if not ends:
            raise InputError(f"{self.name} has no output that depends on an input")
        return Reading(self.network, ends)

    def warn(self) -> None:
        """Name the operators of unknown cost in one warning."""
        parts = []
        if self.unknown:
            names = ", ".join(sorted(self.unknown)[:20])
            parts.append(f"operators of unknown cost, priced by the data they move: {names}")
        shapeless = self.shapeless.keys() - self.unknown.keys()
        if shapeless:
            names = ", ".join(sorted(shapeless)[:20])
            parts.append(
                "operators whose output sizes are not known before it runs, priced as nothing: "
                f"{names}"
            )
        if parts:
            warnings.warn(f"{self.name} has {'; '.join(parts)}", stacklevel=4)

    # ---------------------------------------------------------------------------------- nodes

    def _emit(
        self,
        op: str,
        inputs: Sequence[str | Array],
        outputs: Sequence[str],
        **attributes: Any,
    ) -> None:
        """Read a node that stands for a part of one in the file; arrays are constants."""
        from onnx import TensorProto, helper

        names = []
        for k, source in enumerate(inputs):
            name = source if isinstance(source, str) else part_name(outputs[0], -1 - k)
            if not isinstance(source, str):
                self.constants[name] = Constant(source.shape, TensorProto.INT64, source)
            names.append(name)
        self._read_flat(helper.make_node(op, names, outputs, **attributes), self.emitted)

    def _read_node(self, node: onnx.NodeProto, scope: Scope) -> None:
        flat = scope.flat_node(node)
        if not self.control.read(node, flat, scope):
            self._read_flat(flat, scope)

    def _read_flat(self, node: onnx.NodeProto, scope: Scope) -> None:
        """Read a node whose names are those in the list of values."""
        self.scope = scope
        domain = "" if node.domain in SAME_AS_DEFAULT else node.domain
        if not domain and read_sequence(node, self._attributes(node), self.values, self._emit):
            return
        reason = cause(node, self.tensors)
        try:
            parts = expanded(node, domain, self._known, scope.opsets.get("", 1), self.name)
            if parts is not None:
                self._read_parts(node, parts, scope)
            else:
                self._read_tensors(node, self._view(node, domain), reason)
        except InputError:
            if reason:
                # The misfit follows from a shape that stood in for an unknown one.
                raise unreadable(node, self.name, reason) from None
            raise

    def _read_tensors(self, node: onnx.NodeProto, view: NodeView, reason: str) -> None:
        """Read a node of tensors; `reason` is why the shape of an input is not known."""
        constants = self._constants_of(node, view)
        if constants is not None:
            for output, value in zip(node.output, constants, strict=True):
                if output:
                    self.constants[output] = value
            return
        for output, tensor in zip(node.output, view.outputs, strict=True):
            if output:
                self.tensors[output] = tensor
        if view.label not in KNOWN_OPS and not (view.is_standard and view.op in HANDLED):
            self.unknown[view.label] = None
        sources = [self.tensors[name] for name in node.input if name in self.tensors]
        if any(tensor.shape is None for tensor in (*sources, *view.outputs[:1])):
            if view.label in NEEDS_SHAPE:
                raise unreadable(node, self.name, view.outputs[0].unknown or reason)
            if view.outputs and view.outputs[0].shape is None:
                self.shapeless[view.label] = None
            positions = [self.network.add(view.label, view.data, view.shape)]
        else:
            positions = add_steps(self.network, view)
        for k, output in enumerate(node.output):
            if output:
                self.steps[output] = positions[min(k, len(positions) - 1)]

    def _known(self, name: str) -> Constant | Tensor | None:
        return self.constants.get(name) or self.tensors.get(name)

    def _read_parts(self, node: onnx.NodeProto, parts: Expansion, scope: Scope) -> None:
        """Read the nodes that stand for a fused one."""
        self.constants.update(parts.constants)
        try:
            for part in parts.nodes:
                self._read_flat(part, scope)
                if part.output[0] in parts.views and part.output[0] in self.steps:
                    self.network.make_view(self.steps[part.output[0]])
        except InputError as error:
            # The user's file has the fused operator, and none of its parts.
            shapes = [parts.tensor(k) for k in range(len(node.input))]
            text = ", ".join("?" if t is None else str(list(t.shape or ())) for t in shapes[:6])
            raise parts.wrong(f"it does not fit its inputs of shapes {text}") from error

    def _constants_of(self, node: onnx.NodeProto, view: NodeView) -> list[Constant] | None:
        """The outputs of a node that does not depend on the inputs; None if it does."""
        if view.is_standard and view.op == "Constant":
            return [named(constant_node(view), self.scope.tensor(node.output[0]))]
        if view.is_standard and view.op in ("Shape", "Size") and view.input_shapes:
            shape = shape_value(view)
            if shape is not None:
                return [shape]
        if all(source in self.constants for source in node.input if source):
            return folded(view)
        return None

    def _attributes(self, node: onnx.NodeProto) -> dict[str, Any]:
        from onnx import helper

        attributes: dict[str, Any] = {}
        for attribute in node.attribute:
            try:
                attributes[attribute.name] = helper.get_attribute_value(attribute)
            except (ValueError, TypeError):
                raise InputError(
                    f"{self.name}: attribute {attribute.name[:80]!r} of a {node.op_type[:80]} has "
                    "no readable value"
                ) from None
        return attributes

    def _view(self, node: onnx.NodeProto, domain: str) -> NodeView:
        if self.other is None:
            return self._view_with(node, domain, {})
        make_view = partial(self._view_with, node, domain)
        return self.other.view(node, self.constants, self.tensors, make_view)

    def _view_with(
        self, node: onnx.NodeProto, domain: str, replaced: Mapping[str, Constant]
    ) -> NodeView:
        """View of a node, with some constants replaced."""
        attributes = self._attributes(node)
        inputs: list[Constant | int | None] = []
        input_shapes: list[Shape | None] = []
        input_types: list[int] = []
        for source in node.input:
            tensor: Constant | Tensor = _LEFT_OUT
            if source:
                constant = replaced.get(source) or self.constants.get(source)
                tensor = constant or self.tensors.get(source, _LEFT_OUT)
            inputs.append(tensor if isinstance(tensor, Constant) else self.steps.get(source))
            input_shapes.append(tensor.shape)
            input_types.append(tensor.elem_type)
        schema = node_schema(node.op_type, self.scope.opsets.get(domain, 1), domain)
        is_standard = domain == "" and schema is not None
        view = NodeView(
            self.name,
            node.op_type,
            domain,
            is_standard,
            attributes,
            inputs,
            input_shapes,
            input_types,
        )
        if schema is not None:
            check_counts(node, view, schema)
        # A Constant may be a large weight, and needs no inference.
        if not (is_standard and node.op_type == "Constant"):
            view.outputs = self.inference.outputs(node, view, schema, self.scope)
        return view


def _input_constant(weight: Constant, name: str) -> Constant:
    """Constant for an input of the file: a weight without its value, or a value that is given."""
    reason = (
        f"input {shown(name)} fixes a shape; give its value, for example --input-value "
        f"{name[:80]}=1,3,32,32 or input_values={{{shown(name)}: [1, 3, 32, 32]}}"
    )
    return replace(named(weight, name), unknown="" if weight.value is not None else reason)
