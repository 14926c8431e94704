"""The cheap methods that a predictor has to beat, on the same cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.stats import norm, rankdata

from experiments.common import Array
from nasplug.predictors.features.settings import Setting
from nasplug.search_spaces import Graph

# Paths of a cell from its input to its output, as positions of edge operations in the string.
PATHS = ((3,), (0, 4), (1, 5), (0, 2, 5))
LIVE_OPS = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
OPS = ("none", *LIVE_OPS)


def one_hot(graphs: Sequence[Graph]) -> Array:
    """The six edge operations of each cell, one-hot, `(cells, 30)`."""
    return np.array([[float(op == o) for op in g.ops[1:-1] for o in OPS] for g in graphs])


def path_features(graphs: Sequence[Graph]) -> Array:
    """One-hot operations, counts of each operation sequence on live paths, twelve summaries."""
    sequences: list[Counter[tuple[str, ...]]] = []
    summaries = []
    for graph in graphs:
        ops = graph.ops[1:-1]
        live = [path for path in PATHS if all(ops[k] != "none" for k in path)]
        edges = sorted({k for path in live for k in path})
        shortened = [tuple(ops[k] for k in p if ops[k] != "skip_connect") for p in live]
        sequences.append(Counter(shortened))
        convs = [sum(op.startswith("nor_conv") for op in s) for s in shortened] or [-1]
        large = [s.count("nor_conv_3x3") for s in shortened] or [-1]
        summaries.append(
            [
                *(sum(ops[k] == op for k in edges) for op in LIVE_OPS),
                max(convs),
                min(convs),
                sum(convs),
                max(large),
                sum(large),
                sum(not s for s in shortened),
                len(live),
                len(edges),
            ]
        )
    columns = sorted({s for counts in sequences for s in counts})
    counted = np.array([[counts[s] for s in columns] for counts in sequences], dtype=float)
    summary = np.array(summaries, dtype=float)
    summary /= np.maximum(summary.std(0), 1e-9)
    return 0.7 * np.concatenate([one_hot(graphs), counted, summary], axis=1)


def gaussian_process(features: Array, train: Array, targets: Array, seed: int = 0) -> Array:
    """Gaussian process over path features, targets as normal scores; predictions of all rows."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    scores = norm.ppf((rankdata(targets) - 0.5) / len(targets))
    kernel = ConstantKernel(1.0) * RBF(3.0) + ConstantKernel(1.0) * RBF(10.0) + WhiteKernel(0.05)
    subset = np.random.default_rng(seed).permutation(len(train))[:1000]
    # Hyperparameters by maximum likelihood on a thousand cells; the process itself on all.
    first = GaussianProcessRegressor(kernel, normalize_y=True, random_state=seed)
    first.fit(features[train][subset], scores[subset])
    full = GaussianProcessRegressor(first.kernel_, normalize_y=True, optimizer=None)
    predicted: Array = full.fit(features[train], scores).predict(features)
    return predicted


def random_forest(features: Array, train: Array, targets: Array, seed: int = 0) -> Array:
    """Random forest on one-hot operations; predictions of all rows."""
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(200, random_state=seed, n_jobs=-1)
    predicted: Array = forest.fit(features[train], targets).predict(features)
    return predicted


def roofline(graphs: Sequence[Graph], column: Setting) -> Array:
    """Latency in ms from the data sheet alone: each node is bound by arithmetic or by memory."""
    flops = np.stack([g.attribute("flops") for g in graphs]) * 2 * column.batch_size
    traffic = np.stack([g.attribute("bytes") for g in graphs]) * column.batch_size
    peak = column.hardware.peak_tflops["fp32"] * 1e12
    bandwidth = column.hardware.memory_bandwidth_gbs * 1e9
    result: Array = 1e3 * np.maximum(flops / peak, traffic / bandwidth).sum(1)
    return result
