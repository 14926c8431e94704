"""Share of a board's power that networks draw, and how a GPU departs from it with their sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.features.settings import Setting
from nasplug.predictors.prediction import Array
from nasplug.predictors.statistics.calibration import LEVELS
from nasplug.search_spaces import Graph
from nasplug.search_spaces.costs import FLOAT_BYTES

__all__ = [
    "ENDS",
    "OFFSET",
    "distances",
    "half_width",
    "held",
    "kernel",
    "left_out_errors",
    "power_features",
    "shares_of",
    "sizes_of",
    "weights_of",
]

# A meter averages over some time: a pass of MIDDLE_MS draws half of what a long one seems to.
_MIDDLE_MS, _STEEPNESS = 60.0, 2.0
# Least and greatest share of the memory bandwidth that counts.
_MEMORY = (0.1, 1.0)
_RIDGE = 1e-3
# Weights of a GPU's own offset and of what changes with the network, length of that change in
# deviations of the sizes, and variance of noise.
OFFSET, _CHANGE, _LENGTH, _NOISE = 1.0, 0.1, 1.0, 0.01
ENDS = (0.05, 0.95)


def power_features(graphs: Sequence[Graph], column: Setting, ms: Array) -> Array:
    """Features of the share of the board's power, `(n, 3)`: one, time of a pass, memory traffic.

    Args:
        graphs: Whole networks.
        column: GPU, batch size and way to run them.
        ms: Latencies in ms, `(n,)`.
    """
    number = FLOAT_BYTES / (1 + column.is_half)
    weights = np.array([graph.total("params") for graph in graphs])
    numbers = np.array([graph.total("bytes") for graph in graphs]) / FLOAT_BYTES
    moved = np.maximum(numbers - weights, 0) * column.batch_size * number + FLOAT_BYTES * weights
    used = moved / (column.hardware.memory_bandwidth_gbs * 1e6 * ms)
    rise = 1 / (1 + (ms / _MIDDLE_MS) ** -_STEEPNESS)
    return np.stack([np.ones(len(graphs)), rise, np.log(np.clip(used, *_MEMORY))], axis=1)


def shares_of(features: Array, rest: Array, groups: NDArray[np.int64]) -> Array:
    """Weights of features in logarithms of the share; each GPU and group counts the same.

    Args:
        features: `(n, GPUs, features)`.
        rest: Logarithms of the share, `(n, GPUs)`; NaN where unknown.
        groups: Group of each network, `(n,)`.
    """
    system, right = np.zeros((features.shape[2],) * 2), np.zeros(features.shape[2])
    for k in np.unique(groups):
        for g in range(rest.shape[1]):
            rows = (groups == k) & np.isfinite(rest[:, g])
            if rows.any():
                x, y = features[rows, g], rest[rows, g]
                system, right = system + x.T @ x / len(y), right + x.T @ y / len(y)
    return np.asarray(np.linalg.solve(system + _RIDGE * np.eye(len(system)), right))


def held(logs: Array) -> Array:
    """Logarithms of shares held down to 0, as a board holds its power down to its limit."""
    result: Array = np.minimum(logs, 0.0)
    return result


def left_out_errors(features: Array, rest: Array, groups: NDArray[np.int64]) -> list[Array]:
    """Residuals of each GPU by the share that the others teach."""
    errors = []
    for g in range(rest.shape[1]):
        others = np.arange(rest.shape[1]) != g
        if not others.any():
            others[:] = True
        share = shares_of(features[:, others], rest[:, others], groups)
        own = rest[:, g] - held(features[:, g] @ share)
        errors.append(own[np.isfinite(own)])
    return errors


def sizes_of(graphs: Sequence[Graph]) -> Array:
    """Logarithms of work, weights, numbers moved and operators, and share of biases, `(n, 5)`."""
    rows = []
    for graph in graphs:
        totals = [graph.total(name) for name in ("flops", "params", "bytes")]
        rows.append([*np.log(np.maximum([*totals, len(graph)], 1.0)), _biases(graph)])
    return np.array(rows, np.float64).reshape(-1, 5)


def _biases(graph: Graph) -> float:
    """Share of the products of weights that have a bias."""
    products = np.array([op == "Gemm" for op in graph.ops])
    weights = graph.attribute("in_channels") * graph.attribute("out_channels")
    return float((graph.attribute("params") > weights)[products].mean()) if products.any() else 0.0


def distances(a: Array, b: Array) -> Array:
    """Squared distances of rows, `(n, m)`."""
    gaps = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    result: Array = np.maximum(gaps, 0.0)
    return result


def kernel(a: Array, b: Array) -> Array:
    """Covariances of departures of networks with scaled sizes, `(n, m)`."""
    result: Array = OFFSET + _CHANGE * np.exp(-distances(a, b) / (2 * _LENGTH**2))
    return result


def weights_of(sizes: Array, departures: Array) -> Array:
    """Weights of networks in a GPU's departure; 0 where nothing was measured."""
    rows = np.flatnonzero(np.isfinite(departures))
    system = kernel(sizes[rows], sizes[rows]) + _NOISE * np.eye(len(rows))
    result = np.zeros(len(sizes))
    result[rows] = np.linalg.solve(system, departures[rows])
    return result


def half_width(quantiles: Array) -> float:
    """Half-width of the 90 % interval of quantiles at `LEVELS`."""
    low, high = np.interp(ENDS, LEVELS, quantiles)
    return float(high - low) / 2
