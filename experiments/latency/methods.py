"""Cheap methods that learn the latency of networks on one device, and the errors of any method.

A method takes the networks to learn from and those to judge by, and gives milliseconds as those of
the former, with the networks whose latency is inside its 90 % interval, if it has intervals.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, spearmanr
from sklearn.ensemble import HistGradientBoostingRegressor

from experiments.accuracy.floors import roofline
from experiments.common import Array, covered
from experiments.latency.launch_costs import fit_factors, launch_rows
from nasplug.predictors.features.operators import longest_path, operator_kinds
from nasplug.predictors.features.roofline import peak_rates, roofline_ms, roofline_parts
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.one_device import LatencyGP, LatencyGPConfig
from nasplug.predictors.statistics.gaussian_process import GaussianProcess, Term
from nasplug.search_spaces import Graph
from nasplug.search_spaces.costs import FLOAT_BYTES

__all__ = [
    "CHEAP",
    "Networks",
    "Predicted",
    "Rows",
    "boosting",
    "errors",
    "latency_process",
    "launch_costs",
    "relative_errors",
    "roofline_bounds",
]

TERMS: tuple[Term, ...] = (
    (("shares", "rbf"),),
    (("size", "rbf"),),
    (("shares", "rbf"), ("size", "rbf")),
)
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

    column: Setting
    graphs: list[Graph]
    ms: Array
    families: list[str]
    batches: Rows | None = None
    half: bool = False

    def rows(self, chosen: Rows) -> Networks:
        """Some of the networks."""
        return replace(
            self,
            graphs=[self.graphs[k] for k in chosen],
            ms=self.ms[chosen],
            families=[self.families[k] for k in chosen],
            batches=None if self.batches is None else self.batches[chosen],
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
    """A sum of a stretched roofline and the launches of operators: see `fit_factors`."""
    kinds = sorted({kind for graph in learn.graphs for kind in operator_kinds(graph)})

    def rows(networks: Networks) -> Array:
        peaks = peak_rates(networks.column.hardware, networks.half)
        number_bytes = FLOAT_BYTES / (1 + networks.half)
        rates = [(*peaks, float(images), number_bytes) for images in networks.images]
        return launch_rows(networks.graphs, np.array(rates), kinds)

    factors = fit_factors(rows(learn), learn.ms * learn.shares, learn.families)
    return rows(judge) @ factors / judge.shares, None


def roofline_times(networks: Networks) -> list[dict[tuple[str, bool], float]]:
    """Roofline time an image of each kind of operator, and whether memory binds it."""
    result = []
    for graph, images in zip(networks.graphs, networks.images, strict=True):
        times: dict[tuple[str, bool], float] = defaultdict(float)
        parts = roofline_parts(graph, networks.column.hardware, images, networks.half)
        for kind, compute, memory in zip(operator_kinds(graph), *parts, strict=True):
            times[kind, bool(memory > compute)] += max(compute, memory) / images
        result.append(times)
    return result


def roofline_bounds(learn: Networks, judge: Networks) -> tuple[Array, Array, Array]:
    """Milliseconds and the bounds of 90 % intervals, by a process on what the roofline misses.

    A network is described by where the roofline sees its time go: the share of each kind of
    operator, bound by arithmetic or by memory. A Gaussian process over these shares learns the
    logarithm of measured over roofline time; the networks to learn from are in random order.
    """
    learned_times = roofline_times(learn)
    kinds = sorted({kind for times in learned_times for kind in times})

    def blocks_of(
        times: list[dict[tuple[str, bool], float]], graphs: list[Graph]
    ) -> tuple[dict[str, Array], Array]:
        totals = np.array([sum(of_graph.values()) for of_graph in times])
        shares = np.array([[of_graph.get(kind, 0.0) for kind in kinds] for of_graph in times])
        size = np.log(np.stack([totals, [len(graph) for graph in graphs]], axis=1))
        return {"shares": np.sqrt(shares / totals[:, None]), "size": size}, totals

    blocks, learned_rooflines = blocks_of(learned_times, learn.graphs)
    logs = np.log(learn.ms / learned_rooflines)
    center, scale = float(np.median(logs)), float(logs.std())
    targets = ((logs - center) / scale)[:, None]
    process = GaussianProcess(TERMS)
    process.fit(blocks, targets, np.ones(len(logs)))
    mean, variance = process.leave_one_out(np.arange(len(logs)), targets)
    off = np.abs(targets - mean)[:, 0] / np.sqrt(variance + process.noise)
    # Leave-one-out errors say how many standard deviations hold 90 % of them.
    level = min(0.9 * (1 + 1 / len(off)), 1)
    wider = max(float(np.quantile(off, level)), 0.5 * float(norm.ppf(0.95)))
    blocks, totals = blocks_of(roofline_times(judge), judge.graphs)
    mean, variance = process.predict(blocks)
    logs = np.log(totals) + center + scale * mean[:, 0]
    reach = wider * scale * np.sqrt(variance + process.noise)
    return np.exp(logs), np.exp(logs - reach), np.exp(logs + reach)


def roofline_process(learn: Networks, judge: Networks) -> Predicted:
    predicted, low, high = roofline_bounds(learn, judge)
    return predicted, (judge.ms >= low) & (judge.ms <= high)


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
