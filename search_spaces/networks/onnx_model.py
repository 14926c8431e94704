"""ONNX models of networks with random weights, to be run and timed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.costs import FLOAT_BYTES
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.operators import Operator, Window

if TYPE_CHECKING:
    import onnx

__all__ = [
    "OPSET",
    "WEIGHTS",
    "check_batch",
    "check_size",
    "checked_model",
    "network_model",
]

# The first with HardSwish is 14; 17 is what current runtimes of all kinds read.
OPSET = 17
_IR_VERSION = 8
# Key of an ONNX model's metadata that says where its weights come from.
WEIGHTS = "nasplug.weights"
# A model with its weights inside is one protobuf message, which cannot be larger.
_LARGEST_BYTES = 2**31 - 2**20


def network_model(
    operators: Sequence[Operator],
    windows: Mapping[int, Window],
    output: int,
    seed: int = 0,
    batch_size: int = 1,
    name: str = "network",
) -> onnx.ModelProto:
    """Write a network as an ONNX model with its weights embedded.

    Weights are He-normal from a generator with `seed`, biases zero, a BatchNormalization that has
    no convolution to be folded into is the identity.

    Args:
        operators: The network for one image.
        windows: Padding and rounding of the operators with a window, by position.
        output: Position of the operator whose result is the model's output, named `"output"`.
        seed: Seed of the weights.
        batch_size: Images a forward pass; the model's input is fixed to it.
        name: Name of the model's graph.

    Raises:
        InputError: If the batch size is not positive, or the weights exceed ONNX's limit of 2 GB.
    """
    from onnx import TensorProto, helper

    check_batch(batch_size)
    needed = _needed(operators, output)
    check_size(sum(_param_count(operators[k]) for k in needed), name)
    emitter = _Emitter(np.random.default_rng(seed))
    inputs = []
    for k in needed:
        operator = operators[k]
        target = "output" if k == output else f"x{k}"
        sources = [f"x{source}" for source in operator.inputs]
        if operator.op == "Input":
            shape = [batch_size, *operator.shape[1:]]
            inputs.append(helper.make_tensor_value_info(target, TensorProto.FLOAT, shape))
        else:
            emitter.emit(operator, windows.get(k, Window()), sources, target)
    shape = [batch_size, *operators[output].shape[1:]]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)]
    return checked_model(
        helper.make_graph(emitter.nodes, name, inputs, outputs, emitter.initializers)
    )


def check_batch(batch_size: int) -> None:
    """Check that a batch has at least one item.

    Raises:
        InputError: If it has none.
    """
    if batch_size < 1:
        raise InputError(f"batch size {batch_size} is not at least 1")


def check_size(params: float, name: str) -> None:
    """Check that so many float32 parameters fit into one ONNX file.

    Raises:
        InputError: If they do not.
    """
    if params * FLOAT_BYTES > _LARGEST_BYTES:
        raise InputError(
            f"the weights of {name} need {params * FLOAT_BYTES / 1e9:.1f} GB, but an ONNX file "
            "holds at most 2 GB; choose a smaller network"
        )


def checked_model(graph: onnx.GraphProto) -> onnx.ModelProto:
    """Make a model of a graph for current runtimes, and have ONNX check it."""
    from onnx import checker, helper

    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="nasplug",
    )
    checker.check_model(model)
    return model


def _needed(operators: Sequence[Operator], output: int) -> list[int]:
    alive = {output}
    for k in range(output, -1, -1):
        if k in alive:
            alive.update(operators[k].inputs)
    return sorted(alive)


def _param_count(operator: Operator) -> int:
    weights = math.prod(operator.weights) if operator.weights else 0
    # A BatchNormalization is written with its four vectors: scale, shift, mean, variance.
    return weights + (operator.weights[0] if operator.bias else 0) + 2 * operator.other_params


class _Emitter:
    """Collector of the nodes and initialisers of one model."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def emit(self, operator: Operator, window: Window, sources: list[str], target: str) -> None:
        """Append the nodes and initialisers of one operator."""
        op = operator.op
        if op == "Silu":
            # ONNX has no SiLU before opset 24.
            self._node("Sigmoid", sources, f"{target}_gate")
            self._node("Mul", [*sources, f"{target}_gate"], target)
        elif op == "Reshape" and len(operator.shape) == 2:
            self._node("Flatten", sources, target, axis=1)
        else:
            values = self._weights(operator) or _constants(operator)
            names = [self._constant(f"{target}_{part}", array) for part, array in values.items()]
            self._node(op, [*sources, *names], target, **_attributes(operator, window))

    def _node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        from onnx import numpy_helper

        if values.dtype != np.int64:
            values = values.astype(np.float32)
        self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def _weights(self, operator: Operator) -> dict[str, NDArray[Any]]:
        """Draw the weight of an operator, and its bias; empty for an operator without a weight."""
        if not operator.weights:
            return {}
        fan_in = math.prod(operator.weights[1:])
        weight = self.rng.standard_normal(operator.weights, dtype=np.float32)
        weight *= np.float32(math.sqrt(2.0 / fan_in))
        bias = {"bias": np.zeros(operator.weights[0])} if operator.bias else {}
        return {"weight": weight, **bias}


def _constants(operator: Operator) -> dict[str, NDArray[Any]]:
    """The constant inputs of an operator without a weight, after those that are computed."""
    if operator.op == "Mul" and len(operator.inputs) == 1:
        return {"zero": np.zeros(())}
    if operator.op == "Clip":
        return {"low": np.array(0.0), "high": np.array(6.0)}
    if operator.op == "Reshape":
        # 0 keeps the size of the batch.
        return {"shape": np.array([0, *operator.shape[1:]], dtype=np.int64)}
    if operator.op == "Slice":
        # The first channels; see NetworkBuilder.first_channels.
        parts = {"starts": 0, "ends": operator.shape[1], "axes": 1}
        return {part: np.array([value], dtype=np.int64) for part, value in parts.items()}
    if operator.op == "BatchNormalization":
        vectors = {"scale": 1.0, "shift": 0.0, "mean": 0.0, "var": 1.0}
        return {part: np.full(operator.shape[1], value) for part, value in vectors.items()}
    return {}


def _attributes(operator: Operator, window: Window) -> dict[str, Any]:
    """The ONNX attributes of an operator."""
    op = operator.op
    if op in ("Conv", "MaxPool", "AveragePool"):
        attributes: dict[str, Any] = {
            "kernel_shape": operator.kernel,
            "strides": operator.stride,
            "pads": [window.padding] * 4,
        }
        if op == "Conv":
            attributes["group"] = operator.groups
        elif window.ceil:
            attributes["ceil_mode"] = 1
        return attributes
    if op == "HardSigmoid":
        # ONNX's default slope is 0.2; the networks here use 1/6.
        return {"alpha": 1 / 6, "beta": 0.5}
    if op == "Concat":
        return {"axis": 1}
    if op == "Transpose":
        return {"perm": [0, 2, 1, 3, 4]}
    return {"transB": 1} if op == "Gemm" else {}
