"""How well latency is predicted of a kind of networks that was left out, on one device.

    python -m experiments.latency.out_of_domain [--threads 1] [--seeds 0] [--methods …] [--cases …]

Cases: on RTX 2080 Ti and Titan RTX at batch 1 one of NAS-Bench-201, FBNet and Once-for-All is left
out and 200 networks of each of the other two are learned; on the CPU that was measured here one of
the ten NNLQP families is left out and the other nine are learned. All methods learn the very same
networks on that one device, which the seed draws, but for "network-latency, all devices", which
also knows the learned kinds of networks on other devices (the predictors of
train_network_latency.py). NNLP and NAR-Former V2 are trained as published, but for the epochs and
batches below; how wrong each method still is on what it learned is kept, too. "joined" is the
geometric mean of the network alone, launch costs and roofline-gp. network-latency itself is made of
the kept predictions of "network-latency, no launch costs", as the predictor makes it. Writes
results/out_of_domain.json, and what was predicted into runs/; runs that are there already are not
repeated.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.ensemble import HistGradientBoostingRegressor

from experiments.accuracy.floors import roofline
from experiments.common import RESULTS, RUNS, Array, provenance, write_result
from experiments.latency.latency_data import Source, source
from experiments.latency.launch_costs import LaunchCosts
from experiments.latency.network_latency import plain_features
from experiments.latency.roofline_gp import RooflineGP
from experiments.zoo.train_network_latency import FEWER, SOURCES, left_out_file
from experiments.zoo.train_network_latency import sources as all_sources
from nasplug.predictors import create
from nasplug.predictors.latency.cell_latency import DeviceBatch
from nasplug.predictors.latency.launch_costs import LaunchCosts as LaunchFactors
from nasplug.predictors.latency.network_latency import (
    RATES,
    NetworkLatency,
    NetworkLatencyConfig,
    common_kinds,
    split_groups,
)
from nasplug.predictors.latency.one_device import LatencyGP
from nasplug.predictors.statistics.familiarity import Familiarity
from nasplug.search_spaces import Graph
from nasplug.search_spaces.files import atomic_path

GPUS = ("RTX 2080 Ti@1", "Titan RTX@1")
NETWORKS = ("nb201", "fbnet", "ofa")
METHODS = (
    "roofline, scaled",
    "gradient boosting",
    "launch costs",
    "roofline-gp",
    "latency-gp",
    "nnlp",
    "narformer-v2",
    "network-latency, no launch costs",
    "network-latency",
    "joined",
    "network-latency, all devices",
)
ALONE = "network-latency, no launch costs"
JOINED = (ALONE, "launch costs", "roofline-gp")
# What a processor core affords. The published recipe has batches of 16; of a few hundred networks
# smaller ones make four times as many steps at the same cost.
RECIPES: dict[str, dict[str, int]] = {
    "nnlp": {"epochs": 10, "batch_size": 4},
    "narformer-v2": {"epochs": 4, "batch_size": 4},
    ALONE: {"epochs": 20, "batch_size": 8},
}
ON_THE_CPU = {
    # After four epochs it is still 74 % wrong on what it learned.
    "narformer-v2": {"epochs": 20, "batch_size": 4},
    ALONE: {"epochs": 30, "batch_size": 8},
}
CONFIG = NetworkLatencyConfig(text=False, calibration_share=0.02, costs=0.0)
# Networks of each source that are learned.
LEARNED = 200
# Learned networks that are predicted, too.
ASKED_AGAIN = 100
SMALLEST_MS = 0.1


def cases() -> dict[str, tuple[list[Source], Source, DeviceBatch]]:
    """Name -> what is learned, what is judged, the device."""
    found = {}
    others = ("timm", "accel", "nnlqp", "nb201-exported", "cpu")
    learned = {part.name: part for part in all_sources(without=others)}
    judged = {part.name: part for part in all_sources(judged=True, without=others)}
    for key in GPUS:
        for left in NETWORKS:
            parts = [learned[name].only([key]) for name in NETWORKS if name != left]
            one = judged[left].only([key])
            found[f"{key}: {left} left out"] = (parts, one, one.columns[0])
    cpu = source("cpu")
    for family in sorted(set(cpu.families)):
        own = [k for k, name in enumerate(cpu.families) if name == family]
        rest = [k for k, name in enumerate(cpu.families) if name != family]
        found[f"CPU: {family} left out"] = ([cpu.rows(rest)], cpu.rows(own), cpu.columns[0])
    return found


def drawn(parts: list[Source], seed: int) -> tuple[list[Graph], Array, list[str]]:
    """What is learned, in random order: networks, ms, groups."""
    rng = np.random.default_rng(seed)
    graphs: list[Graph] = []
    groups: list[str] = []
    times: list[float] = []
    for part in parts:
        usual = np.flatnonzero(part.latencies[:, 0] >= SMALLEST_MS)
        # The CPU's networks are of many families, and few.
        count = LEARNED if len(parts) > 1 else len(usual)
        for k in rng.permutation(usual)[:count]:
            graphs.append(part.graphs[k])
            groups.append(part.families[k])
            times.append(float(part.latencies[k, 0]))
    order = rng.permutation(len(graphs))
    return [graphs[k] for k in order], np.array(times)[order], [groups[k] for k in order]


def predict(
    method: str, parts: list[Source], judged: list[Graph], device: DeviceBatch, seed: int
) -> tuple[Array, Array]:
    """Predicted ms of the networks that were left out, and the error in percent on the learned."""
    graphs, truth, groups = drawn(parts, seed)
    asked = [*judged, *graphs[:ASKED_AGAIN]]
    if method == "roofline, scaled":
        factor = np.median(truth / rooflines(graphs, device))
        said = factor * rooflines(asked, device)
    elif method == "gradient boosting":
        model = HistGradientBoostingRegressor(random_state=seed)
        model.fit(plain_features(graphs), np.log(truth))
        said = np.exp(model.predict(plain_features(asked)))
    elif method == "launch costs":
        costs = LaunchCosts(device)
        costs.fit(graphs, truth, groups)
        said = costs.predict(asked)
    elif method == "roofline-gp":
        residual = RooflineGP(device.hardware, False)
        residual.fit(graphs, truth, [device.batch_size] * len(graphs))
        said = residual.predict(asked, [device.batch_size] * len(asked))[0]
    elif method == "latency-gp":
        process = LatencyGP()
        process.fit(graphs, truth, [device])
        said = process.predict(asked).mean[:, 0]
    elif method == ALONE:
        training = replace(CONFIG.training, **(recipe(method, parts) or {}), seed=seed)
        network = NetworkLatency(replace(CONFIG, training=training))
        network.fit(graphs, truth[:, None], [device], groups=kinds_of(parts, groups))
        said = np.exp(network.log_latency(asked, [device])[:, 0])
    else:
        how = recipe(method, parts) or {}
        published = create(method, kind="latency", **how, seed=seed)
        extra = strangers(graphs, judged)
        unknown = np.full(len(extra), np.nan)
        published.fit([*graphs, *extra], np.concatenate([truth, unknown]), [device])
        said = published.predict(asked).mean[:, 0]
    said = np.asarray(said, dtype=np.float64)
    learned = 100 * np.abs(said[len(judged) :] / truth[:ASKED_AGAIN] - 1)
    return said[: len(judged)], learned


def kinds_of(parts: list[Source], groups: list[str]) -> list[str]:
    """What network-latency counts as kinds: the sources, not the families of the CPU's networks."""
    return groups if len(parts) > 1 else ["all"] * len(groups)


def with_costs(
    case: str, parts: list[Source], judged: list[Graph], device: DeviceBatch, seed: int
) -> Array | None:
    """What network-latency says of the networks that were left out: see `ColumnCorrections`."""
    path = kept(case, ALONE, seed)
    if not path.exists():
        return None
    graphs, truth, groups = drawn(parts, seed)
    names = kinds_of(parts, groups)
    learn, check, _ = split_groups(names, CONFIG)
    kinds = common_kinds([graphs[k] for k in learn])
    learned = [graphs[k] for k in learn], [names[k] for k in learn]
    foreign = np.array([not name for name in Familiarity.of(*learned, kinds)(judged, names)])
    rows = learn + check
    rates = np.asarray(device.features(text=False)[:RATES], np.float64)
    costs = LaunchFactors.of(
        [graphs[k] for k in rows],
        truth[rows, None],
        [names[k] for k in rows],
        [device.key],
        rates[None],
        kinds,
    )
    alone = np.log(np.load(path))
    other = np.log(costs(judged, device.key, rates))
    share = NetworkLatencyConfig().costs
    return np.asarray(np.exp(np.where(foreign, alone + share * (other - alone), alone)))


def strangers(learned: list[Graph], judged: list[Graph]) -> list[Graph]:
    """Judged networks with operators that no learned one has.

    Such operators belong to the vocabulary, as published; these networks are given without their
    latencies.
    """
    known = {op for graph in learned for op in graph.ops}
    found: dict[str, Graph] = {}
    for graph in judged:
        for op in set(graph.ops) - known:
            found.setdefault(op, graph)
    return list({id(graph): graph for graph in found.values()}.values())


def recipe(method: str, parts: list[Source]) -> dict[str, int] | None:
    """Epochs and batch size of a network; the CPU's networks are one source, of small graphs."""
    return (RECIPES if len(parts) > 1 else {**RECIPES, **ON_THE_CPU}).get(method)


def rooflines(graphs: list[Graph], device: DeviceBatch) -> Array:
    return np.concatenate([roofline([graph], device) for graph in graphs])


def jointly(judged: Source, device: DeviceBatch) -> Array | None:
    """What the predictor of all devices without these networks says, if it was trained."""
    path = left_out_file(f"sources-{judged.name}")
    if judged.name not in SOURCES or not path.exists():
        return None
    every = all_sources(judged=True)
    whole = next(part for part in every if part.name == judged.name)
    others = [part for part in every if part.name not in SOURCES[judged.name]]
    known = {c.key for other in others for c in other.columns}
    keys = [c.key for c in whole.columns if c.key in known]
    with np.load(path) as stored:
        return np.asarray(np.exp(stored[judged.name][:, keys.index(device.key)]))


def kept(case: str, method: str, seed: int) -> Path:
    """Where the predictions of a run are kept."""
    name = re.sub(r"[^a-z0-9]+", "-", f"{case} {method}".lower())
    return RUNS / "out-of-domain" / f"{name}-{seed}.npy"


def joined(case: str, seed: int) -> Array | None:
    """The geometric mean of the predictions of `JOINED`, if all are there."""
    paths = [kept(case, method, seed) for method in JOINED]
    if not all(path.exists() for path in paths):
        return None
    return np.asarray(np.exp(np.mean([np.log(np.load(path)) for path in paths], axis=0)))


def measure(
    case: str,
    parts: list[Source],
    judged: Source,
    device: DeviceBatch,
    method: str,
    seed: int,
) -> dict[str, Any] | None:
    """One run."""
    started = time.perf_counter()
    learned = sum(min(len(p.graphs), LEARNED if len(parts) > 1 else 10**6) for p in parts)
    still: float | None = None
    if method == "network-latency":
        predicted = with_costs(case, parts, judged.graphs, device, seed)
    elif method == "joined":
        predicted = joined(case, seed)
    elif method.endswith("all devices"):
        predicted, learned = jointly(judged, device), FEWER * len(parts)
    else:
        predicted, errors = predict(method, parts, judged.graphs, device, seed)
        still = float(errors.mean())
        with atomic_path(kept(case, method, seed)) as temporary, open(temporary, "wb") as file:
            np.save(file, predicted)
    if predicted is None:
        return None
    truth = judged.latencies[:, 0]
    usual = truth >= SMALLEST_MS
    error = np.abs(predicted / truth - 1)[usual]
    return {
        "case": case,
        "method": method,
        "seed": seed,
        "learned": learned,
        "judged": int(usual.sum()),
        "recipe": recipe(method, parts),
        "mape_percent": float(100 * error.mean()),
        "acc10_percent": float(100 * (error <= 0.1).mean()),
        "spearman": float(spearmanr(predicted[usual], truth[usual])[0]),
        "mape_percent_learned": still,
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--methods", default=";".join(METHODS), help="separated by ;")
    parser.add_argument("--cases", default="", help="those that start with this")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    path = RESULTS / "out_of_domain.json"
    every = cases()
    for method in options.methods.split(";"):
        for case, (parts, judged, device) in every.items():
            if not case.startswith(options.cases):
                continue
            for seed in map(int, options.seeds.split(",")):
                # Read anew each time: another process may write other rows.
                rows: list[dict[str, Any]] = []
                if path.exists():
                    rows = json.loads(path.read_text(encoding="utf-8"))["runs"]
                if (case, method, seed) in {(r["case"], r["method"], r["seed"]) for r in rows}:
                    continue
                row = measure(case, parts, judged, device, method, seed)
                if row is None:
                    continue
                print(json.dumps(row), flush=True)
                if path.exists():
                    rows = json.loads(path.read_text(encoding="utf-8"))["runs"]
                rows.append(row)
                write_result(
                    "out_of_domain",
                    {
                        "smallest_ms": SMALLEST_MS,
                        "joined": JOINED,
                        "runs": rows,
                        "provenance": provenance("nb201-latency", "fbnet-latency", "ofa-latency"),
                    },
                )


if __name__ == "__main__":
    main()
