"""Whether a network is like those of a group that was learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.features.operators import longest_path, operator_kinds
from nasplug.search_spaces import Graph

__all__ = ["Familiarity"]

Array = NDArray[np.float64]

COSTS = ("flops", "params", "bytes")
# Features that are no shares: costs, number and longest path.
_COUNTS = len(COSTS) + 2
# Spreads are at least this wide: a quarter in the logarithm of a cost, a fiftieth in a share.
FLOORS = (0.25, 0.02)
# A group is cut into one cluster for so many networks, at most so many clusters, each of so many
# networks: what is made of several families must not look familiar in between.
A_CLUSTER, MOST_CLUSTERS, FEWEST = 60, 8, 15
STARTS = 4
# A network is like a group if it is at most this much further from a cluster's centre than all but
# a hundredth of the cluster are.
QUANTILE, MARGIN = 0.99, 1.25


@dataclass(frozen=True, eq=False)
class Familiarity:
    """Centres and spreads of what networks of each group are made of.

    A network is described by the logarithms of FLOPs, parameters, bytes, number and longest path of
    operators, and the share of each kind among its operators.

    Attributes:
        names: The groups.
        kinds: Kinds of operators; any other is one more kind.
        centers: Those of clusters, shape `(clusters, features)`.
        spreads: The same shape.
        reaches: Largest distance that counts as alike, shape `(clusters,)`.
        owners: Place of each cluster's group among the names, shape `(clusters,)`.
    """

    names: list[str]
    kinds: tuple[str, ...]
    centers: Array
    spreads: Array
    reaches: Array
    owners: NDArray[np.intp]

    @classmethod
    def of(
        cls, graphs: Sequence[Graph], groups: Sequence[str], kinds: Sequence[str]
    ) -> Familiarity:
        """Learn what the graphs of each group look like."""
        names = list(dict.fromkeys(groups))
        rows = _features(graphs, kinds)
        floors = _floors(len(kinds))
        centers, spreads, reaches, owners = [], [], [], []
        for place, name in enumerate(names):
            for own in _clusters(rows[[k for k, other in enumerate(groups) if other == name]]):
                center, spread = own.mean(0), np.maximum(own.std(0), floors)
                centers.append(center)
                spreads.append(spread)
                reaches.append(MARGIN * np.quantile(_distance(own, center, spread), QUANTILE))
                owners.append(place)
        return cls(
            names,
            tuple(kinds),
            np.array(centers),
            np.array(spreads),
            np.array(reaches),
            np.array(owners, np.intp),
        )

    def __call__(self, graphs: Sequence[Graph], among: Sequence[str]) -> list[str]:
        """The likeliest of some groups for each graph, or `""` if it is like none of them."""
        places = [k for k, owner in enumerate(self.owners) if self.names[owner] in among]
        if not places or not graphs:
            return [""] * len(graphs)
        rows = _features(graphs, self.kinds)
        far = self._far(rows)[:, places]
        # Of a wide and a narrow group that both reach a network, the narrow one is likelier.
        unlikely = 0.5 * (far * self.reaches[places]) ** 2 + np.log(self.spreads[places]).sum(1)
        best = np.where(far <= 1, unlikely, np.inf).argmin(1)
        reached = np.asarray(far.min(1) <= 1)
        return [
            self.names[self.owners[places[k]]] if is_like else ""
            for k, is_like in zip(best, reached, strict=True)
        ]

    def distance(self, graphs: Sequence[Graph], among: Sequence[str] | None = None) -> Array:
        """Distance to the nearest of some groups (of all, if left out), shape `(graphs,)`.

        Up to 1 a graph is like them; it is infinite if there are none.
        """
        chosen = self.names if among is None else among
        places = [k for k, owner in enumerate(self.owners) if self.names[owner] in chosen]
        if not places or not graphs:
            return np.full(len(graphs), np.inf)
        result: Array = self._far(_features(graphs, self.kinds))[:, places].min(1)
        return result

    def _far(self, rows: Array) -> Array:
        """Distances over reaches, shape `(graphs, clusters)`."""
        clusters = zip(self.centers, self.spreads, self.reaches, strict=True)
        return np.stack([_distance(rows, c, s) / reach for c, s, reach in clusters], axis=1)

    def tensors(self) -> dict[str, Array]:
        """Arrays to store."""
        return {
            "centers": self.centers,
            "spreads": self.spreads,
            "reaches": self.reaches,
            "owners": self.owners.astype(np.float32),
        }

    @classmethod
    def restored(
        cls, tensors: Mapping[str, Array], names: Sequence[str], kinds: Sequence[str]
    ) -> Familiarity:
        """Restore the measure that `tensors` stored."""
        centers, spreads, reaches = (
            np.asarray(tensors[name], np.float64) for name in ("centers", "spreads", "reaches")
        )
        owners = np.asarray(tensors["owners"]).astype(np.intp)
        known = [str(name) for name in names]
        return cls(known, tuple(kinds), centers, spreads, reaches, owners)


def _clusters(rows: Array) -> list[Array]:
    """The networks of a group by what they are made of (k-means)."""
    from scipy.cluster.vq import kmeans2

    count = min(MOST_CLUSTERS, len(rows) // A_CLUSTER)
    if count < 2:
        return [rows]
    scaled = (rows - rows.mean(0)) / np.maximum(rows.std(0), _floors(rows.shape[1] - _COUNTS - 1))
    best, labels = np.inf, np.zeros(len(rows), np.intp)
    for start in range(STARTS):
        centers, found = kmeans2(scaled, count, minit="++", seed=start)
        spread = float(((scaled - centers[found]) ** 2).sum())
        if spread < best:
            best, labels = spread, found
    parts = [rows[labels == k] for k in range(count)]
    # Networks of a very small cluster are left to the others' reach.
    return [part for part in parts if len(part) >= FEWEST] or [rows]


def _floors(kinds: int) -> Array:
    return np.array([FLOORS[0]] * (_COUNTS) + [FLOORS[1]] * (kinds + 1))


def _features(graphs: Sequence[Graph], kinds: Sequence[str]) -> Array:
    place = {kind: k for k, kind in enumerate(kinds)}
    rows = np.zeros((len(graphs), _COUNTS + len(kinds) + 1))
    for row, graph in zip(rows, graphs, strict=True):
        row[: len(COSTS)] = np.log1p([graph.total(cost) for cost in COSTS])
        row[len(COSTS) : _COUNTS] = np.log1p([len(graph), longest_path(graph)])
        shares = row[_COUNTS:]
        for kind in operator_kinds(graph):
            shares[place.get(kind, len(kinds))] += 1 / len(graph)
    return rows


def _distance(rows: Array, center: Array, spread: Array) -> Array:
    result: Array = np.sqrt((((rows - center) / spread) ** 2).sum(1))
    return result
