"""Features of cells, computed for many of them at once: what they hold, and what their ends see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.prediction import Array
from nasplug.search_spaces.cell_arrays import CellArrays

__all__ = ["BLOCKS", "cell_blocks", "spread_or_one"]

BLOCKS = ("ends", "pairs", "summaries")
# What stands for the channels of a type that a cell does not have.
_NARROW, _WIDE = 16.0, 256.0
# More than any path holds.
_ENDLESS = np.float32(1e4)


def cell_blocks(cells: CellArrays) -> dict[str, Array]:
    """Features of cells by block; none of them depends on the order of the nodes.

    `summaries`: for each type, and for all operations with parameters, how many there are, and
    maximum, minimum, mean and sum over paths of how many a path holds; then paths, paths without an
    operation, edges, nodes, longest and shortest path, logarithms of parameters and
    multiply-accumulates. `pairs`: how many edges lead from one type, or the input, to another, or
    to the output. `ends`: what feeds the output, what the input feeds, whether one feeds the other;
    of each type how many of both, the logarithms of its costs, its widest and narrowest node.

    Args:
        cells: Graphs without nodes that are on no path; where there is no path at all, maxima and
            minima are −1.

    Returns:
        Name of `BLOCKS` to rows, `(n, features)`.
    """
    masks = [*(cells.ops == k for k in range(len(cells.types))), _trained(cells)]
    kinds = np.stack(masks, axis=2).astype(np.float64)
    types = kinds[:, :, :-1]
    return {
        "ends": _ends(cells, types),
        "pairs": _pairs(cells, types),
        "summaries": _summaries(cells, kinds),
    }


def spread_or_one(rows: Array) -> Array:
    """Standard deviation of each feature; 1 where training cells do not differ.

    What they do not vary tells nothing of how far others are.
    """
    spread = rows.std(0)
    return np.where(spread > 1e-9, spread, 1.0)


def _trained(cells: CellArrays) -> NDArray[np.bool_]:
    """Mask of the inner nodes whose type has parameters somewhere in their graph."""
    with_params = cells.attributes["params"] > 0
    trained = np.zeros(cells.ops.shape, np.bool_)
    for k in range(len(cells.types)):
        of_type = cells.ops == k
        trained |= of_type & (of_type & with_params).any(axis=1, keepdims=True)
    return trained


def _summaries(cells: CellArrays, kinds: Array) -> Array:
    """Statistics over paths, each by one pass over the edges in topological order."""
    n, v, count_of_kinds = kinds.shape
    inner = np.zeros((n, v))
    inner[:, 1:-1] = np.arange(1, v - 1) < cells.nodes[:, None] - 1
    # Cells last, so that every step runs along them; single precision holds such counts.
    weight = np.concatenate([kinds, inner[:, :, None]], axis=2).transpose(1, 2, 0)
    weight = np.ascontiguousarray(weight, np.float32)
    edges = np.ascontiguousarray(cells.edges.transpose(1, 2, 0), np.float32)
    count = np.zeros((v, n), np.float32)
    total, most, least = (np.zeros_like(weight) for _ in range(3))
    most[1:], least[1:] = -_ENDLESS, _ENDLESS
    count[0] = 1.0
    for b in range(1, v):
        for a in range(b):
            edge = edges[a, b]
            # Where there is no edge a maximum or minimum has to be out of reach.
            missing = (1 - edge) * (2 * _ENDLESS)
            count[b] += edge * count[a]
            total[b] += edge * total[a]
            np.maximum(most[b], most[a] - missing, out=most[b])
            np.minimum(least[b], least[a] + missing, out=least[b])
        total[b] += weight[b] * count[b]
        most[b] += weight[b]
        least[b] += weight[b]
    paths = count[-1]
    cut = paths == 0
    most[-1][:, cut], least[-1][:, cut] = -1.0, -1.0
    trained = (inner * (cells.attributes["params"] > 0)).sum(1)
    columns = []
    for k in range(count_of_kinds):
        # A pool that reads the input has the parameters of its projection.
        nodes = weight[:, k].sum(0) if k < count_of_kinds - 1 else trained
        sums = total[-1, k].astype(np.float64)
        columns += [nodes, most[-1, k], least[-1, k], sums / np.maximum(paths, 1), sums]
    columns += [
        paths,
        edges[0, -1],
        cells.edges.sum((1, 2)),
        cells.nodes,
        most[-1, -1],
        least[-1, -1],
        np.log1p(cells.attributes["params"].sum(1)),
        np.log1p(cells.attributes["flops"].sum(1)),
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def _pairs(cells: CellArrays, types: Array) -> Array:
    n, v, _ = types.shape
    ends = np.zeros((n, v, 2))
    ends[:, 0, 0] = ends[:, -1, 1] = 1.0
    sources = np.concatenate([types, ends[:, :, :1]], axis=2).astype(np.float32)
    targets = np.concatenate([types, ends[:, :, 1:]], axis=2).astype(np.float32)
    # What feeds each place, then by the type of that place: two small products a cell.
    fed = np.matmul(sources.transpose(0, 2, 1), cells.edges.astype(np.float32))
    pairs = np.matmul(fed, targets).astype(np.float64)
    result: Array = pairs.reshape(n, pairs.shape[1] * pairs.shape[2])
    return result


def _ends(cells: CellArrays, types: Array) -> Array:
    from_input, to_output = cells.edges[:, 0, :], cells.edges[:, :, -1]
    columns = [
        to_output.sum(1).astype(np.float64),
        from_input.sum(1).astype(np.float64),
        cells.edges[:, 0, -1].astype(np.float64),
    ]
    channels = cells.attributes["out_channels"]
    for k in range(types.shape[2]):
        held = types[:, :, k] > 0
        columns += [(held & to_output).sum(1), (held & from_input).sum(1)]
        columns += [np.log1p((cells.attributes[c] * held).sum(1)) for c in ("flops", "params")]
        columns += _widths(channels, held)
    places = np.arange(channels.shape[1])
    inner = (places > 0) & (places < cells.nodes[:, None] - 1)
    columns += [np.log1p(cells.attributes["bytes"].sum(1)), *_widths(channels, inner)]
    return np.stack(columns, axis=1).astype(np.float64)


def _widths(channels: Array, held: NDArray[np.bool_]) -> list[Array]:
    """Logarithms of the most and the fewest channels among some nodes."""
    some = held.any(1)
    most = np.where(some, np.where(held, channels, 0.0).max(1), _NARROW)
    least = np.where(some, np.where(held, channels, np.inf).min(1), _WIDE)
    return [np.log(np.maximum(most, 1.0)), np.log(np.maximum(least, 1.0))]
