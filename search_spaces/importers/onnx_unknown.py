"""Tensors of an ONNX graph whose shape is not known: why, and what stands in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.importers.onnx_loading import shown
from nasplug.search_spaces.importers.onnx_node import NodeView, Tensor
from nasplug.search_spaces.operators import ELEMENTWISE

if TYPE_CHECKING:
    import onnx

__all__ = ["NEEDS_SHAPE", "SAME_SHAPE", "cause", "inferring", "unreadable", "why_unknown"]

# Operators that carry most of a network's cost, and whose cost needs their shape.
NEEDS_SHAPE = frozenset(
    {"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "QLinearConv", "Einsum"}
)
# Operators of the shape of their first input, for which onnx infers none in some versions.
SAME_SHAPE = ELEMENTWISE | {"MeanVarianceNormalization", "GreaterOrEqual", "LessOrEqual"}
# Inputs by whose values operators choose the sizes of their output.
_SIZING: dict[str, range] = {
    **dict.fromkeys(("Reshape", "Expand", "Tile", "Pad", "TopK", "OneHot"), range(1, 2)),
    **dict.fromkeys(("Unsqueeze", "Squeeze", "Split", "Upsample"), range(1, 2)),
    **dict.fromkeys(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"), range(1, 2)),
    **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceProd", "ReduceSumSquare"), range(1, 2)),
    **dict.fromkeys(("Slice", "Resize"), range(1, 5)),
    **dict.fromkeys(("Range", "RandomUniform", "ConstantOfShape"), range(3)),
}


def inferring(schema: Any) -> Any:
    """The operator in the first version from its own on for which onnx infers shapes."""
    from onnx import defs

    version = schema.since_version
    while not schema.has_type_and_shape_inference_function:
        version += 1
        if version > defs.onnx_opset_version():
            return schema
        try:
            schema = defs.get_schema(schema.name, version, schema.domain)
        except defs.SchemaError:
            return schema
    return schema


def why_unknown(node: onnx.NodeProto, view: NodeView, version: int) -> str:
    """Clause on why the shape of a node's outputs is not known; its inputs' shapes are."""
    for k in _SIZING.get(view.op, range(0)) if view.is_standard else ():
        if view.step(k) is not None:
            return (
                f"{shown(node.input[k])}, by which a {view.op} sizes its output, is known only at "
                "run time"
            )
    output = shown(next(iter(node.output), ""))
    if view.is_standard and version:
        return f"no shape is known for {output}, which a {view.label} of version {version} writes"
    if view.is_standard:
        return f"the size of {output}, which a {view.label} writes, is known only at run time"
    return f"the file does not declare the shape of {output}, which a {view.label} writes"


def cause(node: onnx.NodeProto, tensors: Mapping[str, Tensor]) -> str:
    """Clause on the first input whose shape is not known; empty if all are."""
    causes = (tensors[source].unknown for source in node.input if source in tensors)
    return next(filter(None, causes), "")


def unreadable(node: onnx.NodeProto, model: str, reason: str) -> InputError:
    """Make the error for an operator whose cost follows from an unknown shape."""
    output = shown(next(iter(node.output), ""))
    return InputError(
        f"{model}: the {node.op_type[:80]} that writes {output} cannot be read, since {reason}"
    )
