"""Predict the memory that PyTorch holds after a forward pass of HW-GPT-Bench's networks.

    python -m experiments.language.memory [--threads 1] [--seeds 0,1,2,3,4]

`nasplug.predicting.allocated_memory` counts weights, their copies in bf16 that autocast keeps, the
tokens and cuBLAS's workspace. The allocator leaves a little unused behind large tensors, on average
as much behind each: one number that networks of scale s teach, and that all scales are predicted
with. Half of the networks of each scale judge, and are never learned from. The source measured all
scales with 8 sequences. Writes results/language_memory.json.
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
BATCH = 8
WEIGHTS, COUNTED = "weights", "all that is counted"
REST, SHIPPED = "and the unused bytes", "as the package has it"
MEGA = 1e6


@cache
def networks(scale: str) -> tuple[Array, Array, Array, Array, Array]:
    """MB of weights, counted, and as shipped, numbers of large tensors, and the measured MB."""
    table, where = datasets.load(f"gpt-{scale}"), space(f"gpt:{scale}")
    rows = []
    for text in table["arch"]:
        graph = where.to_graph(where.parse(text))
        counted = allocated_megabytes(graph, BATCH, unused=0.0)
        large = round(allocated_megabytes(graph, BATCH, unused=MEGA) - counted)
        shipped = allocated_megabytes(graph, BATCH)
        rows.append((4 * graph.total("params") / MEGA, counted, shipped, large))
    weights, counted, shipped, large = np.array(rows).T
    return weights, counted, shipped, large, table["allocated_mb"].to_numpy(np.float64)


def halves(scale: str) -> tuple[Array, Array]:
    """Positions of the networks that may be learned from, and of those that judge."""
    count = len(networks(scale)[-1])
    order = np.random.default_rng(SPLIT_SEED).permutation(count)
    return order[: count // 2], order[count // 2 :]


def unused(seed: int) -> float:
    """MB that stay unused behind a large tensor, learned from networks of one scale."""
    _, counted, _, large, measured = networks(TAUGHT)
    rows = np.random.default_rng(seed).permutation(halves(TAUGHT)[0])[:LEARNED]
    return float((measured - counted)[rows].sum() / large[rows].sum())


def judged(scale: str, seed: int) -> list[dict[str, Any]]:
    """Mean absolute errors in percent of the networks that are judged by."""
    weights, counted, shipped, large, measured = networks(scale)
    test = halves(scale)[1]
    learned = unused(seed)
    methods = {WEIGHTS: weights, COUNTED: counted, REST: counted + learned * large}
    return [
        {
            "scale": scale,
            "seed": seed,
            "method": method,
            "learned": LEARNED if method in (REST, SHIPPED) else 0,
            "judged": len(test),
            "unused_bytes": round(MEGA * learned) if method == REST else None,
            "error_percent": float(100 * np.mean(np.abs(values / measured - 1)[test])),
            "worst_percent": float(100 * np.max(np.abs(values / measured - 1)[test])),
        }
        for method, values in {**methods, SHIPPED: shipped}.items()
    ]


def main() -> None:
    options = Options(__doc__, seeds="0,1,2,3,4").parse_args()
    rows = [row for scale in SCALES for seed in options.seeds for row in judged(scale, seed)]
    write_result("language_memory", *(f"gpt-{scale}" for scale in SCALES), runs=rows)


if __name__ == "__main__":
    main()
