"""Cells of NAS-Bench-101: hash, pruning, canonical spelling, enumeration and its cached table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasplug.search_spaces.nb101.cells import (
    OPS,
    Cell,
    canonical,
    hash_module,
    module_hash,
    prune,
)
from nasplug.search_spaces.nb101.costs import total_costs
from nasplug.search_spaces.nb101.enumeration import CELLS, cell_codes

# As the benchmark has them: adjacency, operations, hash, trainable parameters, and the place in
# its generator's order.
KNOWN = [
    (
        "0110001100010000",
        "input,conv1x1-bn-relu,conv3x3-bn-relu,output",
        "5529e1779433733d1145e20de5d8604e",
        None,
        None,
    ),
    (
        "011100000111000001000010000001000000",
        "input,maxpool3x3,conv3x3-bn-relu,conv3x3-bn-relu,conv3x3-bn-relu,output",
        "890506d8c016ba955c95d974ef406837",
        3_968_439,
        38_229,
    ),
    (
        "0101100001001000000100000010000001000000010000000",
        "input,conv1x1-bn-relu,conv1x1-bn-relu,conv1x1-bn-relu,conv1x1-bn-relu,maxpool3x3,output",
        "0341c85efb8042240c3dce0091b34ee1",
        6_780_298,
        147_038,
    ),
    (
        "0100010001100100000010000100000001000000010000000",
        "input,conv3x3-bn-relu,conv3x3-bn-relu,maxpool3x3,conv1x1-bn-relu,conv1x1-bn-relu,output",
        "3400d034bf4cd6d15b4fdbfaca041468",
        2_899_103,
        276_460,
    ),
]


def cell_of(adjacency: str, ops: str) -> Cell:
    names = ops.split(",")
    n = len(names)
    edges = [divmod(k, n) for k, digit in enumerate(adjacency) if digit == "1"]
    return Cell.of(edges, [OPS.index(op) for op in names[1:-1]])


def in_another_order(cell: Cell, order: list[int]) -> Cell | None:
    """The cell with inner vertex `order[k]` at place k + 1; None if an edge then goes back."""
    place = {0: 0, cell.vertices - 1: cell.vertices - 1}
    place |= {old: new for new, old in enumerate(order, start=1)}
    edges = [(place[a], place[b]) for a, b in cell.edges]
    if any(a > b for a, b in edges):
        return None
    return Cell.of(edges, [cell.labels[old - 1] for old in order])


positions = st.integers(0, CELLS - 1)


# --- the hash ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("adjacency", "ops", "known", "params", "index"), KNOWN)
def test_known_cells(
    adjacency: str, ops: str, known: str, params: int | None, index: int | None
) -> None:
    cell = cell_of(adjacency, ops)
    assert module_hash(cell) == known
    assert canonical(cell) == cell
    if index is not None:
        assert cell_codes()[index] == cell.code
        assert total_costs(np.array([cell.code], np.uint32))["params"].tolist() == [params]


def matrix_of(n: int, *edges: tuple[int, int]) -> list[list[int]]:
    return [[int((a, b) in edges) for b in range(n)] for a in range(n)]


DIAMOND = matrix_of(4, (0, 1), (0, 2), (1, 3), (2, 3))
CHAIN = matrix_of(5, (0, 1), (1, 2), (2, 3), (3, 4))
BYPASS = matrix_of(4, (0, 1), (0, 3), (1, 2), (2, 3))
FORKED = matrix_of(7, (0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 6), (3, 5), (4, 5), (5, 6))
SPLIT = (
    matrix_of(5, (0, 1), (0, 2), (1, 4), (2, 3), (3, 4)),
    matrix_of(5, (0, 1), (0, 3), (1, 2), (2, 4), (3, 4)),
    matrix_of(5, (0, 1), (0, 2), (1, 3), (2, 4), (3, 4)),
)
REGULAR = (
    matrix_of(
        8, (0, 1), (1, 2), (1, 3), (1, 6), (2, 4), (2, 5), (3, 4), (3, 5), (4, 6), (5, 6), (6, 7)
    ),
    matrix_of(
        8, (0, 1), (1, 2), (1, 3), (1, 5), (2, 4), (2, 6), (3, 4), (3, 5), (4, 6), (5, 6), (6, 7)
    ),
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((DIAMOND, [-1, 1, 2, -2]), (DIAMOND, [-1, 2, 1, -2])),
        ((SPLIT[0], [-1, 1, 2, 3, -2]), (SPLIT[1], [-1, 2, 3, 1, -2])),
        ((SPLIT[1], [-1, 2, 3, 1, -2]), (SPLIT[2], [-1, 2, 1, 3, -2])),
    ],
)
def test_hash_of_isomorphic_graphs(one: Any, other: Any) -> None:
    assert hash_module(*one) == hash_module(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((SPLIT[0], [-1, 2, 3, 1, -2]), (SPLIT[0], [-1, 1, 2, 3, -2])),
        ((SPLIT[0], [-1, 2, 1, 3, -2]), (SPLIT[0], [-1, 1, 2, 3, -2])),
        ((REGULAR[0], [-1, *[1] * 6, -2]), (REGULAR[1], [-1, *[1] * 6, -2])),
        ((CHAIN, [-1, 1, 0, 0, -2]), (CHAIN, [-1, 0, 0, 1, -2])),
        ((BYPASS, [-1, 1, 0, -2]), (BYPASS, [-1, 0, 1, -2])),
        ((FORKED, [-1, 1, 0, 0, 0, 0, -2]), (FORKED, [-1, 0, 0, 0, 1, 0, -2])),
    ],
    ids=["labels", "swap", "regular", "own label", "direction", "predecessors"],
)
def test_hash_tells_others_apart(one: Any, other: Any) -> None:
    assert hash_module(*one) != hash_module(*other)


@settings(max_examples=60)
@given(st.data())
def test_hash_is_the_same_in_any_order(data: st.DataObject) -> None:
    # Of any directed graph, with cycles and loops, as the benchmark promises.
    n = data.draw(st.integers(3, 12))
    rows = st.lists(st.integers(0, 1), min_size=n, max_size=n)
    matrix = data.draw(st.lists(rows, min_size=n, max_size=n))
    labels = data.draw(st.lists(st.integers(0, 10), min_size=n, max_size=n))
    order = data.draw(st.permutations(range(n)))
    other = [[matrix[a][b] for b in order] for a in order]
    assert hash_module(matrix, labels) == hash_module(other, [labels[v] for v in order])


# --- pruning and spelling ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vertices", "edges", "kept"),
    [
        (3, [(0, 1), (1, 2)], [0, 1, 2]),
        (4, [(0, 1), (1, 3)], [0, 1, 3]),  # nothing at vertex 2
        (5, [(0, 1), (1, 4), (2, 3)], [0, 1, 4]),  # an island
        (4, [(0, 1), (0, 2), (2, 3)], [0, 2, 3]),  # vertex 1 leads nowhere
        (4, [(0, 2), (1, 3), (2, 3)], [0, 2, 3]),  # nothing leads to vertex 1
        (2, [], None),
        (4, [(0, 1), (2, 3)], None),
        (4, [(1, 2)], None),
    ],
)
def test_pruning(vertices: int, edges: list[tuple[int, int]], kept: list[int] | None) -> None:
    assert prune(vertices, edges) == kept


@given(positions, st.data())
def test_one_spelling_of_all_orders(index: int, data: st.DataObject) -> None:
    cell = Cell.from_code(int(cell_codes()[index]))
    assert cell.code == cell_codes()[index]
    order = data.draw(st.permutations(range(1, cell.vertices - 1)))
    other = in_another_order(cell, list(order))
    if other is not None:
        assert canonical(other) == cell
        assert module_hash(other) == module_hash(cell)
