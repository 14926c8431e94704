"""Time the scoring of all 15,625 cells on both backends, beside this machine's matrix product.

    python -m experiments.checks.throughput [--threads 2] [--repeats 5]

Writes results/throughput.json. All timings of one run are taken in turn in one process.
"""

from __future__ import annotations

import importlib.util
import statistics
import timeit
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from experiments.campaign import Options
from experiments.common import cells, write_result
from nasplug import load_predictor
from nasplug.predictors.training.ensemble import sized_batches, unique_graphs
from nasplug.search_spaces import Architecture

MATRIX = 1536


def seconds(work: Callable[[], Any], repeats: int) -> list[float]:
    """Wall time of each of `repeats` runs after one that warms up."""
    work()
    return timeit.repeat(work, number=1, repeat=repeats)


def summary(times: list[float]) -> dict[str, float]:
    return {"median": statistics.median(times), "min": min(times), "max": max(times)}


def flops_of(model: Any, graphs: list[Any]) -> float:
    """Floating-point operations a graph of one model."""
    # One graph at a time has no padding: the arithmetic that the graphs themselves need.
    sample = [model.collate([graph]) for graph in graphs[::50]]
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        for batch in sample:
            model(batch)
    return counter.get_total_flops() / len(sample)


class Backend:
    """The shipped predictor on a backend, with its networks and the graphs that it reads."""

    def __init__(self, name: str, archs: list[Architecture]) -> None:
        self.name, self._archs = name, archs
        self._predictor = load_predictor("nb201-accuracy", backend=name)
        model = self._predictor.model
        self.models = [model.encoder.model, *model._networks]
        first = self.models[0]
        self.graphs, _ = unique_graphs(first.prepare(self._predictor.graphs(archs)))
        self._batches = [batch for _, batch in sized_batches(first, self.graphs)]

    @torch.inference_mode()
    def _networks(self) -> None:
        for batch in self._batches:
            # As in a prediction, which makes a batch's layout once for all networks.
            batch.layouts.clear()
            for model in self.models:
                model(batch)

    def row(self, repeats: int, flops_a_graph: float) -> dict[str, Any]:
        """Times of everything and of the networks alone, beside a matrix product."""
        a, b = torch.rand(MATRIX, MATRIX), torch.rand(MATRIX, MATRIX)
        whole = seconds(lambda: self._predictor.predict(self._archs), repeats)
        only_network = seconds(self._networks, repeats)
        product = seconds(lambda: a @ b, 10)
        peak = 2 * MATRIX**3 / min(product) / 1e9
        rate = len(self.graphs) * len(self.models) / statistics.median(only_network)
        return {
            "backend": self.name,
            "seconds_from_architectures": summary(whole),
            "cells_per_second": len(self._archs) / statistics.median(whole),
            "seconds_network_only": summary(only_network),
            "graphs_per_second_one_model": rate,
            "gflops_a_second": rate * flops_a_graph / 1e9,
            "matrix_product_gflops_a_second": peak,
            "share_of_matrix_product": rate * flops_a_graph / 1e9 / peak,
        }


def main() -> None:
    parser = Options(__doc__, threads=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    archs, _ = cells()
    torch_backend = Backend("torch", archs)
    flops_a_graph = flops_of(torch_backend.models[0], torch_backend.graphs)
    backends = [torch_backend]
    if importlib.util.find_spec("dgl"):
        backends.append(Backend("dgl", archs))
    rows = []
    for backend in backends:
        rows.append(backend.row(options.repeats, flops_a_graph))
        print(rows[-1], flush=True)
    write_result(
        "throughput",
        cells=len(archs),
        distinct_graphs=len(torch_backend.graphs),
        models_in_ensemble=len(torch_backend.models),
        flops_a_graph=flops_a_graph,
        threads=options.threads,
        repeats=options.repeats,
        rows=rows,
    )


if __name__ == "__main__":
    main()
