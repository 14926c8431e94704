"""What a device calibrated on whole networks says of others, like and unlike the measured ones.

    python experiments/calibrate_networks.py [--seeds 5]

The device is the processor of results/cpu_latency.csv, with its networks of the ten NNLQP families.
Ten of all families are measured, or ten of one family; the rest are judged. No predictor was
trained here: what is known of other devices are rooflines of their data sheets, and the device's
own is its promise. `widened`: with intervals `FOREIGN` times as wide for networks that are unlike
those of the measured space. Writes results/calibrate_networks.json.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from common import RESULTS, Array, provenance, write_result
from scipy.stats import spearmanr

from nasplug import hardware
from nasplug.devices.few_shot import FOREIGN, familiar, known_devices
from nasplug.devices.measurements import read_latencies
from nasplug.measuring.choice import family_of
from nasplug.predicting.shipped import ArchitecturePredictor
from nasplug.predictors.device_transfer import DeviceTransfer
from nasplug.predictors.latency import DeviceBatch
from nasplug.predictors.roofline import roofline_parts
from nasplug.search_spaces import Graph, space

TABLE, DEVICE = RESULTS / "cpu_latency.csv", RESULTS / "cpu_device.toml"
MEASURED = 10


class Rooflines:
    """The interface of a latency predictor, without any training."""

    kind, targets, whole_networks = "latency", ("latency",), True
    devices = tuple(
        f"{name}@1"
        for name in (
            *("GTX 1080 Ti", "RTX 2080 Ti", "Titan RTX", "V100", "Xeon Gold 6226"),
            *("Xeon Silver 4114", "Pixel 3", "Galaxy S7", "Raspberry Pi 4", "Eyeriss"),
        )
    )

    def log_latency(self, graphs: Sequence[Graph], columns: Sequence[DeviceBatch]) -> Array:
        """Logarithms of rooflines in ms, `(graphs, columns)`."""
        times = [
            [np.maximum(*roofline_parts(g, c.hardware, c.batch_size)).sum() for c in columns]
            for g in graphs
        ]
        return np.log(times)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    union, device = space("nnlqp"), hardware(DEVICE)
    table = read_latencies(TABLE, union)
    graphs = union.to_graphs(table.archs)
    logs = np.log(table.latencies)
    families = np.array([family_of(union, arch) for arch in table.archs])
    predictor = ArchitecturePredictor("rooflines", union, Rooflines())
    rows: list[dict[str, Any]] = []

    def told(learned: str, seed: int, judged: str, places: Array, transfer: DeviceTransfer) -> None:
        own = union if learned == "all" else space(f"nnlqp:{learned}")
        asked = [graphs[k] for k in places]
        mean, std = transfer.log_latency(asked)
        truth = logs[places]
        unlike = np.array([not name for name in familiar(own)(asked)])
        wide = np.where(unlike, FOREIGN, 1.0) * std
        rows.append(
            {
                "learned": learned,
                "judged": judged,
                "seed": seed,
                "networks": len(places),
                "unlike": float(unlike.mean()),
                "spearman": float(spearmanr(mean, truth)[0]),
                "mape_percent": float(100 * np.mean(np.abs(np.exp(mean - truth) - 1))),
                "coverage": float(np.mean(np.abs(truth - mean) <= 1.645 * std)),
                "coverage_widened": float(np.mean(np.abs(truth - mean) <= 1.645 * wide)),
                "interval_factor": float(np.exp(1.645 * np.median(wide))),
            }
        )
        print(rows[-1], flush=True)

    for learned in ("all", *dict.fromkeys(families.tolist())):
        own = union if learned == "all" else space(f"nnlqp:{learned}")
        inside = np.flatnonzero((families == learned) | (learned == "all"))
        outside = np.setdiff1d(np.arange(len(graphs)), inside)
        transfer = DeviceTransfer(
            known_devices(predictor, device, 1, [own, union]),
        )
        for seed in range(options.seeds):
            order = np.random.default_rng(seed).permutation(inside)
            learn = order[:MEASURED]
            transfer.fit([graphs[k] for k in learn], table.latencies[learn])
            if len(order) >= 2 * MEASURED:
                told(learned, seed, "same", order[MEASURED:], transfer)
            if len(outside):
                told(learned, seed, "others", outside, transfer)
    digest = hashlib.sha256(TABLE.read_bytes()).hexdigest()
    write_result(
        "calibrate_networks",
        {"runs": rows, "table": {TABLE.name: digest}, "provenance": provenance()},
    )


if __name__ == "__main__":
    main()
