"""NAS-Bench-201: 15,625 cells of four nodes and six edges (Dong & Yang, ICLR 2020).

A cell's node 0 is its input; node j > 0 sums one operation from each earlier node. Three stages of
five cells with 16, 32 and 64 channels, a residual reduction block between the stages.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.code import network_code
from nasplug.search_spaces.costs import Cost, conv, elementwise, linear, norm, pool
from nasplug.search_spaces.errors import InputError, closest
from nasplug.search_spaces.graph import ATTRIBUTES, Graph
from nasplug.search_spaces.nb201_functions import first_equal
from nasplug.search_spaces.space import Architecture, FiniteSpace, choice_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = [
    "CELLS_A_STAGE",
    "CELL_EDGES",
    "CHANNELS",
    "NB201",
    "OPS",
    "TASKS",
]

# In the benchmark's own order, on which the index order depends.
OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
_DIGITS = {op: k for k, op in enumerate(OPS)}
# (from, to) of the six edges, in the order of the architecture string.
CELL_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
# Image set -> (side of the input in pixels, classes).
TASKS = {"cifar10": (32, 10), "cifar100": (32, 100), "imagenet16-120": (16, 120)}

_OP = "([^|+~]*)"
_FORM = re.compile(rf"\|{_OP}~0\|\+\|{_OP}~0\|{_OP}~1\|\+\|{_OP}~0\|{_OP}~1\|{_OP}~2\|", re.ASCII)

CHANNELS = (16, 32, 64)
CELLS_A_STAGE = 5
IMAGE_CHANNELS = 3

# Operations as nodes: input, the six edges, output; an edge feeds those that leave its end.
NODE_EDGES = ((0, 1), (0, 2), (0, 4), (1, 3), (1, 5), (2, 6), (3, 6), (4, 7), (5, 7), (6, 7))


def _text(digits: Sequence[int]) -> str:
    o = [OPS[d] for d in digits]
    return f"|{o[0]}~0|+|{o[1]}~0|{o[2]}~1|+|{o[3]}~0|{o[4]}~1|{o[5]}~2|"


def _expression(digits: Sequence[int]) -> str:
    """The benchmark's canonical expression of the cell's output.

    A sum is a sorted list of terms; `skip_connect` passes its input on, `none` and every operation
    on a pure zero give the term `#`.
    """
    nodes = ["0"]
    edge = 0
    for node in range(1, 4):
        terms = []
        for source in range(node):
            op, x = OPS[digits[edge]], nodes[source]
            edge += 1
            if op == "none" or x == "#":
                terms.append("#")
            elif op == "skip_connect":
                terms.append(x)
            else:
                terms.append(f"({x})@{op}")
        nodes.append("+".join(sorted(terms)))
    return nodes[3]


class NB201(FiniteSpace):
    """The NAS-Bench-201 space, in the official index order.

    `arch_id` is a hash of the benchmark's canonical expression (skip connections contracted, zero
    terms kept as such, sums unordered): 6,466 distinct ids, the count that the benchmark publishes
    for cells that differ after removing isomorphic ones. An id does not name a function: cells that
    compute x and x + 0 have two ids, and a convolution that counts twice has the id of two
    convolutions. There are 5,044 functions of weights (see `nb201_functions`); `normal_form` gives
    one graph for each.
    """

    name = "nb201"
    writes_code = True

    @property
    def tasks(self) -> tuple[str, ...]:
        """The image sets of the benchmark."""
        return tuple(TASKS)

    @cached_property
    def _all(self) -> tuple[Architecture, ...]:
        digits = list(itertools.product(range(len(OPS)), repeat=len(CELL_EDGES)))
        # The official order is the product, shuffled by Python's generator with this seed.
        random.Random(88).shuffle(digits)
        return tuple(self._architecture(d) for d in digits)

    @cached_property
    def _by_key(self) -> dict[Any, int]:
        return {arch.key: k for k, arch in enumerate(self._all)}

    @cached_property
    def _by_id(self) -> dict[str, list[Architecture]]:
        groups: dict[str, list[Architecture]] = {}
        for arch in self._all:
            groups.setdefault(arch.arch_id, []).append(arch)
        return groups

    def _architecture(self, digits: Sequence[int]) -> Architecture:
        digest = hashlib.sha256(_expression(digits).encode()).hexdigest()
        return Architecture(self.name, _text(digits), f"nb201-{digest[:12]}", tuple(digits))

    def _cell(self, digits: Iterable[int]) -> Architecture:
        return self._all[self._by_key[tuple(digits)]]

    @cached_property
    def _first(self) -> NDArray[np.intp]:
        """Index of the first cell of equal function, `(15625,)`."""
        return first_equal(np.array([arch.key for arch in self._all]), CELL_EDGES)

    @cached_property
    def _normal(self) -> dict[tuple[int, str], Graph]:
        """Normal forms by index and image set, as far as they were asked for."""
        return {}

    def __len__(self) -> int:
        result: int = len(OPS) ** len(CELL_EDGES)
        return result

    def __iter__(self) -> Iterator[Architecture]:
        return iter(self._all)

    def __getitem__(self, index: int) -> Architecture:
        """The cell of an official index, 0 to 15,624."""
        return self._all[index]

    def index(self, arch: Architecture) -> int:
        """The official index of a cell."""
        self.validate(arch)
        return self._by_key[arch.key]

    def equivalents(self, arch: Architecture) -> list[Architecture]:
        """All cells with the same `arch_id`, in index order."""
        self.validate(arch)
        return list(self._by_id[arch.arch_id])

    def distributions(self) -> dict[str, BaseDistribution]:
        """Six categorical parameters, `op_0_1` to `op_2_3`: the operation of each edge."""
        from optuna.distributions import CategoricalDistribution

        return {f"op_{a}_{b}": CategoricalDistribution(OPS) for a, b in CELL_EDGES}

    def from_params(self, params: Mapping[str, Any]) -> Architecture:
        """The cell whose edges carry the named operations."""
        ops = [choice_of(params, f"op_{a}_{b}", OPS, self.name) for a, b in CELL_EDGES]
        return self._cell([_DIGITS[op] for op in ops])

    def to_params(self, arch: Architecture) -> dict[str, Any]:
        """The operation of each edge, by parameter name."""
        digits = self._digits(arch)
        return {f"op_{a}_{b}": OPS[d] for (a, b), d in zip(CELL_EDGES, digits, strict=True)}

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw one of the 15,625 cells, uniformly."""
        return self._all[int(rng.integers(len(self)))]

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Put another operation on one edge."""
        digits = list(self._digits(arch))
        edge = int(rng.integers(len(digits)))
        digits[edge] = (digits[edge] + int(rng.integers(1, len(OPS)))) % len(OPS)
        return self._cell(digits)

    def neighbors(self, arch: Architecture) -> list[Architecture]:
        """The 24 cells with another operation on one edge."""
        digits = self._digits(arch)
        return [
            self._cell((*digits[:edge], op, *digits[edge + 1 :]))
            for edge in range(len(digits))
            for op in range(len(OPS))
            if op != digits[edge]
        ]

    def validate(self, arch: Architecture) -> None:
        """Check that `arch` is a NAS-Bench-201 cell."""
        if arch.space != self.name or arch.key not in self._by_key:
            raise InputError(f"{arch.text!r} of space {arch.space!r} is not a NAS-Bench-201 cell")

    def parse(self, text: str) -> Architecture:
        """Read the benchmark's architecture string, exactly as it prints it."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise InputError(
                f"{text[:200]!r} is not a NAS-Bench-201 architecture string; write "
                "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
            )
        for op in match.groups():
            if op not in OPS:
                raise InputError(f"unknown operation {op!r} in {text!r}; known: {', '.join(OPS)}")
        return self._cell([_DIGITS[op] for op in match.groups()])

    def _digits(self, arch: Architecture) -> tuple[int, ...]:
        self.validate(arch)
        return tuple(arch.key)  # type: ignore[arg-type]

    def to_graph(self, arch: Architecture, task: str | None = None) -> Graph:
        """The cell's graph of eight nodes: input, the six operations in string order, output.

        An operation's costs are the sum over its 15 copies in the network (five a stage), its
        channels and side those of the first stage. The stem is charged to the input node, the
        reduction blocks and the classifier to the output node, so that the graph's total is the
        whole network's.
        """
        digits = self._digits(arch)
        return Graph(
            ("input", *(OPS[d] for d in digits), "output"),
            NODE_EDGES,
            _cell_costs(digits, task or "cifar10"),
        )

    def to_code(self, arch: Architecture, task: str | None = None) -> str:
        """The code of the benchmark's network of a cell; see `SearchSpace.to_code`."""
        graph = self.to_graph(arch, task)
        side, classes = TASKS[task or "cifar10"]
        ops = iter(graph.ops[1:-1])
        cell = tuple(tuple((next(ops), a) for a in range(node)) for node in range(1, 4))
        constants = {
            "IMAGE": (IMAGE_CHANNELS, side, side),
            "CLASSES": classes,
            "CELL": cell,
            "CHANNELS": CHANNELS,
            "CELLS_A_STAGE": CELLS_A_STAGE,
        }
        # The benchmark counts each bias of the classifier as a multiply-accumulate.
        macs = graph.total("flops") - classes
        costs = {"params": graph.total("params"), "flops": macs}
        return network_code("nb201", constants, arch.arch_id, arch.text, costs, folded=False)

    def normal_form(self, graph: Graph) -> Graph:
        """The graph of the cell of equal function that has the smallest official index."""
        if graph.edges != NODE_EDGES or not set(graph.ops[1:-1]) <= _DIGITS.keys():
            return graph
        index = self._by_key[tuple(_DIGITS[op] for op in graph.ops[1:-1])]
        first = int(self._first[index])
        for task in TASKS if first != index else ():
            if np.array_equal(graph.attributes, _cell_costs(self._all[index].key, task)):
                return self._first_graph(first, task)
        return graph

    def normal_graph(self, arch: Architecture) -> Graph:
        """The `normal_form` of a cell's graph, for the first image set."""
        self.validate(arch)
        return self._first_graph(int(self._first[self._by_key[arch.key]]), next(iter(TASKS)))

    def _first_graph(self, first: int, task: str) -> Graph:
        """The graph of a cell, one object for all cells that are equal to it."""
        if (first, task) not in self._normal:
            self._normal[first, task] = self.to_graph(self._all[first], task)
        return self._normal[first, task]


def _cell_costs(digits: Any, task: str) -> NDArray[np.float64]:
    """Attributes of the eight nodes of a cell, for one image set."""
    return _node_costs(task)[[len(OPS), *digits, len(OPS) + 1]]


@cache
def _node_costs(task: str) -> NDArray[np.float64]:
    """Attribute rows of the five operations, the input and the output, for one image set."""
    if task not in TASKS:
        raise InputError(f"unknown image set {task!r}; known: {closest(task, TASKS)}")
    side, classes = TASKS[task]
    rows = [_row(op, _cell_cost(op, side), side) for op in OPS]
    stem = conv(IMAGE_CHANNELS, CHANNELS[0], 3, side) + norm(CHANNELS[0], side)
    rows.append(_row("input", stem, side))
    tail = Cost()
    for stage in (1, 2):
        tail += _reduction_cost(CHANNELS[stage - 1], CHANNELS[stage], side >> stage)
    tail += norm(CHANNELS[2], side >> 2) + elementwise(CHANNELS[2], side >> 2)
    tail += linear(CHANNELS[2], classes)
    rows.append(_row("output", tail, side))
    table = np.array(rows)
    table.setflags(write=False)
    return table


def _cell_cost(op: str, side: int) -> Cost:
    """Cost of one edge's operation, summed over its copies in the three stages."""
    total = Cost()
    for stage, channels in enumerate(CHANNELS):
        stage_side = side >> stage
        cost = Cost()
        if op.startswith("nor_conv"):
            cost = elementwise(channels, stage_side)
            cost += conv(channels, channels, int(op[-1]), stage_side) + norm(channels, stage_side)
        elif op == "avg_pool_3x3":
            cost = pool(channels, stage_side)
        total += cost * CELLS_A_STAGE
    return total


def _reduction_cost(c_in: int, c_out: int, side: int) -> Cost:
    """The residual block with stride 2 between two stages; `side` is its output's."""
    main = conv(c_in, c_out, 3, side, stride=2) + norm(c_out, side)
    main += conv(c_out, c_out, 3, side) + norm(c_out, side) + elementwise(c_out, side)
    shortcut = pool(c_in, side, stride=2) + conv(c_in, c_out, 1, side)
    return main + shortcut + elementwise(c_out, side, inputs=2)


def _row(op: str, cost: Cost, side: int) -> list[float]:
    kernel = int(op[-1]) if op[-1].isdigit() else 0
    has_input = op != "input"
    values = {
        "kernel": kernel,
        "stride": 1,
        "groups": 1,
        "in_channels": CHANNELS[0] if has_input else IMAGE_CHANNELS,
        "out_channels": CHANNELS[0],
        "height": side,
        "width": side,
        "flops": cost.flops,
        "params": cost.params,
        "bytes": cost.bytes,
    }
    return [float(values[name]) for name in ATTRIBUTES]
