"""Compare what a search returns with the measured tables.

    python -m experiments.search.search_check

Writes results/search_check.json: the best measured accuracy among the architectures returned for a
device, and the share of returned architectures that truly meet a latency limit.
"""

from __future__ import annotations

import sys
from itertools import product
from typing import Any

import numpy as np

from experiments.common import IMAGE_SETS, accuracies, latencies, write_result
from nasplug import search
from nasplug.predictors.features.settings import Setting

DEVICES = ("RTX 3090", "GTX 1080 Ti", "Raspberry Pi 4")
QUANTILE = 0.25
PUBLISHED_BOUNDS_MS = (6.93, 8.48, 9.53)


def best_found() -> list[dict[str, Any]]:
    """A row a device and image set: the best of what was returned, and of all cells."""
    _, test = accuracies()
    rows = []
    for device, (k, name) in product(DEVICES, enumerate(IMAGE_SETS)):
        result = search("nb201", device, dataset=name, storage="memory", seed=0)
        measured = [row["measured"]["accuracy"] for row in result.pareto]
        rows.append(
            {
                "device": device,
                "dataset": name,
                "pareto": len(measured),
                "best_measured_test_accuracy": max(measured),
                "best_of_the_table": float(test[:, k].max()),
                "zero_shot": result.zero_shot,
                "seconds": dict(result.seconds),
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def within(column: Setting, bound: float, bound_is: str) -> dict[str, Any]:
    """Search under a limit in ms, and count the returned architectures that truly meet it."""
    result = search(
        "nb201",
        column.hardware,
        f"latency<={bound:.6g}ms",
        batch_size=column.batch_size,
        storage="memory",
        seed=0,
    )
    measured = np.array([row["measured"]["latency_ms"] for row in result.pareto])
    row = {
        "device": column.hardware.name,
        "batch_size": column.batch_size,
        "kind": column.hardware.kind,
        "bound_ms": bound,
        "bound_is": bound_is,
        "returned": len(measured),
        "truly_met": int((measured <= bound).sum()),
        "best_measured_test_accuracy": max(row["measured"]["accuracy"] for row in result.pareto),
    }
    print(row, file=sys.stderr, flush=True)
    return row


def main() -> None:
    truth, columns = latencies()
    best = best_found()
    # The limits of the published constrained search, then one for every column.
    published = next(column for column in columns if column.key == "GTX 1080 Ti@1")
    limits = [within(published, bound, "given") for bound in PUBLISHED_BOUNDS_MS]
    for column, times in zip(columns, truth.T, strict=True):
        bound = float(np.quantile(times, QUANTILE))
        limits.append(within(column, bound, f"{QUANTILE:.0%} quantile of the table"))
    returned = sum(row["returned"] for row in limits)
    summary = {
        "searches_with_a_limit": len(limits),
        "returned": returned,
        "share_truly_met": sum(row["truly_met"] for row in limits) / returned,
        "searches_below_90_percent": sum(
            row["truly_met"] < 0.9 * row["returned"] for row in limits
        ),
    }
    print(summary)
    data = ("nb201-accuracy", "nb201-latency")
    write_result("search_check", *data, summary=summary, best=best, limits=limits)


if __name__ == "__main__":
    main()
