"""What `nasplug calibrate` is worth, on every device of NAS-Bench-201 as if it were a user's own.

    python experiments/calibrate_check.py [--seeds 5] [--devices help]

The shipped predictor tells what the other devices do; the device itself, at all batch sizes, is
none of them. What its description promises is the prediction of a network that was trained without
it (`train_latency.py` leaves them in runs/left-out). Random cells are measured, 3 to 20 of them;
3,000 others judge. Beside it the same without the promise, and the promise alone.
The shipped predictor was trained on all devices, so that what it says of the others may have
learned a little from the device. Writes results/calibrate_check.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from common import Array, cells, latencies, provenance, write_result
from numpy.typing import NDArray
from scipy.stats import spearmanr
from train_latency import left_out_file

from nasplug import load_predictor
from nasplug.datasets.help_protocol import PROTOCOLS
from nasplug.devices.few_shot import POOL, SMALLEST_MS, is_connected
from nasplug.predictors.device_transfer import DeviceTransfer
from nasplug.search_spaces import Graph

COUNTS = (3, 5, 10, 20)
JUDGED = 3000


class Told:
    """Log-latencies of a fixed list of graphs on other devices, and perhaps a promise."""

    smallest_ms = SMALLEST_MS

    def __init__(self, graphs: Sequence[Graph], others: Array, promise: Array | None) -> None:
        self.describes = promise is not None
        self.graphs = graphs[:POOL]
        self._logs = others if promise is None else np.column_stack([others, promise])
        self._place = {id(graph): k for k, graph in enumerate(graphs)}

    def log_latency(self, graphs: Sequence[Graph]) -> Array:
        """Rows of these graphs."""
        return self._logs[[self._place[id(graph)] for graph in graphs]]


def score(mean: Array, std: Array, truth: Array) -> dict[str, float]:
    """Errors and intervals of predicted log-latencies."""
    logs = np.log(truth)
    return {
        "spearman": float(spearmanr(mean, truth)[0]),
        "mape_percent": float(100 * np.mean(np.abs(np.exp(mean - logs) - 1))),
        "coverage": float(np.mean(np.abs(logs - mean) <= 1.645 * std)),
        "interval_factor": float(np.exp(1.645 * np.median(std))),
    }


def check(
    column: str, graphs: list[Graph], truth: Array, others: Array, promise: Array, seeds: int
) -> list[dict[str, Any]]:
    """All numbers of measurements and seeds on one device."""
    rows = []
    alone = {
        "spearman": float(spearmanr(promise[POOL:], truth[POOL:])[0]),
        "mape_percent": float(100 * np.mean(np.abs(np.exp(promise) / truth - 1)[POOL:])),
    }
    rows.append({"column": column, "method": "data sheet alone", "measured": 0, "seed": 0, **alone})
    for method, given in (("nasplug", promise), ("without the data sheet", None)):
        transfer = DeviceTransfer(Told(graphs, others, given))
        for seed in range(seeds):
            order = POOL + np.random.default_rng(seed).permutation(len(graphs) - POOL)
            judged: NDArray[np.int64] = order[max(COUNTS) :]
            for count in COUNTS:
                learn = order[:count]
                transfer.fit([graphs[k] for k in learn], truth[learn])
                mean, std = transfer.log_latency([graphs[k] for k in judged])
                told = score(mean, std, truth[judged])
                rows.append(
                    {"column": column, "method": method, "measured": count, "seed": seed, **told}
                )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--devices", choices=("help", "all"), default="all")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    _, every = cells()
    truth, columns = latencies()
    order = np.random.default_rng(0).permutation(len(every))
    chosen = [int(k) for k in order if is_connected(every[k])][: POOL + max(COUNTS) + JUDGED]
    graphs = [every[k] for k in chosen]
    said = load_predictor("nb201-latency").model.log_latency(graphs, columns)
    rows: list[dict[str, Any]] = []
    for place, column in enumerate(columns):
        if options.devices == "help" and column.key not in PROTOCOLS["nb201"].meta_test:
            continue
        with np.load(left_out_file(column.hardware.name)) as stored:
            own = stored["columns"].tolist().index(place)
            promise = stored["predicted"][chosen, own]
        others = [k for k, c in enumerate(columns) if c.hardware.name != column.hardware.name]
        # Whole milliseconds and cost models may be as low as zero.
        values = np.maximum(truth[chosen, place], SMALLEST_MS)
        rows += check(column.key, graphs, values, said[:, others], promise, options.seeds)
        for method in dict.fromkeys(row["method"] for row in rows):
            for count in (0, *COUNTS):
                found = [
                    r
                    for r in rows
                    if (r["column"], r["method"], r["measured"]) == (column.key, method, count)
                ]
                if found:
                    means = {
                        k: round(float(np.mean([r[k] for r in found])), 3)
                        for k in ("spearman", "mape_percent", "coverage", "interval_factor")
                        if k in found[0]
                    }
                    print(column.key, method, count, means, flush=True)
    write_result("calibrate_check", {"runs": rows, "provenance": provenance("nb201-latency")})


if __name__ == "__main__":
    main()
