"""PyTorch module of an ONNX model, for the operators that the spaces of this package write."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasplug.search_spaces import InputError

if TYPE_CHECKING:
    import onnx

__all__ = ["TorchNetwork"]

Attributes = dict[str, Any]
Step = Callable[..., Tensor]


class TorchNetwork(nn.Module):
    """Module that runs the nodes of an ONNX model one by one in eager mode.

    A product of x and sigmoid(x) is one SiLU, as PyTorch's own models write it.

    Args:
        model: A model with one input and one output; its weights are copied.

    Raises:
        InputError: If the model has an operator that is not known here.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        from onnx import helper, numpy_helper

        super().__init__()
        constants = {c.name: numpy_helper.to_array(c) for c in model.graph.initializer}
        slots: dict[str, int] = {}
        self._constants: list[tuple[int, str]] = []
        self._input = slots[model.graph.input[0].name] = 0
        gates = _gates(model)
        # Function, slots that it reads, slot that it writes, slots that no later step reads.
        self._steps: list[tuple[Step, tuple[int, ...], int, list[int]]] = []
        for node in model.graph.node:
            if node.output[0] in gates:
                continue
            sources = [name for name in node.input if name and name not in gates]
            if len(sources) < len(node.input) and node.op_type == "Mul":
                step: Step = F.silu
            elif node.op_type in _BOUND:
                numbers = [constants[name].tolist() for name in sources[1:]]
                step, sources = _BOUND[node.op_type](*numbers), sources[:1]
            else:
                attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
                step = _step(node.op_type, attributes)
            for name in sources:
                if name not in slots:
                    slot = slots[name] = len(slots)
                    self.register_buffer(f"constant_{slot}", torch.tensor(constants[name]))
                    self._constants.append((slot, f"constant_{slot}"))
            slot = slots[node.output[0]] = len(slots)
            self._steps.append((step, tuple(slots[name] for name in sources), slot, []))
        self._output = slots[model.graph.output[0].name]
        self._slots = len(slots)
        self._release()

    def _release(self) -> None:
        """Add to each step the slots that it reads last, so that their memory can be used again."""
        needed_later = {self._output, *(slot for slot, _ in self._constants)}
        for _, sources, _, done in reversed(self._steps):
            done.extend(set(sources) - needed_later)
            needed_later.update(sources)

    def forward(self, image: Tensor) -> Tensor:
        """Compute the output for a batch of images `(batch, channels, height, width)`."""
        values: list[Any] = [None] * self._slots
        for slot, name in self._constants:
            values[slot] = self._buffers[name]
        values[self._input] = image
        for step, sources, target, done in self._steps:
            values[target] = step(*[values[source] for source in sources])
            for slot in done:
                values[slot] = None
        output: Tensor = values[self._output]
        return output


def _gates(model: onnx.ModelProto) -> set[str]:
    """Outputs of Sigmoids whose only reader is a Mul with the Sigmoid's own input."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    gates = set()
    for node in model.graph.node:
        after = readers.get(node.output[0], [])
        if node.op_type != "Sigmoid" or [reader.op_type for reader in after] != ["Mul"]:
            continue
        if sorted(after[0].input) == sorted([node.input[0], node.output[0]]):
            gates.add(node.output[0])
    return gates


def _step(op: str, attributes: Attributes) -> Step:
    """Make the function of an operator's inputs."""
    if op in _PLAIN:
        return _PLAIN[op]
    if op in _MADE:
        return _MADE[op](attributes)
    raise InputError(f"the backend torch does not know the operator {op!r}; use onnxruntime")


def _padding(attributes: Attributes) -> list[int]:
    """Padding of both sides of each axis, which must be equal."""
    pads = list(attributes.get("pads", (0, 0, 0, 0)))
    half = len(pads) // 2
    if pads[:half] != pads[half:] or attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise InputError(
            "the backend torch cannot run a window whose padding differs between its sides; "
            "use onnxruntime"
        )
    return pads[:half]


def _conv(attributes: Attributes) -> Step:
    padding, strides = _padding(attributes), list(attributes.get("strides", (1, 1)))
    dilations, groups = list(attributes.get("dilations", (1, 1))), attributes.get("group", 1)

    def step(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.conv2d(x, weight, bias, strides, padding, dilations, groups)

    return step


def _max_pool(attributes: Attributes) -> Step:
    kernel, strides = list(attributes["kernel_shape"]), list(attributes.get("strides", (1, 1)))
    padding, ceil = _padding(attributes), bool(attributes.get("ceil_mode", 0))
    return lambda x: F.max_pool2d(x, kernel, strides, padding, ceil_mode=ceil)


def _average_pool(attributes: Attributes) -> Step:
    kernel, strides = list(attributes["kernel_shape"]), list(attributes.get("strides", (1, 1)))
    padding, ceil = _padding(attributes), bool(attributes.get("ceil_mode", 0))
    counts_padding = bool(attributes.get("count_include_pad", 0))
    return lambda x: F.avg_pool2d(x, kernel, strides, padding, ceil, counts_padding)


def _gemm(attributes: Attributes) -> Step:
    if (attributes.get("alpha", 1.0), attributes.get("beta", 1.0), attributes.get("transA", 0)) != (
        1.0,
        1.0,
        0,
    ):
        raise InputError(
            "the backend torch cannot run a Gemm that scales or transposes its input; use "
            "onnxruntime"
        )
    if not attributes.get("transB", 0):
        return lambda x, weight, bias=None: F.linear(x, weight.T, bias)
    return F.linear


def _hard_sigmoid(attributes: Attributes) -> Step:
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return F.hardsigmoid
    return lambda x: (alpha * x + beta).clamp(0, 1)


def _batch_norm(attributes: Attributes) -> Step:
    epsilon = attributes.get("epsilon", 1e-5)

    def step(x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        return F.batch_norm(x, mean, var, scale, shift, eps=epsilon)

    return step


def _reshape(shape: list[int]) -> Step:
    return lambda x: x.reshape([x.shape[k] if size == 0 else size for k, size in enumerate(shape)])


def _clip(low: float, high: float) -> Step:
    return F.relu6 if (low, high) == (0, 6) else lambda x: x.clamp(low, high)


def _concat(attributes: Attributes) -> Step:
    axis = attributes["axis"]
    return lambda *parts: torch.cat(parts, axis)


def _transpose(attributes: Attributes) -> Step:
    order = list(attributes["perm"])
    return lambda x: x.permute(order)


def _flatten(attributes: Attributes) -> Step:
    axis = attributes.get("axis", 1)
    return lambda x: x.reshape(math.prod(x.shape[:axis]), -1)


_PLAIN: dict[str, Step] = {
    "Add": torch.add,
    "GlobalAveragePool": lambda x: F.adaptive_avg_pool2d(x, 1),
    "HardSwish": F.hardswish,
    "Identity": lambda x: x,
    "MatMul": torch.matmul,
    "Mul": torch.mul,
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Sub": torch.sub,
}
_MADE: dict[str, Callable[[Attributes], Step]] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Concat": _concat,
    "Conv": _conv,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "HardSigmoid": _hard_sigmoid,
    "MaxPool": _max_pool,
    "Transpose": _transpose,
}
# Operators whose inputs after the first are numbers, which are bound when the module is made.
_BOUND: dict[str, Callable[..., Step]] = {"Clip": _clip, "Reshape": _reshape}
