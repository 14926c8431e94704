"""Cheap methods that learn the latency of networks on one device, and the errors of any method.

A method takes the networks to learn from and those to judge by, and gives milliseconds as those of
the former, with the networks whose latency is inside its 90 % interval, if it has intervals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.ensemble import HistGradientBoostingRegressor

from experiments.accuracy.floors import roofline
from experiments.common import Array, covered
from experiments.latency.launch_costs import LaunchCosts
from experiments.latency.roofline_gp import RooflineGP
from nasplug.predictors.features.operators import longest_path
from nasplug.predictors.features.roofline import roofline_ms
from nasplug.predictors.latency.cell_latency import DeviceBatch
from nasplug.predictors.latency.one_device import LatencyGP, LatencyGPConfig
from nasplug.search_spaces import Graph

__all__ = [
    "CHEAP",
    "Networks",
    "Predicted",
    "Rows",
    "boosting",
    "errors",
    "latency_process",
    "relative_errors",
]

Rows = NDArray[np.int64]
Predicted = tuple[Array, NDArray[np.bool_] | None]


@dataclass(frozen=True, eq=False)
class Networks:
    """Networks that were measured on one device; all sequences have one item a network.

    Attributes:
        column: The device and a batch size.
        graphs: The networks.
        ms: Milliseconds of a forward pass at that batch size; of one image where there are
            `batches`.
        families: Kind of each network.
        batches: Images of the forward pass that was measured, if each network has its own.
        half: Whether they ran in half precision.
    """

    column: DeviceBatch
    graphs: list[Graph]
    ms: Array
    families: list[str]
    batches: Rows | None = None
    half: bool = False

    def rows(self, chosen: Rows) -> Networks:
        """Some of the networks."""
        return Networks(
            self.column,
            [self.graphs[k] for k in chosen],
            self.ms[chosen],
            [self.families[k] for k in chosen],
            None if self.batches is None else self.batches[chosen],
            self.half,
        )

    @property
    def images(self) -> list[int]:
        """Images of each forward pass."""
        if self.batches is None:
            return [self.column.batch_size] * len(self.graphs)
        return [int(batch) for batch in self.batches]

    @property
    def shares(self) -> Array:
        """Factors from `ms` to milliseconds of the forward passes."""
        return np.ones(len(self.graphs)) if self.batches is None else self.batches.astype(float)


def rooflines(networks: Networks) -> Array:
    """Milliseconds by the data sheet alone: each node is bound by arithmetic or by memory."""
    column = networks.column
    if networks.batches is None:
        return np.concatenate([roofline([graph], column) for graph in networks.graphs])
    sums = [
        roofline_ms(graph, column.hardware, images, networks.half).sum() / images
        for graph, images in zip(networks.graphs, networks.images, strict=True)
    ]
    return np.array(sums)


def scaled_roofline(learn: Networks, judge: Networks) -> Predicted:
    """The roofline times the median ratio of the learned networks."""
    return np.median(learn.ms / rooflines(learn)) * rooflines(judge), None


def plain_features(graphs: list[Graph]) -> Array:
    """FLOPs, parameters, bytes, nodes and depth of each network."""
    costs = ("flops", "params", "bytes")
    return np.array([[*map(g.total, costs), len(g), longest_path(g)] for g in graphs])


def boosting(learn: Networks, judge: Networks, seed: int = 0) -> Predicted:
    """Gradient boosting on `plain_features`."""
    model = HistGradientBoostingRegressor(random_state=seed)
    model.fit(plain_features(learn.graphs), np.log(learn.ms))
    return np.exp(model.predict(plain_features(judge.graphs))), None


def launch_costs(learn: Networks, judge: Networks) -> Predicted:
    costs = LaunchCosts(learn.column, learn.half)
    costs.fit(learn.graphs, learn.ms * learn.shares, learn.families, learn.images)
    return costs.predict(judge.graphs, judge.images) / judge.shares, None


def roofline_process(learn: Networks, judge: Networks) -> Predicted:
    process = RooflineGP(learn.column.hardware, learn.half)
    process.fit(learn.graphs, learn.ms, learn.images)
    center, low, high = process.predict(judge.graphs, judge.images)
    return center, (judge.ms >= low) & (judge.ms <= high)


def latency_process(
    learn: Networks, judge: Networks, config: LatencyGPConfig | None = None
) -> Predicted:
    process = LatencyGP(config)
    process.fit(learn.graphs, learn.ms, [learn.column])
    predicted = process.predict(judge.graphs)
    return predicted.mean[:, 0], covered(predicted, judge.ms)


CHEAP: dict[str, Callable[[Networks, Networks], Predicted]] = {
    "roofline, scaled": scaled_roofline,
    "gradient boosting": boosting,
    "launch costs": launch_costs,
    "roofline-gp": roofline_process,
    "latency-gp": latency_process,
}


def relative_errors(predicted: Array, truth: Array) -> dict[str, float]:
    """Mean absolute error in percent, and the share of predictions that are within 10 %."""
    error = np.abs(predicted / truth - 1)
    return {
        "mape_percent": float(100 * error.mean()),
        "acc10_percent": float(100 * (error <= 0.1).mean()),
    }


def errors(predicted: Array, truth: Array, smallest: float = 0.0) -> dict[str, float]:
    """Relative errors over latencies of at least `smallest` ms, and Spearman's rank correlation.

    A constant prediction ranks nothing: 0.
    """
    usual = truth >= smallest
    ranks = float(spearmanr(predicted, truth)[0]) if np.ptp(predicted) else 0.0
    return {**relative_errors(predicted[usual], truth[usual]), "spearman": ranks}
