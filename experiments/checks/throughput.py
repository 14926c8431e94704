"""How fast all 15,625 cells are scored, on both backends, beside this machine's matrix product.

    python -m experiments.checks.throughput [--threads 2] [--repeats 5]

Writes results/throughput.json. All timings of one run are taken in turn in one process.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from experiments.campaign import Options
from experiments.common import cells, provenance, write_result
from nasplug import load_predictor
from nasplug.predictors.layers.batch import GraphBatch
from nasplug.predictors.training.ensemble import CHUNK, unique_graphs

MATRIX = 1536


def seconds(work: Callable[[], Any], repeats: int) -> list[float]:
    """Wall time of each of `repeats` runs after one that warms up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


def summary(times: list[float]) -> dict[str, float]:
    return {"median": statistics.median(times), "min": min(times), "max": max(times)}


def main() -> None:
    parser = Options(__doc__, threads=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    archs, _ = cells()
    a, b = torch.rand(MATRIX, MATRIX), torch.rand(MATRIX, MATRIX)
    backends = ["torch"] + (["dgl"] if importlib.util.find_spec("dgl") else [])
    rows = []
    for backend in backends:
        predictor = load_predictor("nb201-accuracy", backend=backend)
        models = [predictor.model.encoder.model, *predictor.model._networks]
        distinct, _ = unique_graphs(models[0].prepare(predictor.graphs(archs)))
        ordered = sorted(distinct, key=len)
        batches: list[GraphBatch] = [
            models[0].collate(ordered[start : start + CHUNK])
            for start in range(0, len(ordered), CHUNK)
        ]

        @torch.inference_mode()
        def network() -> None:
            for batch in batches:  # noqa: B023
                for model in models:  # noqa: B023
                    model(batch)

        whole = seconds(lambda: predictor.predict(archs), options.repeats)  # noqa: B023
        only_network = seconds(network, options.repeats)
        product = seconds(lambda: a @ b, 10)
        peak = 2 * MATRIX**3 / min(product) / 1e9
        if backend == "torch":
            # One graph at a time has no padding: the arithmetic that the graphs themselves need.
            sample = [models[0].collate([graph]) for graph in distinct[::50]]
            with FlopCounterMode(display=False) as counter, torch.inference_mode():
                for batch in sample:
                    models[0](batch)
            flops_a_graph = counter.get_total_flops() / len(sample)
        scored = len(distinct) * len(models)
        rate = scored / statistics.median(only_network)
        rows.append(
            {
                "backend": backend,
                "seconds_from_architectures": summary(whole),
                "cells_per_second": len(archs) / statistics.median(whole),
                "seconds_network_only": summary(only_network),
                "graphs_per_second_one_model": rate,
                "gflops_a_second": rate * flops_a_graph / 1e9,
                "matrix_product_gflops_a_second": peak,
                "share_of_matrix_product": rate * flops_a_graph / 1e9 / peak,
            }
        )
        print(rows[-1], flush=True)
    write_result(
        "throughput",
        {
            "cells": len(archs),
            "distinct_graphs": len(distinct),
            "models_in_ensemble": len(models),
            "flops_a_graph": flops_a_graph,
            "threads": options.threads,
            "repeats": options.repeats,
            "rows": rows,
            "provenance": provenance(),
        },
    )


if __name__ == "__main__":
    main()
