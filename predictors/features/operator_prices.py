"""Totals of operators' costs whose linear functions are price lists with similar prices.

A device takes so long for a FLOP and for a byte, other times for other kinds of operators and other
windows, but not very different ones. If the price of an operator's unit of cost has covariance
`(SHARED + (1 − SHARED)·[same kind]) · (ALL_WINDOWS + (1 − ALL_WINDOWS)·[same window])` with that of
another operator's, then latency, a sum of prices times costs, is a linear function with
independent weights of the totals below: of all operators, of each kind, of each window, of each
pair of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nasplug.predictors.features.operators import operator_kinds
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph

__all__ = ["OperatorPrices"]

COSTS = ("flops", "bytes")
# What prices of different kinds, and of different windows, have in common; chosen by leaving out
# one of HELP's known devices after the other.
SHARED, ALL_WINDOWS = 0.6, 0.7

_Pair = tuple[str, int]


@dataclass(frozen=True)
class OperatorPrices:
    """Makes features of graphs like those it was made of, of mean 0 and unit length there.

    Attributes:
        pairs: Kind and window of operators, a column of totals each.
        mixing: Of totals to features, shape `(pairs, features)`.
        centers: Mean of the features of each cost, `(costs, features)`.
        scales: Their root mean squared length, `(costs,)`; infinite for a cost that is unknown or
            the same for all.
    """

    pairs: tuple[_Pair, ...]
    mixing: Array
    centers: Array
    scales: Array

    @classmethod
    def of(cls, graphs: Sequence[Graph]) -> OperatorPrices:
        """The features of graphs like these."""
        pairs = tuple(sorted({pair for graph in graphs for pair in _pairs(graph)}))
        mixing = _mixing(pairs)
        raw = _totals(graphs, pairs) @ mixing
        centers = raw.mean(axis=1)
        lengths = np.sqrt(((raw - centers[:, None]) ** 2).sum(axis=2).mean(axis=1))
        usual = np.abs(raw).max(axis=(1, 2), initial=0.0)
        return cls(pairs, mixing, centers, np.where(lengths > 1e-9 * usual, lengths, np.inf))

    def __call__(self, graphs: Sequence[Graph]) -> Array:
        """Features, shape `(graphs, costs × features)`; operators of unknown kinds count nothing.

        Graphs like those known have rows of about unit length.
        """
        raw = _totals(graphs, self.pairs) @ self.mixing
        scaled = (raw - self.centers[:, None]) / self.scales[:, None, None]
        result: Array = np.concatenate(list(scaled), axis=1) / len(COSTS) ** 0.5
        return result


def _pairs(graph: Graph) -> list[_Pair]:
    """Kind and window of each operator."""
    windows = graph.attribute("kernel").astype(int).tolist()
    return list(zip(operator_kinds(graph), windows, strict=True))


def _totals(graphs: Sequence[Graph], pairs: Sequence[_Pair]) -> Array:
    """Total of each cost by pair, shape `(costs, graphs, pairs)`."""
    place = {pair: k for k, pair in enumerate(pairs)}
    rows = np.zeros((len(COSTS), len(graphs), len(pairs) + 1))
    for row, graph in enumerate(graphs):
        at = [place.get(pair, len(pairs)) for pair in _pairs(graph)]
        for cost, name in enumerate(COSTS):
            np.add.at(rows[cost, row], at, graph.attribute(name))
    return rows[..., :-1]


def _mixing(pairs: Sequence[_Pair]) -> Array:
    """Totals of pairs to totals of all, by kind, by window and by pair, each with its weight."""
    kinds, windows = (sorted({pair[side] for pair in pairs}) for side in (0, 1))
    of_kind = np.array([[pair[0] == kind for kind in kinds] for pair in pairs], np.float64)
    of_window = np.array([[pair[1] == window for window in windows] for pair in pairs], np.float64)
    blocks = (
        (SHARED * ALL_WINDOWS, np.ones((len(pairs), 1))),
        ((1 - SHARED) * ALL_WINDOWS, of_kind.reshape(len(pairs), -1)),
        (SHARED * (1 - ALL_WINDOWS), of_window.reshape(len(pairs), -1)),
        ((1 - SHARED) * (1 - ALL_WINDOWS), np.eye(len(pairs))),
    )
    return np.concatenate([variance**0.5 * block for variance, block in blocks], axis=1)
