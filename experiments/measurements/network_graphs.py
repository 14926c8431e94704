"""Build the graphs of the networks that the table of measurements names, which the package ships.

    nice -n 19 python -m experiments.measurements.network_graphs [FOLDER] [--only RE] [--again]
        [--pack]

Needs timm, torchvision, pytorchcv, ultralytics and transformers 4.40, which has networks that later
versions dropped; one of the text models needs version 5 and is built in a second run. Nothing is
downloaded, as weights are random. Each network is made without memory for its weights and read by
`search_spaces.importers`. One file a network goes into the folder network-graphs of the cache
(`NASPLUG_CACHE`), so that the work can be stopped and taken up again; a network that fails leaves
its reason there instead, and is not tried again unless --again is given. At the end, or with --pack
alone, all that is there goes into nasplug/datasets/network_graphs.npz, and what is covered into
results/network_graphs.json. A network whose costs are not those that a source states, within 2 %,
is left out unless `network_costs` says why; FOLDER holds the tables of PaddleClas and of phones
that state some, and those of KernelBench with its sizes, as in `shipped_table`.
"""

from __future__ import annotations

import gc
import logging
import re
import signal
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch

from experiments.campaign import Options
from experiments.common import write_result
from experiments.measurements.kernelbench_networks import kernelbench_network
from experiments.measurements.network_builders import PACKAGES, Built, built
from experiments.measurements.network_costs import AGREES, compared, stated_costs
from nasplug.datasets.download import cache_dir, local_mirror
from nasplug.datasets.measurements import shipped_measurements
from nasplug.datasets.network_graphs import (
    KnownNetwork,
    network_graphs_file,
    read_network_graphs,
    shipped_network_graphs,
    write_network_graphs,
)
from nasplug.measurements.graphs import has_graph
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.files import write_text
from nasplug.search_spaces.importers.ncnn_graph import ncnn_graph
from nasplug.search_spaces.importers.torch_graph import torch_graph

SHIPPED = network_graphs_file()
# Networks of a source without a graph that are named.
MOST_NAMED = 20


def wanted() -> list[str]:
    """References of networks that packages build, as the table of measurements has them."""
    packages = tuple(f"{package}:" for package in (*PACKAGES, "ncnn", "kernelbench"))
    references = shipped_measurements().values["graph"]
    return [reference for reference in references if reference.startswith(packages)]


class _TooLongError(BaseException):
    """Not an Exception: nothing on the way up may take it for a fault of the network."""


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise _TooLongError

    # Processor time: on a busy machine the clock says little of the network.
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def read(reference: str, device: str, tables: Path | None) -> KnownNetwork:
    """Build a network on a device of torch, and read it."""
    package, _, name = reference.partition(":")
    if package == "ncnn":
        return _ncnn_network(reference)
    with torch.device(device):
        if package == "kernelbench":
            if tables is None:
                raise InputError("its sizes are in a table; name the FOLDER")
            problem, _, suite = name.partition("@")
            made = Built(*kernelbench_network(problem, suite, tables))
        else:
            made = built(reference)
    made.module.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = torch_graph(made.module, made.example)
    parameters = sum(weight.numel() for weight in made.module.parameters())
    return KnownNetwork(reference, made.family, parameters, graph)


def read_anyhow(reference: str, tables: Path | None) -> KnownNetwork:
    """Build a network, without memory for weights if it does not need their values."""
    try:
        return read(reference, "meta", tables)
    except Exception:
        return read(reference, "cpu", tables)


def _ncnn_network(reference: str) -> KnownNetwork:
    """Read the file of ncnn's benchmark that lists the layers of a network."""
    name = reference.partition(":")[2]
    models = (local_mirror() or Path()) / "Tencent" / "ncnn"
    files = sorted(models.glob(f"*/benchmark/models/{name}.param"))
    if not files:
        raise InputError(f"{models} holds no benchmark/models/{name}.param; set NASPLUG_MIRROR")
    table = shipped_measurements()
    row = int(np.argmax(table.where("graph", [reference])))
    sizes = table.values["input"][table.codes["input"][row]]
    graph = ncnn_graph(files[-1], [int(size) for size in sizes.split("x")])
    parameters = int(graph.total("params"))
    return KnownNetwork(reference, name.removesuffix("_int8"), parameters, graph)


def folder() -> Path:
    return cache_dir() / "network-graphs"


def paths(reference: str) -> tuple[Path, Path]:
    """Files of a network's graph, and of the reason why it has none."""
    name = quote(reference, safe="")
    return folder() / f"{name}.npz", folder() / f"{name}.txt"


def versions() -> str:
    found = []
    for package in ("timm", "torchvision", "pytorchcv", "transformers", "ultralytics", "torch"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def build_all(references: Sequence[str], seconds: float, tables: Path | None = None) -> None:
    made_with = versions()
    for k, reference in enumerate(references):
        good, bad = paths(reference)
        started = time.perf_counter()
        try:
            with _at_most(seconds):
                network = read_anyhow(reference, tables)
            write_network_graphs(good, [network], made_with)
        except _TooLongError:
            outcome = f"takes more than {seconds:g} s of processor time"
            write_text(bad, outcome)
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
            write_text(bad, outcome)
        else:
            bad.unlink(missing_ok=True)
            outcome = f"{len(network.graph)} nodes"
        print(
            f"{time.strftime('%H:%M:%S')} {k + 1}/{len(references)} {reference} "
            f"{time.perf_counter() - started:.1f} s: {outcome[:300]}",
            flush=True,
        )


def pack_all(folder_of_tables: Path | None) -> tuple[list[KnownNetwork], dict[str, Any]]:
    """Put all graphs that were built into the package's file, but those of other networks.

    Returns:
        The networks, and how they agree with what sources state.
    """
    references = set(wanted())
    stated = stated_costs(folder_of_tables)
    networks, made_with, comparisons = [], set(), {}
    for path in sorted(folder().glob("*.npz")):
        part = read_network_graphs(path)
        network = part.known(part.references[0])
        made_with |= set(part.made_with.split(", "))
        if network.reference in references:
            networks.append(network)
            comparisons[network.reference] = compared(network, stated.get(network.reference, []))
    others = {
        reference: comparison
        for reference, comparison in comparisons.items()
        if comparison and not comparison["agrees"] and not comparison["explained"]
    }
    networks = [network for network in networks if network.reference not in others]
    write_network_graphs(SHIPPED, networks, ", ".join(sorted(made_with)))
    return networks, _agreement(comparisons, others)


def _agreement(
    comparisons: dict[str, dict[str, Any]], others: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    by_package: dict[str, Counter[str]] = defaultdict(Counter)
    explained: dict[str, dict[str, Any]] = {}
    for reference, comparison in comparisons.items():
        outcome = "nothing is stated"
        if comparison:
            outcome = "left out" if reference in others else "explained"
            outcome = "agrees" if comparison["agrees"] else outcome
        by_package[reference.partition(":")[0]][outcome] += 1
        if outcome == "explained":
            group = explained.setdefault(comparison["explained"], {"networks": [], "largest": 0.0})
            group["networks"].append(reference)
            largest = max(abs(comparison["macs"]), abs(comparison["parameters"]))
            group["largest"] = max(group["largest"], largest)
    return {
        "agrees_up_to": AGREES,
        "packages": {package: dict(counts) for package, counts in by_package.items()},
        "explained": explained,
        "left_out": others,
    }


def coverage() -> dict[str, dict[str, Any]]:
    """For each source: rows and networks, those with a graph, and networks that most rows lack."""
    table = shipped_measurements()
    references = table.values["graph"]
    is_known = np.array([bool(name) and has_graph(name) for name in references])
    result = {}
    for k, source in enumerate(table.values["source"]):
        rows = table.take(table.codes["source"] == k)
        graph, network = rows.codes["graph"], rows.codes["network"]
        lacks = Counter(
            table.values["network"][code] for code in network[~is_known[graph]].tolist()
        )
        distinct = np.unique(np.stack([graph, network]), axis=1)
        result[source] = {
            "rows": len(rows),
            "rows_with_graph": int(is_known[graph].sum()),
            "networks": distinct.shape[1],
            "networks_with_graph": int(is_known[distinct[0]].sum()),
            "lacks": dict(lacks.most_common(MOST_NAMED)),
        }
    return result


def main() -> None:
    parser = Options(__doc__)
    parser.add_argument("tables", nargs="?", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--seconds", type=float, default=120, help="of the processor, for one network"
    )
    parser.add_argument("--only", default="", help="regular expression on the reference")
    parser.add_argument("--again", action="store_true", help="try those that failed once more")
    parser.add_argument("--pack", action="store_true", help="build nothing")
    options = parser.parse_args()
    # A trace makes many small objects, and what was imported never goes.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    torch.fx.config.do_not_emit_stack_traces = True
    if not options.pack:
        logging.disable(logging.WARNING)
        left = []
        for reference in wanted():
            good, bad = paths(reference)
            is_open = not good.exists() and (options.again or not bad.exists())
            if is_open and re.search(options.only, reference):
                left.append(reference)
        print(f"{folder()}: {len(left)} networks are left to build", file=sys.stderr)
        build_all(left, options.seconds, options.tables)
    networks, agreement = pack_all(options.tables)
    nodes = [len(network.graph) for network in networks]
    reasons = {reference: paths(reference)[1] for reference in wanted()}
    packages = Counter(network.reference.partition(":")[0] for network in networks)
    write_result(
        "network_graphs",
        "timm-latency",
        made_with=shipped_network_graphs().made_with,
        networks=len(networks),
        packages=dict(packages),
        bytes=SHIPPED.stat().st_size,
        nodes=np.quantile(nodes, [0, 0.25, 0.5, 0.75, 1]).tolist(),
        agreement=agreement,
        coverage=coverage(),
        failed={
            reference: path.read_text(encoding="utf-8")[:200]
            for reference, path in reasons.items()
            if path.exists()
        },
    )


if __name__ == "__main__":
    main()
