"""Features of architectures for the model of trials: structure, and counts of operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nasplug.arrays import Array
from nasplug.predictors.features.cells import Paths
from nasplug.predictors.features.operators import CELL, OperatorTotals
from nasplug.sampling.incremental_process import median_distance
from nasplug.search_spaces import Architecture, Graph, InputError, SearchSpace

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["BLOCKS", "CandidateFeatures"]

# Accuracy depends on structure, cost on counts; most quantities depend on both.
BLOCKS = ("structure", "counts", "both")


class CandidateFeatures:
    """Features of a space's architectures, the same for all quantities.

    Of a cell, `structure` is the operation of each edge, how often each sequence of operations lies
    on a live path, and summaries of the paths (`predictors.cell_features`); `counts` is how often
    each operation occurs, live or not. Of a whole network, they are the choices it was made by, and
    what each kind of operator totals to (`predictors.operator_features`). `both` is one beside the
    other.

    Each block is in units of its median distance among the architectures it is made of: at least
    one like those to come, or all of a finite space, whose own rows are `first`.
    """

    def __init__(self, space: SearchSpace, archs: Sequence[Architecture], task: str) -> None:
        self._space, self._task = space, task
        self._distributions = space.distributions()
        graphs, numbers = self._graphs(archs)
        self._paths: Paths | None = None
        self._operators: OperatorTotals | None = None
        self._kinds: tuple[str, ...] = ()
        sizes = {len(graph) for graph in graphs}
        # Small networks of equal depth are no cells: they differ in widths too.
        if not space.whole_networks and len(sizes) == 1 and len(graphs[0]) <= CELL:
            try:
                self._paths = Paths.of(graphs)
                self._kinds = tuple(sorted({op for graph in graphs for op in graph.ops}))
            except InputError:
                self._paths = None
        if self._paths is None:
            self._operators = OperatorTotals.of(graphs, numbers)
        self._mean: dict[str, Array | float] = {}
        self._spread: dict[str, Array] = {}
        self._units: dict[str, float] = {}
        raw = self._raw(archs, graphs, numbers)
        for name, rows in raw.items():
            spread = rows.std(0)
            # Far from zero the distances of totals would drown in the rounding of their squares.
            is_far = self._operators is not None and name == "counts"
            self._mean[name] = rows.mean(0) if is_far else 0.0
            # One-hot columns and counts of paths are of one size; totals are not.
            even = np.ones(rows.shape[1]) if name == "structure" else spread
            self._spread[name] = np.where(spread > 1e-9, even, np.inf)
            self._units[name] = median_distance(rows / self._spread[name])
        self.first = self._scaled(raw)

    def __call__(self, archs: Sequence[Architecture]) -> dict[str, Array]:
        """Name of each of `BLOCKS` to the rows of architectures, `(n, d)`."""
        return self._scaled(self._raw(archs, *self._graphs(archs)))

    def _graphs(self, archs: Sequence[Architecture]) -> tuple[list[Graph], Array | None]:
        """Graphs of architectures, or those that they are sums of, with their numbers in each."""
        sums = self._space.summands(archs, self._task)
        return (self._space.to_graphs(archs, self._task), None) if sums is None else sums

    def _scaled(self, raw: Mapping[str, Array]) -> dict[str, Array]:
        blocks = {
            name: (rows - self._mean[name]) / self._spread[name] / self._units[name]
            for name, rows in raw.items()
        }
        both = [blocks["structure"], blocks["counts"]]
        return blocks | {"both": np.concatenate(both, axis=1) / np.sqrt(2)}

    def _raw(
        self, archs: Sequence[Architecture], graphs: Sequence[Graph], numbers: Array | None
    ) -> dict[str, Array]:
        if self._paths is not None:
            counts = [Counter(graph.ops) for graph in graphs]
            rows = [[float(count[kind]) for kind in self._kinds] for count in counts]
            return {"structure": self._paths(graphs), "counts": np.array(rows)}
        assert self._operators is not None
        params = [self._space.to_params(arch) for arch in archs]
        return {
            "structure": _choices(params, self._distributions),
            "counts": self._operators(graphs, numbers),
        }


def _choices(
    params: Sequence[Mapping[str, Any]], distributions: Mapping[str, BaseDistribution]
) -> Array:
    """Choices one-hot, numbers from 0 to 1; parameters that a network does not have are 0."""
    from optuna.distributions import CategoricalDistribution

    columns = []
    for name, distribution in distributions.items():
        values = [row.get(name) for row in params]
        if isinstance(distribution, CategoricalDistribution):
            columns += [
                [float(value == choice) for value in values] for choice in distribution.choices
            ]
            continue
        low, high = float(distribution.low), float(distribution.high)  # type: ignore[attr-defined]
        scale = high - low or 1.0
        columns.append([0.0 if v is None else (float(v) - low) / scale for v in values])
    return np.array(columns).T
