"""Devices that are known by a table of latencies, and devices under another name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from experiments.common import Array
from nasplug.predicting.few_shot import POOL, SMALLEST_MS
from nasplug.predictors import Hardware
from nasplug.search_spaces import Graph

__all__ = ["KnownLatencies", "renamed"]


class KnownLatencies:
    """Log-latencies of a fixed list of graphs on other devices, as `DeviceTransfer` reads them.

    Args:
        graphs: The graphs; the first of them may be suggested for measuring.
        logs: Logarithms of ms, shape `(graphs, devices)`.
        describes: Whether the last column is what the device's data sheet promises.
    """

    smallest_ms = SMALLEST_MS

    def __init__(self, graphs: Sequence[Graph], logs: Array, describes: bool = False) -> None:
        self.describes, self.graphs = describes, graphs[:POOL]
        self._logs = logs
        self._row = {id(graph): k for k, graph in enumerate(graphs)}

    def log_latency(self, graphs: Sequence[Graph]) -> Array:
        """Rows of these graphs."""
        return self._logs[[self._row[id(graph)] for graph in graphs]]


def renamed(device: Hardware) -> Hardware:
    """The device under a name that no predictor knows."""
    return replace(device, name="mine", aliases=())
