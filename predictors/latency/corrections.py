"""Corrections for single measured columns beside the network that serves them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.checkpoint import joined
from nasplug.predictors.latency.column_heads import ColumnHeads
from nasplug.predictors.latency.launch_costs import LaunchCosts
from nasplug.predictors.prediction import Array
from nasplug.predictors.statistics.familiarity import Familiarity
from nasplug.search_spaces import Graph

__all__ = ["ColumnCorrections"]


@dataclass(frozen=True, eq=False)
class ColumnCorrections:
    """Corrections of the logarithm of latencies on measured columns.

    A network like those measured on a column has the column's head for its kind. For any other a
    geometric mean with the column's `LaunchCosts` is taken: a few factors go wrong less far than a
    network that has seen nothing alike.

    Attributes:
        heads: A correction for each pair of a kind of networks and a column.
        costs: Factors of each column; None to do without.
        share: Weight of the costs in that mean, from 0 to 1.
    """

    heads: ColumnHeads
    costs: LaunchCosts | None
    share: float

    def __call__(
        self,
        graphs: Sequence[Graph],
        states: Array,
        logs: Array,
        columns: Sequence[tuple[str, NDArray[Any]]],
        familiar: Familiarity,
    ) -> None:
        """Correct `logs` in place.

        Args:
            graphs: Whole networks.
            states: Their pooled states, shape `(graphs, features)`.
            logs: Logarithms of ms, shape `(graphs, columns)`.
            columns: Key, and rates as `LaunchCosts` takes them, of each.
            familiar: Tells which kind of networks a graph is like.
        """
        like: dict[tuple[str, ...], list[str]] = {}
        for k, (key, rates) in enumerate(columns):
            among = tuple(name for name, other in self.heads.pairs if other == key)
            if among not in like:
                like[among] = familiar(graphs, among)
            for name in dict.fromkeys(like[among]):
                rows = [row for row, other in enumerate(like[among]) if other == name]
                if name:
                    logs[rows, k] += self.heads(states[rows], name, key)
                elif self.costs is not None and key in self.costs.keys:
                    ms = self.costs([graphs[row] for row in rows], key, rates)
                    # Factors may all be zero for what this network has.
                    costs = np.where(ms > 0, np.log(np.where(ms > 0, ms, 1.0)), logs[rows, k])
                    logs[rows, k] += self.share * (costs - logs[rows, k])

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Arrays to store; pairs, keys and kinds belong to the card (`described`)."""
        costs = {} if self.costs is None else self.costs.tensors()
        return joined({"heads": self.heads.tensors(), "costs": costs})

    def described(self) -> dict[str, Any]:
        """Entries of the card that describe the corrections."""
        costs = None
        if self.costs is not None:
            costs = {"keys": self.costs.keys, "kinds": list(self.costs.kinds)}
        return {"heads": [list(pair) for pair in self.heads.pairs], "costs": costs}

    @classmethod
    def restored(
        cls,
        heads: Mapping[str, NDArray[Any]],
        costs: Mapping[str, NDArray[Any]],
        card: Mapping[str, Any],
        share: float,
    ) -> ColumnCorrections:
        """Restore what `tensors` and `described` stored, with a share of the launch costs."""
        described = card.get("costs")
        return cls(
            ColumnHeads.restored(heads, card["groups"], card["heads"]),
            LaunchCosts.restored(costs, **described) if described else None,
            share,
        )
