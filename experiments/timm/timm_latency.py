"""How well the latency of timm's networks on a device that measured others is predicted.

    python -m experiments.timm.timm_latency [--threads 1] [--seeds 0,1,2] [--methods …] [--splits …]

Needs the graphs that `timm_graphs` builds. One network a model, that of the first row in the
device's table which has a graph; rows without a measurement are left out. The target is
milliseconds an image. Two splits: at random (10 %, 200 and 500 networks learned, all others
judged), and by family: the modules of timm with at least ten networks are dealt into five folds,
and each family is judged by what the other folds and all small families taught. There the networks
that train for long can be had, too (`--methods`), as in out_of_domain.py: network-latency on this
table alone, NNLP and NAR-Former V2. The latter two code 32 types of operators, so that the rarer
ones count as one. The floors are those of network_latency.py, the roofline at the precision of the
table and with each network's batch; launch_costs.py and roofline_gp.py explain themselves. Writes
results/timm_latency.json; runs that are there already are not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.ensemble import HistGradientBoostingRegressor

from experiments.common import RESULTS, Array, provenance, write_result
from experiments.latency.latency_data import TIMM
from experiments.latency.launch_costs import LaunchCosts
from experiments.latency.network_latency import plain_features
from experiments.latency.out_of_domain import ALONE, CONFIG, RECIPES, strangers
from experiments.latency.roofline_gp import RooflineGP
from nasplug import datasets, hardware
from nasplug.datasets.importers.timm_networks import networks_path, read_networks
from nasplug.predictors import create
from nasplug.predictors.features.published_codes import MOST_OPS
from nasplug.predictors.features.roofline import roofline_ms
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.cell_latency import DeviceBatch
from nasplug.predictors.latency.network_latency import NetworkLatency
from nasplug.predictors.latency.one_device import LatencyGP, LatencyGPConfig
from nasplug.search_spaces import Graph

# Device and mode of the tables.
TABLES = tuple((device, mode) for device, mode, _ in TIMM)
RUNTIMES = {device: runtime for device, _, runtime in TIMM}
SIZES = (0.1, 200, 500)
FEWEST_OF_A_FAMILY = 10
FOLDS = 5
# A split that leaves fewer to be judged says too little.
FEWEST_TO_JUDGE = 100

Rows = NDArray[np.int64]
# Predicted ms an image of the networks asked for, and which 90 % intervals hold if there are any.
Found = tuple[Array, NDArray[np.bool_] | None]


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
    batches: Rows
    families: list[str]

    def at(self, rows: Rows) -> list[Graph]:
        """Some of the networks."""
        return [self.graphs[k] for k in rows]

    def inside(self, rows: Rows, low: Array, high: Array) -> NDArray[np.bool_]:
        """Which of some networks' latencies lie within bounds."""
        result: NDArray[np.bool_] = (self.ms[rows] >= low) & (self.ms[rows] <= high)
        return result


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
        np.array([row["batch_size"] for row in kept], dtype=np.int64),
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


def scaled_roofline(table: Measured, train: Rows, test: Rows) -> Found:
    factor = np.median(table.ms[train] / roofline(table, train))
    return factor * roofline(table, test), None


def boosting(table: Measured, train: Rows, test: Rows) -> Found:
    model = HistGradientBoostingRegressor(random_state=0)
    model.fit(plain_features(table.at(train)), np.log(table.ms[train]))
    return np.exp(model.predict(plain_features(table.at(test)))), None


def launch_costs(table: Measured, train: Rows, test: Rows) -> Found:
    costs = LaunchCosts(DeviceBatch(hardware(table.device), 1), table.half)
    images = table.batches[train]
    families = [table.families[k] for k in train]
    costs.fit(table.at(train), table.ms[train] * images, families, images.tolist())
    asked = table.batches[test]
    return costs.predict(table.at(test), asked.tolist()) / asked, None


def roofline_process(table: Measured, train: Rows, test: Rows) -> Found:
    process = RooflineGP(hardware(table.device), table.half)
    process.fit(table.at(train), table.ms[train], table.batches[train].tolist())
    center, low, high = process.predict(table.at(test), table.batches[test].tolist())
    return center, table.inside(test, low, high)


def latency_process(table: Measured, train: Rows, test: Rows) -> Found:
    predictor = LatencyGP(LatencyGPConfig(smallest_ms=0.001))
    device = DeviceBatch(hardware(table.device), 1)
    predictor.fit(table.at(train), table.ms[train], [device])
    said = predictor.predict(table.at(test))
    low, high = said.lower[:, 0], said.upper[:, 0]
    return said.mean[:, 0], table.inside(test, low, high)


def published(name: str) -> Callable[[Measured, Rows, Rows], Found]:
    def predict(table: Measured, train: Rows, test: Rows) -> Found:
        learn, judge = with_common_operators(table.at(train), table.at(test))
        network = create(name, kind="latency", **RECIPES[name])
        extra = strangers(learn, judge)
        # They learn milliseconds as they are, and those of one image are too small for them.
        times = np.concatenate(
            [table.ms[train] * table.batches[train], np.full(len(extra), np.nan)]
        )
        network.fit([*learn, *extra], times, [DeviceBatch(hardware(table.device), 1)])
        return network.predict(judge).mean[:, 0] / table.batches[test], None

    return predict


def transformer(table: Measured, train: Rows, test: Rows) -> Found:
    """network-latency, which learns these networks alone, with a column a batch size."""
    sizes = sorted(set(table.batches.tolist()))
    columns = [Setting(hardware(table.device), size, RUNTIMES[table.device]) for size in sizes]
    # Most networks were measured at one batch size only.
    own = table.batches[train, None] == np.array(sizes)
    latencies = np.where(own, (table.ms * table.batches)[train, None], np.nan)
    training = replace(CONFIG.training, **RECIPES[ALONE])
    network = NetworkLatency(replace(CONFIG, costs=True, training=training))
    taught = own.any(axis=0)
    learned = [column for column, there in zip(columns, taught, strict=True) if there]
    network.fit(table.at(train), latencies[:, taught], learned)
    said = np.exp(network.log_latency(table.at(test), columns))
    place = np.searchsorted(sizes, table.batches[test])
    return said[np.arange(len(test)), place] / table.batches[test], None


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


ALL: dict[str, Callable[[Measured, Rows, Rows], Found]] = {
    "roofline, scaled": scaled_roofline,
    "gradient boosting": boosting,
    "launch costs": launch_costs,
    "latency-gp": latency_process,
    "roofline-gp": roofline_process,
    "network-latency": transformer,
    **{name: published(name) for name in ("nnlp", "narformer-v2")},
}
# Those that take no hour.
QUICK = ("roofline, scaled", "gradient boosting", "launch costs", "latency-gp", "roofline-gp")


def splits(table: Measured, seeds: Sequence[int]) -> Iterator[tuple[Any, Rows, Rows]]:
    """(name of the split, size or fold, seed), rows to learn from, rows to be judged by."""
    truth, families = table.ms, table.families
    for size in SIZES:
        for seed in seeds:
            order = np.random.default_rng(seed).permutation(len(truth))
            count = round(size * len(truth)) if size < 1 else int(size)
            if len(truth) - count < FEWEST_TO_JUDGE:
                continue
            yield ("random", size, seed), order[:count], order[count:]
    # The largest first, each into the fold that has the fewest networks so far.
    folds: list[list[str]] = [[] for _ in range(FOLDS)]
    counts = Counter(families)
    for family, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if count >= FEWEST_OF_A_FAMILY:
            min(folds, key=lambda fold: sum(counts[name] for name in fold)).append(family)
    for k, fold in enumerate(folds):
        left_out = np.isin(families, fold)
        # In random order, as a predictor may take hyperparameters from the first rows.
        rest = np.random.default_rng(0).permutation(np.flatnonzero(~left_out))
        yield ("family", k, 0), rest, np.flatnonzero(left_out)


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
    parser.add_argument("--methods", default=";".join(QUICK), help="separated by ;")
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
            # Rows of the test networks that are judged together.
            parts: dict[Any, Rows] = {which[1]: np.arange(len(test))}
            if which[0] == "family":
                names = np.array([table.families[k] for k in test])
                parts = {str(name): np.flatnonzero(names == name) for name in np.unique(names)}
            for method in options.methods.split(";"):
                found = {name: (device, mode, which[0], name, which[2], method) for name in parts}
                if done.issuperset(found.values()):
                    continue
                started = time.perf_counter()
                predicted, inside = ALL[method](table, train, test)
                seconds = round(time.perf_counter() - started, 2)
                for name, own in parts.items():
                    rows.append(
                        {
                            **dict(zip(keys, found[name], strict=True)),
                            "train": len(train),
                            "test": len(own),
                            **judged(predicted[own], table.ms[test[own]]),
                            "coverage": None if inside is None else float(inside[own].mean()),
                            "seconds": seconds,
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
