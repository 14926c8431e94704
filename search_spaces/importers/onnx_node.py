"""Views of single ONNX nodes while a file is read: constants, shapes, attributes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.operators import CONVS, KNOWN_OPS

__all__ = ["FLOATS", "Constant", "NodeView", "Shape", "Tensor", "element_type", "named"]

Shape = tuple[int, ...]

# onnx.TensorProto's codes of floats, and of the integers that shapes and quantised weights are.
FLOATS = frozenset({1, 10, 11, 16, 17, 18, 19, 20, 23})
_WHOLE = frozenset({2, 3, 4, 5, 6, 7, 12, 13})
# Names of `costs.TYPE_BYTES` by onnx.TensorProto's codes.
_TYPES = {
    **{1: "float32", 10: "float16", 11: "float64", 16: "bfloat16", 14: "complex64"},
    **{15: "complex128", 23: "float4", **dict.fromkeys((17, 18, 19, 20, 24), "float8")},
    **{3: "int8", 5: "int16", 6: "int32", 7: "int64", 22: "int4", 26: "int2", 9: "bool"},
    **{2: "uint8", 4: "uint16", 12: "uint32", 13: "uint64", 21: "uint4", 25: "uint2"},
}
# Parameters of one number have a module's name; other constants of one number are arithmetic.
_MODULE_PATH = re.compile(r"[A-Za-z_]\w*(\.\w+)+")
# Names that exporters give to what they compute of constants, such as a mask.
_COMPUTED = re.compile(
    r"(onnx::|/).*|(val|where|eye|triu|tril|masked_fill|full|zeros|ones|arange|sin|cos|outer|pow|add|sub"
    r"|mul|div|matmul|cat|stack|select|slice|index|expand|unsqueeze|squeeze|view|reshape|permute"
    r"|transpose|repeat|clone|to|type_as|c?_?lifted_tensor)(_\d+)*"
)
# Names of Constant nodes, which hold what the code of a module writes down.
_WRITTEN = re.compile(r"/(.*/)?Constant(_\d+)?_output_0")
# Names that quantisers give to the scale and the zero point of a weight.
_SCALE = re.compile(r"(.*(weight|bias)|onnx::\w+)_(quantized_)?(scale|zero_point)")
# Codes of the integers in which quantised weights are stored.
_NARROW = frozenset({2, 3, 21, 22, 25, 26})
# Positions of constants that are no parameters: moments of a norm, first states, scales, zero
# points, windows.
_OTHER_CONSTANTS = {
    **dict.fromkeys(("ConvInteger", "MatMulInteger"), (2, 3)),
    "BatchNormalization": (3, 4),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), (1, 2)),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (4, 5, 6)),
    "STFT": (2,),
}
_INTEGER_PRODUCTS = frozenset({"ConvInteger", "MatMulInteger"})
_PRODUCTS = _INTEGER_PRODUCTS | CONVS | {"Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN"}
_NORMS = frozenset(
    {"InstanceNormalization", "GroupNormalization", "LayerNormalization", "RMSNormalization"}
)

# More axes than any tensor has.
MAX_RANK = 64
_AXIS_ATTRIBUTES = frozenset({"axis", "axes", "batch_axis", "time_axis", "batch_dims"})
# Operators whose axes are those of the output, or may be the end of the input.
_QUANTISING = frozenset({"QuantizeLinear", "DequantizeLinear"})
_NEW_AXES = frozenset({"Unsqueeze", "Flatten", "OneHot", "ConcatFromSequence"})


@dataclass(frozen=True)
class Tensor:
    """Type and shape of a computed tensor.

    Attributes:
        elem_type: Code of its elements' type.
        shape: Sizes of its axes; None if they are not known.
        unknown: Clause on why the shape is not known, or taken from elsewhere than the file.
    """

    elem_type: int
    shape: Shape | None
    unknown: str = ""


@dataclass(frozen=True)
class Constant:
    """Tensor that does not depend on the inputs.

    Attributes:
        shape: Sizes of its axes, where they are known.
        elem_type: Code of its elements' type.
        value: The numbers, where they are few and known.
        parameters: Name and number of elements of the tensors in the file that it is computed from.
        stored: Code of the type in which its numbers are stored, where they are restored from it.
        scale_bytes: Bytes of the scales by which they are restored.
        unknown: Clause on why the value is not known.
        uniform: The number that all of many are, so that the value is known all the same.
    """

    shape: Shape | None
    elem_type: int
    value: NDArray[Any] | None = None
    parameters: tuple[tuple[str, int], ...] = ()
    stored: int = 0
    scale_bytes: int = 0
    unknown: str = ""
    uniform: float | None = None

    @property
    def size(self) -> int:
        """Number of elements, 0 if the shape is not known."""
        return 0 if self.shape is None else math.prod(self.shape)

    @property
    def params(self) -> int:
        """Elements that count as parameters; a single number does not count."""
        return self.size if self.elem_type in FLOATS and self.size > 1 else 0

    @property
    def is_zero(self) -> bool:
        """Whether all numbers are known to be zero."""
        known = self.value is not None and self.size > 0 and not self.value.any()
        return known or self.uniform == 0

    @property
    def is_narrow(self) -> bool:
        """Whether the constant holds integers of at most 8 bits, as quantised weights do."""
        return self.elem_type in _NARROW

    @property
    def whole(self) -> bool:
        """Whether the constant holds whole numbers, as shapes and axes do."""
        return self.elem_type in _WHOLE

    @property
    def number(self) -> float:
        """The value of a constant of one element, NaN if it is not known."""
        return math.nan if self.value is None or self.value.size != 1 else float(self.value.flat[0])


def named(constant: Constant, name: str) -> Constant:
    """Give a constant of the file its name."""
    return replace(constant, parameters=((name, constant.size),))


def element_type(code: int) -> str:
    """Name of an element type by its code in ONNX; those without a size count as float32."""
    return _TYPES.get(code, "float32")


@dataclass
class NodeView:
    """View of one node, with the known shapes, types and values of its inputs and outputs.

    Attributes:
        model: Name of the model in error messages.
        op: Operator type.
        domain: Domain of the operator; empty for ONNX's own.
        is_standard: Whether the operator is one of ONNX's own that this version of onnx knows.
        attributes: Attribute values by name.
        inputs: For each input a constant, the position of the step that writes it, or None if it is
            left out.
        input_shapes: Shapes of the inputs where known.
        input_types: Element types of the inputs, codes of `onnx.TensorProto`.
        outputs: Element type and shape of each output.
    """

    model: str
    op: str
    domain: str
    is_standard: bool
    attributes: dict[str, Any]
    inputs: list[Constant | int | None]
    input_shapes: list[Shape | None]
    input_types: list[int]
    outputs: list[Tensor] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Type of the node in a graph, with its domain if it only shares a name with ONNX's
        operator.
        """
        clear = self.is_standard or self.op not in KNOWN_OPS
        return self.op if clear else f"{self.domain or 'ai.onnx'}.{self.op}"

    @property
    def shape(self) -> Shape:
        """Shape of the first output; empty if it is not known."""
        return self.output_shape(0)

    @property
    def type(self) -> str:
        """Element type of the first output."""
        return element_type(self.outputs[0].elem_type if self.outputs else 0)

    @property
    def data(self) -> list[int]:
        """Steps that the node reads."""
        return [source for source in self.inputs if isinstance(source, int)]

    def output_shape(self, k: int) -> Shape:
        """Shape of output `k`; empty if it is not known."""
        return (self.outputs[k].shape or ()) if k < len(self.outputs) else ()

    def input(self, k: int) -> Constant | int | None:
        """Input `k`; None if it is left out."""
        return self.inputs[k] if k < len(self.inputs) else None

    def constant(self, k: int) -> Constant | None:
        """Input `k` if it is a constant."""
        source = self.input(k)
        return source if isinstance(source, Constant) else None

    def step(self, k: int) -> int | None:
        """Position of the step that computes input `k`; None if it is not computed."""
        source = self.input(k)
        return source if isinstance(source, int) else None

    def params(self) -> int:
        """Parameters in the constant inputs."""
        return sum(source.params for source in self.inputs if isinstance(source, Constant))

    def parameters(self) -> tuple[tuple[str, int], ...]:
        """Name and number of elements of the parameter tensors that the node reads."""
        read = (k for k in range(len(self.inputs)) if k not in _OTHER_CONSTANTS.get(self.op, ()))
        sources = [source for k in read if (source := self.constant(k)) is not None]
        if self.op not in _INTEGER_PRODUCTS:
            is_table = self.op == "Gather"
            sources = [s for s in sources if s.elem_type in FLOATS or (is_table and s.is_narrow)]
        return tuple(
            {
                name: elements
                for source in sources
                for name, elements in source.parameters
                if self._is_parameter(name, elements, source)
            }.items()
        )

    def _is_parameter(self, name: str, elements: int, source: Constant) -> bool:
        """Whether a tensor that a constant is computed from is a parameter, by its name."""
        if _SCALE.fullmatch(name) or _WRITTEN.fullmatch(name):
            return False
        if self.op == "InstanceNormalization":
            # Exporters write ones and zeros for a norm without scale and shift.
            return not _COMPUTED.fullmatch(name)
        if self.op in _NORMS or _MODULE_PATH.fullmatch(name):
            return True
        # A scale or a shift of channels has one long axis, a mask or a table of places has two.
        is_vector = sum(size > 1 for size in source.shape or ()) == 1
        is_own = is_vector or self.op in _PRODUCTS or not _COMPUTED.fullmatch(name)
        return elements > 1 and is_own

    def weight_type(self) -> str:
        """Type in which the largest constant input is stored; empty if it is the node's own."""
        sources = [s for s in self.inputs if isinstance(s, Constant) and s.parameters]
        largest = max(sources, key=lambda source: source.size, default=None)
        stored = "" if largest is None else element_type(largest.stored or largest.elem_type)
        return "" if stored == self.type else stored

    def whole(self, name: str, default: int) -> int:
        """Read an attribute that is one whole number.

        Raises:
            InputError: If it is something else.
        """
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise self.wrong(name, value, "a whole number")
        return value

    def sizes(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        """Read an attribute that is a list of whole numbers.

        Raises:
            InputError: If it is something else.
        """
        value = self.attributes.get(name, default)
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, int) for v in value):
            raise self.wrong(name, value, "whole numbers")
        return tuple(value)

    def check_axes(self) -> None:
        """Refuse axes that the inputs do not have: onnx's shape inference may crash on them.

        Raises:
            InputError: If an axis is out of range.
        """
        if self.op in _QUANTISING and self.input_shapes[1:2] in ([()], [(1,)]):
            # One scale has no axis.
            return
        ranks = [len(shape) for shape in self.input_shapes if shape is not None]
        rank = max(ranks, default=MAX_RANK)
        for name in _AXIS_ATTRIBUTES.intersection(self.attributes):
            value = self.attributes[name]
            axes = value if isinstance(value, (list, tuple)) else (value,)
            room = rank + (len(axes) if self.op in _NEW_AXES else 0)
            # Axes that both inputs share are counted from the first one.
            counted = name == "batch_dims"
            room = min(ranks, default=MAX_RANK) if counted else room
            least = 0 if counted else -room
            if any(not isinstance(axis, int) or not least <= axis < room for axis in axes):
                raise self.wrong(name, value, f"axes of a tensor of {rank} axes")

    def wrong(self, name: str, value: object, expected: str) -> InputError:
        """Make the error for an attribute of another kind."""
        return InputError(
            f"{self.model}: attribute {name} of a {self.label} is {str(value)[:80]}; "
            f"expected {expected}"
        )

    def shapes_text(self) -> str:
        """The input shapes, for an error message."""
        shapes = ["?" if s is None else str(list(s)[:10]) for s in self.input_shapes[:6]]
        return ", ".join(shapes) or "none"
