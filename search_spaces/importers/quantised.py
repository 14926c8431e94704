"""Join the operators of a quantised network with the changes of the type around them.

A file says that a tensor is held in integers by a QuantizeLinear and a DequantizeLinear, between
which engines compute: a convolution that reads restored floats, and whose result is made integers
again, runs on integers (`Jacob et al., CVPR 2018`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nasplug.search_spaces.canonical import needed
from nasplug.search_spaces.importers.steps import Step

__all__ = ["joined_quantisation"]

_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_MOVES = frozenset(
    {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Gather", "Expand", "Tile"}
    | {"Pad", "DepthToSpace", "SpaceToDepth"}
)
# Operators with a form on integers; they may follow a product in its kernel.
_ON_INTEGERS = _MOVES | {
    *("Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Silu", "Tanh"),
    *("Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Concat", "Where", "Resize", "Softmax"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax"),
}


def joined_quantisation(
    steps: Sequence[Step], outputs: Sequence[int]
) -> tuple[list[Step], list[int]]:
    """Let operators between a DequantizeLinear and a QuantizeLinear read and write integers.

    A product whose operands are restored reads their integers even where its result stays in
    floats. Any other operator on floats keeps its DequantizeLinear.

    Returns:
        The steps that the outputs need, in order, and the positions of the outputs among them.
    """
    if all(step.op != "DequantizeLinear" for step in steps):
        return list(steps), list(outputs)
    steps, outputs = _moved_first(steps, outputs)
    readers = [0] * len(steps)
    for source in (*outputs, *(source for step in steps for source in step.inputs)):
        readers[source] += 1
    types: dict[int, str] = {}
    for step in steps:
        if step.op == "QuantizeLinear":
            types.update(dict.fromkeys(_region(steps, readers, step.inputs[0]), step.type))
    after: list[Step] = []
    position: list[int] = []
    for k, step in enumerate(steps):
        if step.op == "QuantizeLinear":
            same = _stored(steps, step.inputs[0])
            # A change to another scale alone is part of what is around it.
            if step.inputs[0] in types or steps[same].type == step.type:
                position.append(position[same])
                continue
        sources = step.inputs
        if k in types or _reads_integers(steps, step):
            sources = tuple(_stored(steps, source) for source in sources)
        inputs = tuple(position[source] for source in sources)
        after.append(replace(step, inputs=inputs, type=types.get(k, step.type)))
        position.append(len(after) - 1)
    return needed(after, [position[output] for output in outputs])


def _moved_first(steps: Sequence[Step], outputs: Sequence[int]) -> tuple[list[Step], list[int]]:
    """Move integers before they are restored, where a file restores them first."""
    after: list[Step] = []
    position: list[int] = []
    for step in steps:
        moved = replace(step, inputs=tuple(position[source] for source in step.inputs))
        read = after[moved.inputs[0]] if len(moved.inputs) == 1 else moved
        if step.op in _MOVES and read.op == "DequantizeLinear":
            source = read.inputs[0]
            after.append(replace(moved, inputs=(source,), type=after[source].type))
            moved = replace(read, inputs=(len(after) - 1,), shape=step.shape)
        after.append(moved)
        position.append(len(after) - 1)
    return needed(after, [position[output] for output in outputs])


def _stored(steps: Sequence[Step], k: int) -> int:
    """The tensor of integers that a step restores; any other step itself."""
    return steps[k].inputs[0] if steps[k].op == "DequantizeLinear" else k


def _is_narrow(element_type: str) -> bool:
    return element_type.removeprefix("u").startswith(("int", "float8", "float4"))


def _reads_integers(steps: Sequence[Step], step: Step) -> bool:
    """Whether a step is a product of operands that are all held in integers."""
    has_weights = not step.weights or _is_narrow(step.weight_type)
    restored = [steps[source].op == "DequantizeLinear" for source in step.inputs]
    return step.op in _PRODUCTS and has_weights and bool(restored) and all(restored)


def _region(steps: Sequence[Step], readers: Sequence[int], last: int) -> list[int]:
    """Steps from restored tensors to `last` that nothing else reads.

    Returns:
        Their positions; none if an operator among them has no form on integers.
    """
    found: list[int] = []
    waiting = [last]
    while waiting:
        k = waiting.pop()
        step = steps[k]
        if step.op == "DequantizeLinear":
            continue
        is_product = _reads_integers(steps, step)
        if readers[k] != 1 or not (is_product or (step.op in _ON_INTEGERS and step.inputs)):
            return []
        found.append(k)
        if not is_product:
            waiting.extend(step.inputs)
    return found
