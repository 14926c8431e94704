"""Pretrain the shipped encoder on all NAS-Bench-201 cells; no label is read.

    python -m experiments.zoo.pretrain_encoder

Responses of random networks and the state of the training are kept in runs/, so that an interrupted
run goes on. Writes nasplug/zoo/nb201-encoder.{safetensors,json}.
"""

from __future__ import annotations

import io
import sys
import time
from dataclasses import replace

import numpy as np

from experiments.campaign import Options
from experiments.common import RUNS, ZOO, Array, cells, provenance
from nasplug.predictors.accuracy.pretraining import PretrainingConfig, pretrain
from nasplug.predictors.features.zero_cost import responses
from nasplug.search_spaces import Graph
from nasplug.search_spaces.files import write_bytes
from nasplug.search_spaces.simplify import simplify


def distinct_cells() -> list[Graph]:
    """A simplified graph for each function of the space."""
    _, graphs = cells()
    distinct: dict[str, Graph] = {}
    for graph in graphs:
        small = simplify(graph)
        distinct.setdefault(small.canonical_hash, small)
    return list(distinct.values())


def measured_responses(graphs: list[Graph], seed: int) -> Array:
    """Responses of one random network, from runs/ if they were measured before."""
    path = RUNS / f"responses-nb201-{seed}.npy"
    if not path.exists():
        started = time.perf_counter()
        buffer = io.BytesIO()
        np.save(buffer, responses(graphs, seed))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, buffer.getvalue())
        print(f"random network {seed}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    table: Array = np.load(path, allow_pickle=False)
    return table


def main() -> None:
    parser = Options(__doc__, threads=None)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--num-layers", type=int, default=3)
    parser.add_argument("--dynamic", default="mixture")
    parser.add_argument("--random-networks", type=int, default=2)
    parser.add_argument("--only-responses", action="store_true")
    parser.add_argument("--out", default=str(ZOO / "nb201-encoder"))
    options = parser.parse_args()
    graphs = distinct_cells()
    measured = [measured_responses(graphs, seed) for seed in range(options.random_networks)]
    if options.only_responses:
        return
    base = PretrainingConfig()
    config = replace(
        base,
        dim=options.dim,
        num_layers=options.num_layers,
        dynamic=options.dynamic,
        random_networks=options.random_networks,
        training=replace(base.training, epochs=options.epochs),
    )
    name = (
        f"encoder-{options.dim}-{options.num_layers}-{options.dynamic}-"
        f"{options.random_networks}-{options.epochs}"
    )
    encoder = pretrain(graphs, config, measured=measured, folder=RUNS / name)
    encoder.save(
        options.out,
        {
            "name": "nb201-encoder",
            "space": "nb201",
            "data": "no label: graphs of all cells and responses of random networks",
            "graphs": len(graphs),
            "provenance": provenance(),
        },
    )


if __name__ == "__main__":
    main()
