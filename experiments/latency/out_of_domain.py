"""Predict the latency of a kind of networks that was left out, on one device.

    python -m experiments.latency.out_of_domain [--threads 1] [--seeds 0] [--methods …] [--cases …]
        [--fresh]

Cases: on RTX 2080 Ti and Titan RTX at batch 1 one of NAS-Bench-201, FBNet and Once-for-All is left
out and 200 networks of each of the other two are learned; on the CPU that was measured here one of
the ten NNLQP families is left out and the other nine are learned. All methods learn the very same
networks on that one device, which the seed draws, but for "network-latency, all devices", which
also knows the learned kinds of networks on other devices (the predictors of
train_network_latency.py). NNLP and NAR-Former V2 are trained as published, but for the epochs and
batches below; how wrong each method still is on what it learned is kept, too. "joined" is the
geometric mean of the network alone, launch costs and roofline-gp. "network-latency" is the
geometric mean of the kept predictions of "network-latency, no launch costs", which is the predictor
of today, with launch costs, as the predictor of earlier versions made it. Writes
results/out_of_domain.json, and what was predicted into runs/; runs that are there already are not
repeated.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np

from experiments.campaign import Campaign, Options
from experiments.common import RUNS, Array
from experiments.latency.latency_data import Source, source
from experiments.latency.launch_costs import LaunchCosts
from experiments.latency.methods import CHEAP, Networks, boosting, errors
from experiments.zoo.train_network_latency import FEWER, SOURCES, judged_by, left_out_file
from experiments.zoo.train_network_latency import sources as all_sources
from nasplug.predictors import create
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.network_groups import common_kinds, split_groups
from nasplug.predictors.latency.network_latency import NetworkLatency, NetworkLatencyConfig
from nasplug.predictors.statistics.familiarity import Familiarity
from nasplug.search_spaces import Graph
from nasplug.search_spaces.files import atomic_path

GPUS = ("RTX 2080 Ti@1", "Titan RTX@1")
NETWORKS = ("nb201", "fbnet", "ofa")
METHODS = (
    *("roofline, scaled", "gradient boosting", "launch costs", "roofline-gp", "latency-gp", "nnlp"),
    *("narformer-v2", "network-latency, no launch costs", "network-latency", "joined"),
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
CONFIG = NetworkLatencyConfig(text=False, calibration_share=0.02)
# Share of launch costs in networks unlike those that were learned, and the first numbers of a
# column's description: operations and bytes a ms, images, bytes a number.
SHARE, RATES = 0.5, 4
# Networks of each source that are learned.
LEARNED = 200
# Learned networks that are predicted, too.
ASKED_AGAIN = 100
SMALLEST_MS = 0.1


@cache
def cases() -> dict[str, tuple[list[Source], Source, Setting]]:
    """Name -> what is learned, what is judged, the device."""
    by_name = {}
    others = ("timm", "accel", "nnlqp", "nb201-exported", "cpu")
    learned = {part.name: part for part in all_sources(without=others)}
    judged = {part.name: part for part in all_sources(judged=True, without=others)}
    for key in GPUS:
        for left in NETWORKS:
            parts = [on_device(learned[name], key) for name in NETWORKS if name != left]
            networks = on_device(judged[left], key)
            by_name[f"{key}: {left} left out"] = (parts, networks, networks.columns[0])
    cpu = source("cpu")
    for family in sorted(set(cpu.families)):
        inside = [k for k, name in enumerate(cpu.families) if name == family]
        outside = [k for k, name in enumerate(cpu.families) if name != family]
        by_name[f"CPU: {family} left out"] = ([cpu.rows(outside)], cpu.rows(inside), cpu.columns[0])
    return by_name


def on_device(part: Source, key: str) -> Source:
    """A source with one column."""
    return part.only(lambda column: column.key == key)


def drawn(parts: list[Source], device: Setting, seed: int) -> Networks:
    """Draw the learned networks, in random order."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[Source, int]] = []
    for part in parts:
        usual = np.flatnonzero(part.latencies[:, 0] >= SMALLEST_MS)
        # The CPU's networks are of many families, and few.
        count = LEARNED if len(parts) > 1 else len(usual)
        rows += [(part, int(k)) for k in rng.permutation(usual)[:count]]
    rows = [rows[k] for k in rng.permutation(len(rows))]
    return Networks(
        device,
        [part.graphs[k] for part, k in rows],
        np.array([part.latencies[k, 0] for part, k in rows]),
        [part.families[k] for part, k in rows],
    )


def predict(
    method: str, parts: list[Source], judged: list[Graph], device: Setting, seed: int
) -> tuple[Array, Array]:
    """Predicted ms of the networks that were left out, and the error in percent on the learned."""
    learn = drawn(parts, device, seed)
    asked = [*judged, *learn.graphs[:ASKED_AGAIN]]
    judge = Networks(device, asked, np.full(len(asked), np.nan), [""] * len(asked))
    options = recipe(method, parts) or {}
    if method == "gradient boosting":
        predicted, _ = boosting(learn, judge, seed)
    elif method in CHEAP:
        predicted, _ = CHEAP[method](learn, judge)
    elif method == ALONE:
        training = replace(CONFIG.training, **options, seed=seed)
        network = NetworkLatency(replace(CONFIG, training=training))
        groups = kinds_of(parts, learn.families)
        network.fit(learn.graphs, learn.ms[:, None], [device], groups=groups)
        predicted = np.exp(network.log_latency(asked, [device])[:, 0])
    else:
        published = create(method, kind="latency", **options, seed=seed)
        extra = strangers(learn.graphs, judged)
        times = np.concatenate([learn.ms, np.full(len(extra), np.nan)])
        published.fit([*learn.graphs, *extra], times, [device])
        predicted = published.predict(asked).mean[:, 0]
    predicted = np.asarray(predicted, dtype=np.float64)
    learned = 100 * np.abs(predicted[len(judged) :] / learn.ms[:ASKED_AGAIN] - 1)
    return predicted[: len(judged)], learned


def kinds_of(parts: list[Source], groups: list[str]) -> list[str]:
    """Kinds for network-latency: the sources, not the families of the CPU's networks."""
    return groups if len(parts) > 1 else ["all"] * len(groups)


def with_costs(
    case: str, parts: list[Source], judged: list[Graph], device: Setting, seed: int
) -> Array | None:
    """Predict networks that were left out as a geometric mean with launch costs."""
    path = kept(case, ALONE, seed)
    if not path.exists():
        return None
    networks = drawn(parts, device, seed)
    names = kinds_of(parts, networks.families)
    networks = replace(networks, families=names)
    learn, check, _ = split_groups(names, CONFIG)
    learned, used = networks.rows(np.array(learn)), networks.rows(np.array(learn + check))
    kinds = common_kinds(learned.graphs)
    familiarity = Familiarity.of(learned.graphs, learned.families, kinds)
    foreign = np.array([not name for name in familiarity(judged, names)])
    rates = np.asarray(device.features(text=False)[:RATES], np.float64)
    costs = LaunchCosts.of(
        used.graphs, used.ms[:, None], used.families, [device.key], rates[None], kinds
    )
    alone = np.log(np.load(path))
    other = np.log(costs(judged, device.key, rates))
    return np.asarray(np.exp(np.where(foreign, alone + SHARE * (other - alone), alone)))


def strangers(learned: list[Graph], judged: list[Graph]) -> list[Graph]:
    """Judged networks with operators that no learned one has.

    Such operators belong to the vocabulary, as published; these networks are given without their
    latencies.
    """
    known = {op for graph in learned for op in graph.ops}
    by_operator: dict[str, Graph] = {}
    for graph in judged:
        for op in set(graph.ops) - known:
            by_operator.setdefault(op, graph)
    return list({id(graph): graph for graph in by_operator.values()}.values())


def recipe(method: str, parts: list[Source]) -> dict[str, int] | None:
    """Epochs and batch size of a network; the CPU's networks are one source, of small graphs."""
    return (RECIPES if len(parts) > 1 else {**RECIPES, **ON_THE_CPU}).get(method)


def jointly(judged: Source, device: Setting) -> Array | None:
    """Predictions of the predictor of all devices without these networks, if it was trained."""
    path = left_out_file(f"sources-{judged.name}")
    if judged.name not in SOURCES or not path.exists():
        return None
    (whole,) = judged_by(f"sources-{judged.name}")
    keys = [column.key for column in whole.columns]
    with np.load(path) as stored:
        return np.asarray(np.exp(stored[judged.name][:, keys.index(device.key)]))


def kept(case: str, method: str, seed: int) -> Path:
    """File of the predictions of a run."""
    name = re.sub(r"[^a-z0-9]+", "-", f"{case} {method}".lower())
    return RUNS / "out-of-domain" / f"{name}-{seed}.npy"


def joined(case: str, seed: int) -> Array | None:
    """The geometric mean of the predictions of `JOINED`, if all are there."""
    paths = [kept(case, method, seed) for method in JOINED]
    if not all(path.exists() for path in paths):
        return None
    return np.asarray(np.exp(np.mean([np.log(np.load(path)) for path in paths], axis=0)))


def measure(case: str, method: str, seed: int) -> dict[str, Any] | list[dict[str, Any]]:
    """Do a run; no row if predictions that it is made of are not there."""
    parts, judged, device = cases()[case]
    learned = sum(min(len(p.graphs), LEARNED if len(parts) > 1 else 10**6) for p in parts)
    still: float | None = None
    if method == "network-latency":
        predicted = with_costs(case, parts, judged.graphs, device, seed)
    elif method == "joined":
        predicted = joined(case, seed)
    elif method.endswith("all devices"):
        predicted, learned = jointly(judged, device), FEWER * len(parts)
    else:
        predicted, off = predict(method, parts, judged.graphs, device, seed)
        still = float(off.mean())
        with atomic_path(kept(case, method, seed)) as temporary, open(temporary, "wb") as file:
            np.save(file, predicted)
    if predicted is None:
        return []
    truth = judged.latencies[:, 0]
    usual = truth >= SMALLEST_MS
    return {
        "learned": learned,
        "judged": int(usual.sum()),
        "recipe": recipe(method, parts),
        **errors(predicted[usual], truth[usual]),
        "mape_percent_learned": still,
    }


def main() -> None:
    parser = Options(__doc__, seeds="0", fresh=True)
    parser.add_argument("--methods", default=";".join(METHODS), help="separated by ;")
    parser.add_argument("--cases", default="", help="those that start with this")
    options = parser.parse_args()
    campaign = Campaign(
        "out_of_domain",
        ("case", "method", "seed"),
        ["nb201-latency", "fbnet-latency", "ofa-latency"],
        fresh=options.fresh,
        smallest_ms=SMALLEST_MS,
        joined=JOINED,
    )
    wanted = [case for case in cases() if case.startswith(options.cases)]
    # A method may be made of the predictions of those before it.
    runs = chain.from_iterable(
        product(wanted, [method], options.seeds) for method in options.methods.split(";")
    )
    campaign.complete(runs, measure)


if __name__ == "__main__":
    main()
