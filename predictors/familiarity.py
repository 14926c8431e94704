"""Whether a network is like those of a group that was learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.operator_features import longest_path, operator_kinds
from nasplug.search_spaces import Graph

__all__ = ["Familiarity"]

Array = NDArray[np.float64]

COSTS = ("flops", "params", "bytes")
# Spreads are at least this wide: a quarter in the logarithm of a cost, a fiftieth in a share.
FLOORS = (0.25, 0.02)
# A network is like a group if it is at most this much further from its centre than all but a
# hundredth of the group are.
QUANTILE, MARGIN = 0.99, 1.25


@dataclass(frozen=True, eq=False)
class Familiarity:
    """Centre and spread of what networks of each group are made of.

    A network is described by the logarithms of FLOPs, parameters, bytes, number and longest path of
    operators, and the share of each kind among its operators.

    Attributes:
        names: The groups.
        kinds: Kinds of operators; any other is one more kind.
        centers: Shape `(groups, features)`.
        spreads: The same shape.
        reaches: Largest distance that counts as alike, shape `(groups,)`.
    """

    names: list[str]
    kinds: tuple[str, ...]
    centers: Array
    spreads: Array
    reaches: Array

    @classmethod
    def of(
        cls, graphs: Sequence[Graph], groups: Sequence[str], kinds: Sequence[str]
    ) -> Familiarity:
        """Learn what the graphs of each group look like."""
        names = list(dict.fromkeys(groups))
        rows = _features(graphs, kinds)
        floors = _floors(len(kinds))
        centers, spreads, reaches = [], [], []
        for name in names:
            own = rows[[k for k, other in enumerate(groups) if other == name]]
            center, spread = own.mean(0), np.maximum(own.std(0), floors)
            centers.append(center)
            spreads.append(spread)
            reaches.append(MARGIN * np.quantile(_distance(own, center, spread), QUANTILE))
        return cls(names, tuple(kinds), np.array(centers), np.array(spreads), np.array(reaches))

    def __call__(self, graphs: Sequence[Graph], among: Sequence[str]) -> list[str]:
        """The likeliest of some groups for each graph, or `""` if it is like none of them."""
        places = [k for k, name in enumerate(self.names) if name in among]
        if not places or not graphs:
            return [""] * len(graphs)
        rows = _features(graphs, self.kinds)
        far = self._far(rows)[:, places]
        # Of a wide and a narrow group that both reach a network, the narrow one is likelier.
        unlikely = 0.5 * (far * self.reaches[places]) ** 2 + np.log(self.spreads[places]).sum(1)
        best = np.where(far <= 1, unlikely, np.inf).argmin(1)
        reached = np.asarray(far.min(1) <= 1)
        return [
            self.names[places[k]] if is_like else ""
            for k, is_like in zip(best, reached, strict=True)
        ]

    def _far(self, rows: Array) -> Array:
        """Distances over reaches, shape `(graphs, groups)`."""
        groups = zip(self.centers, self.spreads, self.reaches, strict=True)
        return np.stack([_distance(rows, c, s) / reach for c, s, reach in groups], axis=1)

    def tensors(self) -> dict[str, Array]:
        """Arrays to store."""
        return {"centers": self.centers, "spreads": self.spreads, "reaches": self.reaches}

    @classmethod
    def restored(
        cls, tensors: Mapping[str, Array], names: Sequence[str], kinds: Sequence[str]
    ) -> Familiarity:
        """What `tensors` stored."""
        parts = [
            np.asarray(tensors[name], np.float64) for name in ("centers", "spreads", "reaches")
        ]
        return cls([str(name) for name in names], tuple(kinds), *parts)


def _floors(kinds: int) -> Array:
    return np.array([FLOORS[0]] * (len(COSTS) + 2) + [FLOORS[1]] * (kinds + 1))


def _features(graphs: Sequence[Graph], kinds: Sequence[str]) -> Array:
    place = {kind: k for k, kind in enumerate(kinds)}
    rows = np.zeros((len(graphs), len(COSTS) + 2 + len(kinds) + 1))
    for row, graph in zip(rows, graphs, strict=True):
        row[: len(COSTS)] = np.log1p([graph.total(cost) for cost in COSTS])
        row[len(COSTS) : len(COSTS) + 2] = np.log1p([len(graph), longest_path(graph)])
        shares = row[len(COSTS) + 2 :]
        for kind in operator_kinds(graph):
            shares[place.get(kind, len(kinds))] += 1 / len(graph)
    return rows


def _distance(rows: Array, center: Array, spread: Array) -> Array:
    result: Array = np.sqrt((((rows - center) / spread) ** 2).sum(1))
    return result
