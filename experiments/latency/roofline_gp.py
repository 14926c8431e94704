"""A Gaussian process on what the roofline of a data sheet misses, for networks of any kind.

A network is described by where the roofline sees its time go: the share of each kind of operator,
bound by arithmetic or by memory. A Gaussian process over these shares learns the logarithm of
measured over roofline time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from experiments.common import Array
from nasplug.predictors.features.operators import operator_kinds
from nasplug.predictors.features.roofline import roofline_parts
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.statistics.gaussian_process import GaussianProcess, Term
from nasplug.search_spaces import Graph

TERMS: tuple[Term, ...] = (
    (("shares", "rbf"),),
    (("size", "rbf"),),
    (("shares", "rbf"), ("size", "rbf")),
)


class RooflineGP:
    """Latency on one device of networks of any family.

    Args:
        hardware: The device.
        half: Whether networks run in half precision.
    """

    def __init__(self, hardware: Hardware, half: bool) -> None:
        self.hardware, self.half = hardware, half
        self.columns: dict[tuple[str, bool], int] = {}
        self.process = GaussianProcess(TERMS)
        self.center = self.scale = self.wider = 0.0

    def fit(self, graphs: Sequence[Graph], ms: Array, batches: Sequence[int]) -> None:
        """Learn milliseconds an image of networks in random order, at the batch of each."""
        times = [self._times(graph, batch) for graph, batch in zip(graphs, batches, strict=True)]
        kinds = sorted({kind for own in times for kind in own})
        self.columns = {kind: k for k, kind in enumerate(kinds)}
        blocks, roofline = self._blocks(times, graphs)
        logs = np.log(ms / roofline)
        self.center, self.scale = float(np.median(logs)), float(logs.std())
        targets = ((logs - self.center) / self.scale)[:, None]
        self.process.fit(blocks, targets, np.ones(len(logs)))
        rows = np.arange(len(logs))
        mean, variance = self.process.leave_one_out(rows, targets)
        errors = np.abs(targets - mean)[:, 0] / np.sqrt(variance + self.process.noise)
        # Leave-one-out errors say how many standard deviations hold 90 % of them.
        level = min(0.9 * (1 + 1 / len(errors)), 1)
        self.wider = max(float(np.quantile(errors, level)), 0.5 * float(norm.ppf(0.95)))

    def predict(
        self, graphs: Sequence[Graph], batches: Sequence[int]
    ) -> tuple[Array, Array, Array]:
        """Milliseconds an image, and the bounds of 90 % intervals."""
        times = [self._times(graph, batch) for graph, batch in zip(graphs, batches, strict=True)]
        blocks, roofline = self._blocks(times, graphs)
        mean, variance = self.process.predict(blocks)
        center = np.log(roofline) + self.center + self.scale * mean[:, 0]
        reach = self.wider * self.scale * np.sqrt(variance + self.process.noise)
        return np.exp(center), np.exp(center - reach), np.exp(center + reach)

    def _times(self, graph: Graph, batch: int) -> dict[tuple[str, bool], float]:
        """Roofline time an image of each kind of operator, and whether memory binds it."""
        compute, memory = roofline_parts(graph, self.hardware, batch, self.half)
        times: dict[tuple[str, bool], float] = {}
        for kind, a, b in zip(operator_kinds(graph), compute, memory, strict=True):
            times[kind, bool(b > a)] = times.get((kind, bool(b > a)), 0.0) + max(a, b) / batch
        return times

    def _blocks(
        self, times: Sequence[dict[tuple[str, bool], float]], graphs: Sequence[Graph]
    ) -> tuple[dict[str, Array], Array]:
        total = np.array([sum(own.values()) for own in times])
        shares = np.zeros((len(times), len(self.columns)))
        for row, own in enumerate(times):
            for kind, ms in own.items():
                if kind in self.columns:
                    shares[row, self.columns[kind]] = ms / total[row]
        size = np.log(np.stack([total, [len(graph) for graph in graphs]], axis=1))
        return {"shares": np.sqrt(shares), "size": size}, total
