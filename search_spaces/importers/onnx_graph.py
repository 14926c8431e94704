"""Reader of ONNX files as graphs."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Mapping, Sequence
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
from nasplug.search_spaces.importers.onnx_inputs import Asked, Inputs, read_inputs
from nasplug.search_spaces.importers.onnx_loading import (
    SAME_AS_DEFAULT,
    first_line,
    load_model,
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
from nasplug.search_spaces.importers.steps import MAX_ELEMENTS
from nasplug.search_spaces.operators import KNOWN_OPS

if TYPE_CHECKING:
    import onnx

__all__ = ["onnx_graph", "onnx_network"]

# Operators that carry most of a network's cost, and whose cost needs their shape.
_NEEDS_SHAPE = frozenset(
    {"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "QLinearConv", "Einsum"}
)
# Letters with at most one ellipsis in each term.
_TERM = rb"[A-Za-z ]*(\.\.\.[A-Za-z ]*)?"
_EQUATION = re.compile(rb"%b(,%b)*(->%b)?" % (_TERM, _TERM, _TERM))


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
        version = first.opsets.get("", 1)
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
        self.model = model
        self.name = name
        self.inputs = inputs
        self.other = other
        self.network = ImportedNetwork(name)
        given = {tensor: named(weight, tensor) for tensor, weight in inputs.constants.items()}
        self.constants = {**constants, **given}
        self.tensors: dict[str, Tensor] = {}
        self.steps: dict[str, int] = {}
        self.opsets: dict[str, int] = {}
        for opset in model.opset_import:
            domain = "" if opset.domain in SAME_AS_DEFAULT else opset.domain
            self.opsets[domain] = max(opset.version, self.opsets.get(domain, 1))
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
        for node in sorted_nodes(self.model, sources, self.name):
            self._read_node(node)
        ends = []
        for output in self.model.graph.output:
            if output.name in self.steps:
                ends.append(self.steps[output.name])
            elif output.name not in self.constants:
                raise InputError(
                    f"{self.name} has an output {output.name[:80]!r} that no node writes"
                )
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

    def _read_node(self, node: onnx.NodeProto) -> None:
        domain = "" if node.domain in SAME_AS_DEFAULT else node.domain
        view = self._view(node, domain)
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
        if view.outputs and view.outputs[0].shape is None:
            if view.label in _NEEDS_SHAPE:
                raise InputError(
                    f"{self.name}: the shape of {node.output[0][:80]!r}, which a {view.label} "
                    "writes, does not follow from the shapes of the inputs"
                )
            self.shapeless[view.label] = None
        positions = add_steps(self.network, view)
        for k, output in enumerate(node.output):
            if output:
                self.steps[output] = positions[min(k, len(positions) - 1)]

    def _constants_of(self, node: onnx.NodeProto, view: NodeView) -> list[Constant] | None:
        """The outputs of a node that does not depend on the inputs; None if it does."""
        if view.is_standard and view.op == "Constant":
            return [named(constant_node(view), node.output[0])]
        if view.is_standard and view.op in ("Shape", "Size") and view.input_shapes:
            shape = shape_value(view)
            if shape is not None:
                return [shape]
        if all(source in self.constants for source in node.input if source):
            return folded(view, self.opsets[""])
        return None

    def _view(self, node: onnx.NodeProto, domain: str) -> NodeView:
        if self.other is None:
            return self._view_with(node, domain, {})
        make_view = partial(self._view_with, node, domain)
        return self.other.view(node, self.constants, self.tensors, make_view)

    def _view_with(
        self, node: onnx.NodeProto, domain: str, replaced: Mapping[str, Constant]
    ) -> NodeView:
        """View of a node, with some constants replaced."""
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
        schema = _schema(node.op_type, self.opsets.get(domain, 1), domain)
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
            try:
                inferred = shape_inference.infer_node_outputs(
                    schema,
                    node,
                    types,
                    data,
                    opset_imports=list(self.model.opset_import),
                    ir_version=self.model.ir_version,
                )
            except Exception as error:
                raise InputError(
                    f"{self.name}: a {view.label} that writes "
                    f"{(node.output[0] if node.output else '')[:80]!r} does not fit its inputs "
                    f"of shapes {view.shapes_text()}: {first_line(error)}"
                ) from None
        outputs = []
        for output in node.output:
            tensor = _tensor(inferred.get(output), view)
            if tensor.shape is None and output:
                tensor = Tensor(tensor.elem_type, self._other_shape(output, view, schema is None))
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
        declared = self.declared.get(output)
        if self.other is None and self.inputs.is_declared and declared not in (None, shape):
            raise InputError(
                f"{self.name}: the file declares shape {list(declared or ())} for "
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

    def _other_shape(self, output: str, view: NodeView, custom: bool) -> Shape | None:
        """Shape of an output that inference does not give: declared in the file, or the input's."""
        if output in self.declared:
            return self.declared[output]
        if custom:
            return next((shape for shape in view.input_shapes if shape is not None), None)
        missing = [
            k
            for k, source in enumerate(view.inputs)
            if k > 0 and isinstance(source, Constant) and source.value is None and source.whole
        ]
        input_shape = view.input_shapes[0] if view.input_shapes else None
        if not missing or input_shape is None:
            return None
        target = view.input_shapes[missing[0]]
        if view.op == "Reshape" and target == (2,):
            # A target of two sizes flattens each image.
            return (input_shape[0], math.prod(input_shape[1:])) if input_shape else None
        constant = view.constant(missing[0])
        origin = constant.parameters[0][0] if constant and constant.parameters else ""
        if origin in self.inputs.constants:
            raise InputError(
                f"{self.name}: the input {origin[:80]!r} fixes the shape of {output[:80]!r}, which "
                f"a {view.op} writes; give its value, for example --input-value "
                f"{origin[:80]}=1,3,32,32 or input_values={{{origin[:80]!r}: [1, 3, 32, 32]}}"
            )
        raise InputError(
            f"{self.name}: the constant input {missing[0]} of the {view.op} that writes "
            f"{output[:80]!r} fixes a shape, and its value is not in the file; "
            "keep the constants of shapes when the weights are removed"
        )


def _tensor(inferred: onnx.TypeProto | None, view: NodeView) -> Tensor:
    if inferred is None or not inferred.HasField("tensor_type"):
        return Tensor(next(iter(view.input_types), 0), None)
    tensor = inferred.tensor_type
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
