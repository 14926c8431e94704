"""Activations that a network writes out as arithmetic, recognised as one step."""

from __future__ import annotations

import math

from nasplug.search_spaces.importers.steps import Step

__all__ = ["gelu", "hard_gates", "is_close", "mish", "reciprocal"]

# Largest number of steps of a decomposed activation, with room for other spellings.
_DEPTH = 6


def is_close(number: tuple[float, ...], value: float) -> bool:
    """Whether the one number of a step is a value, or may be."""
    # NaN stands for a number that is not in the file, and may be the right one.
    return len(number) == 1 and (math.isnan(number[0]) or abs(number[0] - value) < 1e-3)


def _factors(
    after: list[Step],
    step: Step,
    stop: frozenset[int] | set[int] = frozenset(),
    depth: int = _DEPTH,
) -> tuple[list[int], float]:
    """Split a product into its computed factors and the product of its constant numbers."""
    if step.op == "Div" and (step.number_first or not step.number):
        return [], math.nan
    factor = 1.0
    if step.number:
        factor = step.number[0] if step.op == "Mul" else 1 / (step.number[0] or math.nan)
    leaves: list[int] = []
    for source in step.inputs:
        inner = after[source]
        splits = inner.op == "Mul" or (inner.op == "Div" and bool(inner.number))
        plain = not inner.other_params and not (inner.op == "Div" and inner.number_first)
        if source in stop or not splits or not plain or depth == 0:
            leaves.append(source)
        else:
            more, number = _factors(after, inner, stop, depth - 1)
            leaves.extend(more)
            factor *= number
    return leaves, factor


def _grows_from(after: list[Step], root: int, ops: frozenset[str]) -> list[int]:
    """Every step that `root` reads through the operators `ops` alone, nearest first."""
    reached: list[int] = []
    waiting = [(root, 0)]
    while waiting and len(reached) < 32:
        k, depth = waiting.pop(0)
        if k in reached:
            continue
        reached.append(k)
        if after[k].op in ops and not after[k].other_params and depth < _DEPTH:
            waiting.extend((source, depth + 1) for source in after[k].inputs)
    return reached


def _closed_over(after: list[Step], root: int, x: int, ops: frozenset[str], depth: int = 8) -> bool:
    """Whether `root` is computed from `x` and numbers by the operators `ops` alone."""
    if root == x:
        return True
    step = after[root]
    if step.op not in ops or step.other_params or depth == 0 or not step.inputs:
        return False
    return all(_closed_over(after, source, x, ops, depth - 1) for source in step.inputs)


# The inner function of each form of GELU, and the operators that compute its argument.
_GELU = {"Erf": frozenset({"Mul", "Div"}), "Tanh": frozenset({"Mul", "Add", "Pow"})}


def gelu(after: list[Step], step: Step) -> Step | None:
    """Recognise GELU: 0.5·x·(1 + erf(x/√2)), or its tanh form (Hendrycks & Gimpel, 2016)."""
    for gate in _factors(after, step)[0]:
        if after[gate].op != "Add" or not is_close(after[gate].number, 1.0):
            continue
        inner = after[after[gate].inputs[0]]
        ops = _GELU.get(inner.op)
        if ops is None:
            continue
        argument = inner.inputs[0]
        for x in _grows_from(after, argument, ops):
            leaves, number = _factors(after, step, {x})
            halved = sorted(leaves) == sorted([x, gate]) and is_close((number,), 0.5)
            if halved and _closed_over(after, argument, x, ops):
                return step.becomes("Gelu", (x,))
    return None


def hard_gates(after: list[Step], step: Step) -> Step | None:
    """Recognise clip(x + 3, 0, 6)/6, alone or times x (Howard et al., 2019)."""
    leaves, number = _factors(after, step)
    if not is_close((number,), 1 / 6):
        return None
    for gate in leaves:
        clip = after[gate]
        shift = after[clip.inputs[0]] if clip.op == "Clip" else None
        if shift is None or clip.number != (0.0, 6.0) or shift.op != "Add":
            continue
        if not is_close(shift.number, 3.0) or len(shift.inputs) != 1:
            continue
        if leaves == [gate]:
            return step.becomes("HardSigmoid", shift.inputs)
        if sorted(leaves) == sorted([gate, shift.inputs[0]]):
            return step.becomes("HardSwish", shift.inputs)
    return None


def mish(after: list[Step], step: Step) -> Step | None:
    """Recognise Mish: x·tanh(softplus(x)) (Misra, 2019)."""
    if len(step.inputs) != 2:
        return None
    for gate, x in (step.inputs, step.inputs[::-1]):
        tanh = after[gate]
        soft = after[tanh.inputs[0]] if tanh.op == "Tanh" else None
        if soft is not None and soft.op == "Softplus" and soft.inputs == (x,):
            return step.becomes("Mish", (x,))
    return None


def reciprocal(after: list[Step], step: Step) -> Step | None:
    """Recognise 1/x."""
    if step.number_first and is_close(step.number, 1.0) and len(step.inputs) == 1:
        return step.becomes("Reciprocal")
    return None
