"""Whole networks: one canonical list of operators, and its graph with costs.

Every source of a network (a generator of this package, an ONNX file, a PyTorch module) names its
operators in one list of `Operator`; `network_graph` rewrites the list to what an inference engine
runs and prices it, so that the same network gives the same graph from every source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.costs import FLOAT_BYTES
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import ATTRIBUTES, Graph

__all__ = ["KNOWN_OPS", "Operator", "Window", "canonical", "needed", "network_graph"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CONVS = frozenset({"Conv", "ConvTranspose"})
_WINDOWS = _CONVS | {"MaxPool", "AveragePool", "LpPool"}
_RESHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
_IDLE = frozenset({"Identity", "Dropout"})
_GATES = {"Sigmoid": "Silu", "HardSigmoid": "HardSwish"}
# Operators that keep features on the last axis, whatever the rank.
_FEATURES_LAST = frozenset({"Gemm", "LayerNormalization"})
_ELEMENTWISE = _words(
    "Relu LeakyRelu PRelu Elu Celu Selu Silu Mish HardSwish HardSigmoid Sigmoid Tanh Softplus "
    "Softsign Gelu Erf Clip Add Sub Mul Div Pow Sqrt Exp Log Neg Abs Reciprocal Min Max Sum Mean "
    "Floor Ceil Round Sin Cos Where Equal Greater Less Not And Or Cast BatchNormalization "
    "InstanceNormalization GroupNormalization LayerNormalization RMSNormalization "
    "LpNormalization LRN Softmax LogSoftmax QuantizeLinear DequantizeLinear"
)
_MOVES = _words(
    "Input Output Reshape Transpose Concat Split Slice Gather Pad Expand Tile Resize Upsample "
    "DepthToSpace SpaceToDepth"
)
_REDUCTIONS = _words(
    "GlobalAveragePool GlobalMaxPool ReduceMean ReduceSum ReduceMax ReduceMin ReduceL2 "
    "ReduceProd ArgMax ArgMin TopK CumSum"
)
# Operator types whose cost this module knows; any other is priced by the data it moves.
KNOWN_OPS: frozenset[str] = (
    _WINDOWS | _IDLE | _RESHAPES | _ELEMENTWISE | _MOVES | _REDUCTIONS | {"Gemm", "MatMul"}
)


# Slots: a search makes hundreds of thousands of these.
@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of a network, on one image.

    Attributes:
        op: ONNX type, in the canonical form `"Conv"`, `"Gemm"`, `"Silu"`, …; `"Input"` for an
            input of the network.
        inputs: Positions in the list of operators whose outputs this operator reads. Constants are
            no operators.
        shape: Shape of its output for one image, first axis 1.
        weights: Shape of its main weight: Conv `(out, in/groups, *window)`, ConvTranspose
            `(in, out/groups, *window)`, Gemm and MatMul by a constant `(out, in)`; else empty.
        bias: Whether it adds a bias of one number a channel.
        kernel: Height and width of its window in pixels; `(0, 0)` without one.
        stride: Vertical and horizontal step of the window; without a window it does not count.
        groups: Groups of a convolution.
        other_params: Parameters beyond weights and bias: scales of a norm, a constant added.
    """

    op: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    weights: tuple[int, ...] = ()
    bias: bool = False
    kernel: tuple[int, ...] = (0, 0)
    stride: tuple[int, ...] = (1, 1)
    groups: int = 1
    other_params: int = 0


AnyOperator = TypeVar("AnyOperator", bound=Operator)


def canonical(operators: Sequence[Operator]) -> list[Operator]:
    """Rewrite a network to the operators that an inference engine runs.

    - Identity and Dropout go;
    - BatchNormalization, and a constant of one number a channel that is added, are folded into the
      convolution or Gemm before them if they are its only reader, which then has a bias; a
      BatchNormalization that stays has one scale and one shift a channel;
    - MatMul by a constant matrix is a Gemm;
    - x·sigmoid(x) is a Silu, x·hardsigmoid(x) a HardSwish;
    - ReduceMean over both spatial axes, and an AveragePool whose window is its whole input, is a
      GlobalAveragePool (with a Reshape after it if the mean drops the axes);
    - chains of Reshape, Flatten, Squeeze and Unsqueeze are one Reshape, or none if the shape comes
      back.

    The order is depth first from the outputs, which are the operators that no other reads.

    Args:
        operators: Each reads only earlier ones.

    Raises:
        InputError: If an operator reads itself or a later one, or a shape is not of positive sizes
            with 1 first.
    """
    read = {source for operator in operators for source in operator.inputs}
    outputs = [k for k in range(len(operators)) if k not in read]
    return _canonical(operators, outputs)[0]


def network_graph(operators: Sequence[Operator], outputs: Sequence[int]) -> Graph:
    """The graph of a network in canonical form, one node an operator and a last node `"Output"`.

    Operators that no output needs are dropped. Costs follow `Graph.attributes`: FLOPs are
    multiply-accumulates of Conv, ConvTranspose, Gemm and MatMul; an operator of an unknown type
    costs the data it moves; a Reshape moves none.

    Args:
        operators: Each reads only earlier ones.
        outputs: Positions of the operators whose results the network returns, at least one.

    Raises:
        InputError: For the reasons of `canonical`, or if `outputs` is empty or names no operator.
    """
    if not outputs:
        raise InputError("the network has no output; name at least one operator as its output")
    for k in outputs:
        if not 0 <= k < len(operators):
            raise InputError(f"output {k} names none of the network's {len(operators)} operators")
    nodes, ends = _canonical(operators, outputs)
    rows = np.zeros((len(nodes) + 1, len(ATTRIBUTES)))
    edges = [(source, len(nodes)) for source in set(ends)]
    features_last: list[bool] = []
    for k, node in enumerate(nodes):
        read = node.inputs if len(node.inputs) < 2 else tuple(dict.fromkeys(node.inputs))
        last = node.op in _FEATURES_LAST or (
            bool(read)
            and features_last[read[0]]
            and node.op in _ELEMENTWISE
            and len(node.shape) == len(nodes[read[0]].shape)
        )
        features_last.append(last)
        for source in read:
            edges.append((source, k))
        rows[k] = _row(
            node.op,
            node.shape,
            node.weights,
            node.bias,
            node.kernel,
            node.stride,
            node.groups,
            node.other_params,
            tuple([nodes[source].shape for source in read]),
            last,
        )
    edges.sort()
    return Graph((*(node.op for node in nodes), "Output"), tuple(edges), rows)


def _channels_height_width(
    op: str, shape: tuple[int, ...], features_last: bool
) -> tuple[int, int, int]:
    """Read a shape for one image, of any rank, as channels, height and width.

    A vector `(1, C)` is one pixel, a sequence `(1, L, C)` a column of L pixels; from rank four on
    axis 1 holds the channels (an attention's heads too), unless features are known to be last.
    A windowed operator on `(1, C, L)` is a convolution over a sequence.
    """
    rank = len(shape)
    if rank <= 2:
        return (shape[-1] if shape else 1), 1, 1
    if rank == 3 and op in _WINDOWS:
        return shape[1], shape[2], 1
    if rank == 3:
        return shape[2], shape[1], 1
    if features_last:
        return shape[-1], math.prod(shape[1:-2]), shape[-2]
    return shape[1], math.prod(shape[2:-1]), shape[-1]


# Networks of a space share nearly all of their operators, so a search finds most rows here.
@lru_cache(maxsize=262_144)
def _row(
    op: str,
    shape: tuple[int, ...],
    weights: tuple[int, ...],
    bias: bool,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    groups: int,
    other_params: int,
    inputs: tuple[tuple[int, ...], ...],
    features_last: bool,
) -> NDArray[np.float64]:
    """Row of `Graph.attributes` for an operator; `inputs` are the shapes that it reads."""
    channels, height, width = _channels_height_width(op, shape, features_last)
    sizes = [math.prod(input_shape) for input_shape in inputs]
    params = (math.prod(weights) if weights else 0) + other_params + (channels if bias else 0)
    flops = 0
    in_channels = channels
    if op == "Conv" and weights:
        flops = math.prod(weights) * math.prod(shape[2:])
        in_channels = weights[1] * groups
    elif op == "ConvTranspose" and weights:
        flops = math.prod(weights) * math.prod(inputs[0][2:])
        in_channels = weights[0]
    elif op == "Gemm" and weights:
        flops = math.prod(shape) * weights[1]
        in_channels = weights[1]
    elif op in ("MatMul", "Gemm") and inputs:
        flops = math.prod(shape) * inputs[0][-1]
        in_channels = inputs[0][-1]
    elif op not in _ELEMENTWISE and op != "Concat" and inputs:
        in_channels = _channels_height_width(op, inputs[0], features_last)[0]
    moved = 0 if op in ("Input", "Reshape") else sum(sizes) + math.prod(shape) + params
    windowed = kernel != (0, 0)
    values = (
        max(kernel),
        max(stride) if windowed else 0,
        groups,
        in_channels,
        channels,
        height,
        width,
        flops,
        params,
        FLOAT_BYTES * moved,
    )
    return np.array(values, dtype=np.float64)


class _Rewriting:
    """Rewriting of a network's operators by one rule.

    Attributes:
        before: The operators before the pass.
        after: The operators after it, as far as it has come.
        position: For each operator before, the position in `after` of the one that stands for it.
        outputs: Positions of the network's outputs: in `before`, and in `after` once `run` is done.
        readers: For each operator before, how many operators and outputs read it.
    """

    def __init__(self, operators: Sequence[Operator], outputs: Sequence[int]) -> None:
        self.before = operators
        self.after: list[Operator] = []
        self.position: list[int] = []
        self.outputs = list(outputs)
        self.readers = [0] * len(operators)
        for operator in operators:
            for source in operator.inputs:
                self.readers[source] += 1
        for output in outputs:
            self.readers[output] += 1

    def add(self, operator: Operator) -> int:
        """Append an operator whose inputs are positions of the new list."""
        self.after.append(operator)
        return len(self.after) - 1

    def source(self, operator: Operator, which: int = 0) -> Operator:
        """The new operator that an old one reads."""
        return self.after[self.position[operator.inputs[which]]]

    def only_reader(self, operator: Operator, which: int = 0) -> bool:
        """Whether no other operator and no output reads an input of `operator`."""
        return self.readers[operator.inputs[which]] == 1

    def run(self, rule: Callable[[_Rewriting, Operator], int | None]) -> None:
        """Apply a rule, which gives the new position of an operator, or None to keep it."""
        for operator in self.before:
            position = rule(self, operator)
            if position is None:
                inputs = tuple([self.position[source] for source in operator.inputs])
                position = self.add(
                    operator if inputs == operator.inputs else replace(operator, inputs=inputs)
                )
            self.position.append(position)
        self.outputs = [self.position[output] for output in self.outputs]


def _drop_idle(net: _Rewriting, operator: Operator) -> int | None:
    if operator.op not in _IDLE or not operator.inputs:
        return None
    return net.position[operator.inputs[0]]


def _name_matrix_product(net: _Rewriting, operator: Operator) -> int | None:
    if operator.op != "MatMul" or not operator.weights:
        return None
    return net.add(replace(operator, op="Gemm", inputs=(net.position[operator.inputs[0]],)))


def _name_global_pool(net: _Rewriting, operator: Operator) -> int | None:
    if operator.op not in ("ReduceMean", "AveragePool") or len(operator.inputs) != 1:
        return None
    input_shape = net.source(operator).shape
    pooled = (*input_shape[:2], 1, 1)
    if len(input_shape) != 4 or operator.shape not in (pooled, input_shape[:2]):
        return None
    if operator.op == "AveragePool" and operator.kernel != input_shape[2:]:
        return None
    position = net.add(Operator("GlobalAveragePool", (net.position[operator.inputs[0]],), pooled))
    return (
        position
        if operator.shape == pooled
        else net.add(Operator("Reshape", (position,), input_shape[:2]))
    )


def _fold(net: _Rewriting, operator: Operator) -> int | None:
    if operator.op not in ("BatchNormalization", "Add") or len(operator.inputs) != 1:
        return None
    position = net.position[operator.inputs[0]]
    source = net.after[position]
    if operator.op == "BatchNormalization":
        foldable = source.op in _CONVS or (source.op == "Gemm" and len(source.shape) == 2)
    else:
        last = source.shape[1 if source.op in _CONVS else -1]
        foldable = (
            source.op in _CONVS | {"Gemm"}
            and operator.other_params == last
            and operator.shape == source.shape
        )
    if foldable and net.only_reader(operator):
        net.after[position] = replace(source, bias=True)
        return position
    if operator.op == "BatchNormalization":
        scales = 2 * operator.shape[1]
        return net.add(replace(operator, inputs=(position,), other_params=scales))
    return None


def _name_activation(net: _Rewriting, operator: Operator) -> int | None:
    if operator.op != "Mul" or len(operator.inputs) != 2:
        return None
    for gate, data in ((0, 1), (1, 0)):
        source = net.source(operator, gate)
        read = net.position[operator.inputs[data]]
        if source.op in _GATES and source.inputs == (read,) and net.only_reader(operator, gate):
            return net.add(Operator(_GATES[source.op], (read,), operator.shape))
    return None


def _merge_reshapes(net: _Rewriting, operator: Operator) -> int | None:
    if operator.op not in _RESHAPES or not operator.inputs:
        return None
    position = net.position[operator.inputs[0]]
    if net.after[position].op == "Reshape":
        position = net.after[position].inputs[0]
    if net.after[position].shape == operator.shape:
        return position
    return net.add(Operator("Reshape", (position,), operator.shape))


# Rules in their order, each with the operator types that it rewrites.
_RULES = (
    (_drop_idle, _IDLE),
    (_name_matrix_product, frozenset({"MatMul"})),
    (_name_global_pool, frozenset({"ReduceMean", "AveragePool"})),
    (_fold, frozenset({"BatchNormalization", "Add"})),
    (_name_activation, frozenset({"Mul"})),
    (_merge_reshapes, _RESHAPES),
)


def _may_change(operators: Sequence[Operator], operator: Operator) -> bool:
    """Whether a rule may change an operator; a quick check that errs on the side of true."""
    if operator.op in ("BatchNormalization", "Add"):
        return len(operator.inputs) == 1
    if operator.op == "Mul":
        gates = [operators[source] for source in operator.inputs]
        return any(g.op in _GATES and set(g.inputs) <= set(operator.inputs) for g in gates)
    if operator.op == "Reshape" and operator.inputs:
        source = operators[operator.inputs[0]]
        return source.op in _RESHAPES or source.shape == operator.shape
    return True


def _canonical(
    operators: Sequence[Operator], outputs: Sequence[int]
) -> tuple[list[Operator], list[int]]:
    """The rewritten operators, and the positions of the outputs among them."""
    for k, operator in enumerate(operators):
        inputs, shape = operator.inputs, operator.shape
        if inputs and not 0 <= min(inputs) <= max(inputs) < k:
            raise InputError(
                f"operator {k} ({operator.op}) reads operators {inputs}; "
                "an operator may read earlier ones only"
            )
        if not shape or shape[0] != 1 or min(shape) < 1:
            raise InputError(
                f"operator {k} ({operator.op}) has shape {shape}; "
                "expected positive sizes for one image, the first of them 1"
            )
    nodes, ends = needed(operators, outputs)
    for rule, triggers in _RULES:
        if any(node.op in triggers and _may_change(nodes, node) for node in nodes):
            net = _Rewriting(nodes, ends)
            net.run(rule)
            nodes, ends = needed(net.after, net.outputs)
    return nodes, ends


def needed(
    operators: Sequence[AnyOperator], outputs: Sequence[int]
) -> tuple[list[AnyOperator], list[int]]:
    """Operators that the outputs need, depth first, an operator's first input first.

    Returns:
        The operators, and the positions of the outputs among them.
    """
    position: list[int | None] = [None] * len(operators)
    kept: list[AnyOperator] = []
    stack = list(reversed(outputs))
    while stack:
        k = stack[-1]
        if position[k] is None:
            for source in operators[k].inputs:
                if position[source] is None:
                    stack.append(source)
                    break
            else:
                position[k] = len(kept)
                kept.append(operators[k])
        else:
            stack.pop()
    new_position = [-1 if index is None else index for index in position]
    for k, operator in enumerate(kept):
        inputs = tuple([new_position[source] for source in operator.inputs])
        if inputs != operator.inputs:
            kept[k] = replace(operator, inputs=inputs)
    return kept, [new_position[output] for output in outputs]


@dataclass(frozen=True, slots=True)
class Window:
    """Padding on every side of an operator's window, and whether its output's side rounds up."""

    padding: int = 0
    ceil: bool = False
