"""Counts of small pieces in NAS-Bench-101 cells."""

from __future__ import annotations

import numpy as np
import pytest

from nasplug.search_spaces import CodedSpace
from nasplug.search_spaces.nb101.cells import OPS
from nasplug.search_spaces.nb101.pieces import PIECES, _column, piece_counts
from nasplug.search_spaces.nb101.space import NB101

SPACE = NB101()
ROWS = np.random.default_rng(0).choice(len(SPACE), 300, replace=False)
COUNTS = piece_counts(SPACE.codes[ROWS])


def test_columns_do_not_depend_on_what_else_is_asked_for() -> None:
    assert COUNTS.shape == (300, PIECES)
    assert np.array_equal(piece_counts(SPACE.codes[ROWS[::-3]]), COUNTS[::-3])
    assert np.array_equal(SPACE.counts(SPACE.codes[ROWS[:5]]), COUNTS[:5])
    assert piece_counts(SPACE.codes[:0]).shape == (0, PIECES)


@pytest.mark.parametrize("row", range(0, 300, 23))
def test_counts_are_those_of_the_cell(row: int) -> None:
    cell = SPACE.cell(SPACE[int(ROWS[row])])
    inner, last = range(1, cell.vertices - 1), cell.vertices - 1
    counts = COUNTS[row]
    for op, name in enumerate(OPS):
        times = cell.ops.count(name)
        assert counts[[_column("op", op, k) for k in range(5)]].sum() == times
        assert counts[[_column("op in", op, k) for k in range(6)]].sum() == times
    for a, one in enumerate(OPS):
        for b, other in enumerate(OPS):
            pairs = sum(
                cell.ops[s] == one and cell.ops[t] == other
                for s, t in cell.edges
                if s in inner and t in inner
            )
            assert counts[[_column("pair", a, b, k) for k in range(5)]].sum() == pairs
    reading = sum(cell.has(0, v) for v in inner)
    assert sum(counts[_column("in", k, 1, w)] for k in range(5) for w in range(5)) == reading
    joined = sum(cell.has(v, last) for v in inner)
    assert counts[_column("join", joined, int(cell.has(0, last)))] == 1
    assert counts[_column("fan", sum(s == 0 for s, _ in cell.edges))] == 1


def test_totals_of_some_cells_are_those_of_their_graphs() -> None:
    assert isinstance(SPACE, CodedSpace)
    every, some = SPACE.totals(), SPACE.totals(SPACE.codes[ROWS])
    for name, values in some.items():
        assert np.array_equal(values, every[name][ROWS])
        for row in range(0, 300, 50):
            graph = SPACE.to_graph(SPACE[int(ROWS[row])])
            assert values[row] == graph.total(name)
    with pytest.raises(ValueError, match="read-only"):
        every["flops"][0] = 0
