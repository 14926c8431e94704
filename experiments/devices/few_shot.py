"""Latency on devices that were known by ten measurements, by HELP's protocol.

    python -m experiments.devices.few_shot [--seeds 10]

HELP's meta-train and meta-validation devices are known, its meta-test devices are new: six of
NAS-Bench-201, three of FBNet. `help`: its trimmed query networks, ten random ones of its sample
pool and its ten reference networks are measured; `all`: ten networks are measured, random ones or
those that are suggested, and all 15,625 (FBNet: 5,000) are ranked.
Ranks are compared with Spearman's coefficient. Writes results/few_shot.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge

from experiments.campaign import Options
from experiments.common import Array, write_result
from experiments.latency.methods import relative_errors
from experiments.tables import cells, grouped, merged
from nasplug import datasets
from nasplug.datasets.help_protocol import PROTOCOLS, query_indices, sample_indices
from nasplug.predictors.latency.few_shot import DeviceTransfer
from nasplug.predictors.latency.known_devices import KnownDevices
from nasplug.search_spaces import Graph, space

KNOWN_CELLS = 2000
# Cells that may be suggested for measuring.
POOL = 600
SMALLEST_MS = 0.1


class CellTransfer(DeviceTransfer):
    """Reads each cell once for all devices and seeds."""

    def __init__(self, known: KnownDevices, graphs: list[Graph]) -> None:
        super().__init__(known)
        self._every = super()._features(graphs)
        self._place = {id(graph): k for k, graph in enumerate(graphs)}

    def _features(self, graphs: Sequence[Graph]) -> dict[str, Array]:
        rows = [self._place[id(graph)] for graph in graphs]
        return {name: block[rows] for name, block in self._every.items()}


class Cells:
    """All measured architectures of a space with what is known of them."""

    def __init__(self, name: str) -> None:
        protocol = PROTOCOLS[name]
        known = [*protocol.meta_train, *protocol.meta_validation]
        self.protocol = protocol
        self.table = datasets.load(f"{name}-latency")
        where = space(name)
        texts = self.table["arch"] if name == "fbnet" else map(str, where)  # type: ignore[call-overload]
        self.graphs: list[Graph] = [where.to_graph(where.parse(str(text))) for text in texts]
        self.known_logs = np.log(np.maximum(self.table[known].to_numpy(), SMALLEST_MS))
        order = np.random.default_rng(0).permutation(len(self.graphs))[:KNOWN_CELLS]
        devices = KnownDevices()
        devices.fit([self.graphs[k] for k in order], self.table[known].to_numpy()[order])
        self.transfer = CellTransfer(devices, self.graphs)

    def truth(self, column: str) -> Array:
        """Measured ms of all cells."""
        values: Array = self.table[column].to_numpy(np.float64)
        return values


def ridge(data: Cells, column: str, learn: NDArray[np.int64], judge: NDArray[np.int64]) -> Array:
    """Ridge regression on the measured log-latencies of the known devices."""
    truth = np.log(np.maximum(data.truth(column), SMALLEST_MS))
    model = Ridge(alpha=1.0).fit(data.known_logs[learn], truth[learn])
    result: Array = model.predict(data.known_logs[judge])
    return result


def measure(data: Cells, protocol: str, column: str, seed: int) -> list[dict[str, Any]]:
    """All methods on one new device."""
    rng = np.random.default_rng(seed)
    truth = data.truth(column)
    every = np.arange(len(truth))
    if protocol == "help":
        name = data.protocol.space
        samples = rng.permutation(sample_indices(name, column))[:10]
        learn = np.concatenate([data.protocol.reference_archs, samples])
        judge = query_indices(name, column)
    else:
        learn = rng.permutation(every)[:10]
        judge = np.setdiff1d(every, learn)
    transfer = data.transfer
    transfer.fit([data.graphs[k] for k in learn], truth[learn])
    mean, std = transfer.log_latency([data.graphs[k] for k in judge])
    inside = np.abs(np.log(np.maximum(truth[judge], SMALLEST_MS)) - mean) <= 1.645 * std
    # Method -> cells that were measured, cells that judge, predicted log-latencies of these.
    predictions = {
        "mean of the known devices": (learn, judge, data.known_logs[judge].mean(1)),
        "ridge on the known devices": (learn, judge, ridge(data, column, learn, judge)),
        "nasplug": (learn, judge, mean),
    }
    if protocol != "help":
        pool = rng.permutation(every)[:POOL]
        chosen = pool[transfer.suggest([data.graphs[k] for k in pool])]
        transfer.fit([data.graphs[k] for k in chosen], truth[chosen])
        others = np.setdiff1d(every, chosen)
        suggested = transfer.log_latency([data.graphs[k] for k in others])[0]
        predictions["nasplug, suggested cells"] = (chosen, others, suggested)
    # float32 as HELP's code, which makes equal what differs by rounding.
    rounded = truth.astype(np.float32)
    rows = []
    for method, (measured, against, predicted) in predictions.items():
        usual = truth[against] >= SMALLEST_MS
        error = relative_errors(np.exp(predicted)[usual], truth[against][usual])["mape_percent"]
        rows.append(
            {
                "space": data.protocol.space,
                "protocol": protocol,
                "column": column,
                "seed": seed,
                "method": method,
                "measured": len(measured),
                "spearman": float(spearmanr(predicted, rounded[against])[0]),
                "mape_percent": None if "mean" in method else error,
                "coverage": float(inside.mean()) if method == "nasplug" else None,
            }
        )
    return rows


def print_summary(rows: list[dict[str, Any]]) -> None:
    """Mean Spearman of each method, over all devices and on each."""
    for keys in (("space", "protocol", "method"), ("space", "protocol", "method", "column")):
        for values, group in grouped(rows, *keys).items():
            print(*values, *cells("{spearman:.3f}", merged(group)), flush=True)


def main() -> None:
    parser = Options(__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    rows = []
    for name in PROTOCOLS:
        data = Cells(name)
        for protocol in ("help", "all"):
            for column in data.protocol.meta_test:
                for seed in range(options.seeds):
                    rows += measure(data, protocol, column, seed)
            print_summary([r for r in rows if (r["space"], r["protocol"]) == (name, protocol)])
    write_result("few_shot", "nb201-latency", "fbnet-latency", runs=rows)


if __name__ == "__main__":
    main()
