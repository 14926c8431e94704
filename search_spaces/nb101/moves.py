"""Neighbours of NAS-Bench-101 cells: another operation, an edge or a vertex more or less."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter

import numpy as np

from nasplug.search_spaces.nb101.cells import MAX_EDGES, MAX_VERTICES, OPS, Cell, canonical, pruned

__all__ = ["move", "moves"]

Edges = set[tuple[int, int]]


def moves(cell: Cell) -> Iterator[Cell]:
    """Yield all other cells at one change, in canonical spelling; a cell may come several times.

    - Another operation at a vertex.
    - An edge more, in any direction that makes no cycle, or an edge less; vertices that are then on
      no path from input to output go too.
    - A vertex more, in the middle of an edge, with any operation; or a vertex less, whose
      predecessors then feed its successors.

    Args:
        cell: In canonical spelling.
    """
    for kind in _KINDS:
        for other in kind(cell):
            if other != cell:
                yield other


def move(cell: Cell, rng: np.random.Generator) -> Cell:
    """Draw a neighbour: first the kind of change, then one of its `moves`."""
    order = rng.permutation(len(_KINDS))
    for k in order:
        others = sorted({other for other in _KINDS[k](cell) if other != cell})
        if others:
            result: Cell = others[int(rng.integers(len(others)))]
            return result
    raise AssertionError("every cell has a neighbour")


def _operations(cell: Cell) -> Iterator[Cell]:
    for index, label in enumerate(cell.labels):
        for other in range(len(OPS)):
            if other != label:
                labels = (*cell.labels[:index], other, *cell.labels[index + 1 :])
                yield canonical(Cell(cell.bits, labels))


def _edges(cell: Cell) -> Iterator[Cell]:
    edges = set(cell.edges)
    last = cell.vertices - 1
    for edge in sorted(edges):
        yield from _made(cell.labels, edges - {edge})
    for a in range(last):
        for b in range(1, cell.vertices):
            if a != b and (a, b) not in edges and not _leads(edges, b, a):
                yield from _made(cell.labels, edges | {(a, b)})


def _vertices(cell: Cell) -> Iterator[Cell]:
    edges = set(cell.edges)
    new = cell.vertices
    for a, b in sorted(edges) if cell.vertices < MAX_VERTICES else ():
        for label in range(len(OPS)):
            # The new vertex gets the number before the output's, which stays the highest.
            relabelled = {(_up(s, new), _up(t, new)) for s, t in edges - {(a, b)}}
            split = {(_up(a, new), new - 1), (new - 1, _up(b, new))}
            yield from _made((*cell.labels, label), relabelled | split)
    for v in range(1, cell.vertices - 1):
        before = [a for a, b in edges if b == v]
        after = [b for a, b in edges if a == v]
        untouched = {edge for edge in edges if v not in edge}
        joined = untouched | {(a, b) for a in before for b in after}
        labels = (*cell.labels[: v - 1], *cell.labels[v:])
        yield from _made(labels, {(a - (a > v), b - (b > v)) for a, b in joined})


_KINDS: tuple[Callable[[Cell], Iterator[Cell]], ...] = (_operations, _edges, _vertices)


def _up(v: int, new: int) -> int:
    """Number of a vertex after one was added before the output, whose number was `new` − 1."""
    return new if v == new - 1 else v


def _leads(edges: Edges, source: int, target: int) -> bool:
    """Whether a path leads from source to target."""
    reached, waiting = {source}, [source]
    while waiting:
        vertex = waiting.pop()
        for a, b in edges:
            if a == vertex and b not in reached:
                reached.add(b)
                waiting.append(b)
    return target in reached


def _made(labels: tuple[int, ...], edges: Edges) -> Iterator[Cell]:
    """Yield the cell of these edges if the benchmark has it; vertices may be in any order."""
    vertices = len(labels) + 2
    before = {v: [a for a, b in edges if b == v] for v in range(1, vertices - 1)}
    inner = [v for v in TopologicalSorter(before).static_order() if v]
    order = [0, *inner, vertices - 1]
    position = {v: k for k, v in enumerate(order)}
    renamed = {(position[a], position[b]) for a, b in edges}
    cell = pruned(vertices, renamed, [labels[v - 1] for v in inner])
    if cell and cell.vertices <= MAX_VERTICES and cell.bits.bit_count() <= MAX_EDGES:
        yield canonical(cell)
