"""All 423,624 cells of NAS-Bench-101 with their hashes, enumerated once and then cached.

The benchmark's generator hashes 1.3 million spellings and keeps the first of each hash. Here the
symmetries of a graph decide which spelling comes first, so that only one spelling a cell is hashed;
the cells and their order are equal to the generator's.
"""

from __future__ import annotations

import hashlib
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.files import cache_dir, write_bytes
from nasplug.search_spaces.nb101.cells import (
    LABELLINGS,
    MAX_EDGES,
    MAX_VERTICES,
    OPS,
    Cell,
    hash_neighbours,
    neighbours,
)

__all__ = ["CELLS", "CONTENT_SHA256", "CellTable", "cell_codes", "cell_hashes", "cell_table"]

CELLS = 423_624
# SHA-256 of the codes and then the hashes, in the generator's order; a cached file must match it.
CONTENT_SHA256 = "edc1b84b556187a3ce6438f1c66321e7302ef6b0c985b9673467f90c579dd003"
_HASH_BYTES = 16
_CODE = np.dtype("<u4")

Codes = NDArray[np.uint32]
Hashes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class CellTable:
    """Every cell, in the order of the benchmark's generator.

    Attributes:
        codes: `Cell.code` of each cell, ascending; shape `(cells,)`.
        hashes: The 16 bytes of each cell's hash; shape `(cells, 16)`.
    """

    codes: Codes
    hashes: Hashes

    def arch_id(self, index: int) -> str:
        """The hash of a cell as 32 hexadecimal digits."""
        result: str = self.hashes[index].tobytes().hex()
        return result


@cache
def cell_codes() -> Codes:
    """`Cell.code` of every cell in its canonical spelling, ascending; shape `(423624,)`."""
    codes_by_graph = [
        codes for vertices in range(2, MAX_VERTICES + 1) for codes in _codes(vertices)
    ]
    codes = np.concatenate(codes_by_graph)
    codes.setflags(write=False)
    return codes


def _codes(vertices: int) -> Iterator[Codes]:
    """Yield the codes of the cells with so many vertices, graph by graph, ascending."""
    inner = vertices - 2
    count = len(OPS) ** inner
    digits = np.array(list(itertools.product(range(len(OPS)), repeat=inner)), np.int64)
    digits = digits.reshape(count, inner)
    weights = len(OPS) ** np.arange(inner - 1, -1, -1, dtype=np.int64)
    graphs, orders, spelled = _spellings(vertices)
    for graph, row in zip(graphs, spelled, strict=True):
        keep = np.ones(count, dtype=np.bool_)
        # An order of the vertices that leaves the edges as they are moves labels alone.
        for order in orders[row == graph]:
            keep &= np.arange(count) <= digits[:, order - 1] @ weights
        yield (int(graph) * LABELLINGS + np.flatnonzero(keep)).astype(_CODE)


def _spellings(
    vertices: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The graphs in canonical spelling, the orders of inner vertices, and all spellings.

    Returns:
        Bits of the graphs whose spelling is the smallest, `(graphs,)`; orders, `(orders, inner)`,
        where vertex `order[k]` becomes vertex k + 1; bits of each graph in each order, `(graphs,
        orders)`, −1 where an edge would point backwards.
    """
    pairs = [(a, b) for b in range(vertices) for a in range(b)]
    bits = np.arange(1 << len(pairs), dtype=np.int64)
    columns = [(bits >> (b * (b - 1) // 2)) & ((1 << b) - 1) for b in range(1, vertices)]
    # numpy counts the bits of a number from version 2 on only.
    count = np.zeros(len(bits), np.int64)
    for k in range(len(pairs)):
        count += (bits >> k) & 1
    valid = count <= MAX_EDGES
    for column in columns:
        valid &= column != 0
    used = np.bitwise_or.reduce(columns)
    bits = bits[valid & (used == (1 << (vertices - 1)) - 1)]
    orders = np.array(list(itertools.permutations(range(1, vertices - 1))), np.int64)
    orders = orders.reshape(len(orders), vertices - 2)
    spelled = np.zeros((len(bits), len(orders)), np.int64)
    for number, order in enumerate(orders):
        new_vertex = [0, *(np.argsort(order) + 1).tolist(), vertices - 1]
        backwards = np.zeros(len(bits), dtype=np.bool_)
        for k, (a, b) in enumerate(pairs):
            present = (bits >> k) & 1
            if new_vertex[a] < new_vertex[b]:
                spelled[:, number] |= present << (
                    new_vertex[a] + new_vertex[b] * (new_vertex[b] - 1) // 2
                )
            else:
                backwards |= present == 1
        spelled[backwards, number] = -1
    smallest = np.where(spelled < 0, np.iinfo(np.int64).max, spelled).min(axis=1)
    first = bits == smallest
    return bits[first], orders, spelled[first]


def cell_hashes(codes: Codes, progress: bool | None = None) -> Hashes:
    """The benchmark's hash of each cell, shape `(cells, 16)`.

    Args:
        codes: `Cell.code` of each cell; fastest if cells of equal edges are neighbours.
        progress: Whether to draw a progress bar on stderr; None draws it on a terminal only.
    """
    from tqdm import tqdm

    shown = sys.stderr.isatty() if progress is None else progress
    hashes = bytearray()
    graph = -1
    with tqdm(total=len(codes), desc="nb101 cells", unit="cell", disable=not shown) as bar:
        for done, code in enumerate(codes.tolist(), start=1):
            cell = Cell.from_code(code)
            if cell.bits != graph:
                graph = cell.bits
                before, after = neighbours(cell)
            hashes += bytes.fromhex(hash_neighbours(before, after, (-1, *cell.labels, -2)))
            if done % 1024 == 0:
                bar.update(1024)
    return np.frombuffer(hashes, np.uint8).reshape(-1, _HASH_BYTES)


@cache
def cell_table(progress: bool | None = None) -> CellTable:
    """Load all cells with their hashes from the cache, or enumerate them (a minute or two).

    A table that was enumerated is kept in the cache.

    Args:
        progress: Whether to draw a progress bar, as in `cell_hashes`.
    """
    path = cache_dir() / "tables" / "nb101-cells.bin"
    table = _read(path)
    if table is not None:
        return table
    codes = cell_codes()
    table = CellTable(codes, cell_hashes(codes, progress))
    content = _content(table)
    if hashlib.sha256(content).hexdigest() != CONTENT_SHA256:
        raise RuntimeError(
            "the enumeration of nb101 differs from the benchmark; this is a bug in nasplug"
        )
    try:
        write_bytes(path, content)
    except OSError as error:
        # The table is worth more than the file.
        print(
            f"nasplug: cannot cache the cells of nb101 in {path} ({error}); set NASPLUG_CACHE to "
            "a folder that can be written, or nasplug enumerates them again next time",
            file=sys.stderr,
        )
    return table


def _content(table: CellTable) -> bytes:
    return table.codes.astype(_CODE).tobytes() + table.hashes.tobytes()


def _read(path: Path) -> CellTable | None:
    """Read the table in a file; None if there is no such file, or any bit of it is wrong."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() != CONTENT_SHA256:
        return None
    split = CELLS * _CODE.itemsize
    codes = np.frombuffer(content[:split], _CODE).astype(np.uint32)
    codes.setflags(write=False)
    return CellTable(codes, np.frombuffer(content[split:], np.uint8).reshape(CELLS, _HASH_BYTES))
