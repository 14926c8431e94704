"""Predict accuracies of whole networks, and fit the predictors that the package has.

    python -m experiments.zoo.train_network_accuracy [--threads 1] [--seeds 0,1,2]
        [--fresh]
    python -m experiments.zoo.train_network_accuracy --ship

Half of the networks of a space are judged by and never learned from. The kernel is chosen on a part
of the other half, as the choice of networks to learn from is made there for each seed. What a count
is worth in place of an accuracy is told under limits of measured latency: how far the network with
most of it among those within the limit falls short of the best of them. Writes
results/network_accuracy.json; runs that are there already are not repeated. With --ship the
predictors of the zoo are fitted, by the same recipe, to networks of the learned half.
"""

from __future__ import annotations

import json
import time
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr
from sklearn.ensemble import HistGradientBoostingRegressor

from experiments.campaign import Campaign, Options
from experiments.common import SPLIT_SEED, ZOO, Array, covered, provenance
from nasplug import datasets
from nasplug.predicting.zoo import ArchitecturePredictor
from nasplug.predictors.accuracy.operator_gp import KERNELS, AccuracyGP, AccuracyGPConfig
from nasplug.search_spaces import Architecture, Graph, space

# Space -> column of its table, image set, what is predicted.
DATA = {
    "accel": (
        "imagenet_val",
        "imagenet",
        "ImageNet top-1 (%) of Accel-NASBench networks after its short training",
    ),
    "macro": ("cifar10_test", "cifar10", "CIFAR-10 test accuracy (%) of NAS-Bench-Macro networks"),
}
SIZES = (200, 500, 1500)
SHIPPED_SIZE = 1500
COUNTS = ("FLOPs alone", "parameters alone")
PLAIN = "gradient boosting on FLOPs and parameters"
ONE_HOT = "gradient boosting on decisions"
OWN = "accuracy-gp"
METHODS = (*COUNTS, PLAIN, ONE_HOT, OWN)
VALIDATED = 0.2
# Devices whose latency, or throughput, was measured for the networks of accel.
LIMITED = ("RTX 3090 img/s", "A100 40GB img/s", "TPU v2 img/s", "ZCU102@1", "VCK190@6")
# Limits, as shares of the networks that meet them, and the networks that are taken for each.
SHARES = np.linspace(0.05, 1.0, 20)
TAKEN = 5


@cache
def networks(name: str) -> tuple[list[Architecture], list[Graph], Array]:
    """Different networks of a space, their graphs, and the means of their accuracies."""
    table, where = datasets.load(name), space(name)
    values: dict[str, list[float]] = {}
    first: dict[str, Architecture] = {}
    for text, value in zip(table["arch"], table[DATA[name][0]], strict=True):
        arch = where.parse(str(text))
        first.setdefault(arch.arch_id, arch)
        values.setdefault(arch.arch_id, []).append(float(value))
    archs = list(first.values())
    accuracies = np.array([np.mean(values[arch.arch_id]) for arch in archs])
    return archs, where.to_graphs(archs), accuracies


def halves(name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the networks that may be learned from, and of those that are judged by."""
    count = len(networks(name)[0])
    order = np.random.default_rng(SPLIT_SEED).permutation(count)
    return order[: count // 2], order[count // 2 :]


def chosen(name: str, size: int, seed: int) -> NDArray[np.int64]:
    """Networks to learn from."""
    return np.random.default_rng(seed).permutation(halves(name)[0])[:size]


def counts(graphs: list[Graph]) -> Array:
    """FLOPs and parameters."""
    return np.array([[graph.total(what) for what in ("flops", "params")] for graph in graphs])


def decisions(name: str) -> Array:
    """The choice of each decision, one-hot."""
    rows = [space(name).to_params(arch) for arch in networks(name)[0]]
    choices = [(key, value) for key in rows[0] for value in {row[key]: 0 for row in rows}]
    return np.array([[float(row[key] == value) for key, value in choices] for row in rows])


def fitted(name: str, rows: NDArray[np.int64], kernel: str = "full") -> AccuracyGP:
    _, graphs, truth = networks(name)
    predictor = AccuracyGP(AccuracyGPConfig((DATA[name][1],), kernel=kernel))
    predictor.fit([graphs[k] for k in rows], truth[rows])
    return predictor


def predict(
    name: str, method: str, train: NDArray[np.int64], test: NDArray[np.int64]
) -> tuple[Array, float | None]:
    """Predicted accuracies, and coverage of 90 % intervals where there are any."""
    _, graphs, truth = networks(name)
    if method in COUNTS:
        return counts([graphs[k] for k in test])[:, COUNTS.index(method)], None
    if method in (PLAIN, ONE_HOT):
        features = counts(graphs) if method == PLAIN else decisions(name)
        model = HistGradientBoostingRegressor(random_state=0).fit(features[train], truth[train])
        return model.predict(features[test]), None
    predicted = fitted(name, train).predict([graphs[k] for k in test])
    return predicted.mean[:, 0], float(covered(predicted, truth[test]).mean())


def measure(name: str, size: int, seed: int, method: str) -> dict[str, Any]:
    train, test, truth = chosen(name, size, seed), halves(name)[1], networks(name)[2]
    predicted, coverage = predict(name, method, train, test)
    error = None if method in COUNTS else float(np.abs(predicted - truth[test]).mean())
    return {
        "train": 0 if method in COUNTS else len(train),
        "test": len(test),
        "kendall_tau": float(kendalltau(predicted, truth[test])[0]),
        "spearman": float(spearmanr(predicted, truth[test])[0]),
        "mean_absolute_error": error,
        "coverage": coverage,
    }


def choose(name: str) -> list[dict[str, Any]]:
    """The kernels on a part of the networks that may be learned from."""
    rows = chosen(name, SHIPPED_SIZE, 0)
    held = round(VALIDATED * len(rows))
    _, graphs, truth = networks(name)
    kernels = []
    for kernel in KERNELS:
        predicted = fitted(name, rows[held:], kernel).predict([graphs[k] for k in rows[:held]])
        tau = kendalltau(predicted.mean[:, 0], truth[rows[:held]])[0]
        kernels.append({"space": name, "kernel": kernel, "kendall_tau": float(tau)})
        print(json.dumps(kernels[-1]), flush=True)
    return kernels


def shortfalls() -> list[dict[str, Any]]:
    """Points by which the networks with most of a count fall short of the best within a limit."""
    archs, graphs, truth = networks("accel")
    test = halves("accel")[1]
    predicted = fitted("accel", chosen("accel", SHIPPED_SIZE, 0)).predict([graphs[k] for k in test])
    counted = counts([graphs[k] for k in test])
    scores = {**dict(zip(COUNTS, counted.T, strict=True)), OWN: predicted.mean[:, 0]}
    table = datasets.load("accel").drop_duplicates("arch").set_index("arch")
    rows = []
    for column in LIMITED:
        measured = table[column].loc[[archs[k].text for k in test]].to_numpy(np.float64)
        cost = 1 / measured if column.endswith("img/s") else measured
        points: dict[str, list[float]] = {}
        for limit in np.nanquantile(cost, SHARES):
            inside = np.flatnonzero(cost <= limit)
            reached = truth[test][inside]
            for method, score in scores.items():
                taken = reached[np.argsort(-score[inside], kind="stable")[:TAKEN]]
                points.setdefault(method, []).append(reached.max() - taken.mean())
            points.setdefault("any network", []).append(reached.max() - reached.mean())
        rows += [
            {"column": column, "method": method, "points": float(np.mean(values))}
            for method, values in points.items()
        ]
    return rows


def ship(name: str) -> None:
    """Fit a predictor, and write it with its card."""
    column, image_set, description = DATA[name]
    train, test = chosen(name, SHIPPED_SIZE, 0), halves(name)[1]
    started = time.perf_counter()
    predictor = fitted(name, train)
    seconds = round(time.perf_counter() - started)
    _, graphs, truth = networks(name)
    predicted = predictor.predict([graphs[k] for k in test])
    ArchitecturePredictor(f"{name}-accuracy", space(name), predictor).save(
        ZOO / f"{name}-accuracy",
        name=f"{name}-accuracy",
        description=description,
        training={
            "networks": len(train),
            "split": f"half of the different networks by numpy default_rng({SPLIT_SEED}), of them "
            f"{SHIPPED_SIZE} by default_rng(0)",
            "labels": f"{column}, image set {image_set}",
            "seconds": seconds,
        },
        quality={
            "held_out_networks": len(test),
            "kendall_tau": round(float(kendalltau(predicted.mean[:, 0], truth[test])[0]), 4),
            "mean_absolute_error": round(
                float(np.abs(predicted.mean[:, 0] - truth[test]).mean()), 4
            ),
            "coverage": round(float(covered(predicted, truth[test]).mean()), 4),
        },
        provenance=provenance(name),
    )


def main() -> None:
    parser = Options(__doc__, seeds="0,1,2", fresh=True)
    parser.add_argument("--ship", action="store_true")
    options = parser.parse_args()
    if options.ship:
        for name in DATA:
            ship(name)
        return
    keys = ("space", "size", "seed", "method")
    campaign = Campaign("network_accuracy", keys, DATA, fresh=options.fresh)
    campaign.complete(product(DATA, SIZES, options.seeds, METHODS), measure)
    kernels = [] if options.fresh else campaign.content.get("kernels", [])
    for name in DATA:
        if name not in {row["space"] for row in kernels}:
            kernels += choose(name)
            campaign.add(kernels=kernels)
    if options.fresh or "shortfalls" not in campaign.content:
        campaign.add(shortfalls=shortfalls())


if __name__ == "__main__":
    main()
