"""NAS-Bench-101: 423,624 cells of at most seven vertices and nine edges (Ying et al., ICML 2019).

A network for CIFAR-10 stacks nine copies of a cell; `cells` defines a cell, `costs` the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.cell_arrays import CellArrays
from nasplug.search_spaces.code import network_code
from nasplug.search_spaces.coded_space import CodedSpace
from nasplug.search_spaces.errors import InputError, closest
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.nb101.arrays import cell_arrays
from nasplug.search_spaces.nb101.cells import (
    INPUT,
    LABELLINGS,
    MAX_EDGES,
    MAX_VERTICES,
    OPS,
    OUTPUT,
    Cell,
    canonical,
    module_hash,
    prune,
    pruned,
)
from nasplug.search_spaces.nb101.costs import node_rows, total_costs
from nasplug.search_spaces.nb101.enumeration import CELLS, cell_codes, cell_table
from nasplug.search_spaces.nb101.functions import normal_cell, normal_codes
from nasplug.search_spaces.nb101.moves import move, moves
from nasplug.search_spaces.nb101.pieces import piece_counts
from nasplug.search_spaces.space import Architecture, choice_of

if TYPE_CHECKING:
    import onnx
    from optuna.distributions import BaseDistribution

__all__ = ["NB101", "TASK"]

TASK = "cifar10"
_LAST = MAX_VERTICES - 1
_EDGES = tuple((a, b) for b in range(MAX_VERTICES) for a in range(b))
_HASH = re.compile(r"[0-9a-f]{32}")
_TEXT_SHOWN = 200


class NB101(CodedSpace):
    """The NAS-Bench-101 space, in the order of the benchmark's own generator.

    `arch_id` is the benchmark's module hash. A text has the form of the benchmark's records, the
    adjacency matrix row by row and the operations: `0110001100010000:input,conv1x1-bn-relu,…`.
    Any spelling of a cell (vertices in another order, vertices that reach no output) is read as
    the one spelling that the benchmark trained, on which widths and parameters depend.
    """

    name = "nb101"
    has_arrays = True
    writes_onnx = True
    writes_code = True

    @property
    def has_networks(self) -> bool:
        """Always true: `to_network` expands a cell."""
        return True

    @property
    def tasks(self) -> tuple[str, ...]:
        """The image set of the benchmark."""
        return (TASK,)

    @cached_property
    def codes(self) -> NDArray[np.uint32]:
        """`key` of every cell, ascending, which is the space's order; shape `(423624,)`."""
        return cell_codes()

    def __len__(self) -> int:
        return CELLS

    def __iter__(self) -> Iterator[Architecture]:
        """Yield all cells; their hashes take a minute or two the first time, then are cached."""
        table = cell_table()
        for index, code in enumerate(table.codes.tolist()):
            yield _named(code, table.arch_id(index))

    def __getitem__(self, index: int) -> Architecture:
        """The cell at a position of the space's order, 0 to 423,623."""
        return _architecture(int(self.codes[index]))

    def index(self, arch: Architecture) -> int:
        """Position of a cell in the order of the benchmark's generator."""
        return int(np.searchsorted(self.codes, np.uint32(self.cell(arch).code)))

    def distributions(self) -> dict[str, BaseDistribution]:
        """26 parameters of a graph of seven vertices: 21 edges and five operations.

        `edge_a_b` is 1 if vertex a feeds vertex b; vertex 0 is the input, 6 the output. `op_1` to
        `op_5` are the operations of the others; a vertex without a path through it does not count.
        """
        from optuna.distributions import CategoricalDistribution, IntDistribution

        edges: dict[str, BaseDistribution] = {
            f"edge_{a}_{b}": IntDistribution(0, 1) for a, b in _EDGES
        }
        return edges | {f"op_{v}": CategoricalDistribution(OPS) for v in range(1, _LAST)}

    def from_params(self, params: Mapping[str, Any]) -> Architecture:
        """Make the cell of these edges and operations.

        A graph that is no cell of the benchmark is turned into a cell near by, always the same one
        (see `repaired`): a graph with more than nine edges loses some, and a graph without a path
        to the output gets an edge to it.
        """
        edges = [(a, b) for a, b in _EDGES if choice_of(params, f"edge_{a}_{b}", (0, 1), self.name)]
        labels = [OPS.index(choice_of(params, f"op_{v}", OPS, self.name)) for v in range(1, _LAST)]
        return _spelled(MAX_VERTICES, repaired(edges), labels)

    def to_params(self, arch: Architecture) -> dict[str, Any]:
        """Edges and operations of seven vertices; those that the cell lacks have no edges."""
        cell = self.cell(arch)
        number = [*range(cell.vertices - 1), _LAST]
        present = {(number[a], number[b]) for a, b in cell.edges}
        labels = [*cell.labels, *([0] * (MAX_VERTICES - cell.vertices))]
        edges = {f"edge_{a}_{b}": int((a, b) in present) for a, b in _EDGES}
        return edges | {f"op_{v}": OPS[label] for v, label in enumerate(labels, start=1)}

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw one of the 423,624 cells, uniformly."""
        return self[int(rng.integers(CELLS))]

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw a neighbour: another operation, an edge more or less, or a vertex more or less.

        The kind of change is drawn first, then its place, so that each kind is as frequent.
        """
        return _architecture(move(self.cell(arch), rng).code)

    def neighbors(self, arch: Architecture) -> list[Architecture]:
        """All cells at one change (see `moves`), in the space's order."""
        return [_architecture(code) for code in sorted({c.code for c in moves(self.cell(arch))})]

    def architecture(self, cell: Cell) -> Architecture:
        """The architecture of a cell in any spelling, all of whose vertices are on a path."""
        return _architecture(canonical(cell).code)

    def cell(self, arch: Architecture) -> Cell:
        """The edges and labels of an architecture."""
        self.validate(arch)
        return Cell.from_code(arch.key)  # type: ignore[arg-type]

    def validate(self, arch: Architecture) -> None:
        """Check that `arch` is a NAS-Bench-101 cell."""
        key = arch.key
        if arch.space == self.name and type(key) is int and 0 <= key <= self.codes[-1]:
            position = int(np.searchsorted(self.codes, np.uint32(key)))
            if self.codes[position] == key:
                return
        raise InputError(
            f"{arch.text[:_TEXT_SHOWN]!r} of space {arch.space!r} is not a NAS-Bench-101 cell"
        )

    def parse(self, text: str) -> Architecture:
        """Read a cell: adjacency and operations as the benchmark writes them, or its hash.

        Any order of the vertices is read, and vertices on no path from input to output are dropped.
        """
        cell_text = text.strip()
        if _HASH.fullmatch(cell_text):
            return self._by_hash(cell_text)
        adjacency, colon, ops = cell_text.partition(":")
        side = round(len(adjacency) ** 0.5)
        if not colon or side < 2 or side**2 != len(adjacency) or set(adjacency) - {"0", "1"}:
            raise InputError(
                f"{cell_text[:_TEXT_SHOWN]!r} is not a NAS-Bench-101 cell; write its adjacency "
                "matrix row by row and its operations, such as "
                "0110001100010000:input,conv3x3-bn-relu,maxpool3x3,output, or its hash"
            )
        matrix = [[int(d) for d in adjacency[k : k + side]] for k in range(0, side**2, side)]
        return self.from_matrix(matrix, ops.split(","))

    def _by_hash(self, arch_id: str) -> Architecture:
        hash_bytes = np.frombuffer(bytes.fromhex(arch_id), np.uint8)
        table = cell_table()
        matches = np.flatnonzero((table.hashes == hash_bytes).all(axis=1))
        if not len(matches):
            raise InputError(f"NAS-Bench-101 has no cell with the hash {arch_id}")
        return self[int(matches[0])]

    def from_matrix(
        self, matrix: Sequence[Sequence[int]] | NDArray[Any], ops: Sequence[str]
    ) -> Architecture:
        """Read the cell of an upper triangular adjacency matrix and the operation of each vertex.

        Args:
            matrix: 0 or 1, square; row a, column b is the edge a → b.
            ops: The first is `"input"`, the last `"output"`.

        Raises:
            InputError: If that is no cell of the benchmark, once pruned.
        """
        vertices = len(matrix)
        if vertices != len(ops) or any(len(row) != vertices for row in matrix):
            raise InputError(
                f"{len(ops)} operations do not fit an adjacency matrix of {vertices} rows; give a "
                "square matrix and one operation per row"
            )
        edges = [(a, b) for a, row in enumerate(matrix) for b, edge in enumerate(row) if edge]
        if any(a >= b for a, b in edges):
            raise InputError("the adjacency matrix has a backward edge; make it upper triangular")
        live = prune(vertices, edges)
        if live is None:
            raise InputError("the cell has no path from its input to its output; connect them")
        live_set = set(live)
        labels = [0] * (vertices - 2)
        for v, op in enumerate(ops):
            if v in (0, vertices - 1):
                wanted = INPUT if v == 0 else OUTPUT
                if op != wanted:
                    raise InputError(f"operation {v} is {op!r}, but must be {wanted!r}")
            elif op in OPS:
                labels[v - 1] = OPS.index(op)
            elif v in live_set:
                likely = closest(str(op), OPS)
                raise InputError(f"unknown operation {op!r}; known: {likely}")
        # Checked before the cell is spelled, which a large graph could make very slow.
        count = sum(a in live_set and b in live_set for a, b in edges)
        if len(live) > MAX_VERTICES or count > MAX_EDGES:
            raise InputError(
                f"the cell has {len(live)} vertices and {count} edges; NAS-Bench-101 allows at "
                f"most {MAX_VERTICES} vertices and {MAX_EDGES} edges"
            )
        return _spelled(vertices, edges, labels)

    def to_graph(self, arch: Architecture, task: str | None = None) -> Graph:
        """The cell: one node a vertex, with its costs summed over the nine cells of the network.

        See `costs.node_rows` for how the rest of the network is charged.
        """
        _check(task)
        return _graph(self.cell(arch))

    def to_network(self, arch: Architecture, task: str | None = None) -> Graph:
        """The whole network, one node an operator, as predictors of whole networks read it."""
        from nasplug.search_spaces.nb101.network import network

        _check(task)
        return network(self.cell(arch))

    def to_onnx(
        self, arch: Architecture, seed: int = 0, batch_size: int = 1, task: str | None = None
    ) -> onnx.ModelProto:
        """The network with random weights, to be run and timed; see `SearchSpace.to_onnx`."""
        from nasplug.search_spaces.nb101.network import onnx_model

        _check(task)
        return onnx_model(self.cell(arch), seed, batch_size, arch.arch_id)

    def to_code(self, arch: Architecture, task: str | None = None) -> str:
        """The code of the benchmark's network of a cell; see `SearchSpace.to_code`."""
        from nasplug.search_spaces.nb101.network import code_constants

        graph, constants = self.to_graph(arch, task), code_constants(self.cell(arch))
        # The benchmark counts each bias of the classifier as a multiply-accumulate.
        macs = graph.total("flops") - constants["CLASSES"]
        costs = {"params": graph.total("params"), "flops": macs}
        return network_code("nb101", constants, arch.arch_id, arch.text, costs, folded=False)

    def normal_form(self, graph: Graph) -> Graph:
        """The graph of the cell that computes equal max-pools once; see `functions`."""
        label_of = {op: label for label, op in enumerate(OPS)}
        labels = [label_of.get(op) for op in graph.ops[1:-1]]
        ends = (graph.ops[0], graph.ops[-1])
        if None in labels or ends != (INPUT, OUTPUT) or len(graph) > MAX_VERTICES:
            return graph
        cell = Cell.of(graph.edges, labels)  # type: ignore[arg-type]
        normal = normal_cell(cell)
        return graph if normal is cell else _graph(normal)

    def normal_codes(self, codes: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Codes of the cells in `normal_form`, `(cells,)`; most cells keep their codes."""
        return normal_codes(codes)

    def totals(self, codes: NDArray[np.uint32] | None = None) -> dict[str, NDArray[np.float64]]:
        """FLOPs, parameters and bytes of many cells at once; of all 423,624 by default."""
        return dict(self._totals) if codes is None else total_costs(codes)

    @cached_property
    def _totals(self) -> dict[str, NDArray[np.float64]]:
        totals = total_costs(self.codes)
        for values in totals.values():
            values.setflags(write=False)
        return totals

    def arrays(self, codes: NDArray[np.uint32] | None = None) -> CellArrays:
        """Cells as arrays, which fast predictors read; all 423,624 by default (0.4 GB)."""
        return cell_arrays(self.codes if codes is None else codes)

    def counts(self, codes: NDArray[np.uint32] | None = None) -> NDArray[np.uint8]:
        """Counts of each small piece in each cell; see `pieces`."""
        return piece_counts(self.codes if codes is None else codes)


def repaired(edges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Turn edges of seven vertices into those of a cell of the benchmark near by.

    If no path leads from input to output, the last vertex that the input reaches feeds the output.
    Dead vertices go. While more than nine edges are left, the first one (by source, then target)
    goes without which no vertex is cut off, or else the first of all.
    """
    remaining = sorted(edges)
    if prune(MAX_VERTICES, remaining) is None:
        reached = {0}
        for a, b in remaining:
            if a in reached:
                reached.add(b)
        remaining = sorted([*remaining, (max(reached), _LAST)])
    while True:
        live = prune(MAX_VERTICES, remaining)
        assert live is not None
        remaining = [(a, b) for a, b in remaining if a in live and b in live]
        if len(remaining) <= MAX_EDGES:
            return remaining
        spare = [
            (a, b)
            for a, b in remaining
            if sum(s == a for s, _ in remaining) > 1 and sum(t == b for _, t in remaining) > 1
        ]
        remaining.remove((spare or remaining)[0])


def _spelled(
    vertices: int, edges: Iterable[tuple[int, int]], labels: Sequence[int]
) -> Architecture:
    """The architecture of these vertices without those that are on no path; there has to be one."""
    cell = pruned(vertices, edges, labels)
    assert cell is not None
    return _architecture(canonical(cell).code)


def _check(task: str | None) -> None:
    if task not in (None, TASK):
        raise InputError(f"unknown image set {task!r}; known: {TASK}")


def _architecture(code: int) -> Architecture:
    return _named(code, module_hash(Cell.from_code(code)))


def _named(code: int, arch_id: str) -> Architecture:
    bits, number = divmod(code, LABELLINGS)
    adjacency, vertices = _adjacency(bits)
    return Architecture(NB101.name, f"{adjacency}:{_ops_text(vertices, number)}", arch_id, code)


@lru_cache(maxsize=16_384)
def _adjacency(bits: int) -> tuple[str, int]:
    """The adjacency matrix row by row, and the number of vertices."""
    cell = Cell.from_code(bits * LABELLINGS)
    vertices = cell.vertices
    text = "".join(
        str(int(a < b and cell.has(a, b))) for a in range(vertices) for b in range(vertices)
    )
    return text, vertices


@cache
def _ops(vertices: int, number: int) -> tuple[str, ...]:
    labels = [number // len(OPS) ** k % len(OPS) for k in range(vertices - 2)]
    return (INPUT, *(OPS[label] for label in reversed(labels)), OUTPUT)


@cache
def _ops_text(vertices: int, number: int) -> str:
    return ",".join(_ops(vertices, number))


@lru_cache(maxsize=16_384)
def _sorted_edges(bits: int) -> tuple[tuple[int, int], ...]:
    return Cell.from_code(bits * LABELLINGS).edges


def _graph(cell: Cell) -> Graph:
    rows = node_rows(cell.bits, cell.vertices)
    labels = (0, *cell.labels, 0)
    number = cell.code % LABELLINGS
    return Graph(
        _ops(cell.vertices, number),
        _sorted_edges(cell.bits),
        rows[np.arange(cell.vertices), labels],
    )
