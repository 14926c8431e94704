"""Recognise the operators of an imported network that exporters take apart.

An exporter writes an operator that its target version lacks as several smaller operators, and two
exporters do so differently. The rules here join them again, in the steps of both readers, so that
the graph does not depend on the file format or the exporter.

Notation: `after` is the list of steps that the rules have settled; a step's inputs are positions in
it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from nasplug.search_spaces.canonical import needed, united_parameters
from nasplug.search_spaces.importers.activation_patterns import (
    gelu,
    hard_gates,
    is_close,
    mish,
    reciprocal,
)
from nasplug.search_spaces.importers.attention_scales import without_attention_scales
from nasplug.search_spaces.importers.cell_patterns import cell_output, cell_state
from nasplug.search_spaces.importers.steps import Step

__all__ = ["recognised"]

_RESHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
_NORMS = frozenset({"LayerNormalization", "RMSNormalization", "GroupNormalization"})
_PRODUCTS = frozenset({"Conv", "Gemm", "MatMul"})
_COMPARISONS = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
# Operators that compute in float32 inside, whatever they read and write.
_WIDENED = _NORMS | {"Softmax"}
# A rule reads the settled steps and the next step. It returns the position of an equal step, a step
# to replace the next one by, or None to leave it.
Rule = Callable[[list[Step], Step], "int | Step | None"]


def recognised(steps: Sequence[Step], outputs: Sequence[int]) -> tuple[list[Step], list[int]]:
    """Rewrite the steps until decomposed operators are whole.

    - GELU (by erf or tanh), HardSigmoid, HardSwish, Mish, 1/x, layer, group and root-mean-square
      normalisation become one step;
    - the constant scale of attention scores is dropped: an engine folds it into the product;
    - Transposes and Slices in a row are one, and none if they change nothing; a Transpose that
      moves axes of length 1 alone is a Reshape;
    - the gates of an LSTM's or a GRU's cell are one step of that type;
    - maxima over both spatial axes are a GlobalMaxPool;
    - the guard of a softmax against rows that are masked as a whole is part of the softmax.

    Args:
        steps: Steps, each of which reads only earlier ones.
        outputs: Positions of the network's results.

    Returns:
        The steps that the outputs need, in order, and the positions of the outputs among them.
    """
    rewritten, ends = _rewrite(steps, outputs)
    # Without the scales between them, further Transposes may meet.
    return _rewrite(without_attention_scales(rewritten, ends), ends)


def _rewrite(steps: Sequence[Step], outputs: Sequence[int]) -> tuple[list[Step], list[int]]:
    after: list[Step] = []
    position: list[int] = []
    for step in steps:
        inputs = tuple([position[source] for source in step.inputs])
        current = step if inputs == step.inputs else replace(step, inputs=inputs)
        position.append(_settle(after, current))
    return needed(after, [position[output] for output in outputs])


def _settle(after: list[Step], step: Step) -> int:
    """Apply rules until none changes the step, then append it."""
    for rule in _RULES.get(step.op, ()):
        replacement = rule(after, step)
        if isinstance(replacement, int):
            return replacement
        if replacement is not None and replacement != step:
            return _settle(after, replacement)
    after.append(step)
    return len(after) - 1


# ---------------------------------------------------------------------------------- moving data


def _solid(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without axes of length 1."""
    return tuple(size for size in shape if size != 1)


def _reshape(after: list[Step], step: Step) -> int | Step | None:
    source = step.inputs[0]
    read = after[source]
    if read.op in _RESHAPES:
        return replace(step, op="Reshape", inputs=read.inputs)
    if read.shape == step.shape:
        return source
    if read.op == "Transpose":
        if _solid(read.shape) == _solid(step.shape):
            return replace(read, shape=step.shape)
        return _split_again(after, step, read)
    if read.op == "InstanceNormalization" and after[read.inputs[0]].op in _RESHAPES:
        # Groups of channels normalised as single channels of a longer tensor.
        unshaped = after[read.inputs[0]].inputs[0]
        if after[unshaped].shape != step.shape:
            unshaped = _settle(after, step.becomes("Reshape", (unshaped,)))
        norm = step.becomes("GroupNormalization", (unshaped,))
        return replace(norm, weight_type=read.weight_type)
    return replace(step, op="Reshape")


def _split_again(after: list[Step], step: Step, transpose: Step) -> Step | None:
    """Transpose all axes at once where some were joined before and split after, as one axis."""
    joined = after[transpose.inputs[0]]
    if joined.op not in _RESHAPES:
        return replace(step, op="Reshape")
    groups = _groups(_solid(after[joined.inputs[0]].shape), _solid(joined.shape))
    moved = [groups[axis] for axis in transpose.order] if groups else []
    sizes = _solid(after[joined.inputs[0]].shape)
    if not moved or tuple(sizes[axis] for group in moved for axis in group) != _solid(step.shape):
        return replace(step, op="Reshape")
    order = tuple(axis for group in moved for axis in group)
    return replace(transpose, inputs=joined.inputs, shape=step.shape, order=order)


def _groups(sizes: tuple[int, ...], joined: tuple[int, ...]) -> list[range] | None:
    """Axes in a row that each axis of a Reshape joins; None where it splits one."""
    groups, start = [], 0
    for size in joined:
        end = start + 1
        while end < len(sizes) and math.prod(sizes[start:end]) < size:
            end += 1
        if math.prod(sizes[start:end]) != size:
            return None
        groups.append(range(start, end))
        start = end
    return groups if start == len(sizes) else None


def _transpose(after: list[Step], step: Step) -> int | Step | None:
    source, order = step.inputs[0], step.order
    while after[source].op in _RESHAPES:
        unshaped = after[source].inputs[0]
        if _solid(after[source].shape) != _solid(after[unshaped].shape):
            break
        source = unshaped
    read = after[source]
    if read.op == "Transpose":
        source, order = read.inputs[0], tuple(read.order[axis] for axis in order)
    if order == tuple(range(len(order))):
        return step.becomes("Reshape", (source,))
    return replace(step, inputs=(source,), order=order)


def _slice(after: list[Step], step: Step) -> int | Step | None:
    read = after[step.inputs[0]]
    # A negative number marks a slice that goes backwards.
    if read.shape == step.shape and not step.number:
        return step.inputs[0]
    if read.op == "Slice" and len(read.shape) == len(step.shape):
        return replace(step, inputs=read.inputs, number=step.number + read.number)
    return None


def _unchanged(after: list[Step], step: Step) -> int | None:
    unchanged = len(step.inputs) == 1 and after[step.inputs[0]].shape == step.shape
    return step.inputs[0] if unchanged else None


def _concat(after: list[Step], step: Step) -> int | None:
    return _unchanged(after, step) if not step.other_params else None


def _global_max(after: list[Step], step: Step) -> Step | None:
    input_shape = after[step.inputs[0]].shape
    whole = step.op == "ReduceMax" or step.kernel == input_shape[2:]
    if len(input_shape) == 4 and step.shape == (*input_shape[:2], 1, 1) and whole:
        return step.becomes("GlobalMaxPool")
    return None


def _global_average(after: list[Step], step: Step) -> Step | None:
    if len(after[step.inputs[0]].shape) == 4:
        return None
    return replace(step, op="ReduceMean")


# ----------------------------------------------------------------------------- element types


def _is_float_cast(after: list[Step], step: Step) -> bool:
    return step.op == "Cast" and "float" in step.type and "float" in after[step.inputs[0]].type


def _cast(after: list[Step], step: Step) -> Step | None:
    """Let a norm or a softmax write the type that its result is changed to."""
    read = after[step.inputs[0]]
    if read.op in _WIDENED and _is_float_cast(after, step):
        return replace(read, type=step.type)
    return None


def _wide_input(after: list[Step], step: Step) -> Step | None:
    """Let a norm or a softmax read the tensor whose type was changed for it."""
    read = after[step.inputs[0]]
    if not _is_float_cast(after, read):
        return None
    return replace(step, inputs=(*read.inputs, *step.inputs[1:]))


def _restored_product(after: list[Step], step: Step) -> Step | None:
    """Let a product of integers write the floats that its scale turns it to."""
    for source in step.inputs:
        cast = after[source]
        product = after[cast.inputs[0]] if cast.op == "Cast" and "float" in cast.type else cast
        if product.op not in _PRODUCTS or product.type != "int32":
            continue
        scales = [after[k] for k in step.inputs if k != source]
        # A scale has one number, or one a row or a column of the product.
        if all(math.prod(s.shape) < math.prod(step.shape) or not s.shape for s in scales):
            return replace(product, type=step.type, shape=step.shape)
    return None


# ---------------------------------------------------------------------------------- arithmetic


# The number by which each operator changes nothing.
_NEUTRAL = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0}


def _neutral(after: list[Step], step: Step) -> int | None:
    """Drop a sum with zero and a product with one."""
    if len(step.inputs) != 1 or step.other_params or step.parameters:
        return None
    first = step.number_first and step.op in ("Sub", "Div")
    read = after[step.inputs[0]]
    unchanged = read.shape == step.shape and read.type == step.type
    return (
        step.inputs[0] if step.number == (_NEUTRAL[step.op],) and unchanged and not first else None
    )


# ------------------------------------------------------------------------------ normalisation


def _root_mean_square(after: list[Step], root: int) -> Step | None:
    """Find the x of √(mean(x²) + ε); None for another expression."""
    sqrt = after[root]
    if sqrt.op != "Sqrt":
        return None
    mean = after[sqrt.inputs[0]]
    if mean.op == "Add" and mean.number and len(mean.inputs) == 1:
        mean = after[mean.inputs[0]]
    if mean.op != "ReduceMean":
        return None
    square = after[mean.inputs[0]]
    by_power = square.op == "Pow" and is_close(square.number, 2.0)
    by_product = square.op == "Mul" and len(square.inputs) == 2 and len(set(square.inputs)) == 1
    return after[square.inputs[0]] if by_power or by_product else None


def _norm(after: list[Step], step: Step) -> Step | None:
    """Recognise a layer norm, (x − mean(x))/√(mean((x − mean(x))²) + ε), or an RMS norm.

    The root-mean-square norm is x/√(mean(x²) + ε).
    """
    if len(step.inputs) != 2:
        return None
    pairs = (step.inputs, step.inputs[::-1]) if step.op == "Mul" else (step.inputs,)
    for above, below in pairs:
        root = below
        if step.op == "Mul":
            if after[below].op != "Reciprocal":
                continue
            root = after[below].inputs[0]
        # Exporters may write x − mean(x) twice, so equal steps count as one.
        if _root_mean_square(after, root) != after[above]:
            continue
        centred = after[above]
        if centred.op == "Sub" and len(centred.inputs) == 2:
            x, mean = centred.inputs
            if after[mean].op == "ReduceMean" and after[mean].inputs == (x,):
                return step.becomes("LayerNormalization", (x,))
        return step.becomes("RMSNormalization", (above,))
    return None


def _affine(after: list[Step], step: Step) -> Step | None:
    """Add the scale or the shift that follows a norm to the norm's parameters."""
    if len(step.inputs) != 1 or step.number or not step.other_params:
        return None
    norm = after[step.inputs[0]]
    parameters = united_parameters(norm, step)
    if norm.op == "InstanceNormalization" and norm.other_params == 2 * step.other_params:
        # It has a scale and a shift of its own, ones and zeros where a module has none.
        return replace(norm, parameters=parameters)
    expected = 0 if step.op == "Mul" else step.other_params
    if norm.op not in _NORMS or norm.other_params != expected or norm.shape != step.shape:
        return None
    params = norm.other_params + step.other_params
    return replace(norm, other_params=params, parameters=parameters)


def _negated(after: list[Step], step: Step) -> Step | None:
    """Let a comparison give the opposite answer."""
    read = after[step.inputs[0]]
    return read if read.op in _COMPARISONS and len(step.inputs) == 1 else None


def _guard(after: list[Step], step: Step) -> int | None:
    """Drop the choice of zeros where a softmax is no number: fused attention has it within."""
    if len(step.inputs) != 2 or step.other_params:
        return None
    mark, softmax = step.inputs
    is_guard = after[mark].op == "IsNaN" and after[mark].inputs == (softmax,)
    return softmax if is_guard and after[softmax].op == "Softmax" else None


def _identity(after: list[Step], step: Step) -> int:
    return step.inputs[0]


_RULES: dict[str, tuple[Rule, ...]] = {
    **{op: (_reshape,) for op in _RESHAPES},
    "Identity": (_identity,),
    "Dropout": (_identity,),
    "Cast": (_cast,),
    "Where": (_guard,),
    **{op: (_wide_input,) for op in _WIDENED},
    "Transpose": (_transpose,),
    "Slice": (_slice,),
    "Expand": (_unchanged,),
    "Tile": (_unchanged,),
    "Pad": (_unchanged,),
    "Concat": (_concat,),
    "MaxPool": (_global_max,),
    "ReduceMax": (_global_max,),
    "GlobalAveragePool": (_global_average,),
    "Not": (_negated,),
    "Mul": (_neutral, _affine, cell_output, _restored_product, gelu, hard_gates, mish, _norm),
    "Div": (_neutral, reciprocal, _norm, gelu, hard_gates),
    "Sub": (_neutral,),
    "Add": (_neutral, _affine, cell_state),
}
