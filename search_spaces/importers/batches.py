"""Batches of imported networks: one sample, and whether many of them run at once.

A graph holds sizes for one sample. A file or an example names sizes for N of them, on the first
axis of its inputs. That axis is a batch only if the network treats its N entries independently: a
reader reads the network at N and at 1, and `independent` compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.importers.network import ImportedNetwork
from nasplug.search_spaces.importers.steps import Step
from nasplug.search_spaces.operators import WINDOWS

__all__ = [
    "ReadNetwork",
    "Reading",
    "batch_axes",
    "candidates",
    "independent",
    "one_sample",
]

# Fields of a step that depend on the batch, or that only say how a constant is stored.
_SIZED = frozenset({"shape", "weights", "other_params", "parameters", "number", "order"})
# Largest part of the work that steps may have which do not depend on the entries.
_SHARED = 0.05
_EQUAL = tuple(field.name for field in fields(Step) if field.name not in _SIZED)


@dataclass(frozen=True)
class Reading:
    """One reading of a network, at the sizes of its inputs.

    Attributes:
        network: The steps.
        outputs: Positions of the steps whose results the network returns.
    """

    network: ImportedNetwork
    outputs: Sequence[int]

    def graph(self) -> Graph:
        """Convert the steps to a graph in canonical form."""
        return self.network.graph(self.outputs)


@dataclass(frozen=True)
class ReadNetwork:
    """Network as it is predicted.

    Attributes:
        graph: Graph of one image where the batch is free, else of the whole input.
        batch: Images that the file or the example holds; 1 where its first axis is open.
        is_free: Whether the batch can be another one. If not, the graph already holds all of it.
    """

    graph: Graph
    batch: int = 1
    is_free: bool = True


def one_sample(
    reading: Reading,
    shapes: Iterable[Sequence[int]],
    read_again: Callable[[int, Sequence[int | None]], Reading],
) -> ReadNetwork:
    """Find the batch of a network, and the graph of one sample.

    Args:
        reading: Reading at the sizes that the file or the example names.
        shapes: Those sizes, one shape an input.
        read_again: Function that reads the network with 1 in place of a size. It is given the size,
            and for each input the axis that has it, or None.
    """
    sizes = [tuple(shape) for shape in shapes]
    for times in candidates(sizes):
        if times == 1:
            return ReadNetwork(reading.graph())
        try:
            single = read_again(times, batch_axes(sizes, times))
        except InputError:
            continue
        if independent(reading, single, times):
            return ReadNetwork(single.graph(), times)
    firsts = {shape[0] for shape in _ranked(sizes)}
    return ReadNetwork(reading.graph(), firsts.pop() if len(firsts) == 1 else 1, False)


def candidates(shapes: Sequence[Sequence[int]]) -> list[int]:
    """Sizes that may be the batch: each input has it, or 1 on its first axis; 1 comes last."""
    ranked = _ranked(shapes)
    fitting = [
        times
        for times in dict.fromkeys(shape[0] for shape in ranked if shape[0] > 0)
        if all(
            axis is not None or shape[0] == 1
            for shape, axis in zip(ranked, batch_axes(ranked, times), strict=True)
        )
    ]
    return sorted(fitting, key=lambda times: times == 1) if ranked else [1]


def batch_axes(shapes: Sequence[Sequence[int]], times: int) -> list[int | None]:
    """Axis of each input that holds a batch of some size; None for an input without.

    It is the first one, or the second one of an input such as a recurrent layer's states, whose
    first axis has another size.
    """
    ranked = _ranked(shapes)
    axes: list[int | None] = []
    for shape in shapes:
        axis = None
        if len(shape) and shape[0] == times and (times > 1 or shape in ranked):
            axis = 0
        elif len(shape) > 2 and shape[0] != 1 and shape[1] == times:
            axis = 1
        axes.append(axis)
    return axes


def _ranked(shapes: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """Shapes of the inputs that may hold the batch: beside an image vectors are settings."""
    sizes = [shape for shape in shapes if len(shape)]
    return [shape for shape in sizes if len(shape) > 1] or sizes


def independent(whole: Reading, single: Reading, times: int) -> bool:
    """Whether a network of `times` entries does for each of them what it does for a single one.

    Both readings must have the same steps. The output of each step that depends on the entries
    must have `times` as many elements, and each element must cost the same. Steps that do not
    depend on them may be a small part alone, since a prediction repeats all steps for each entry.
    """
    steps, others = whole.network.steps, single.network.steps
    if list(whole.outputs) != list(single.outputs) or len(steps) != len(others):
        return False
    grows: list[bool] = []
    work = {False: 0, True: 0}
    for many, one in zip(steps, others, strict=True):
        if any(getattr(many, name) != getattr(one, name) for name in _EQUAL):
            return False
        grown = many.shape != one.shape or any(grows[source] for source in many.inputs)
        # Dynamic quantisation takes one scale for all entries, whose costs stay independent.
        if many.op == "ReduceMax" and math.prod(many.shape) == 1 == math.prod(one.shape):
            grown = False
        if grown and not (
            math.prod(many.shape) == times * math.prod(one.shape)
            and _products(whole.network, many) == _products(single.network, one)
            # Neighbouring pixels are not independent: images grow on their first axis alone.
            and (many.op not in WINDOWS or _window(many) == _window(one))
            and (many.along is None or many.shape[many.along] == one.shape[many.along])
        ):
            return False
        grows.append(grown)
        work[grown] += math.prod(one.shape) * _products(single.network, one)
    return work[False] <= _SHARED * work[True]


def _window(step: Step) -> tuple[tuple[int, ...], ...]:
    """Sizes of one image, and of a convolution's weight."""
    return step.shape[1:], step.weights


def _products(network: ImportedNetwork, step: Step) -> int:
    """Numbers that are summed to one element of a step's output; 1 without a sum, 0 for inputs."""
    if step.op == "Input":
        return 0
    if step.op == "MatMul" and not step.weights:
        return network.shape(step.inputs[0])[-1]
    if step.op in ("Gemm", "MatMul"):
        return step.weights[-1]
    return math.prod(step.weights[1:]) if step.op in WINDOWS else 1
