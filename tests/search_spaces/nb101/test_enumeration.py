"""All cells of NAS-Bench-101, and the cached table of their hashes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasplug.search_spaces.nb101 import enumeration
from nasplug.search_spaces.nb101.cells import (
    LABELLINGS,
    OPS,
    Cell,
    module_hash,
    prune,
)
from nasplug.search_spaces.nb101.enumeration import CELLS, cell_codes

# SHA-256 of all hashes, sorted, one a line.
ALL_HASHES = "a7f10bf770c1b5b8a221e37824e42b3b1a237a5d21ccf545bbe8e23abd933403"
# Cells with at most so many vertices, which are the first of the order.
UP_TO = {2: 1, 3: 7, 4: 91, 5: 2_532, 6: 64_542, 7: 423_624}


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
