"""Types and shapes of the outputs of ONNX nodes: inferred by onnx, or declared in the file."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.importers.onnx_batches import OtherBatch, resized
from nasplug.search_spaces.importers.onnx_loading import RUN_MARK, first_line, shown
from nasplug.search_spaces.importers.onnx_node import Constant, NodeView, Shape, Tensor
from nasplug.search_spaces.importers.onnx_scope import Scope
from nasplug.search_spaces.importers.onnx_unknown import (
    SAME_SHAPE,
    cause,
    inferring,
    unreadable,
    why_unknown,
)
from nasplug.search_spaces.importers.onnx_values import Values
from nasplug.search_spaces.importers.steps import MAX_ELEMENTS

if TYPE_CHECKING:
    import onnx

__all__ = ["Inference", "check_counts", "node_schema"]

# Letters with at most one ellipsis in each term.
_TERM = rb"[A-Za-z ]*(\.\.\.[A-Za-z ]*)?"
_EQUATION = re.compile(rb"%b(,%b)*(->%b)?" % (_TERM, _TERM, _TERM))


@dataclass
class Inference:
    """Inference of what the nodes of a model write.

    Attributes:
        model: The model.
        values: Values of the graph so far.
        other: For a second reading, the change of the batch.
        is_declared: Whether all sizes of the inputs are the file's own.
    """

    model: onnx.ModelProto
    values: Values
    other: OtherBatch | None
    is_declared: bool
    declared: dict[str, Shape] = field(init=False)

    def __post_init__(self) -> None:
        self.declared = self._declared_shapes()

    def outputs(
        self, node: onnx.NodeProto, view: NodeView, schema: Any, scope: Scope
    ) -> list[Tensor]:
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
                    _explicit(node),
                    types,
                    data,
                    opset_imports=scope.opset_imports,
                    ir_version=self.model.ir_version,
                )
            except Exception as error:
                if newer.since_version == schema.since_version:
                    raise InputError(
                        f"{self.values.model}: a {view.label} that writes "
                        f"{shown(next(iter(node.output), ''))} does not fit its inputs of shapes "
                        f"{view.shapes_text()}: {first_line(error)}"
                    ) from None
        outputs = []
        reason = cause(node, self.values.tensors)
        for output in node.output:
            tensor = _tensor(inferred.get(output), view)
            if reason and output not in self.declared:
                tensor = replace(tensor, unknown=reason)
            if tensor.shape is None and output:
                inner = scope.declared.get(output.split(RUN_MARK, maxsplit=1)[0])
                declared = self.declared.get(output, self._declared_shape(inner))
                if declared is not None:
                    tensor = Tensor(tensor.elem_type, declared)
                else:
                    tensor = self._other_tensor(tensor.elem_type, node, view, schema)
            if tensor.shape is not None and math.prod(tensor.shape) > MAX_ELEMENTS:
                raise InputError(
                    f"{self.values.model}: the output of a {view.label} has shape "
                    f"{list(tensor.shape)}; expected a tensor that fits a device"
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
                f"{self.values.model}: the Reshape that writes {shown(output)} makes shape "
                f"{list(shape)} of {list(before or ())}, which has another number of elements; if "
                "the network was exported for another batch or size, give that as the shape of its "
                "inputs"
            )
        declared = self.declared.get(output, shape)
        # Runtimes read on where axes of one element are missing, and exporters leave the batch of
        # their trace on the first axis.
        first = 1 if len(declared) == len(shape) else 0
        differs = _long(declared[first:]) != _long(shape[first:])
        if self.other is None and self.is_declared and differs:
            raise InputError(
                f"{self.values.model}: the file declares shape {list(declared)} for "
                f"{shown(output)}, but a {view.label} of inputs of shapes {view.shapes_text()} "
                f"gives {list(shape)}"
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
            if shape is not None or source in self.values.constants:
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
        self, elem_type: int, node: onnx.NodeProto, view: NodeView, schema: Any
    ) -> Tensor:
        """Output that neither inference nor the file gives; the first input may stand in.

        Raises:
            InputError: If its shape follows from a constant whose value is not known.
        """
        reason = cause(node, self.values.tensors)
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
        raise unreadable(node, self.values.model, missing[0].unknown)

    def _declared_shapes(self) -> dict[str, Shape]:
        """Shapes that the file states for computed tensors."""
        values = (*self.model.graph.value_info, *self.model.graph.output)
        shapes = {value.name: self._declared_shape(value) for value in values}
        return {name: shape for name, shape in shapes.items() if shape is not None}

    def _declared_shape(self, value: onnx.ValueInfoProto | None) -> Shape | None:
        """Shape that the file states for a tensor; an open first axis is one image."""
        if value is None or not value.type.tensor_type.HasField("shape"):
            return None
        dims = value.type.tensor_type.shape.dim
        shape: Shape = tuple(dim.dim_value for dim in dims)
        if shape and dims[0].dim_param:
            shape = (1, *shape[1:])
        if self.other is not None:
            # What inference does not know follows the batch.
            other = resized(shape[:1], self.other.old, self.other.new, True)
            shape = shape if other is None else (*other, *shape[1:])
        is_whole = min(shape, default=1) > 0 and math.prod(shape) <= MAX_ELEMENTS
        return shape if is_whole else None


def check_counts(node: onnx.NodeProto, view: NodeView, schema: Any) -> None:
    """Refuse numbers of inputs and outputs that onnx's shape inference may crash on."""
    inputs, outputs = len(node.input), len(node.output)
    most = schema.max_output
    if view.op == "Split":
        most = view.whole("num_outputs", len(view.sizes("split", ())) or outputs)
    few = inputs < schema.min_input or outputs < schema.min_output
    if few or inputs > schema.max_input or outputs > most:
        raise InputError(
            f"{view.model}: a {view.label} with {inputs} inputs and {outputs} outputs; "
            f"it takes at least {schema.min_input} and gives at most {most}"
        )


def _long(shape: Shape) -> list[int]:
    """The axes of more than one element."""
    return [size for size in shape if size != 1]


def _explicit(node: onnx.NodeProto) -> onnx.NodeProto:
    """The node, with a default written down that onnx 1.23's shape inference takes wrongly."""
    from onnx import helper

    if node.op_type != "STFT" or any(a.name == "onesided" for a in node.attribute):
        return node
    whole = type(node)()
    whole.CopyFrom(node)
    whole.attribute.append(helper.make_attribute("onesided", 1))
    return whole


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


def node_schema(op: str, version: int, domain: str) -> Any:
    """Schema of an operator; None if onnx does not know it."""
    from onnx import defs

    # Some tools write an operator that is newer than the version that they state.
    for candidate in (version, max(version, defs.onnx_opset_version())):
        try:
            return defs.get_schema(op, candidate, domain)
        except defs.SchemaError:
            continue
    return None
