"""Predict the latency of timm's networks on a device that measured others of them.

    python -m experiments.timm.timm_latency [--threads 1] [--seeds 0,1,2] [--methods …] [--splits …]
        [--fresh]

The graphs are those that `network_graphs` builds. One network a model, that of the first row in the
device's table which has a graph; rows without a measurement are left out. The target is
milliseconds an image. Two splits: at random (10 %, 200 and 500 networks learned, all others
judged), and by family: the modules of timm with at least ten networks are dealt into five folds,
and each family is judged by what the other folds and all small families taught. There the networks
that train for long can be had, too (`--methods`), as in out_of_domain.py: network-latency on this
table alone, NNLP and NAR-Former V2. The latter two code 32 types of operators, so that the rarer
ones count as one. The cheap methods are those of methods.py, at the precision of the table and
with each network's batch. Writes
results/timm_latency.json; runs that are there already are not repeated.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from experiments.campaign import Campaign, Options
from experiments.latency.latency_data import TIMM, timm_graphs
from experiments.latency.methods import CHEAP, Networks, Predicted, Rows, errors, latency_process
from experiments.latency.out_of_domain import ALONE, CONFIG, RECIPES, strangers
from nasplug import datasets, hardware
from nasplug.datasets.download import sha256_of
from nasplug.datasets.network_graphs import network_graphs_file
from nasplug.predictors import create
from nasplug.predictors.features.published_codes import MOST_OPS
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.network_latency import NetworkLatency
from nasplug.predictors.latency.one_device import LatencyGPConfig
from nasplug.search_spaces import Graph

SIZES = (0.1, 200, 500)
FEWEST_OF_A_FAMILY = 10
FOLDS = 5
# A split that leaves fewer to be judged says too little.
FEWEST_TO_JUDGE = 100

Method = Callable[[Networks, Networks], Predicted]


@cache
def measured(device: str, mode: str) -> Networks:
    """The networks of one table, with milliseconds an image."""
    table = datasets.load("timm-latency")
    rows = table[(table["device"] == device) & (table["mode"] == mode) & table["img/s"].notna()]
    first: dict[str, tuple[dict[str, Any], Graph, str]] = {}
    for row in rows.to_dict("records"):
        network = timm_graphs().get((row["model"], row["image_size"]))
        if network is not None:
            first.setdefault(row["model"], (row, *network))
    used = [row for row, _, _ in first.values()]
    return Networks(
        Setting(hardware(device), 1),
        [graph for _, graph, _ in first.values()],
        np.array([1000 / row["img/s"] for row in used]),
        [family for _, _, family in first.values()],
        np.array([row["batch_size"] for row in used], dtype=np.int64),
        "amp" in mode.split(),
    )


def small_latency_process(learn: Networks, judge: Networks) -> Predicted:
    """latency-gp, with room for the latency of one image."""
    return latency_process(learn, judge, LatencyGPConfig(smallest_ms=0.001))


def published(name: str) -> Method:
    def predict(learn: Networks, judge: Networks) -> Predicted:
        learned, judged = with_common_operators(learn.graphs, judge.graphs)
        network = create(name, kind="latency", **RECIPES[name])
        extra = strangers(learned, judged)
        # They learn milliseconds as they are, and those of one image are too small for them.
        times = np.concatenate([learn.ms * learn.shares, np.full(len(extra), np.nan)])
        network.fit([*learned, *extra], times, [learn.column])
        return network.predict(judged).mean[:, 0] / judge.shares, None

    return predict


def transformer(runtime: str) -> Method:
    """network-latency, which learns these networks alone, with a column a batch size."""

    def predict(learn: Networks, judge: Networks) -> Predicted:
        sizes = np.unique([*learn.images, *judge.images])
        columns = [Setting(learn.column.hardware, int(size), runtime) for size in sizes]
        # Most networks were measured at one batch size only.
        at_size = np.array(learn.images)[:, None] == sizes
        latencies = np.where(at_size, (learn.ms * learn.shares)[:, None], np.nan)
        training = replace(CONFIG.training, **RECIPES[ALONE])
        network = NetworkLatency(replace(CONFIG, training=training))
        learned = np.flatnonzero(at_size.any(axis=0))
        network.fit(learn.graphs, latencies[:, learned], [columns[k] for k in learned])
        predicted = np.exp(network.log_latency(judge.graphs, columns))
        at = np.searchsorted(sizes, judge.images)
        return predicted[np.arange(len(at)), at] / judge.shares, None

    return predict


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


# Those that take no hour.
QUICK = ("roofline, scaled", "gradient boosting", "launch costs", "latency-gp", "roofline-gp")


def methods(runtime: str) -> dict[str, Method]:
    """All methods by name, for a table whose networks ran in this way."""
    return {
        **CHEAP,
        "latency-gp": small_latency_process,
        "network-latency": transformer(runtime),
        **{name: published(name) for name in ("nnlp", "narformer-v2")},
    }


def splits(table: Networks, seeds: Sequence[int]) -> Iterator[tuple[Any, Rows, Rows]]:
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
        others = np.random.default_rng(0).permutation(np.flatnonzero(~left_out))
        yield ("family", k, 0), others, np.flatnonzero(left_out)


def parts_of(split: str, size: Any, families: list[str]) -> dict[Any, Rows]:
    """Rows of the judged networks that count together: all, or each family by itself."""
    if split != "family":
        return {size: np.arange(len(families))}
    return {str(name): np.flatnonzero(np.array(families) == name) for name in np.unique(families)}


@dataclass(frozen=True)
class Fit:
    """A method that learns from one part of a table and is judged by another.

    Attributes:
        table: The networks of the table.
        learned: Rows to learn from.
        judged: Rows to judge by.
        method: Name of the method.
        runtime: Runtime of the table.
        runs: Key of a row of the result -> rows, among those judged, that count together.
    """

    table: Networks
    learned: Rows
    judged: Rows
    method: str
    runtime: str
    runs: Mapping[tuple[Any, ...], Rows]

    def rows(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """Learn and predict; the rows of the result, with the names of their keys."""
        learn, judge = self.table.rows(self.learned), self.table.rows(self.judged)
        started = time.perf_counter()
        predicted, inside = methods(self.runtime)[self.method](learn, judge)
        seconds = round(time.perf_counter() - started, 2)
        return [
            {
                **dict(zip(keys, run, strict=True)),
                "train": len(self.learned),
                "test": len(rows),
                **errors(predicted[rows], judge.ms[rows]),
                "coverage": None if inside is None else float(inside[rows].mean()),
                "seconds": seconds,
            }
            for run, rows in self.runs.items()
        ]


def fits_of(
    device: str,
    mode: str,
    runtime: str,
    wanted: Sequence[str],
    seeds: Sequence[int],
    names: Sequence[str],
) -> Iterator[Fit]:
    """The fits on a table, of the wanted splits and methods."""
    table = measured(device, mode)
    for (split, size, seed), train, test in splits(table, seeds):
        if split not in wanted:
            continue
        parts = parts_of(split, size, [table.families[k] for k in test])
        for method in names:
            runs = {(device, mode, split, part, seed, method): rows for part, rows in parts.items()}
            yield Fit(table, train, test, method, runtime, runs)


def main() -> None:
    parser = Options(__doc__, seeds="0,1,2", fresh=True)
    parser.add_argument("--methods", default=";".join(QUICK), help="separated by ;")
    parser.add_argument("--devices", default="", help="those that start with this")
    parser.add_argument("--splits", default="random,family")
    options = parser.parse_args()
    campaign = Campaign(
        "timm_latency",
        ("device", "mode", "split", "size", "seed", "method"),
        ["timm-latency"],
        # Runs on other graphs say nothing beside these.
        same=["graphs_sha256"],
        fresh=options.fresh,
        graphs=len(timm_graphs()),
        graphs_sha256=sha256_of(network_graphs_file()),
    )
    tables = [each for each in TIMM if each[0].startswith(options.devices)]
    wanted = options.splits.split(","), options.seeds, options.methods.split(";")
    fits = [fit for names in tables for fit in fits_of(*names, *wanted)]
    campaign.left([run for fit in fits for run in fit.runs])
    for fit in fits:
        if not all(campaign.has(*run) for run in fit.runs):
            campaign.add(*fit.rows(campaign.keys))


if __name__ == "__main__":
    main()
