"""Canonical form of a network: the operators that an inference engine runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.operators import CONVS, IDLE, RESHAPES, Operator

__all__ = ["canonical", "canonical_network", "needed", "united_parameters"]

_GATES = {"Sigmoid": "Silu", "HardSigmoid": "HardSwish"}

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
    return canonical_network(operators, outputs)[0]


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
    if operator.op not in IDLE or not operator.inputs:
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
    position = net.add(
        Operator(
            "GlobalAveragePool", (net.position[operator.inputs[0]],), pooled, type=operator.type
        )
    )
    if operator.shape == pooled:
        return position
    return net.add(Operator("Reshape", (position,), input_shape[:2], type=operator.type))


def _fold(net: _Rewriting, operator: Operator) -> int | None:
    if operator.op not in ("BatchNormalization", "Add") or len(operator.inputs) != 1:
        return None
    position = net.position[operator.inputs[0]]
    source = net.after[position]
    if operator.op == "BatchNormalization":
        foldable = source.op in CONVS or (source.op == "Gemm" and len(source.shape) == 2)
    else:
        last = source.shape[1 if source.op in CONVS else -1]
        foldable = (
            source.op in CONVS | {"Gemm"}
            and operator.other_params == last
            and operator.shape == source.shape
        )
    if foldable and net.only_reader(operator):
        net.after[position] = replace(
            source, bias=True, parameters=united_parameters(source, operator)
        )
        return position
    if operator.op == "BatchNormalization":
        scales = 2 * operator.shape[1]
        return net.add(replace(operator, inputs=(position,), other_params=scales))
    return None


def united_parameters(first: Operator, second: Operator) -> tuple[tuple[str, int], ...] | None:
    """Parameters of an operator that stands for two."""
    if first.parameters is None or second.parameters is None:
        return None
    return (*first.parameters, *second.parameters)


def _name_activation(net: _Rewriting, operator: Operator) -> int | None:
    if operator.op != "Mul" or len(operator.inputs) != 2:
        return None
    for gate, data in ((0, 1), (1, 0)):
        source = net.source(operator, gate)
        read = net.position[operator.inputs[data]]
        if source.op in _GATES and source.inputs == (read,) and net.only_reader(operator, gate):
            return net.add(Operator(_GATES[source.op], (read,), operator.shape, type=operator.type))
    return None


def _merge_reshapes(net: _Rewriting, operator: Operator) -> int | None:
    if operator.op not in RESHAPES or not operator.inputs:
        return None
    position = net.position[operator.inputs[0]]
    if net.after[position].op == "Reshape":
        position = net.after[position].inputs[0]
    if net.after[position].shape == operator.shape:
        return position
    return net.add(Operator("Reshape", (position,), operator.shape, type=operator.type))


# Rules in their order, each with the operator types that it rewrites.
_RULES = (
    (_drop_idle, IDLE),
    (_name_matrix_product, frozenset({"MatMul"})),
    (_name_global_pool, frozenset({"ReduceMean", "AveragePool"})),
    (_fold, frozenset({"BatchNormalization", "Add"})),
    (_name_activation, frozenset({"Mul"})),
    (_merge_reshapes, RESHAPES),
)


def _may_change(operators: Sequence[Operator], operator: Operator) -> bool:
    """Whether a rule may change an operator; a quick check that errs on the side of true."""
    if operator.op in ("BatchNormalization", "Add"):
        return len(operator.inputs) == 1
    if operator.op == "MatMul":
        return bool(operator.weights)
    if operator.op == "Mul":
        gates = [operators[source] for source in operator.inputs]
        return any(g.op in _GATES and set(g.inputs) <= set(operator.inputs) for g in gates)
    if operator.op == "Reshape" and operator.inputs:
        source = operators[operator.inputs[0]]
        return source.op in RESHAPES or source.shape == operator.shape
    return True


def canonical_network(
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
