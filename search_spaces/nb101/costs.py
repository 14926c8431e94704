"""Widths and costs of NAS-Bench-101 cells in the benchmark's CIFAR-10 network.

A stem of 128 channels, three stacks of three cells with 128, 256 and 512 channels, a pooling of
stride 2 between the stacks, then a global mean and a linear layer. An inner vertex adds its inputs;
the output vertex joins them, so that they share its channels. An edge from the cell's input passes
a 1×1 convolution first. All as in the benchmark's own code.

Notation: n cells with g distinct edge sets, o = 3 operations. `node_rows` has shape
`(vertices, o, attributes)` with the columns of `ATTRIBUTES`; `total_costs` has arrays of shape
`(n,)`. FLOPs are multiply-accumulates of one 32×32 image, bytes those of float32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.costs import FLOAT_BYTES, Cost, conv, elementwise, linear, norm, pool
from nasplug.search_spaces.graph import ATTRIBUTES
from nasplug.search_spaces.nb101.cells import OPS, Cell, cells_by_graph

__all__ = [
    "CELLS_A_STACK",
    "CLASSES",
    "IMAGE_CHANNELS",
    "KERNELS",
    "SIDE",
    "STACKS",
    "STEM",
    "node_rows",
    "stacks",
    "total_costs",
    "vertex_channels",
]

Array = NDArray[np.float64]

SIDE, IMAGE_CHANNELS, CLASSES = 32, 3, 10
STEM, STACKS, CELLS_A_STACK = 128, 3, 3
# Side of each operation's window, in pixels.
KERNELS = dict(zip(OPS, (3, 1, 3), strict=True))


def vertex_channels(cell: Cell, channels_in: int, channels_out: int) -> list[int]:
    """Channels of each vertex.

    The vertices that the output joins share its channels, the first ones get one more where they do
    not divide; every other one has as many as the widest that it feeds.
    """
    last = cell.vertices - 1
    widths = [channels_in] + [0] * (last - 1) + [channels_out]
    joined = [v for v in range(1, last) if cell.has(v, last)]
    for k, v in enumerate(joined):
        widths[v] = channels_out // len(joined) + (k < channels_out % len(joined))
    for v in range(last - 2, 0, -1):
        if v not in joined:
            widths[v] = max(widths[b] for b in range(v + 1, last) if cell.has(v, b))
    return widths


def stacks() -> Iterator[tuple[int, int, int]]:
    """Channels in, channels out and side in pixels of each of the nine cells, in order."""
    channels_in, channels = STEM, STEM
    for stack in range(STACKS):
        if stack:
            channels *= 2
        for _ in range(CELLS_A_STACK):
            yield channels_in, channels, SIDE >> stack
            channels_in = channels


@lru_cache(maxsize=16_384)
def node_rows(bits: int, vertices: int) -> Array:
    """Rows of `Graph.attributes` for each vertex of a cell and each operation that it may carry.

    Costs are sums over the nine cells of the network, other columns those of the first cell. The
    stem is charged to the input; the pooling between stacks and the classifier to the output, so
    that a graph's total is the whole network's.

    Args:
        bits: The cell's edges (see `Cell`).
        vertices: The cell's number of vertices.

    Returns:
        Shape `(vertices, operations, attributes)`; equal for all operations at both ends.
    """
    cell = Cell(bits, (0,) * (vertices - 2))
    last = vertices - 1
    costs = [[Cost()] * len(OPS) for _ in range(vertices)]
    for (channels_in, channels_out, side), times in Counter(stacks()).items():
        widths = vertex_channels(cell, channels_in, channels_out)
        for v in range(1, vertices):
            fed = [a for a in range(1, v) if cell.has(a, v)]
            cut = 0 if v == last else sum(widths[a] != widths[v] for a in fed)
            charged = _vertex_costs(
                channels_in, widths[v], side, times, len(fed), cut, cell.has(0, v), v == last
            )
            for k, cost in enumerate(charged):
                costs[v][k] += cost
    stem, tail = _ends()
    costs[0] = [stem] * len(OPS)
    costs[last] = [cost + tail for cost in costs[last]]
    first = vertex_channels(cell, STEM, STEM)
    rows = np.zeros((vertices, len(OPS), len(ATTRIBUTES)))
    for v in range(vertices):
        for k, op in enumerate(OPS):
            kernel = 0 if v in (0, last) else KERNELS[op]
            rows[v, k] = (
                kernel,
                1,
                1,
                first[v] if v else IMAGE_CHANNELS,
                first[v],
                SIDE,
                SIDE,
                costs[v][k].flops,
                costs[v][k].params,
                costs[v][k].bytes,
            )
    rows.setflags(write=False)
    return rows


@cache
def _conv_norm_relu(channels_in: int, channels_out: int, kernel: int, side: int) -> Cost:
    work = conv(channels_in, channels_out, kernel, side)
    return work + norm(channels_out, side) + elementwise(channels_out, side)


@cache
def _operation(op: str, channels: int, side: int) -> Cost:
    if op.startswith("maxpool"):
        return pool(channels, side)
    return _conv_norm_relu(channels, channels, KERNELS[op], side)


@cache
def _vertex_costs(
    channels_in: int,
    channels: int,
    side: int,
    times: int,
    sources: int,
    cut: int,
    reads_input: bool,
    is_output: bool,
) -> tuple[Cost, ...]:
    """Costs of all copies of a vertex in the network, for each operation of `OPS`.

    They include the operation and the combining of its inputs: projecting, cutting, adding,
    joining.

    Args:
        channels_in: Channels of the cell's input.
        channels: Channels of the vertex.
        side: Height and width in pixels.
        times: Copies of the cell that have these sizes.
        sources: Inner vertices that feed the vertex.
        cut: Inner vertices that feed it and have more channels, whose surplus is cut off.
        reads_input: Whether the cell's input feeds the vertex.
        is_output: Whether the vertex is the cell's output.
    """
    joining = Cost()
    if reads_input:
        joining += _conv_norm_relu(channels_in, channels, 1, side)
    if is_output:
        if sources > 1:
            joining += elementwise(channels, side)
        adds = int(reads_input and sources > 0)
    else:
        joining += elementwise(channels, side) * cut
        adds = sources + reads_input - 1
    joining += elementwise(channels, side, inputs=2) * adds
    operations = [Cost() if is_output else _operation(op, channels, side) for op in OPS]
    return tuple([(joining + cost) * times for cost in operations])


def _ends() -> tuple[Cost, Cost]:
    """Costs of the stem, and of everything after the last cell and between the stacks."""
    stem = _conv_norm_relu(IMAGE_CHANNELS, STEM, 3, SIDE)
    tail = Cost()
    for stack in range(1, STACKS):
        tail += pool(STEM << (stack - 1), SIDE >> stack, stride=2)
    features, side = STEM << (STACKS - 1), SIDE >> (STACKS - 1)
    tail += Cost(bytes=FLOAT_BYTES * (features * side**2 + features))
    return stem, tail + linear(features, CLASSES)


def total_costs(codes: NDArray[np.uint32]) -> dict[str, Array]:
    """FLOPs, parameters and bytes of many cells at once, without a graph of each.

    Args:
        codes: `Cell.code` of each cell, shape `(cells,)`.

    Returns:
        `"flops"`, `"params"` and `"bytes"`, each of shape `(cells,)` and equal to `Graph.total`.
    """
    names = ("flops", "params", "bytes")
    columns = [ATTRIBUTES.index(name) for name in names]
    totals = np.zeros((len(codes), len(names)))
    for cell, cells, labels in cells_by_graph(codes):
        rows = node_rows(cell.bits, cell.vertices)[:, :, columns]
        total = np.tile(rows[0, 0] + rows[-1, 0], (len(cells), 1))
        for v in range(cell.vertices - 2, 0, -1):
            total += rows[v, labels[v]]
        totals[cells] = total
    return {name: totals[:, k].copy() for k, name in enumerate(names)}
