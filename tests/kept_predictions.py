"""Predictions that a change of structure must not change.

    python -m tests.kept_predictions [--write] [--tolerance 1e-6]

All shipped predictors predict 500 architectures each, latencies on six devices; the latency
predictor of whole networks predicts 30 networks more; every registered predictor is fitted to 64
cells and predicts 16 others; two searches with a seed give their results. `--write` keeps these
numbers in tests/data/kept_predictions.npz; without it they are compared with those kept there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nasplug import hardware, load_predictor, search
from nasplug.predicting.zoo import create_predictor, names
from nasplug.predictors import registry
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.network_latency import NetworkLatency, NetworkLatencyConfig
from nasplug.predictors.training.config import TrainingConfig
from nasplug.search_spaces import Architecture, space

KEPT = Path(__file__).parent / "data" / "kept_predictions.npz"
# GPUs that were measured and one that was not, a CPU, a phone, a board.
DEVICES = (
    "RTX 3090",
    "GTX 1080 Ti",
    "RTX 4070",
    "Xeon Gold 6226",
    "Pixel 3",
    "Raspberry Pi 4",
)
NETWORK_SPACES = ("nnlqp", "fbnet", "ofa")
ARCHITECTURES = 500
# Fitted on so few cells that all of them together take less than a minute.
LEARNED, JUDGED = 64, 16
SMALL: dict[str, dict[str, Any]] = {
    "nnformer": {"epochs": 2, "dim": 16, "num_layers": 2},
    "narformer-v2": {"epochs": 2, "dim": 16, "num_layers": 2},
    "nnlp": {"epochs": 2, "dim": 16, "num_layers": 2},
    "ledgformer": {"epochs": 2, "dim": 16},
    "transformer-ensemble": {"members": 2, "epochs": 2, "dim": 16},
}

Numbers = NDArray[np.float64]


def predictions() -> Iterator[tuple[str, Numbers]]:
    """Name and values of each prediction, means above standard deviations and bounds."""
    for name in names():
        predictor = load_predictor(name)
        if predictor.kind == "energy":
            # It follows the latencies, which are kept.
            continue
        if name == "network-latency":
            for chosen in NETWORK_SPACES:
                archs = sampled(chosen, 10)
                for device in DEVICES:
                    for batch in (1, 32):
                        predicted = predictor.for_space(space(chosen)).predict(archs, device, batch)
                        yield f"{name}/{chosen}/{device}/{batch}", flat(predicted)
            continue
        archs = sampled(predictor.space.name, ARCHITECTURES)
        for device in DEVICES if predictor.kind == "latency" else (None,):
            yield f"{name}/{device}", flat(predictor.predict(archs, device))


def fits() -> Iterator[tuple[str, Numbers]]:
    """Name and predictions of each registered predictor after a small training."""
    cells = space("nb201")
    graphs = cells.to_graphs(sampled("nb201", LEARNED + JUDGED))
    targets = np.log([[g.total("flops")] for g in graphs])
    for name in registry.names():
        torch.manual_seed(0)
        predictor = registry.create(name, **SMALL.get(name, {}))
        devices = [Setting(hardware("RTX 3090"), 1)] if name == "latency-gp" else None
        predictor.fit(graphs[:LEARNED], targets[:LEARNED], devices)
        yield f"fit/{name}", flat(predictor.predict(graphs[LEARNED:]))
    new = create_predictor("accuracy", "nb201")
    new.fit(graphs[:LEARNED], targets[:LEARNED])
    yield "fit/new accuracy", flat(new.predict(graphs[LEARNED:]))
    columns = [Setting(hardware("Titan RTX"), 64), Setting(hardware("Raspberry Pi 4"), 1)]
    latencies = 0.2 + np.exp(targets) / np.array([1e9, 1e7])
    recipe = TrainingConfig(epochs=2, rank_weight=0.0)
    of_cells = create_predictor("latency", "nb201", training=recipe, dim=16)
    of_cells.fit(graphs[:LEARNED], latencies[:LEARNED], columns)
    yield "fit/latency", flat(of_cells.predict(graphs[LEARNED:], "Titan RTX", 64))
    networks = space("fbnet").to_graphs(sampled("fbnet", LEARNED + JUDGED))
    latencies = np.array([[g.total("flops")] for g in networks]) / np.array([1e9, 1e7])
    options = {"dim": 16, "num_layers": 1}
    of_networks = NetworkLatency(
        NetworkLatencyConfig(training=recipe, calibration_share=0.2, options=options)
    )
    settings = [Setting(column.hardware, column.batch_size) for column in columns]
    groups = [f"half {k % 2}" for k in range(LEARNED)]
    of_networks.fit(networks[:LEARNED], latencies[:LEARNED], settings, groups=groups)
    yield "fit/network-latency", flat(of_networks.predict(networks[LEARNED:], settings[1].hardware))


def searches() -> Iterator[tuple[str, Numbers]]:
    """Name and front of each search, a row an architecture: its number, and what is predicted."""
    cells = space("nb201")

    def look_up(arch: Architecture) -> dict[str, float]:
        flops = cells.to_graph(arch).total("flops")
        return {"accuracy": 90 + np.sin(flops / 1e7), "latency_ms": flops / 1e8}

    for name, options in {
        "search/predicted": {"hardware": "RTX 3090", "constraints": "latency<=5ms"},
        "search/function": {
            "evaluate": look_up,
            "objectives": ("accuracy:max", "latency_ms:min"),
            "n_trials": 30,
        },
    }.items():
        # The journal's place is no part of the result.
        with tempfile.TemporaryDirectory() as folder:
            result = search(
                "nb201", **{"n_trials": 40, "seed": 3, "storage": f"{folder}/j.log"} | options
            )
            rows = result.to_json()["pareto"]
        yield name, np.array([number for row in rows for number in numbers(row)])


def sampled(name: str, count: int) -> list[Architecture]:
    """Members of a space that a generator with a fixed seed draws."""
    rng = np.random.default_rng(0)
    return [space(name).sample(rng) for _ in range(count)]


def flat(predicted: Any) -> Numbers:
    """The mean and both bounds, one below another."""
    return np.concatenate([predicted.mean, predicted.lower, predicted.upper]).astype(np.float64)


def numbers(value: Any) -> Iterator[float]:
    """All numbers in a JSON value, in order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, int | float):
        yield float(value)
    elif isinstance(value, str):
        # Text counts as well: an architecture is told by it.
        yield float(sum(value.encode()))


def differences(kept: dict[str, Numbers], new: dict[str, Numbers]) -> dict[str, float]:
    """Largest relative difference of each prediction; infinite where one has other values."""
    result = {}
    for name in sorted({*kept, *new}):
        a, b = kept.get(name), new.get(name)
        if a is None or b is None or a.shape != b.shape:
            result[name] = float("inf")
            continue
        both = np.isfinite(a) & np.isfinite(b)
        same = both | (a == b) | (np.isnan(a) & np.isnan(b))
        scale = np.maximum(np.abs(a[both]), 1e-9)
        apart = np.abs(a[both] - b[both]) / scale
        result[name] = float(apart.max(initial=0.0)) if same.all() else float("inf")
    return result


def _everything() -> dict[str, Numbers]:
    new = {}
    started = time.perf_counter()
    for part in (fits, predictions, searches):
        for name, values in part():
            new[name] = values
            seconds = time.perf_counter() - started
            print(f"{seconds:6.1f} s {name}", file=sys.stderr, flush=True)
    return new


def main() -> None:
    """Write the predictions, or compare them with those that are kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--tolerance", type=float, default=1e-6)
    options = parser.parse_args()
    # Measured values, where there are any, would stand beside the predicted ones.
    os.environ.pop("NASPLUG_MIRROR", None)
    with tempfile.TemporaryDirectory() as empty:
        os.environ["NASPLUG_CACHE"] = empty
        new = _everything()
    if options.write:
        np.savez_compressed(KEPT, **new)
        return
    with np.load(KEPT) as file:
        kept = {name: file[name] for name in file.files}
    apart = differences(kept, new)
    worst = max(apart, key=lambda name: apart[name])
    off = {name: value for name, value in apart.items() if value > options.tolerance}
    print(json.dumps({"compared": len(apart), "worst": worst, "difference": apart[worst]}))
    for name, value in off.items():
        print(f"{name}: {value:.3g}")
    sys.exit(bool(off))


if __name__ == "__main__":
    main()
