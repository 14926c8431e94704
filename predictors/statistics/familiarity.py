"""Whether a network is like those of a group that was learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.features.operators import kind_counts, longest_path
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph

__all__ = ["Familiarity"]

COSTS = ("flops", "params", "bytes")
# Fields that are stored as they are.
_ARRAYS = ("centers", "spreads", "reaches")
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
        clusters = []
        for place, name in enumerate(names):
            for part in _clusters(rows[np.array(groups) == name]):
                center, spread = part.mean(0), np.maximum(part.std(0), floors)
                reach = MARGIN * np.quantile(_distance(part, center, spread), QUANTILE)
                clusters.append((center, spread, reach, place))
        centers, spreads, reaches, owners = map(np.array, zip(*clusters, strict=True))
        return cls(names, tuple(kinds), centers, spreads, reaches, owners.astype(np.intp))

    def __call__(self, graphs: Sequence[Graph], among: Sequence[str]) -> list[str]:
        """The likeliest of some groups for each graph, or `""` if it is like none of them."""
        places = self._clusters_of(among)
        if not places or not graphs:
            return [""] * len(graphs)
        far = self._far(graphs, places)
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
        places = self._clusters_of(self.names if among is None else among)
        if not places or not graphs:
            return np.full(len(graphs), np.inf)
        result: Array = self._far(graphs, places).min(1)
        return result

    def _clusters_of(self, among: Sequence[str]) -> list[int]:
        return [k for k, owner in enumerate(self.owners) if self.names[owner] in among]

    def _far(self, graphs: Sequence[Graph], places: Sequence[int]) -> Array:
        """Distances from some clusters over their reaches, shape `(graphs, places)`."""
        missing = [graph for graph in dict.fromkeys(graphs) if graph not in self._known]
        if missing:
            self._known.update(zip(missing, _features(missing, self.kinds), strict=True))
        rows = np.stack([self._known[graph] for graph in graphs])
        distances = [_distance(rows, self.centers[k], self.spreads[k]) for k in places]
        return np.stack(distances, axis=1) / self.reaches[places]

    @cached_property
    def _known(self) -> WeakKeyDictionary[Graph, Array]:
        """Features of graphs, since a prediction asks for them several times."""
        return WeakKeyDictionary()

    def tensors(self) -> dict[str, Array]:
        """Arrays to store."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        return {**arrays, "owners": self.owners.astype(np.float32)}

    @classmethod
    def restored(
        cls, tensors: Mapping[str, Array], names: Sequence[str], kinds: Sequence[str]
    ) -> Familiarity:
        """Restore the measure that `tensors` stored."""
        arrays = {name: np.asarray(tensors[name], np.float64) for name in _ARRAYS}
        owners = np.asarray(tensors["owners"]).astype(np.intp)
        return cls([str(name) for name in names], tuple(kinds), **arrays, owners=owners)


def _clusters(rows: Array) -> list[Array]:
    """The networks of a group by what they are made of (k-means)."""
    from scipy.cluster.vq import kmeans2

    count = min(MOST_CLUSTERS, len(rows) // A_CLUSTER)
    if count < 2:
        return [rows]
    scaled = (rows - rows.mean(0)) / np.maximum(rows.std(0), _floors(rows.shape[1] - _COUNTS - 1))
    best, labels = np.inf, np.zeros(len(rows), np.intp)
    for start in range(STARTS):
        centers, nearest = kmeans2(scaled, count, minit="++", seed=start)
        spread = float(((scaled - centers[nearest]) ** 2).sum())
        if spread < best:
            best, labels = spread, nearest
    parts = [rows[labels == k] for k in range(count)]
    # Networks of a very small cluster are left to the others' reach.
    return [part for part in parts if len(part) >= FEWEST] or [rows]


def _floors(kinds: int) -> Array:
    return np.array([FLOORS[0]] * (_COUNTS) + [FLOORS[1]] * (kinds + 1))


def _features(graphs: Sequence[Graph], kinds: Sequence[str]) -> Array:
    sizes = np.array([len(graph) for graph in graphs], dtype=np.float64)[:, None]
    costs = np.array([[graph.total(cost) for cost in COSTS] for graph in graphs])
    longest = np.array([[longest_path(graph)] for graph in graphs])
    counts = kind_counts(graphs, kinds)
    others = sizes - counts.sum(1, keepdims=True)
    shares = np.concatenate([counts, others], axis=1) / np.maximum(sizes, 1)
    return np.concatenate([np.log1p(costs), np.log1p(sizes), np.log1p(longest), shares], axis=1)


def _distance(rows: Array, center: Array, spread: Array) -> Array:
    result: Array = np.sqrt((((rows - center) / spread) ** 2).sum(1))
    return result
