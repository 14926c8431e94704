"""What a search returns, held against the measured tables.

    python -m experiments.search.search_check

Writes results/search_check.json: the best measured accuracy among the architectures returned for a
device, and the share of returned architectures that truly meet a latency limit.
"""

from __future__ import annotations

import sys

import numpy as np

from experiments.common import IMAGE_SETS, accuracies, latencies, provenance, write_result
from nasplug import search

DEVICES = ("RTX 3090", "GTX 1080 Ti", "Raspberry Pi 4")
QUANTILE = 0.25
PUBLISHED_BOUNDS_MS = (6.93, 8.48, 9.53)


def main() -> None:
    _, test = accuracies()
    truth, columns = latencies()
    best = []
    for device in DEVICES:
        for k, name in enumerate(IMAGE_SETS):
            result = search("nb201", device, dataset=name, storage="memory", seed=0)
            found = [row["measured"]["accuracy"] for row in result.pareto]
            best.append(
                {
                    "device": device,
                    "dataset": name,
                    "pareto": len(found),
                    "best_measured_test_accuracy": max(found),
                    "best_of_the_table": float(test[:, k].max()),
                    "zero_shot": result.zero_shot,
                    "seconds": dict(result.seconds),
                }
            )
            print(best[-1], file=sys.stderr, flush=True)
    limits = []
    # The limits of the published constrained search, then one for every column.
    published = next(k for k, c in enumerate(columns) if c.key == "GTX 1080 Ti@1")
    bounds = [(published, "ms", bound) for bound in PUBLISHED_BOUNDS_MS]
    bounds += [(k, "quantile", QUANTILE) for k in range(len(columns))]
    for k, kind, value in bounds:
        column = columns[k]
        bound = value if kind == "ms" else float(np.quantile(truth[:, k], value))
        result = search(
            "nb201",
            column.hardware,
            f"latency<={bound:.6g}ms",
            batch_size=column.batch_size,
            storage="memory",
            seed=0,
        )
        measured = np.array([row["measured"]["latency_ms"] for row in result.pareto])
        limits.append(
            {
                "device": column.hardware.name,
                "batch_size": column.batch_size,
                "kind": column.hardware.kind,
                "bound_ms": bound,
                "bound_is": "given" if kind == "ms" else f"{value:.0%} quantile of the table",
                "returned": len(measured),
                "truly_met": int((measured <= bound).sum()),
                "best_measured_test_accuracy": max(
                    row["measured"]["accuracy"] for row in result.pareto
                ),
            }
        )
        print(limits[-1], file=sys.stderr, flush=True)
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
    write_result(
        "search_check",
        {
            "summary": summary,
            "best": best,
            "limits": limits,
            "provenance": provenance("nb201-accuracy", "nb201-latency"),
        },
    )


if __name__ == "__main__":
    main()
