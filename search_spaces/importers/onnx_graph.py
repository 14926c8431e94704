"""Reader of ONNX files as graphs."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.importers.network import ImportedNetwork
from nasplug.search_spaces.importers.onnx_constants import (
    constant,
    constant_node,
    folded,
    shape_value,
    sparse_constant,
)
from nasplug.search_spaces.importers.onnx_inputs import read_inputs
from nasplug.search_spaces.importers.onnx_loading import (
    SAME_AS_DEFAULT,
    first_line,
    load_model,
    sorted_nodes,
)
from nasplug.search_spaces.importers.onnx_node import Constant, NodeView, Shape, Tensor
from nasplug.search_spaces.importers.onnx_operators import HANDLED, add_steps
from nasplug.search_spaces.importers.steps import MAX_ELEMENTS
from nasplug.search_spaces.operators import KNOWN_OPS

if TYPE_CHECKING:
    import onnx

__all__ = ["onnx_graph"]

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
) -> Graph:
    """Read a network from an ONNX file, in the canonical form of `search_spaces.canonical`.

    The batch, axis 0 of each input, is set to one image, and shapes are those that
    `onnx.shape_inference` gives. Weights are never read: files with their weights removed or in
    other files (external data, which is not opened) will do, as long as the constants that fix
    shapes are there. A constant operand of one number is no parameter, a larger one is.

    Operators of unknown types keep their name and are priced by the data they move, with
    one warning that names them; if such an operator has no known output shape, the shape of its
    first input stands in.

    Args:
        path_or_model: Path of an ONNX file, or a model in memory.
        input_shapes: Shapes of inputs by name, for inputs that the file leaves open.

    Raises:
        InputError: If the file is no ONNX model, is damaged or too large, has control flow, or has
            an axis other than the batch whose size is nowhere given.
    """
    model, name = load_model(path_or_model)
    return _Reader(model, name, input_shapes or {}).graph()


class _Reader:
    """Reader that walks the nodes once, in order, and keeps the tensor or step of each name."""

    def __init__(
        self, model: onnx.ModelProto, name: str, input_shapes: Mapping[str, Sequence[int]]
    ) -> None:
        self.model = model
        self.name = name
        self.network = ImportedNetwork(name)
        self.constants: dict[str, Constant] = {}
        self.tensors: dict[str, Tensor] = {}
        self.steps: dict[str, int] = {}
        self.opsets: dict[str, int] = {}
        for opset in model.opset_import:
            domain = "" if opset.domain in SAME_AS_DEFAULT else opset.domain
            self.opsets[domain] = max(opset.version, self.opsets.get(domain, 1))
        self.unknown: dict[str, None] = {}
        self.shapeless: dict[str, None] = {}
        # Size of axis 0 that the file fixed for its inputs, where it is not 1.
        self.old_batch = 1
        self._read_constants()
        self._read_inputs(input_shapes)
        self.declared = self._declared_shapes()

    def graph(self) -> Graph:
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
        self._warn()
        return self.network.graph(ends)

    def _warn(self) -> None:
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

    # ------------------------------------------------------------------- inputs and constants

    def _read_constants(self) -> None:
        for tensor in self.model.graph.initializer:
            self.constants[tensor.name] = constant(tensor, self.name)
        for sparse in self.model.graph.sparse_initializer:
            self.constants[sparse.values.name] = sparse_constant(sparse, self.name)

    def _read_inputs(self, input_shapes: Mapping[str, Sequence[int]]) -> None:
        inputs = read_inputs(self.model.graph, self.constants, input_shapes, self.name)
        self.old_batch = inputs.old_batch
        for tensor, weight in inputs.weights.items():
            self.constants[tensor] = weight
        for tensor, inferred in inputs.data.items():
            self.tensors[tensor] = inferred
            self.steps[tensor] = self.network.add("Input", (), inferred.shape or ())

    def _declared_shapes(self) -> dict[str, Shape]:
        """Shapes that the file states for computed tensors, for one image."""
        shapes = {}
        for value in (*self.model.graph.value_info, *self.model.graph.output):
            dims = value.type.tensor_type.shape.dim
            shape = [dim.dim_value for dim in dims]
            if shape and (shape[0] == self.old_batch or dims[0].dim_param):
                shape[0] = 1
            if shape and min(shape) > 0 and math.prod(shape) <= MAX_ELEMENTS:
                shapes[value.name] = tuple(shape)
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
            return [constant_node(view)]
        if view.is_standard and view.op in ("Shape", "Size") and view.input_shapes:
            shape = shape_value(view)
            if shape is not None:
                return [shape]
        if all(source in self.constants for source in node.input if source):
            return folded(view, self.opsets[""])
        return None

    def _view(self, node: onnx.NodeProto, domain: str) -> NodeView:
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
                tensor = self.constants.get(source) or self.tensors.get(source, _LEFT_OUT)
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
            outputs.append(tensor)
        return outputs

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
                value = constant.value
                if node.op_type == "Reshape" and k == 1:
                    value = self._for_one_image(value, view)
                data[source] = numpy_helper.from_array(value, source)
        return types, data

    def _for_one_image(self, target: NDArray[Any], view: NodeView) -> NDArray[Any]:
        """Target of a Reshape for one image, where the file was exported for a larger batch."""
        input_shape = view.input_shapes[0]
        fixed = self.old_batch > 1 and target.size > 1 and target.flat[0] == self.old_batch
        if not fixed or input_shape is None or input_shape[:1] != (1,):
            return target
        target = target.copy()
        target.flat[0] = 1
        return target

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
