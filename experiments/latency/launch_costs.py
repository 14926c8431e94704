"""Latency as a sum of few parts: a stretched roofline, and the launches of operators.

    latency = a · Σ arithmetic + b · Σ memory traffic + Σ_kind (launch_kind · n_kind) + constant

Each operator counts as arithmetic or as memory traffic, whichever its roofline is bound by. No
factor is negative: they are fitted to relative errors by non-negative least squares (Lawson and
Hanson, 1974). Each kind of operator departs from a launch that all have in common; how far is
chosen by groups of the learned networks that are left out in turn. So few factors say less of
networks like those that were learned than a large model does, but more of networks unlike them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.features.operators import kind_counts
from nasplug.predictors.features.roofline import times_at
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph

__all__ = ["LaunchCosts", "fit_factors", "launch_rows"]

# Penalties on departures from the common launch that are tried; the middle one if none can be.
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
COMMON = 4
# Networks of each group that the factors of a column are fitted to.
MOST = 200
# Networks that factors are worth fitting to.
FEWEST = 60


@dataclass(frozen=True, eq=False)
class LaunchCosts:
    """The factors of measured columns.

    Attributes:
        kinds: Kinds of operators; any other has the common launch alone.
        keys: Keys of the columns.
        factors: Those of arithmetic, memory traffic, a node, 1, and a node of each kind, shape
            `(columns, 4 + kinds)`.
    """

    kinds: tuple[str, ...]
    keys: list[str]
    factors: Array

    @classmethod
    def of(
        cls,
        graphs: Sequence[Graph],
        latencies: Array,
        groups: Sequence[str],
        keys: Sequence[str],
        rates: NDArray[Any],
        kinds: Sequence[str],
    ) -> LaunchCosts:
        """Learn from measured networks.

        Args:
            graphs: The networks, in random order.
            latencies: ms, shape `(graphs, columns)`; NaN where unknown.
            groups: Group of each network; at most `MOST` of each are learned.
            keys: Key of each column.
            rates: Of each column: operations a ms, bytes a ms, images, bytes a number.
            kinds: Kinds of operators that may have a launch of their own.
        """
        names = np.array(groups)
        chosen = np.concatenate(
            [np.flatnonzero(names == name)[:MOST] for name in dict.fromkeys(groups)]
        )
        counts = kind_counts([graphs[k] for k in chosen], kinds)
        factors: dict[str, Array] = {}
        for k, key in enumerate(keys):
            known = np.flatnonzero(np.isfinite(latencies[chosen, k]))
            if len(known) < FEWEST:
                continue
            networks = chosen[known]
            times = _times([graphs[i] for i in networks], rates[k])
            rows = np.concatenate([times, counts[known]], 1)
            # Networks of other sizes stand for those of other kinds.
            size = rows[:, :2].sum(1)
            parts = np.searchsorted(np.quantile(size, [0.25, 0.5, 0.75]), size)
            factors[key] = fit_factors(rows, latencies[networks, k], parts.astype(str).tolist())
        table = np.array(list(factors.values())).reshape(len(factors), COMMON + len(kinds))
        return cls(tuple(kinds), list(factors), table)

    def __call__(self, graphs: Sequence[Graph], key: str, rates: NDArray[Any]) -> Array:
        """ms a forward pass on a column of `keys`, at its rates, shape `(graphs,)`."""
        factors = self.factors[self.keys.index(key)]
        result: Array = launch_rows(graphs, rates, self.kinds) @ factors
        return result

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Arrays to store; `keys` and `kinds` belong to the card."""
        return {"factors": self.factors.astype(np.float32)}

    @classmethod
    def restored(
        cls,
        tensors: Mapping[str, NDArray[np.floating[Any]]],
        keys: Sequence[str],
        kinds: Sequence[str],
    ) -> LaunchCosts:
        """Restore the costs that `tensors` stored."""
        names = tuple(str(kind) for kind in kinds)
        return cls(names, [str(k) for k in keys], np.asarray(tensors["factors"], np.float64))


def launch_rows(graphs: Sequence[Graph], rates: NDArray[Any], kinds: Sequence[str]) -> Array:
    """Arithmetic and memory traffic in ms, nodes, 1, and nodes of each kind, `(graphs, 4 + kinds)`.

    Rates are operations a ms, bytes a ms, images, bytes a number; of all graphs, shape `(4,)`, or
    of each, `(graphs, 4)`.
    """
    return np.concatenate([_times(graphs, rates), kind_counts(graphs, kinds)], axis=1)


def fit_factors(rows: Array, ms: Array, groups: Sequence[str]) -> Array:
    """The factors of `launch_rows`, none of them negative, shape `(4 + kinds,)`.

    Args:
        rows: Of each network, shape `(n, 4 + kinds)`.
        ms: What they took, all above 0, shape `(n,)`.
        groups: Group of each. With two or more they choose how far kinds depart.
    """
    scaled = rows / ms[:, None]
    names = np.array(groups)

    def error(penalty: float, name: str) -> float:
        """Mean error on a group by the factors of the others."""
        fitted = _factors(scaled[names != name], penalty)
        return float(np.abs(scaled[names == name] @ fitted - 1).mean())

    apart = list(dict.fromkeys(groups))
    if len(apart) < 2:
        return _factors(scaled, PENALTIES[len(PENALTIES) // 2])
    errors = [np.mean([error(penalty, name) for name in apart]) for penalty in PENALTIES]
    return _factors(scaled, PENALTIES[int(np.argmin(errors))])


def _times(graphs: Sequence[Graph], rates: NDArray[Any]) -> Array:
    """Arithmetic, memory traffic, nodes, 1."""
    rates_of = np.broadcast_to(np.asarray(rates, np.float64), (len(graphs), COMMON))
    rows = np.empty((len(graphs), COMMON))
    for row, graph, each in zip(rows, graphs, rates_of, strict=True):
        compute, memory = times_at(graph, *each)
        bound = compute >= memory
        row[:] = compute[bound].sum(), memory[~bound].sum(), len(graph), 1.0
    return rows


def _factors(rows: Array, penalty: float) -> Array:
    """Factors that bring each row's sum near 1."""
    from scipy.optimize import nnls

    # Columns of equal weight, so that the penalty means the same for a rare kind.
    scales = np.maximum(np.sqrt((rows**2).mean(0)), 1e-12)
    kinds = rows.shape[1] - COMMON
    small = np.sqrt(penalty * len(rows) / max(kinds, 1)) * np.eye(rows.shape[1])[COMMON:]
    system = np.concatenate([rows / scales, small])
    goal = np.concatenate([np.ones(len(rows)), np.zeros(kinds)])
    factors: Array = nnls(system, goal)[0] / scales
    # What is nowhere in these rows costs nothing of its own.
    factors[scales <= 1e-12] = 0
    return factors
