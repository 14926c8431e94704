"""How well the latency of timm's networks on a device that measured others is predicted.

    python experiments/timm_latency.py [--threads 1] [--seeds 0,1,2] [--methods …] [--splits …]

Needs the graphs that experiments/timm_graphs.py builds. One network a model, that of the first row
in the device's table which has a graph; rows without a measurement are left out. The target is
milliseconds an image. Two splits: at random (10 %, 200 and 500 networks learned, all others
judged), and by family: each module of timm with at least ten networks is judged by what all other
families taught. There NNLP and NAR-Former V2 can be had, too (`--methods`), trained as in
out_of_domain.py; they code 32 types of operators, so that the rarer ones count as one. The floors
are those of network_latency.py, the roofline at the precision of the table and with each network's
batch; launch_costs.py and roofline_gp.py explain themselves.
Writes results/timm_latency.json; runs that are there already are not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from common import RESULTS, Array, provenance, write_result
from launch_costs import LaunchCosts
from network_latency import METHODS as USUAL_METHODS
from network_latency import plain_features
from numpy.typing import NDArray
from out_of_domain import RECIPES, strangers
from roofline_gp import RooflineGP
from scipy.stats import spearmanr
from sklearn.ensemble import HistGradientBoostingRegressor

from nasplug import datasets, hardware
from nasplug.datasets.timm_networks import networks_path, read_networks
from nasplug.predictors import create
from nasplug.predictors.latency import DeviceBatch
from nasplug.predictors.latency_gp import LatencyGP, LatencyGPConfig
from nasplug.predictors.node_codes import MOST_OPS
from nasplug.predictors.roofline import roofline_ms
from nasplug.search_spaces import Graph

# Device and mode of the tables.
TABLES = (
    ("RTX 3090", "amp nhwc pt240 cu124"),
    ("RTX 4090", "amp nhwc pt240 cu124"),
    ("Core i9-10940X", "fp32 nchw pt240 dynamo"),
)
SIZES = (0.1, 200, 500)
METHODS = (*USUAL_METHODS, "launch costs", "roofline-gp")
PUBLISHED = ("nnlp", "narformer-v2")
FEWEST_OF_A_FAMILY = 10
# A split that leaves fewer to be judged says too little.
FEWEST_TO_JUDGE = 100

Rows = NDArray[np.int64]


@cache
def networks() -> dict[tuple[str, int], tuple[Graph, str]]:
    """(Model, image size) -> graph and family."""
    found = read_networks(networks_path())
    rows = zip(found.graphs, found.families, strict=True)
    return dict(zip(zip(found.models, found.image_sizes, strict=True), rows, strict=True))


@dataclass(frozen=True, eq=False)
class Measured:
    """One table; all sequences have one item a network.

    Attributes:
        device: Name of the device.
        half: Whether it computes in half precision where it can.
        graphs: The networks.
        ms: Milliseconds an image.
        batches: Images that were run at once.
        families: Modules of timm.
    """

    device: str
    half: bool
    graphs: list[Graph]
    ms: Array
    batches: list[int]
    families: list[str]


@cache
def measured(device: str, mode: str) -> Measured:
    table = datasets.load("timm-latency")
    rows = table[(table["device"] == device) & (table["mode"] == mode) & table["img/s"].notna()]
    first: dict[str, tuple[dict[str, Any], Graph, str]] = {}
    for row in rows.to_dict("records"):
        found = networks().get((row["model"], row["image_size"]))
        if found is not None:
            first.setdefault(row["model"], (row, *found))
    kept = [row for row, _, _ in first.values()]
    return Measured(
        device,
        "amp" in mode.split(),
        [graph for _, graph, _ in first.values()],
        np.array([1000 / row["img/s"] for row in kept]),
        [int(row["batch_size"]) for row in kept],
        [family for _, _, family in first.values()],
    )


def roofline(table: Measured, rows: Rows) -> Array:
    """Milliseconds an image by the data sheet alone: each node bound by arithmetic or memory."""
    where = hardware(table.device)
    sums = [
        roofline_ms(table.graphs[k], where, table.batches[k], table.half).sum() / table.batches[k]
        for k in rows
    ]
    return np.array(sums)


def predict(method: str, table: Measured, train: Rows, test: Rows) -> tuple[Array, float | None]:
    """Predicted ms of the test networks, and coverage of 90 % intervals where there are any."""
    truth = table.ms
    learn, judge = [table.graphs[k] for k in train], [table.graphs[k] for k in test]
    if method == "roofline, scaled":
        factor = np.median(truth[train] / roofline(table, train))
        return factor * roofline(table, test), None
    if method == "gradient boosting":
        model = HistGradientBoostingRegressor(random_state=0)
        model.fit(plain_features(learn), np.log(truth[train]))
        return np.exp(model.predict(plain_features(judge))), None
    if method == "roofline-gp":
        process = RooflineGP(hardware(table.device), table.half)
        process.fit(learn, truth[train], [table.batches[k] for k in train])
        center, low, high = process.predict(judge, [table.batches[k] for k in test])
        return center, float(((truth[test] >= low) & (truth[test] <= high)).mean())
    images, asked = (np.array([table.batches[k] for k in rows]) for rows in (train, test))
    if method == "launch costs":
        costs = LaunchCosts(DeviceBatch(hardware(table.device), 1), table.half)
        costs.fit(learn, truth[train] * images, [table.families[k] for k in train], images.tolist())
        return costs.predict(judge, asked.tolist()) / asked, None
    if method in PUBLISHED:
        learn, judge = with_common_operators(learn, judge)
        network = create(method, kind="latency", **RECIPES[method])
        extra = strangers(learn, judge)
        # They learn milliseconds as they are, and those of one image are too small for them.
        times = np.concatenate([truth[train] * images, np.full(len(extra), np.nan)])
        network.fit([*learn, *extra], times, [DeviceBatch(hardware(table.device), 1)])
        return network.predict(judge).mean[:, 0] / asked, None
    predictor = LatencyGP(LatencyGPConfig(smallest_ms=0.001))
    predictor.fit(learn, truth[train], [DeviceBatch(hardware(table.device), 1)])
    said = predictor.predict(judge)
    inside = (truth[test] >= said.lower[:, 0]) & (truth[test] <= said.upper[:, 0])
    return said.mean[:, 0], float(inside.mean())


def with_common_operators(
    learn: list[Graph], judge: list[Graph]
) -> tuple[list[Graph], list[Graph]]:
    """The same networks, whose operators that few of the learned ones have go by one name."""
    counts = Counter(op for graph in learn for op in set(graph.ops))
    names = {op for op, _ in counts.most_common(MOST_OPS - 1)}

    def renamed(graph: Graph) -> Graph:
        ops = tuple(op if op in names else "Other" for op in graph.ops)
        return Graph(ops, graph.edges, graph.attributes)

    return [renamed(graph) for graph in learn], [renamed(graph) for graph in judge]


def splits(table: Measured, seeds: Sequence[int]) -> Iterator[tuple[Any, Rows, Rows]]:
    """(name of the split, size or family, seed), rows to learn from, rows to be judged by."""
    truth, families = table.ms, table.families
    for size in SIZES:
        for seed in seeds:
            order = np.random.default_rng(seed).permutation(len(truth))
            count = round(size * len(truth)) if size < 1 else int(size)
            if len(truth) - count < FEWEST_TO_JUDGE:
                continue
            yield ("random", size, seed), order[:count], order[count:]
    for family, count in sorted(Counter(families).items()):
        if count >= FEWEST_OF_A_FAMILY:
            left_out = np.array([name == family for name in families])
            # In random order, as a predictor may take hyperparameters from the first rows.
            rest = np.random.default_rng(0).permutation(np.flatnonzero(~left_out))
            yield ("family", family, 0), rest, np.flatnonzero(left_out)


def judged(predicted: Array, truth: Array) -> dict[str, float]:
    error = np.abs(predicted - truth) / truth
    return {
        "mape_percent": float(100 * error.mean()),
        "acc10_percent": float(100 * (error <= 0.1).mean()),
        # A constant prediction ranks nothing.
        "spearman": float(spearmanr(predicted, truth)[0]) if np.ptp(predicted) else 0.0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--methods", default=";".join(METHODS), help="separated by ;")
    parser.add_argument("--devices", default="", help="those that start with this")
    parser.add_argument("--splits", default="random,family")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # Of the content: the file itself also holds the time of writing.
    with np.load(networks_path()) as archive:
        graphs_sha256 = archive["checksum"].tobytes().hex()
    path = RESULTS / "timm_latency.json"
    rows: list[dict[str, Any]] = []
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        # Runs on other graphs say nothing beside these.
        rows = before["runs"] if before["graphs_sha256"] == graphs_sha256 else []
    keys = ("device", "mode", "split", "size", "seed", "method")
    done = {tuple(row[key] for key in keys) for row in rows}
    for device, mode in TABLES:
        if not device.startswith(options.devices):
            continue
        table = measured(device, mode)
        for which, train, test in splits(table, [int(seed) for seed in options.seeds.split(",")]):
            if which[0] not in options.splits.split(","):
                continue
            for method in options.methods.split(";"):
                key = (device, mode, *which, method)
                if key in done:
                    continue
                started = time.perf_counter()
                predicted, coverage = predict(method, table, train, test)
                rows.append(
                    {
                        **dict(zip(keys, key, strict=True)),
                        "train": len(train),
                        "test": len(test),
                        **judged(predicted, table.ms[test]),
                        "coverage": coverage,
                        "seconds": round(time.perf_counter() - started, 2),
                    }
                )
                print(json.dumps(rows[-1]), flush=True)
            write_result(
                "timm_latency",
                {
                    "graphs": len(networks()),
                    "runs": rows,
                    "graphs_sha256": graphs_sha256,
                    "provenance": provenance("timm-latency"),
                },
            )


if __name__ == "__main__":
    main()
