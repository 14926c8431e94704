"""Cells of NAS-Bench-101: hash, pruning, canonical spelling, enumeration and its cached table."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasplug.search_spaces.nb101 import enumeration
from nasplug.search_spaces.nb101.cells import (
    LABELLINGS,
    OPS,
    Cell,
    canonical,
    hash_module,
    module_hash,
    prune,
)
from nasplug.search_spaces.nb101.costs import total_costs
from nasplug.search_spaces.nb101.enumeration import CELLS, cell_codes

# SHA-256 of all hashes, sorted, one a line.
ALL_HASHES = "a7f10bf770c1b5b8a221e37824e42b3b1a237a5d21ccf545bbe8e23abd933403"
# Cells with at most so many vertices, which are the first of the order.
UP_TO = {2: 1, 3: 7, 4: 91, 5: 2_532, 6: 64_542, 7: 423_624}
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


@settings(deadline=None, max_examples=60)
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


@settings(deadline=None)
@given(positions, st.data())
def test_one_spelling_of_all_orders(index: int, data: st.DataObject) -> None:
    cell = Cell.from_code(int(cell_codes()[index]))
    assert cell.code == cell_codes()[index]
    order = data.draw(st.permutations(range(1, cell.vertices - 1)))
    other = in_another_order(cell, list(order))
    if other is not None:
        assert canonical(other) == cell
        assert module_hash(other) == module_hash(cell)


# --- enumeration -------------------------------------------------------------------------------


def test_the_benchmark_has_so_many_cells() -> None:
    codes = cell_codes()
    assert len(codes) == CELLS
    assert (codes[1:] > codes[:-1]).all()
    # The first bit of an output's column in which a cell can have an edge.
    sizes = {n: np.uint32(LABELLINGS << (n * (n - 1) // 2)) for n in UP_TO if n < 7}
    assert {n: int((codes < end).sum()) for n, end in sizes.items()} | {7: len(codes)} == UP_TO
    assert hashlib.sha256(codes.astype("<u4").tobytes()).hexdigest() == (
        "d0d047ff2911ddc5a7431edd140c638a37d7868096fc1745fcaa3218a8f24759"
    )


def test_every_cell_is_within_the_limits() -> None:
    for code in cell_codes()[::997].tolist():
        cell = Cell.from_code(code)
        assert len(cell.edges) <= 9
        assert prune(cell.vertices, cell.edges) == list(range(cell.vertices))
        assert cell.ops == ("input", *(OPS[k] for k in cell.labels), "output")


def test_small_cells_are_those_of_ec_nas(mirror: Path) -> None:
    path = (
        mirror
        / "PedramBakh/EC-NAS-Bench/ec1741b903555dd11201c326d036ebe5867e3d1d/ecnas/vendors"
        / "ec_nasbench/nasbench/data/graphs/generated_graphs_5V9E.json"
    )
    if not path.is_file():
        pytest.skip(f"no data: {path} is missing")
    listed = json.loads(path.read_text())
    assert len(listed) == UP_TO[5]
    hashes = enumeration.cell_hashes(cell_codes()[: UP_TO[5]], progress=False)
    assert {row.tobytes().hex() for row in hashes} == set(listed)
    for row, code in zip(hashes, cell_codes(), strict=False):
        cell = Cell.from_code(int(code))
        matrix, labels = listed[row.tobytes().hex()]
        edges = tuple(
            (a, b) for a, line in enumerate(matrix) for b, edge in enumerate(line) if edge
        )
        assert (cell.edges, [-1, *cell.labels, -2]) == (edges, labels)


# --- the cached table --------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A space of 91 cells and an empty cache; counts how often cells are hashed."""
    monkeypatch.setenv("NASPLUG_CACHE", str(tmp_path))
    codes = cell_codes()[: UP_TO[4]]
    hashes = enumeration.cell_hashes(codes, progress=False)
    content = enumeration._content(enumeration.CellTable(codes, hashes))
    state: dict[str, Any] = {"hashed": 0, "content": content}
    state["path"] = tmp_path / "tables" / "nb101-cells.bin"

    def count(wanted: Any, progress: bool | None = None) -> Any:
        state["hashed"] += 1
        return hashes

    monkeypatch.setattr(enumeration, "CELLS", len(codes))
    monkeypatch.setattr(enumeration, "cell_codes", lambda: codes)
    monkeypatch.setattr(enumeration, "cell_hashes", count)
    monkeypatch.setattr(enumeration, "CONTENT_SHA256", hashlib.sha256(content).hexdigest())
    # Without what this process remembers.
    monkeypatch.setattr(enumeration, "cell_table", enumeration.cell_table.__wrapped__)
    return state


def test_cells_are_hashed_once(small: dict[str, Any]) -> None:
    made, read = enumeration.cell_table(), enumeration.cell_table()
    assert small["hashed"] == 1
    assert small["path"].read_bytes() == small["content"]
    assert np.array_equal(made.codes, read.codes)
    assert np.array_equal(made.hashes, read.hashes)
    assert read.arch_id(0) == module_hash(Cell.from_code(int(read.codes[0])))


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "longer"])
def test_damaged_table_is_made_again(small: dict[str, Any], damage: str) -> None:
    enumeration.cell_table()
    content = bytearray(small["content"])
    content[700] ^= 16
    bad = {
        "flipped": bytes(content),
        "truncated": small["content"][:-1],
        "empty": b"",
        "longer": small["content"] + b"\0",
    }
    small["path"].write_bytes(bad[damage])
    table = enumeration.cell_table()
    assert small["hashed"] == 2
    assert small["path"].read_bytes() == small["content"] == enumeration._content(table)


def test_table_that_cannot_be_kept_is_used(
    small: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    small["path"].parent.write_text("a file where the folder should be")
    assert len(enumeration.cell_table().codes) == UP_TO[4]
    said = capsys.readouterr()
    assert said.out == ""
    assert "set NASPLUG_CACHE" in said.err
    assert said.err.count("\n") == 1


def test_progress_is_drawn_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    enumeration.cell_hashes(cell_codes()[:7])
    assert capsys.readouterr().err == ""  # no terminal
    enumeration.cell_hashes(cell_codes()[:7], progress=True)
    said = capsys.readouterr()
    assert "nb101 cells" in said.err
    assert said.out == ""


@pytest.mark.slow
def test_all_hashes() -> None:
    table = enumeration.cell_table()
    hashes = sorted(row.tobytes().hex() for row in table.hashes)
    assert len(set(hashes)) == CELLS
    assert hashlib.sha256("\n".join(hashes).encode()).hexdigest() == ALL_HASHES
