"""Judge the shipped latency predictor of whole networks, and its like without some devices.

    python -m experiments.latency.network_latency_quality

Needs the left-out predictions of train_network_latency.py. `measured`: networks that were not
learned, on measured devices. `zero_shot`: devices that were left out of training, at all batch
sizes; intervals as wide as the errors on the other left-out devices. `unseen`: HELP's six unseen
devices of NAS-Bench-201 over all 15,625 cells, known by their specification alone. `unfamiliar`: a
source of networks that was left out. Writes results/network_latency_quality.json.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import spearmanr

from experiments.common import Array, write_result
from experiments.latency.latency_data import source
from experiments.latency.methods import errors, relative_errors
from experiments.zoo.train_network_latency import (
    FOLDS,
    SOURCES,
    TABLES,
    left_out_file,
    residuals,
    sources,
)
from nasplug import datasets, hardware, load_predictor
from nasplug.datasets.help_protocol import PROTOCOLS
from nasplug.predictors.features.roofline import roofline_ms
from nasplug.predictors.latency.intervals import device_group
from nasplug.predictors.statistics.calibration import LEVELS, left_out_quantiles

SMALLEST_MS = 0.1


def measured() -> list[dict[str, Any]]:
    """Networks that were not learned, on measured devices."""
    model = load_predictor("network-latency").model
    rows = []
    for part in sources(judged=True):
        for k, column in enumerate(part.columns):
            truth = part.latencies[:, k]
            usual = np.isfinite(truth) & (truth >= SMALLEST_MS)
            chosen = [part.graphs[i] for i in np.flatnonzero(usual)]
            groups = model.groups(chosen, column)
            quantiles = [model._intervals.quantiles(g, column, True) for g in groups]
            center = model.log_latency(chosen, [column])[:, 0]
            residual = np.log(truth[usual]) - center
            low, high = (
                np.array([np.interp(p, LEVELS, q) for q in quantiles]) for p in (0.05, 0.95)
            )
            rows.append(
                {
                    "source": part.name,
                    "column": column.key,
                    "networks": len(chosen),
                    **errors(np.exp(center), truth[usual]),
                    "coverage": float(((residual >= low) & (residual <= high)).mean()),
                }
            )
    return rows


def left_out(parts: list[str]) -> list[dict[str, Any]]:
    """Devices or sources that were left out; widths from the others of the same kind of device."""
    every = {(part, *key): value for part in parts for key, value in residuals(part).items()}
    rows = []
    for (part, name, key), (column, own) in every.items():
        if not len(own):
            continue
        kind = device_group(column.hardware)
        others = [
            residual
            for other, residual in every.values()
            if len(residual)
            and device_group(other.hardware) == kind
            and other.hardware.name != column.hardware.name
        ]
        quantiles = left_out_quantiles(others)
        low, high = np.interp([0.05, 0.95], LEVELS, quantiles)
        rows.append(
            {
                "part": part,
                "source": name,
                "column": key,
                "kind": kind,
                "networks": len(own),
                **relative_errors(np.exp(-own), np.ones(len(own))),
                "coverage": float(((own >= low) & (own <= high)).mean()),
            }
        )
    return rows


def unseen() -> list[dict[str, Any]]:
    """HELP's unseen devices over all cells."""
    protocol = PROTOCOLS["nb201"]
    table = datasets.load("nb201-latency")
    known = [*protocol.meta_train, *protocol.meta_validation]
    mean = np.log(np.maximum(table[known].to_numpy(), SMALLEST_MS)).mean(1)
    order = np.random.default_rng(0).permutation(len(table))
    rows = []
    with np.load(left_out_file("devices-0")) as stored:
        predicted = {
            # A table names the device and the batch alone.
            key.split(" tflite")[0]: (name, stored[f"all {name}"][:, k])
            for name in ("nb201", "nb201-exported")
            for k, key in enumerate(stored[f"columns of all {name}"].tolist())
        }
    for column in protocol.meta_test:
        truth = table[column].to_numpy(np.float64)[order]
        name, logs = predicted[column]
        usual = truth >= SMALLEST_MS
        roofline = rooflines(source(name).graphs, column)
        rows.append(
            {
                "column": column,
                **errors(np.exp(logs)[usual], truth[usual]),
                "spearman_mean_of_known": float(spearmanr(mean[order], truth)[0]),
                "spearman_roofline": float(spearmanr(roofline, truth)[0]),
            }
        )
    return rows


def rooflines(graphs: list[Any], key: str) -> Array:
    """The sum of the nodes' rooflines, in ms."""
    name, _, batch = key.rpartition("@")
    device = hardware(name)
    return np.array([roofline_ms(graph, device, int(batch)).sum() for graph in graphs])


def main() -> None:
    devices = [f"devices-{k}" for k in range(len(FOLDS)) if left_out_file(f"devices-{k}").exists()]
    others = [f"sources-{name}" for name in SOURCES if left_out_file(f"sources-{name}").exists()]
    write_result(
        "network_latency_quality",
        *TABLES,
        smallest_ms=SMALLEST_MS,
        measured=measured(),
        zero_shot=left_out(devices),
        unseen=unseen(),
        unfamiliar=left_out(others),
    )


if __name__ == "__main__":
    main()
