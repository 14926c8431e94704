"""Scales of attention scores, which an engine folds into the product of queries and keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from nasplug.search_spaces.canonical import united_parameters
from nasplug.search_spaces.importers.steps import Step

__all__ = ["without_attention_scales"]

_SCALINGS = frozenset({"Mul", "Div"})


def without_attention_scales(steps: list[Step], outputs: Sequence[int]) -> list[Step]:
    """Turn the constant factors of attention scores into identities."""
    readers = [0] * len(steps)
    for step in steps:
        for source in step.inputs:
            readers[source] += 1
    for output in outputs:
        readers[output] += 1
    dropped: set[int] = set()
    scaled: dict[int, Step] = {}

    def is_scale(k: int) -> bool:
        step = steps[k]
        single = len(step.inputs) == 1 and len(step.number) == 1 and readers[k] == 1
        return single and step.op in _SCALINGS and not step.number_first

    for softmax in steps:
        if softmax.op != "Softmax":
            continue
        product, passed = _scores(steps, softmax.inputs[0], is_scale)
        if product is None:
            continue
        scales = list(passed)
        for factor in steps[product].inputs:
            k = factor
            while steps[k].op in ("Transpose", "Reshape") and readers[k] == 1:
                k = steps[k].inputs[0]
            if is_scale(k):
                scales.append(k)
        for k in scales:
            # A learned scale is a parameter of the product.
            united = united_parameters(scaled.get(product, steps[product]), steps[k])
            scaled[product] = replace(steps[product], parameters=united)
        dropped.update(scales)
    return [
        replace(step, op="Identity", number=(), parameters=())
        if k in dropped
        else scaled.get(k, step)
        for k, step in enumerate(steps)
    ]


def _scores(
    steps: list[Step], start: int, is_scale: Callable[[int], bool]
) -> tuple[int | None, list[int]]:
    """Find the MatMul of two computed tensors below a mask and scales, and those scales."""
    waiting: list[tuple[int, list[int]]] = [(start, [])]
    for _ in range(16):
        if not waiting:
            break
        k, passed = waiting.pop(0)
        step = steps[k]
        if step.op == "MatMul" and len(step.inputs) == 2:
            return k, passed
        if is_scale(k):
            waiting.append((step.inputs[0], [*passed, k]))
        elif step.op in ("Add", "Where", "Reshape", "Cast"):
            waiting.extend((source, passed) for source in step.inputs)
    return None, []
