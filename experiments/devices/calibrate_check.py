"""Try `nasplug calibrate` on every device of NAS-Bench-201 as if it were a user's own.

    python -m experiments.devices.calibrate_check [--seeds 5] [--devices help] [--promise shipped]

The shipped predictor tells what the other devices do; the device itself, at all batch sizes, is
none of them. What its description promises is the prediction of a network that was trained without
it (`train_latency.py` leaves them in runs/left-out). Random cells are measured, 3 to 20 of them;
3,000 others judge. Beside it what the measurements say before they are weighed against the promise
(`alone`), with and without it, and the promise alone.
The shipped predictor was trained on all devices, so that what it says of the others may have
learned a little from the device. Writes results/calibrate_check.json.

With `--promise shipped` the promise is that of the shipped predictor for the device under another
name, which is better than it would be of a device that nobody measured. That needs no training, and
tells what the weighing costs; it writes results/calibrate_check_shipped.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from experiments.campaign import Options
from experiments.common import Array, latencies, write_result
from experiments.common import cells as all_cells
from experiments.devices.known import KnownLatencies, renamed
from experiments.tables import cells, grouped, merged
from experiments.zoo.train_latency import left_out_file
from nasplug import load_predictor
from nasplug.datasets.help_protocol import PROTOCOLS
from nasplug.predicting.few_shot import POOL, SMALLEST_MS, is_connected, promise
from nasplug.predictors.latency.few_shot import DeviceTransfer
from nasplug.predictors.latency.measured_device import MeasuredDevice
from nasplug.search_spaces import Graph

COUNTS = (3, 5, 10, 20)
JUDGED = 3000


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
    column: str,
    graphs: list[Graph],
    truth: Array,
    others: Array,
    promised: tuple[Array, Array],
    seeds: int,
) -> list[dict[str, Any]]:
    """All numbers of measurements and seeds on one device."""
    center = promised[0]
    row_of = {id(graph): k for k, graph in enumerate(graphs)}

    def sheet(asked: Sequence[Graph]) -> tuple[Array, Array]:
        rows = [row_of[id(graph)] for graph in asked]
        return promised[0][rows], promised[1][rows]

    rows = []
    alone = {
        "spearman": float(spearmanr(center[POOL:], truth[POOL:])[0]),
        "mape_percent": float(100 * np.mean(np.abs(np.exp(center) / truth - 1)[POOL:])),
    }
    rows.append({"column": column, "method": "data sheet alone", "measured": 0, "seed": 0, **alone})
    for method, given in (("alone", center), ("without the data sheet", None)):
        logs = others if given is None else np.column_stack([others, given])
        transfer = DeviceTransfer(KnownLatencies(graphs, logs, describes=given is not None))
        device = MeasuredDevice(transfer, sheet)
        for seed in range(seeds):
            order = POOL + np.random.default_rng(seed).permutation(len(graphs) - POOL)
            judged: NDArray[np.int64] = order[max(COUNTS) :]
            for count in COUNTS:
                learn, asked = order[:count], [graphs[k] for k in judged]
                device.fit([graphs[k] for k in learn], truth[learn])
                about = {"column": column, "measured": count, "seed": seed}
                quality = score(*transfer.log_latency(asked), truth[judged])
                rows.append({**about, "method": method, **quality})
                if given is not None:
                    predicted = device.predict(asked)
                    quality = score(predicted.center[:, 0], predicted.spread[:, 0], truth[judged])
                    worse = bool(np.greater(*device.left_out().factors))
                    rows.append({**about, "method": "nasplug", **quality, "refused": worse})
    return rows


def main() -> None:
    parser = Options(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--devices", choices=("help", "all"), default="all")
    parser.add_argument("--promise", choices=("left-out", "shipped"), default="left-out")
    parser.add_argument("--judged", type=int, default=JUDGED)
    options = parser.parse_args()
    _, every = all_cells()
    truth, columns = latencies()
    order = np.random.default_rng(0).permutation(len(every))
    chosen = [int(k) for k in order if is_connected(every[k])]
    chosen = chosen[: POOL + max(COUNTS) + options.judged]
    graphs = [every[k] for k in chosen]
    model = load_predictor("nb201-latency").model
    logs = model.log_latency(graphs, columns)
    rows: list[dict[str, Any]] = []
    for place, column in enumerate(columns):
        if options.devices == "help" and column.key not in PROTOCOLS["nb201"].meta_test:
            continue
        promised = promise(model, renamed(column.hardware), column.batch_size, graphs)
        if options.promise == "left-out":
            with np.load(left_out_file(column.hardware.name)) as stored:
                at = stored["columns"].tolist().index(place)
                promised = stored["predicted"][chosen, at], promised[1]
        others = [k for k, c in enumerate(columns) if c.hardware.name != column.hardware.name]
        # Whole milliseconds and cost models may be as low as zero.
        values = np.maximum(truth[chosen, place], SMALLEST_MS)
        rows += check(column.key, graphs, values, logs[:, others], promised, options.seeds)
        on_device = [row for row in rows if row["column"] == column.key]
        for about, group in grouped(on_device, "column", "method", "measured").items():
            means = "{spearman:.3f} | {mape_percent:.1f} | {coverage:.3f} | {interval_factor:.3f}"
            missing = {"coverage": None, "interval_factor": None}
            print(*about, *cells(means, missing | merged(group)), flush=True)
    name = "calibrate_check" + "_shipped" * (options.promise == "shipped")
    write_result(name, "nb201-latency", runs=rows)


if __name__ == "__main__":
    main()
