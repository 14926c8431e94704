"""Predict the memory that PyTorch holds after a forward pass of HW-GPT-Bench's networks.

    python -m experiments.language.memory [--threads 1] [--seeds 0,1,2,3,4]

`nasplug.predicting.allocated_memory` counts weights, their copies in bf16 that autocast keeps, the
tokens and cuBLAS's workspace. The allocator leaves a little unused behind large tensors, on average
as much behind each: one number that networks of scale s teach, and that all scales are predicted
with; the package has that of the first seed. A thousand networks of each scale judge, and are never
learned from. The source measured all scales with 8 sequences. Writes results/language_memory.json.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from experiments.campaign import Options
from experiments.common import SPLIT_SEED, Array, write_result
from nasplug import datasets, space
from nasplug.predicting.allocated_memory import allocated_megabytes

SCALES = ("s", "m", "l")
TAUGHT = "s"
LEARNED = 100
JUDGED = 1_000
BATCH = 8
WEIGHTS, COUNTED = "weights", "all that is counted"
REST = "and the unused bytes"
MEGA = 1e6


@cache
def networks(scale: str) -> tuple[Array, Array, Array, Array]:
    """MB of weights, and counted, numbers of large tensors, and the measured MB.

    Those that judge come first, and then those that may be learned from.
    """
    table, where = datasets.load(f"gpt-{scale}"), space(f"gpt:{scale}")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(table))
    judging = order[len(order) // 2 :][:JUDGED]
    learning = order[: len(order) // 2][:JUDGED] if scale == TAUGHT else order[:0]
    chosen = table.iloc[np.concatenate([judging, learning])]
    rows = []
    for text in chosen["arch"]:
        graph = where.to_graph(where.parse(text))
        counted = allocated_megabytes(graph, BATCH, unused=0.0)
        large = round(allocated_megabytes(graph, BATCH, unused=MEGA) - counted)
        rows.append((4 * graph.total("params") / MEGA, counted, large))
    weights, counted, large = np.array(rows).T
    return weights, counted, large, chosen["allocated_mb"].to_numpy(np.float64)


def unused(seed: int) -> float:
    """MB that stay unused behind a large tensor, learned from networks of one scale."""
    _, counted, large, measured = networks(TAUGHT)
    rows = JUDGED + np.random.default_rng(seed).permutation(len(counted) - JUDGED)[:LEARNED]
    return float((measured - counted)[rows].sum() / large[rows].sum())


def judged(scale: str, seed: int) -> list[dict[str, Any]]:
    """Mean absolute errors in percent of the networks that are judged by."""
    weights, counted, large, measured = (values[:JUDGED] for values in networks(scale))
    learned = unused(seed)
    methods = {
        WEIGHTS: weights,
        COUNTED: counted,
        REST: counted + learned * large,
    }
    return [
        {
            "scale": scale,
            "seed": seed,
            "method": method,
            "learned": LEARNED if method == REST else 0,
            "judged": len(measured),
            "unused_bytes": round(MEGA * learned) if method == REST else None,
            "error_percent": float(100 * np.mean(np.abs(values / measured - 1))),
            "worst_percent": float(100 * np.max(np.abs(values / measured - 1))),
        }
        for method, values in methods.items()
    ]


def main() -> None:
    options = Options(__doc__, seeds="0,1,2,3,4").parse_args()
    rows = [row for scale in SCALES for seed in options.seeds for row in judged(scale, seed)]
    write_result("language_memory", *(f"gpt-{scale}" for scale in SCALES), runs=rows)


if __name__ == "__main__":
    main()
