"""A linear floor: a network takes its roofline, stretched, and the launches of its operators.

    latency = a · Σ arithmetic + b · Σ memory traffic + Σ_kind (launch_kind · n_kind) + constant

Each operator counts as arithmetic or as memory traffic, whichever its roofline is bound by. No
factor is negative: they are fitted to relative errors by non-negative least squares (Lawson and
Hanson). Each kind of operator departs from a launch that all have in common; how far is chosen by
groups of the learned networks that are left out in turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from common import Array
from scipy.optimize import nnls

from nasplug.predictors.latency import DeviceBatch
from nasplug.predictors.operator_features import operator_kinds
from nasplug.predictors.roofline import roofline_parts
from nasplug.search_spaces import Graph

__all__ = ["LaunchCosts"]

# Penalties on departures from the common launch that are tried.
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
COMMON = 4


class LaunchCosts:
    """Latency of networks of any kind on one device.

    Args:
        device: The device, and its batch size unless one is given for each network.
        half: Whether networks run in half precision.
    """

    def __init__(self, device: DeviceBatch, half: bool = False) -> None:
        self.device, self.half = device, half
        self._kinds: dict[str, int] = {}
        self._factors = np.zeros(0)

    def fit(
        self,
        graphs: Sequence[Graph],
        ms: Array,
        groups: Sequence[str],
        batches: Sequence[int] | None = None,
    ) -> None:
        """Learn from measured networks.

        Args:
            graphs: The networks.
            ms: Milliseconds a forward pass, all above 0, shape `(graphs,)`.
            groups: Group of each, at least two different ones.
            batches: Images a forward pass of each.
        """
        kinds = sorted({kind for graph in graphs for kind in operator_kinds(graph)})
        self._kinds = {kind: k for k, kind in enumerate(kinds)}
        rows = self._rows(graphs, batches) / ms[:, None]
        names = np.array(groups)
        errors = [
            np.mean(
                [
                    np.abs(rows[names == name] @ _factors(rows[names != name], penalty) - 1).mean()
                    for name in dict.fromkeys(groups)
                ]
            )
            for penalty in PENALTIES
        ]
        self._factors = _factors(rows, PENALTIES[int(np.argmin(errors))])

    def predict(self, graphs: Sequence[Graph], batches: Sequence[int] | None = None) -> Array:
        """Milliseconds a forward pass, `(graphs,)`."""
        result: Array = self._rows(graphs, batches) @ self._factors
        return result

    def _rows(self, graphs: Sequence[Graph], batches: Sequence[int] | None) -> Array:
        """Arithmetic, memory traffic, nodes, 1, and nodes of each kind."""
        images = [self.device.batch_size] * len(graphs) if batches is None else batches
        rows = np.zeros((len(graphs), COMMON + len(self._kinds)))
        for row, graph, batch in zip(rows, graphs, images, strict=True):
            compute, memory = roofline_parts(graph, self.device.hardware, batch, self.half)
            bound = compute >= memory
            row[:COMMON] = compute[bound].sum(), memory[~bound].sum(), len(graph), 1.0
            for kind in operator_kinds(graph):
                if kind in self._kinds:
                    row[COMMON + self._kinds[kind]] += 1
        return rows


def _factors(rows: Array, penalty: float) -> Array:
    """Factors that bring each row's sum near 1."""
    # Columns of equal weight, so that the penalty means the same for a rare kind.
    scales = np.maximum(np.sqrt((rows**2).mean(0)), 1e-12)
    kinds = rows.shape[1] - COMMON
    small = np.sqrt(penalty * len(rows) / kinds) * np.eye(rows.shape[1])[COMMON:]
    system = np.concatenate([rows / scales, small])
    found: Array = nnls(system, np.concatenate([np.ones(len(rows)), np.zeros(kinds)]))[0] / scales
    # What is nowhere in these rows costs nothing of its own.
    found[scales <= 1e-12] = 0
    return found
