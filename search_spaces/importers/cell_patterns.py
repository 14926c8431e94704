"""Cells of recurrent layers that a network writes out gate by gate.

A file of a loop in Python has the gates of each step as single operators. A framework has one
kernel for them, and an engine fuses them: they become one step of the layer's type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import permutations

from nasplug.search_spaces.importers.steps import GATES, Step

__all__ = ["cell_output", "cell_state"]


def cell_state(after: list[Step], step: Step) -> Step | None:
    """Recognise the new state of an LSTM or of a GRU, which is a sum."""
    if len(step.inputs) != 2 or step.other_params or not step.shape:
        return None
    return _lstm_state(after, step) or _gru_state(after, step)


def cell_output(after: list[Step], step: Step) -> int | None:
    """Recognise the output of an LSTM: a gate times the tanh of the new state."""
    for gate, tanh in _orders(step):
        if after[tanh].op != "Tanh" or after[gate].op != "Sigmoid":
            continue
        state = after[tanh].inputs[0]
        products = _products(after, _gate_sources(after, (gate,)))
        if after[state].op == "LSTM" and products and set(products) <= set(after[state].inputs):
            return state
    return None


def _orders(step: Step) -> Iterator[tuple[int, ...]]:
    """Yield the two operands of a step in both orders."""
    return permutations(step.inputs) if len(step.inputs) == 2 else iter(())


def _gate_sources(after: list[Step], roots: Iterable[int]) -> tuple[int, ...]:
    """Steps of which gates read slices; none if they read anything else."""
    sources: set[int] = set()
    waiting = list(roots)
    for _ in range(16):
        if not waiting:
            return tuple(sorted(sources))
        step = after[waiting.pop()]
        if step.op == "Slice":
            sources.add(step.inputs[0])
        elif step.op in ("Sigmoid", "Tanh", "Add", "Mul") and step.inputs:
            waiting.extend(step.inputs)
        else:
            return ()
    return ()


def _products(after: list[Step], sources: tuple[int, ...]) -> tuple[int, ...]:
    """Products of the input and of the state, which an LSTM sums before it takes its gates."""
    if len(sources) != 1:
        return sources
    read = after[sources[0]]
    is_sum = read.op == "Add" and len(read.inputs) == 2 and not read.other_params
    same = all(after[k].shape == read.shape for k in read.inputs)
    return tuple(sorted(set(read.inputs))) if is_sum and same else sources


def _is_cell(after: list[Step], op: str, step: Step, sources: tuple[int, ...]) -> bool:
    """Whether the gates of a cell come from tensors of all its gates."""
    most = 1 if op == "LSTM" else 2
    gates = (*step.shape[:-1], GATES[op] * step.shape[-1])
    return 0 < len(sources) <= most and all(after[k].shape == gates for k in sources)


def _lstm_state(after: list[Step], step: Step) -> Step | None:
    """Recognise f·c + i·g: gates that are sigmoids, and one that is a tanh."""
    for kept, new in _orders(step):
        if after[kept].op != "Mul" or after[new].op != "Mul":
            continue
        if {after[k].op for k in after[new].inputs} != {"Sigmoid", "Tanh"}:
            continue
        # A first state of zeros may be a constant.
        for forget in after[kept].inputs:
            sources = _gate_sources(after, (forget, *after[new].inputs))
            if after[forget].op == "Sigmoid" and _is_cell(after, "LSTM", step, sources):
                states = [k for k in after[kept].inputs if k != forget]
                return step.becomes("LSTM", (*_products(after, sources), *states))
    return None


def _gru_state(after: list[Step], step: Step) -> Step | None:
    """Recognise (h − n)·z + n, or (1 − z)·n + z·h, with a gate z and a new state n."""
    for product, other in _orders(step):
        if after[product].op != "Mul":
            continue
        for difference, factor in _orders(after[product]):
            if after[difference].op != "Sub" or not after[difference].inputs:
                continue
            first, last = after[difference].inputs[:1], after[difference].inputs[-1]
            if after[other].op == "Tanh" and last == other:
                new, gate, states = other, factor, first if first[0] != other else ()
            elif after[other].op == "Mul" and last in after[other].inputs:
                new, gate = factor, last
                states = tuple(k for k in after[other].inputs if k != gate)
            else:
                continue
            if after[new].op != "Tanh" or after[gate].op != "Sigmoid":
                continue
            sources = _gate_sources(after, (new, gate))
            if _is_cell(after, "GRU", step, sources):
                return step.becomes("GRU", (*sources, *states))
    return None
