"""Time predictions of the latency of whole networks: one, a thousand, and from the shell.

    python -m experiments.checks.latency_time [--threads 2] [--repeats 9]

A network of 311 operators (ViT-B/16) on four devices, when its graph is new and when it is known; a
thousand networks of packages, of 200 to 400 operators, for one device; and `nasplug predict` of an
ONNX file of forty operators in a new process. Seconds of the processor stand beside those of the
clock, which depend on what else the machine does. Writes results/latency_time.json.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments import ROOT
from experiments.campaign import Options
from experiments.checks.quick_start import run
from experiments.checks.throughput import summary
from experiments.common import write_result
from nasplug import hardware, load_predictor
from nasplug.datasets.network_graphs import shipped_network_graphs
from nasplug.search_spaces import Graph

NETWORK = "torchvision:vit_b_16@224"
# Device and the way to run networks there; networks were measured on the first.
DEVICES = (
    *(("RTX 3090", "tensorrt fp16"), ("H100", "tensorrt fp16")),
    *(("Pixel 4", "tflite cpu"), ("Galaxy S24", "qnn int8 npu")),
)
MANY, SIZES = 1000, (200, 400)


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def row(times: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Summaries of several runs."""
    clock, processor = zip(*times, strict=True)
    return {"seconds": summary(list(clock)), "processor_seconds": summary(list(processor))}


def single(model: Any, device: str, way: str, repeats: int) -> list[dict[str, Any]]:
    """A network on a device, new and known."""
    graphs, used = shipped_network_graphs(), hardware(device)
    model.predict([graphs.graph(NETWORK)], used, 1, way)
    times: dict[str, list[tuple[float, float]]] = {"new": [], "known": []}
    for _ in range(repeats):
        # Kernels are kept with the graph.
        graph = fresh(graphs.graph(NETWORK))
        for each in times.values():
            each.append(timed(partial(model.predict, [graph], used, 1, way)))
    return [
        {"device": device, "way": way, "graph": name} | row(each) for name, each in times.items()
    ]


def fresh(graph: Graph) -> Graph:
    """The graph as another object."""
    return Graph(graph.ops, graph.edges, graph.attributes.copy())


def thousand(model: Any, device: str, way: str) -> dict[str, Any]:
    """A thousand networks for one device."""
    known = shipped_network_graphs()
    order = np.random.default_rng(0).permutation(len(known.references))
    graphs = [known.graph(known.references[k]) for k in order]
    some = [fresh(g) for g in graphs if SIZES[0] <= len(g) <= SIZES[1]]
    many = [fresh(some[k % len(some)]) for k in range(MANY)]
    times = [timed(partial(model.predict, many, hardware(device), 1, way))]
    operators = float(np.mean([len(graph) for graph in many]))
    return {"device": device, "way": way, "networks": MANY, "operators": operators} | row(times)


def from_shell(repeats: int) -> dict[str, Any]:
    """`nasplug predict` of an ONNX file."""
    widths = (3, *(32,) * 20)
    layers = [torch.nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths)]
    network = torch.nn.Sequential(*(part for layer in layers for part in (layer, torch.nn.ReLU())))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "model.onnx"
        torch.onnx.export(network.eval(), (torch.zeros(1, 3, 64, 64),), file, dynamo=False)
        words = ("predict", str(file), "--hw", "RTX 3090")
        runs = [run(ROOT, sys.executable, words) for _ in range(repeats)]
    return {
        name: summary([each[name] for each in runs]) for name in ("seconds", "processor_seconds")
    }


def main() -> None:
    parser = Options(__doc__, threads=2)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    model = load_predictor("network-latency").model
    loads = [os.getloadavg()[0]]
    one = [r for place in DEVICES for r in single(model, *place, options.repeats)]
    many = [thousand(model, *place) for place in DEVICES]
    shell = from_shell(min(options.repeats, 5))
    loads.append(os.getloadavg()[0])
    write_result(
        "latency_time",
        network=NETWORK,
        operators=len(shipped_network_graphs().graph(NETWORK)),
        threads=options.threads,
        repeats=options.repeats,
        loads=loads,
        one=one,
        many=many,
        shell=shell,
    )


if __name__ == "__main__":
    main()
