"""How well latency on one measured device is predicted for networks that were not measured.

    python -m experiments.latency.network_latency [--threads 1] [--seeds 0,1,2]

Each method learns a random part of a data set's networks on one device and predicts all others,
with two floors on the same split: the roofline of the data sheet times one factor (the median ratio
of the training networks), and gradient boosting on FLOPs, parameters, bytes, nodes and depth.
NNLQP's NAS-Bench-201 family has its official split. Writes results/network_latency.json; runs that
are there already are not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.ensemble import HistGradientBoostingRegressor

from experiments.accuracy.floors import roofline
from experiments.common import RESULTS, Array, provenance, write_result
from nasplug import datasets, hardware
from nasplug.predictors.features.operators import longest_path
from nasplug.predictors.latency.cell_latency import DeviceBatch
from nasplug.predictors.latency.one_device import LatencyGP
from nasplug.search_spaces import Graph, space

SMALLEST_MS = 0.1
OFFICIAL = "nnlqp-nasbench201"
# Data set -> search space, columns. A throughput in images a second is turned into ms an image.
DATA: dict[str, tuple[str, tuple[str, ...]]] = {
    OFFICIAL: ("nb201", ("GTX 1660@1",)),
    "accel": ("accel", ("RTX 3090 img/s", "A100 40GB img/s", "ZCU102@1")),
    "fbnet-latency": (
        "fbnet",
        ("RTX 2080 Ti@1", "Titan RTX@64", "Xeon Gold 6226@1", "Raspberry Pi 4@1"),
    ),
    "ofa-latency": ("ofa", ("RTX 2080 Ti@1", "Titan RTX@1", "Titan RTX@64", "V100@32")),
    "nb201-latency": (
        "nb201",
        ("RTX 2080 Ti@1", "Titan RTX@256", "Xeon Gold 6226@1", "Raspberry Pi 4@1"),
    ),
}
# A share of the networks, or a number of them.
SIZES: dict[str, tuple[float, ...]] = {OFFICIAL: (50, 100, 200, 1800)}
USUAL_SIZES = (0.1, 2000)
METHODS = ("roofline, scaled", "gradient boosting", "latency-gp")


@cache
def graphs_of(data: str) -> list[Graph]:
    """The networks of a data set, in the order of its rows."""
    table, where = datasets.load(data), space(DATA[data][0])
    texts = table["arch"] if "arch" in table.columns else map(str, where)  # type: ignore[call-overload]
    return [where.to_graph(where.parse(str(text))) for text in texts]


def target(data: str, column: str) -> tuple[Array, DeviceBatch]:
    """Milliseconds (a batch, or an image where only throughput is known), and the device."""
    values = datasets.load(data)[column].to_numpy(np.float64)
    if column.endswith(" img/s"):
        return 1000 / values, DeviceBatch(hardware(column.removesuffix(" img/s")), 1)
    name, _, batch = column.rpartition("@")
    return values, DeviceBatch(hardware(name), int(batch))


def split(data: str, known: NDArray[np.int64], size: float, seed: int) -> tuple[Any, Any]:
    """Rows to learn from, and rows to be judged by."""
    rng = np.random.default_rng(seed)
    if data == OFFICIAL:
        stage = datasets.load(data)["stage"].to_numpy()
        return rng.permutation(np.flatnonzero(stage == "train"))[: int(size)], np.flatnonzero(
            stage == "test"
        )
    order = rng.permutation(known)
    count = round(size * len(known)) if size < 1 else int(size)
    return order[:count], order[count:]


def plain_features(graphs: list[Graph]) -> Array:
    """FLOPs, parameters, bytes, nodes, depth."""
    return np.array(
        [
            [*(g.total(c) for c in ("flops", "params", "bytes")), len(g), longest_path(g)]
            for g in graphs
        ]
    )


def predict(
    method: str, graphs: list[Graph], train: Any, test: Any, truth: Array, device: DeviceBatch
) -> tuple[Array, float | None]:
    """Predicted ms of the test networks, and coverage of 90 % intervals where there are any."""
    learn, judge = [graphs[k] for k in train], [graphs[k] for k in test]
    if method == "roofline, scaled":
        factor = np.median(truth[train] / floor_of(learn, device))
        return factor * floor_of(judge, device), None
    if method == "gradient boosting":
        model = HistGradientBoostingRegressor(random_state=0)
        model.fit(plain_features(learn), np.log(truth[train]))
        return np.exp(model.predict(plain_features(judge))), None
    predictor = LatencyGP()
    predictor.fit(learn, truth[train], [device])
    said = predictor.predict(judge)
    inside = (truth[test] >= said.lower[:, 0]) & (truth[test] <= said.upper[:, 0])
    return said.mean[:, 0], float(inside.mean())


def floor_of(graphs: list[Graph], device: DeviceBatch) -> Array:
    return np.concatenate([roofline([graph], device) for graph in graphs])


def measure(data: str, column: str, size: float, seed: int, method: str) -> dict[str, Any]:
    truth, device = target(data, column)
    smallest = 0 if column.endswith(" img/s") else SMALLEST_MS
    known = np.flatnonzero(np.isfinite(truth) & (truth >= smallest))
    train, test = split(data, known, size, seed)
    started = time.perf_counter()
    predicted, coverage = predict(method, graphs_of(data), train, test, truth, device)
    error = np.abs(predicted - truth[test]) / truth[test]
    return {
        "data": data,
        "column": column,
        "size": size,
        "seed": seed,
        "method": method,
        "train": len(train),
        "test": len(test),
        "mape_percent": float(100 * error.mean()),
        "acc10_percent": float(100 * (error <= 0.1).mean()),
        "spearman": float(spearmanr(predicted, truth[test])[0]),
        "coverage": coverage,
        "seconds": round(time.perf_counter() - started, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", default="0,1,2")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    path = RESULTS / "network_latency.json"
    rows: list[dict[str, Any]] = []
    if path.exists():
        rows = json.loads(path.read_text(encoding="utf-8"))["runs"]
    keys = ("data", "column", "size", "seed", "method")
    done = {tuple(row[key] for key in keys) for row in rows}
    for data, (_, columns) in DATA.items():
        for column in columns:
            for size in SIZES.get(data, USUAL_SIZES):
                for seed in map(int, options.seeds.split(",")):
                    for method in METHODS:
                        if (data, column, size, seed, method) in done:
                            continue
                        rows.append(measure(data, column, size, seed, method))
                        print(json.dumps(rows[-1]), flush=True)
            write_result(
                "network_latency",
                {"smallest_ms": SMALLEST_MS, "runs": rows, "provenance": provenance(*DATA)},
            )


if __name__ == "__main__":
    main()
