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

__all__ = ["ReadNetwork", "Reading", "first_axis", "independent", "one_sample"]

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
    reading: Reading, shapes: Iterable[Sequence[int]], read_again: Callable[[int], Reading]
) -> ReadNetwork:
    """Find the batch of a network, and the graph of one sample.

    Args:
        reading: Reading at the sizes that the file or the example names.
        shapes: Those sizes, one shape an input.
        read_again: Function that reads the network with 1 in place of the given size, on the first
            axis of each input that has it.
    """
    sizes = [tuple(shape) for shape in shapes]
    times = first_axis(sizes)
    if times == 1:
        return ReadNetwork(reading.graph())
    if times is not None:
        try:
            single = read_again(times)
        except InputError:
            single = None
        if single is not None and independent(reading, single, times):
            return ReadNetwork(single.graph(), times)
    shared = times is not None and all(shape[0] == times for shape in sizes if len(shape) > 1)
    return ReadNetwork(reading.graph(), times if times is not None and shared else 1, False)


def first_axis(shapes: Iterable[Sequence[int]]) -> int | None:
    """Size above 1 that first axes share, 1 if there is none, or None if there are several.

    Vectors count only where no input has more axes: beside an image they are mostly settings.
    """
    sizes = [shape for shape in shapes if len(shape)]
    ranked = [shape for shape in sizes if len(shape) > 1] or sizes
    firsts = {shape[0] for shape in ranked if shape[0] > 1}
    return next(iter(firsts), 1) if len(firsts) < 2 else None


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
