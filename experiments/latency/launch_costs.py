"""A linear floor on one device: `predictors.launch_costs`, at the batch size of each network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.common import Array
from nasplug.predictors.features.operators import operator_kinds
from nasplug.predictors.features.roofline import peak_rates
from nasplug.predictors.latency.cell_latency import DeviceBatch
from nasplug.predictors.latency.launch_costs import fit_factors, launch_rows
from nasplug.search_spaces import Graph
from nasplug.search_spaces.costs import FLOAT_BYTES

__all__ = ["LaunchCosts"]


class LaunchCosts:
    """Latency of networks of any kind on one device.

    Args:
        device: The device, and its batch size unless one is given for each network.
        half: Whether networks run in half precision.
    """

    def __init__(self, device: DeviceBatch, half: bool = False) -> None:
        self.device, self.half = device, half
        self._kinds: list[str] = []
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
        self._kinds = sorted({kind for graph in graphs for kind in operator_kinds(graph)})
        self._factors = fit_factors(self._rows(graphs, batches), ms, groups)

    def predict(self, graphs: Sequence[Graph], batches: Sequence[int] | None = None) -> Array:
        """Milliseconds a forward pass, `(graphs,)`."""
        result: Array = self._rows(graphs, batches) @ self._factors
        return result

    def _rows(self, graphs: Sequence[Graph], batches: Sequence[int] | None) -> Array:
        images = [self.device.batch_size] * len(graphs) if batches is None else batches
        peaks = peak_rates(self.device.hardware, self.half)
        rates = [(*peaks, float(count), FLOAT_BYTES / (1 + self.half)) for count in images]
        return launch_rows(graphs, np.array(rates).reshape(len(graphs), 4), self._kinds)
