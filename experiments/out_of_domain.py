"""How well latency is predicted of a kind of networks that was left out, on one device.

    python experiments/out_of_domain.py [--threads 1] [--seeds 0] [--methods …] [--cases …]

Cases: on RTX 2080 Ti and Titan RTX at batch 1 one of NAS-Bench-201, FBNet and Once-for-All is left
out and the other two are learned; on the CPU that was measured here one of the ten NNLQP families
is left out and the other nine are learned. Each method learns from the same networks on that one
device, but for "network-latency, all devices", which also knows the learned kinds of networks on
other devices (the predictors of train_network_latency.py). NNLP and
NAR-Former V2 are trained as published, with fewer epochs. Writes results/out_of_domain.json; runs
that are there already are not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from common import RESULTS, Array, provenance, write_result
from floors import roofline
from latency_data import Source, source
from network_latency import plain_features
from scipy.stats import spearmanr
from sklearn.ensemble import HistGradientBoostingRegressor
from train_network_latency import SOURCES, left_out_file
from train_network_latency import sources as all_sources

from nasplug.predictors import create
from nasplug.predictors.latency import DeviceBatch
from nasplug.predictors.latency_gp import LatencyGP
from nasplug.predictors.network_latency import NetworkLatency, NetworkLatencyConfig
from nasplug.search_spaces import Graph

GPUS = ("RTX 2080 Ti@1", "Titan RTX@1")
NETWORKS = ("nb201", "fbnet", "ofa")
METHODS = (
    "roofline, scaled",
    "gradient boosting",
    "latency-gp",
    "nnlp",
    "narformer-v2",
    "network-latency",
    "network-latency, all devices",
)
# Epochs of the networks on thousands and on hundreds of training networks.
EPOCHS = {"nnlp": (8, 50), "narformer-v2": (4, 20), "network-latency": (12, 30)}
MANY = 1000
SMALLEST_MS = 0.1


def cases() -> dict[str, tuple[list[Source], Source, DeviceBatch]]:
    """Name -> what is learned, what is judged, the device."""
    found = {}
    learned = {part.name: part for part in all_sources()}
    judged = {part.name: part for part in all_sources(judged=True)}
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


def predict(
    method: str, parts: list[Source], judged: Source, device: DeviceBatch, seed: int
) -> Array:
    """Predicted ms of the networks that were left out."""
    graphs = [graph for part in parts for graph in part.graphs]
    truth = np.concatenate([part.latencies[:, 0] for part in parts])
    usual = np.flatnonzero(truth >= SMALLEST_MS)
    order = np.random.default_rng(seed).permutation(usual)
    graphs, truth = [graphs[k] for k in order], truth[order]
    if method == "roofline, scaled":
        factor = np.median(truth / rooflines(graphs, device))
        return np.asarray(factor * rooflines(judged.graphs, device))
    if method == "gradient boosting":
        model = HistGradientBoostingRegressor(random_state=seed)
        model.fit(plain_features(graphs), np.log(truth))
        return np.asarray(np.exp(model.predict(plain_features(judged.graphs))))
    if method == "latency-gp":
        process = LatencyGP()
        process.fit(graphs[:2000], truth[:2000], [device])
        return process.predict(judged.graphs).mean[:, 0]
    if method == "network-latency":
        usual_config = NetworkLatencyConfig()
        training = replace(usual_config.training, epochs=epochs(method, graphs), seed=seed)
        network = NetworkLatency(
            replace(usual_config, training=training, text=False, calibration_share=0.02)
        )
        groups = [part.name for part in parts for _ in part.graphs]
        network.fit(graphs, truth[:, None], [device], groups=[groups[k] for k in order])
        return np.asarray(np.exp(network.log_latency(judged.graphs, [device])[:, 0]))
    model = create(method, kind="latency", epochs=epochs(method, graphs), seed=seed)
    # Operators that only the left-out networks have belong to the vocabulary, as published; these
    # networks come without their latencies.
    known = {op for graph in graphs for op in graph.ops}
    strange = {}
    for graph in judged.graphs:
        for op in set(graph.ops) - known:
            strange.setdefault(op, graph)
    extra = list({id(graph): graph for graph in strange.values()}.values())
    model.fit([*graphs, *extra], np.concatenate([truth, [np.nan] * len(extra)]), [device])
    return model.predict(judged.graphs).mean[:, 0]


def epochs(method: str, graphs: list[Graph]) -> int:
    """Epochs that a processor core affords."""
    return EPOCHS[method][0 if len(graphs) > MANY else 1]


def rooflines(graphs: list[Graph], device: DeviceBatch) -> Array:
    return np.concatenate([roofline([graph], device) for graph in graphs])


def jointly(case: str, judged: Source, device: DeviceBatch) -> Array | None:
    """What the predictor of all devices without these networks says, if it was trained."""
    path = left_out_file(f"sources-{judged.name}")
    if judged.name not in SOURCES or not path.exists():
        return None
    whole = next(part for part in all_sources(judged=True) if part.name == judged.name)
    others = [p for p in all_sources() if p.name not in SOURCES[judged.name]]
    known = {c.key for other in others for c in other.columns}
    keys = [c.key for c in whole.columns if c.key in known]
    with np.load(path) as stored:
        return np.asarray(np.exp(stored[judged.name][:, keys.index(device.key)]))


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
    if method.endswith("all devices"):
        predicted = jointly(case, judged, device)
        if predicted is None:
            return None
    else:
        predicted = predict(method, parts, judged, device, seed)
    truth = judged.latencies[:, 0]
    usual = truth >= SMALLEST_MS
    error = np.abs(predicted / truth - 1)[usual]
    return {
        "case": case,
        "method": method,
        "seed": seed,
        "learned": sum(len(part.graphs) for part in parts),
        "judged": int(usual.sum()),
        "mape_percent": float(100 * error.mean()),
        "acc10_percent": float(100 * (error <= 0.1).mean()),
        "spearman": float(spearmanr(predicted[usual], truth[usual])[0]),
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
    for method in options.methods.split(";"):
        for case, (parts, judged, device) in cases().items():
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
                        "epochs": EPOCHS,
                        "runs": rows,
                        "provenance": provenance("nb201-latency", "fbnet-latency", "ofa-latency"),
                    },
                )


if __name__ == "__main__":
    main()
