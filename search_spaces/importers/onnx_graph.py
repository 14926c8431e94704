"""Reader of ONNX files as graphs."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.importers.batches import (
    Reading,
    ReadNetwork,
    independent,
    one_sample,
)
from nasplug.search_spaces.importers.network import ImportedNetwork
from nasplug.search_spaces.importers.onnx_batches import OtherBatch, resized
from nasplug.search_spaces.importers.onnx_constants import (
    constant,
    constant_node,
    folded,
    shape_value,
    sparse_constant,
)
from nasplug.search_spaces.importers.onnx_control import ControlFlow
from nasplug.search_spaces.importers.onnx_expansion import Expansion
from nasplug.search_spaces.importers.onnx_fused import expanded
from nasplug.search_spaces.importers.onnx_inputs import Asked, Inputs, read_inputs
from nasplug.search_spaces.importers.onnx_loading import (
    SAME_AS_DEFAULT,
    first_line,
    load_model,
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
    SAME_SHAPE,
    cause,
    inferring,
    unreadable,
    why_unknown,
)
from nasplug.search_spaces.importers.onnx_values import Values
from nasplug.search_spaces.importers.steps import MAX_ELEMENTS
from nasplug.search_spaces.operators import KNOWN_OPS

if TYPE_CHECKING:
    import onnx

__all__ = ["onnx_graph", "onnx_network", "tensor_shapes"]

# Letters with at most one ellipsis in each term.
_TERM = rb"[A-Za-z ]*(\.\.\.[A-Za-z ]*)?"
_EQUATION = re.compile(rb"%b(,%b)*(->%b)?" % (_TERM, _TERM, _TERM))


# Version of the nodes that stand for parts of one in the file.
_EMITTED_OPSET = 17
_LEFT_OUT = Tensor(0, None)


def onnx_graph(
    path_or_model: str | os.PathLike[str] | onnx.ModelProto,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    input_values: Mapping[str, Any] | None = None,
) -> Graph:
    """Read a network from an ONNX file, in the canonical form of `search_spaces.canonical`.

    Inputs have the shapes that the file declares, and an open first axis is one image. If the first
    axis is a batch, the graph is that of one image, else that of the whole input. Other shapes are
    those that `onnx.shape_inference` gives. Weights are never read: files with their weights
    removed or in other files (external data, which is not opened) will do, as long as the constants
    that fix shapes are there. A constant operand of one number is no parameter, a larger one is.

    Operators of unknown types keep their name and are priced by the data they move, with
    one warning that names them; if such an operator has no known output shape, the shape of its
    first input stands in.

    Args:
        path_or_model: Path of an ONNX file, or a model in memory.
        input_shapes: Shapes of inputs by name, for axes that the file leaves open or that are to be
            others; the name of an only input may be empty.
        input_values: Values by name, of inputs that fix shapes or conditions.

    Raises:
        InputError: If the file is no ONNX model, is damaged or too large, has control flow, or has
            an axis other than the batch whose size is nowhere given.
    """
    return onnx_network(path_or_model, input_shapes=input_shapes, input_values=input_values).graph


def onnx_network(
    path_or_model: str | os.PathLike[str] | onnx.ModelProto,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    input_values: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
) -> ReadNetwork:
    """Read a network from an ONNX file, and whether its batch is free; see `onnx_graph`.

    Args:
        path_or_model: Path of an ONNX file, or a model in memory.
        input_shapes: Shapes of inputs by name.
        input_values: Values of inputs by name.
        batch_size: Batch that the network is wanted for. A file for a batch of one is checked for
            a larger one only if it is wanted, since that takes a second reading.
    """
    model, name = load_model(path_or_model)
    constants = _file_constants(model, name)
    asked = Asked(input_shapes or {}, input_values or {})
    inputs = read_inputs(model.graph, constants, asked, name)
    if inputs.moved is not None and inputs.moved[0] != inputs.moved[1]:
        # A closed batch was asked to be another one.
        declared = read_inputs(model.graph, constants, Asked({}, asked.values), name)
        found = _read(model, name, constants, declared, inputs.moved[1])
        if found.is_free:
            return ReadNetwork(found.graph, inputs.moved[1])
    return _read(model, name, constants, inputs, batch_size)


def tensor_shapes(
    path_or_model: str | os.PathLike[str] | onnx.ModelProto,
) -> dict[str, Shape | None]:
    """Shapes of the computed tensors of an ONNX file by name, for a check of the reader."""
    model, name = load_model(path_or_model)
    constants = _file_constants(model, name)
    inputs = read_inputs(model.graph, constants, Asked({}, {}), name)
    reader = _Reader(model, name, constants, inputs)
    reader.read()
    return {tensor: known.shape for tensor, known in reader.tensors.items()}


def _read(
    model: onnx.ModelProto,
    name: str,
    constants: dict[str, Constant],
    inputs: Inputs,
    batch_size: int | None,
) -> ReadNetwork:
    first = _Reader(model, name, constants, inputs)
    reading = first.read()
    first.warn()

    def at(new: int, old: int) -> Reading:
        version = first.scope.opsets.get("", 1)
        other = OtherBatch(first.tensors, first.constants, old, new, version)
        return _Reader(model, name, constants, inputs.resized(old, new), other).read()

    if inputs.is_open:
        return ReadNetwork(reading.graph())
    found = one_sample(reading, inputs.shapes, lambda times: at(1, times))
    if found.is_free and found.batch == 1 and (batch_size or 1) > 1:
        try:
            is_free = independent(at(2, 1), reading, 2)
        except InputError:
            is_free = False
        return ReadNetwork(found.graph, 1, is_free)
    return found


def _file_constants(model: onnx.ModelProto, name: str) -> dict[str, Constant]:
    """The initialisers of a model by name."""
    dense = {tensor.name: constant(tensor, name) for tensor in model.graph.initializer}
    sparse = {s.values.name: sparse_constant(s, name) for s in model.graph.sparse_initializer}
    return dense | sparse


class _Reader:
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
        self.declared = self._declared_shapes()

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
        if self.shapeless:
            names = ", ".join(sorted(self.shapeless)[:20])
            parts.append(
                "operators whose output sizes are not known before it runs, priced as nothing: "
                f"{names}"
            )
        if parts:
            warnings.warn(f"{self.name} has {'; '.join(parts)}", stacklevel=4)

    def _declared_shapes(self) -> dict[str, Shape]:
        """Shapes that the file states for computed tensors; an open first axis is one image."""
        shapes: dict[str, Shape] = {}
        for value in (*self.model.graph.value_info, *self.model.graph.output):
            tensor = value.type.tensor_type
            if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
                continue
            shape = tuple(dim.dim_value for dim in tensor.shape.dim)
            if shape and tensor.shape.dim[0].dim_param:
                shape = (1, *shape[1:])
            if self.other is not None:
                # What inference does not know follows the batch.
                other = resized(shape[:1], self.other.old, self.other.new, True)
                shape = shape if other is None else (*other, *shape[1:])
            if min(shape, default=1) > 0 and math.prod(shape) <= MAX_ELEMENTS:
                shapes[value.name] = shape
        return shapes

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
        schema = _schema(node.op_type, self.scope.opsets.get(domain, 1), domain)
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
            self._check_counts(node, view, schema)
        # A Constant may be a large weight, and needs no inference.
        if not (is_standard and node.op_type == "Constant"):
            view.outputs = self._inferred(node, view, schema)
        return view

    def _inferred(self, node: onnx.NodeProto, view: NodeView, schema: Any) -> list[Tensor]:
        """Types of the outputs, from ONNX's shape inference, the file, or the first input."""
        from onnx import shape_inference

        inferred: dict[str, onnx.TypeProto] = {}
        if schema is not None:
            view.check_axes()
            equation = view.attributes.get("equation")
            # On others onnx's shape inference may never end.
            if isinstance(equation, bytes) and not _EQUATION.fullmatch(equation):
                raise view.wrong("equation", equation, "an Einstein sum such as 'ij,jk->ik'")
            types, data = self._inference_inputs(node, view)
            newer = inferring(schema)
            try:
                inferred = shape_inference.infer_node_outputs(
                    newer,
                    node,
                    types,
                    data,
                    opset_imports=self.scope.opset_imports,
                    ir_version=self.model.ir_version,
                )
            except Exception as error:
                if newer.since_version == schema.since_version:
                    raise InputError(
                        f"{self.name}: a {view.label} that writes "
                        f"{shown(next(iter(node.output), ''))} does not fit its inputs of shapes "
                        f"{view.shapes_text()}: {first_line(error)}"
                    ) from None
        outputs = []
        reason = cause(node, self.tensors)
        for output in node.output:
            tensor = _tensor(inferred.get(output), view)
            if reason and output not in self.declared:
                tensor = replace(tensor, unknown=reason)
            if tensor.shape is None and output:
                tensor = self._other_tensor(tensor.elem_type, output, node, view, schema)
            if tensor.shape is not None and math.prod(tensor.shape) > MAX_ELEMENTS:
                raise InputError(
                    f"{self.name}: the output of a {view.label} has shape {list(tensor.shape)}; "
                    "expected a tensor that fits a device"
                )
            self._check_shape(output, tensor, view)
            outputs.append(tensor)
        return outputs

    def _check_shape(self, output: str, tensor: Tensor, view: NodeView) -> None:
        """Refuse a Reshape to other elements, and a shape that is not the declared one."""
        shape, before = tensor.shape, next(iter(view.input_shapes), None)
        if shape is None:
            return
        is_reshape = view.is_standard and view.op == "Reshape" and before is not None
        if is_reshape and math.prod(shape) != math.prod(before or ()):
            raise InputError(
                f"{self.name}: the Reshape that writes {output[:80]!r} makes shape {list(shape)} "
                f"of {list(before or ())}, which has another number of elements; if the network "
                "was exported for another batch or size, give that as the shape of its inputs"
            )
        declared = self.declared.get(output, shape)
        # Runtimes read on where axes of one element are missing, and exporters leave the batch of
        # their trace on the first axis.
        first = 1 if len(declared) == len(shape) else 0
        differs = _long(declared[first:]) != _long(shape[first:])
        if self.other is None and self.inputs.is_declared and differs:
            raise InputError(
                f"{self.name}: the file declares shape {list(declared)} for "
                f"{output[:80]!r}, but a {view.label} of inputs of shapes {view.shapes_text()} "
                f"gives {list(shape)}"
            )

    def _check_counts(self, node: onnx.NodeProto, view: NodeView, schema: Any) -> None:
        """Refuse numbers of inputs and outputs that onnx's shape inference may crash on."""
        inputs, outputs = len(node.input), len(node.output)
        most = schema.max_output
        if view.op == "Split":
            most = view.whole("num_outputs", len(view.sizes("split", ())) or outputs)
        few = inputs < schema.min_input or outputs < schema.min_output
        if few or inputs > schema.max_input or outputs > most:
            raise InputError(
                f"{self.name}: a {view.label} with {inputs} inputs and {outputs} outputs; "
                f"it takes at least {schema.min_input} and gives at most {most}"
            )

    def _inference_inputs(
        self, node: onnx.NodeProto, view: NodeView
    ) -> tuple[dict[str, onnx.TypeProto], dict[str, onnx.TensorProto]]:
        from onnx import TypeProto, helper, numpy_helper

        types: dict[str, onnx.TypeProto] = {}
        data: dict[str, onnx.TensorProto] = {}
        for k, source in enumerate(node.input):
            if not source:
                continue
            elem_type = view.input_types[k] or 1
            shape = view.input_shapes[k]
            if shape is not None or source in self.constants:
                types[source] = helper.make_tensor_type_proto(elem_type, shape)
            else:
                open_type = TypeProto()
                open_type.tensor_type.elem_type = elem_type
                types[source] = open_type
            constant = view.inputs[k]
            if isinstance(constant, Constant) and constant.value is not None:
                data[source] = numpy_helper.from_array(constant.value, source)
        return types, data

    def _other_tensor(
        self, elem_type: int, output: str, node: onnx.NodeProto, view: NodeView, schema: Any
    ) -> Tensor:
        """Output that inference does not give: declared in the file, or the first input stands in.

        Raises:
            InputError: If its shape follows from a constant whose value is not known.
        """
        if output in self.declared:
            return Tensor(elem_type, self.declared[output])
        reason = cause(node, self.tensors)
        input_shape = next((shape for shape in view.input_shapes if shape is not None), None)
        if schema is None:
            return Tensor(elem_type, input_shape, reason or why_unknown(node, view, 0))
        infers = inferring(schema).has_type_and_shape_inference_function
        if not infers and view.op in SAME_SHAPE:
            return Tensor(elem_type, input_shape, reason)
        missing = [
            source
            for k, source in enumerate(view.inputs)
            if k > 0 and isinstance(source, Constant) and source.value is None and source.whole
        ]
        if not missing or reason:
            newer = inferring(schema).since_version != schema.since_version
            version = schema.since_version if newer or not infers else 0
            return Tensor(elem_type, None, reason or why_unknown(node, view, version))
        if view.op == "Reshape" and missing[0].shape == (2,) and input_shape:
            # A target of two sizes flattens each image.
            return Tensor(elem_type, (input_shape[0], math.prod(input_shape[1:])))
        raise unreadable(node, self.name, missing[0].unknown)


def _long(shape: Shape) -> list[int]:
    """The axes of more than one element."""
    return [size for size in shape if size != 1]


def _input_constant(weight: Constant, name: str) -> Constant:
    """Constant for an input of the file: a weight without its value, or a value that is given."""
    reason = (
        f"input {shown(name)} fixes a shape; give its value, for example --input-value "
        f"{name[:80]}=1,3,32,32 or input_values={{{shown(name)}: [1, 3, 32, 32]}}"
    )
    return replace(named(weight, name), unknown="" if weight.value is not None else reason)


def _tensor(inferred: onnx.TypeProto | None, view: NodeView) -> Tensor:
    if inferred is None or not inferred.HasField("tensor_type"):
        return Tensor(next(iter(view.input_types), 0), None)
    tensor = inferred.tensor_type
    sizes = [dim.dim_value for dim in tensor.shape.dim]
    if min(sizes, default=0) < 0:
        raise InputError(
            f"{view.model}: a {view.label} of inputs of shapes {view.shapes_text()} would give "
            f"shape {sizes[:10]}; expected an input that its window fits"
        )
    is_known = tensor.HasField("shape") and all(
        dim.HasField("dim_value") and dim.dim_value >= 0 for dim in tensor.shape.dim
    )
    shape = tuple(dim.dim_value for dim in tensor.shape.dim) if is_known else None
    return Tensor(tensor.elem_type, shape)


def _schema(op: str, version: int, domain: str) -> Any:
    from onnx import defs

    # Some tools write an operator that is newer than the version that they state.
    for candidate in (version, max(version, defs.onnx_opset_version())):
        try:
            return defs.get_schema(op, candidate, domain)
        except defs.SchemaError:
            continue
    return None
