"""Trained networks that a search names for GPUs and a CPU that were left out, against their tables.

    NASPLUG_MIRROR=... python -m experiments.search.trained_fronts [--threads 1] [--fresh]

The devices are those on which timm's author measured all of timm's networks: RTX 3090 and RTX 4090
in channels last, and a Core i9-10940X. Each was left out of the latency predictor with its twins
(popular_networks.py). For twenty limits, quantiles of what was measured, the search's front is that
of the networks which meet the limit with a probability. Judged are the share of the front that
truly meets the limit, and by how many points its most accurate network that does is behind the most
accurate one of all that do. Beside it stand FLOPs and parameters as the only guide, with the one
factor that is right for the device, which a user would not know. Latencies are those of an image,
in the batch that was measured. Writes results/trained_fronts.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.campaign import Options
from experiments.common import Array, write_result
from experiments.latency.cpu_data import cpu_measurements
from experiments.latency.gpu_rows import network_rows
from experiments.latency.popular_networks import bounds_of, fitted, groups
from nasplug.pareto import pareto_mask
from nasplug.predictors.features.runtimes import Way
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.class_models import ClassModels, class_of
from nasplug.search_spaces import Graph, space

# Device and way -> the largest of these batch sizes that was measured stands for a network.
TABLES = {
    "RTX 3090": Way("eager nhwc", "fp16"),
    "RTX 4090": Way("eager nhwc", "fp16"),
    "Core i9-10940X": Way("compiled", "fp32"),
}
PROBABILITIES = (0.5, 0.9)
LIMITS = np.linspace(0.05, 0.95, 20)


class Table:
    """Networks that were measured on a device: graphs, settings and ms of an image."""

    def __init__(self, device: str) -> None:
        trained = space("timm")
        wanted: dict[str, float] = {}
        accuracies = trained.accuracies(list(trained))[:, 0]  # type: ignore[attr-defined]
        # Of networks of one form the most accurate one counts.
        for arch, accuracy in zip(trained, accuracies, strict=True):
            name, _, side = arch.text.rpartition("@")
            reference = f"timm:{name.partition('.')[0]}@{side}"
            wanted[reference] = max(wanted.get(reference, 0.0), float(accuracy))
        way = TABLES[device].plain
        rows = [
            row
            for row in _rows(list(wanted))
            if row[1].hardware.name == device and row[1].way.plain == way
        ]
        by_reference: dict[str, list[tuple[Graph, Setting, float, str]]] = {}
        for reference, column, graph, ms, chip in rows:
            by_reference.setdefault(reference, []).append((graph, column, ms, chip))
        self.references = sorted(by_reference)
        self.graphs, self.settings, ms = [], [], []
        for reference in self.references:
            graph, column, _, self.chip = by_reference[reference][0]
            # Several versions of PyTorch measured the same.
            same = [m for _, c, m, _ in by_reference[reference] if c.key == column.key]
            self.graphs.append(graph)
            self.settings.append(column)
            ms.append(float(np.median(same)) / column.batch_size)
        self.ms = np.array(ms)
        self.accuracies = np.array([wanted[reference] for reference in self.references])


def _rows(references: list[str]) -> list[tuple[str, Setting, Graph, float, str]]:
    rows = [(r.reference, r.column, r.graph, r.ms, r.chip) for r in network_rows(references)]
    rows += [
        (r.reference, r.column, r.graph, r.ms, r.chip)
        for r in cpu_measurements()
        if r.reference in references
    ]
    return rows


def predicted(table: Table, classes: ClassModels) -> dict[float, Array]:
    """Probability -> ms of an image that a network takes at most with it, `(n,)`."""
    model: Any = classes.models[class_of(table.settings[0])]
    logs = model.log_latency(table.graphs, table.settings)
    sizes = np.log([column.batch_size for column in table.settings])
    found = {}
    for probability in PROBABILITIES:
        ends = [
            bounds_of(column, table.chip, graph, (probability,))[0]
            for column, graph in zip(table.settings, table.graphs, strict=True)
        ]
        found[probability] = np.exp(logs - sizes + np.array(ends))
    return found


def judged(table: Table, upper: Array, center: Array) -> list[dict[str, Any]]:
    """A row a limit: what a guide names, and what is true."""
    rows = []
    for limit in np.quantile(table.ms, LIMITS):
        meets = table.ms <= limit
        named = np.flatnonzero(upper <= limit)
        row: dict[str, Any] = {"limit_ms": float(limit), "named": len(named)}
        if len(named):
            values = np.column_stack([-table.accuracies[named], center[named]])
            front = named[pareto_mask(values)]
            right = front[meets[front]]
            best = named[np.argmax(table.accuracies[named])]
            row |= {
                "front": len(front),
                "meet_percent": 100 * float(meets[front].mean()),
                "best_meets": bool(meets[best]),
                "best_over_limit_percent": 100 * float(table.ms[best] / limit - 1),
                "behind_points": float(
                    table.accuracies[meets].max() - table.accuracies[right].max()
                )
                if len(right)
                else None,
            }
        rows.append(row)
    return rows


def counted(table: Table, name: str) -> Array:
    """Ms of an image by a count alone, times the one factor that is right in the middle."""
    counts = np.array([graph.total(name) for graph in table.graphs])
    logs = np.log(counts)
    result: Array = np.exp(logs + np.median(np.log(table.ms) - logs))
    return result


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the limits at which a guide names anything."""
    some = [row for row in rows if row["named"]]
    behind = [row["behind_points"] for row in some if row["behind_points"] is not None]
    return {
        "limits": len(some),
        "meet_percent": float(np.mean([row["meet_percent"] for row in some])),
        "best_meets_percent": 100 * float(np.mean([row["best_meets"] for row in some])),
        "behind_points": float(np.mean(behind)),
        "behind_within_0.3": int(sum(value <= 0.3 for value in behind)),
    }


def main() -> None:
    options = Options(__doc__, fresh=True).parse_args()
    found = []
    for device in TABLES:
        table = Table(device)
        name = class_of(table.settings[0])
        group = next(part for part in groups()[name] if table.chip in part)
        upper = predicted(table, fitted(name, group, options.fresh))
        guides: dict[str, tuple[Array, Array]] = {
            f"nasplug, probability {p:g}": (ms, upper[0.5]) for p, ms in upper.items()
        }
        for count in ("flops", "params"):
            ms = counted(table, count)
            guides[count] = (ms, ms)
        for guide, (bound, center) in guides.items():
            rows = judged(table, bound, center)
            found.append(
                {
                    "device": device,
                    "networks": len(table.ms),
                    "guide": guide,
                    "mape_percent": 100 * float(np.abs(center / table.ms - 1).mean()),
                    **summary(rows),
                    "rows": rows,
                }
            )
            print(device, guide, {k: v for k, v in found[-1].items() if k != "rows"}, flush=True)
    write_result("trained_fronts", devices=list(TABLES), fronts=found)


if __name__ == "__main__":
    main()
