"""Check that predicted latencies of whole networks are consistent with each other.

    python -m experiments.latency.sanity [--threads 1] [--devices 40] [--networks 60]

On devices of all kinds, each in the ways that networks are run there, and networks that packages
build: time grows with the batch, with the width of the layers and with the side of the images; a
device that has more of everything is not slower; half precision and int8 are not slower where the
hardware has them; a batch size that was measured is no jump; kernels take no longer than the whole.
A violation is an answer that is wrong by more than a thousandth. Writes results/sanity.json.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from experiments.campaign import Options
from experiments.common import Array, provenance, write_result
from nasplug.datasets.network_graphs import shipped_network_graphs
from nasplug.devices.catalogue import catalogue
from nasplug.predicting.own_network import priced
from nasplug.predicting.zoo import load_predictor
from nasplug.predictors.features.runtimes import Way, exists
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.hardware import Hardware, Processor
from nasplug.search_spaces import Graph
from nasplug.search_spaces.costs import FLOAT_BYTES
from nasplug.search_spaces.graph import ATTRIBUTES

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
WIDTHS = (1.0, 1.25, 1.5, 2.0)
SIDES = (1.0, 1.25, 1.5, 2.0)
SLACK, LARGE = 1e-3, 0.05
MORE = 1.2
# Largest number of nodes of a network, so that a run takes minutes.
LARGEST = 700
# The ways that are tried on a device, as far as they exist there.
WAYS = (
    *(Way(), Way("", "fp16"), Way("compiled", "fp16"), Way("tensorrt"), Way("tensorrt", "fp16")),
    *(Way("tensorrt", "int8"), Way("onnxruntime"), Way("onnxruntime", "int8"), Way("tflite")),
    *(Way("tflite", "int8"), Way("tflite", "fp16", "gpu"), Way("qnn", "int8", "npu")),
)
_WEIGHTED = ("Conv", "Gemm", "MatMul", "ConvTranspose")


def devices(count: int) -> list[Hardware]:
    """Devices of the catalogue, evenly over its kinds."""
    kinds: dict[str, list[Hardware]] = {}
    for device in catalogue():
        kinds.setdefault(device.kind, []).append(device)
    rng = np.random.default_rng(0)
    for group in kinds.values():
        rng.shuffle(group)  # type: ignore[arg-type]
    found: list[Hardware] = []
    while len(found) < count and any(kinds.values()):
        found += [group.pop() for group in kinds.values() if group]
    return found[:count]


def networks(count: int) -> list[Graph]:
    """Networks that packages build, of all families."""
    graphs = shipped_network_graphs()
    order = np.random.default_rng(0).permutation(len(graphs.references))
    found, families = [], set()
    for k in order:
        if graphs.families[k] in families:
            continue
        graph = graphs.graph(graphs.references[k])
        if len(graph) <= LARGEST:
            families.add(graphs.families[k])
            found.append(priced(graph))
        if len(found) == count:
            break
    return found


def ways(device: Hardware) -> list[Way]:
    """The ways that exist on a device."""
    return [way for way in WAYS if exists(device, way)]


def wider(graph: Graph, factor: float) -> Graph:
    """The network with more channels in all layers."""
    table = {name: graph.attribute(name).copy() for name in ATTRIBUTES}
    is_weighted = np.array([op in _WEIGHTED for op in graph.ops])
    is_grouped = table["groups"] > 1
    has_weights = is_weighted & (table["params"] > 0)
    from_image = np.zeros(len(graph), dtype=bool)
    for source, target in graph.edges:
        from_image[target] |= graph.ops[source] == "Input"
    squared = has_weights & ~is_grouped & ~from_image
    weights = FLOAT_BYTES * table["params"]
    activations = np.maximum(table["bytes"] - weights, 0)
    is_input = np.array([op == "Input" for op in graph.ops])
    by = np.where(squared, factor**2, np.where(is_input, 1.0, factor))
    for name in ("flops", "params"):
        table[name] *= by
    for name in ("in_channels", "out_channels", "groups"):
        scale = np.where(is_grouped, factor, 1.0) if name == "groups" else factor
        fixed = is_input | (from_image & (name == "in_channels"))
        table[name] = np.where(fixed, table[name], np.round(table[name] * scale))
    table["bytes"] = activations * np.where(is_input, 1.0, factor) + FLOAT_BYTES * table["params"]
    return _with(graph, table)


def larger(graph: Graph, factor: float) -> Graph:
    """The network of larger images: all sides that are more than one pixel grow."""
    table = {name: graph.attribute(name).copy() for name in ATTRIBUTES}
    is_area = (table["height"] > 1) & (table["width"] > 1)
    weights = FLOAT_BYTES * table["params"]
    activations = np.maximum(table["bytes"] - weights, 0)
    scale = np.where(is_area, factor**2, 1.0)
    table["flops"] *= scale
    table["bytes"] = activations * scale + weights
    for name in ("height", "width"):
        table[name] = np.where(is_area, np.round(table[name] * factor), table[name])
    return _with(graph, table)


def _with(graph: Graph, table: dict[str, Array]) -> Graph:
    return Graph(graph.ops, graph.edges, np.stack([table[name] for name in ATTRIBUTES], axis=1))


def stronger(device: Hardware) -> Hardware:
    """The device with more of every figure of its data sheet."""

    def peaks(part: Hardware | Processor) -> dict[str, float]:
        return {name: MORE * value for name, value in part.peak_tflops.items()}

    parts = tuple(
        replace(
            part,
            peak_tflops=peaks(part),
            clock_ghz=MORE * part.clock_ghz,
            on_chip_memory_mb=MORE * part.on_chip_memory_mb,
        )
        for part in device.processors
    )
    return replace(
        device,
        name=f"{device.name} and more",
        peak_tflops=peaks(device),
        memory_bandwidth_gbs=MORE * device.memory_bandwidth_gbs,
        on_chip_memory_mb=MORE * device.on_chip_memory_mb,
        power_w=MORE * device.power_w,
        clock_ghz=MORE * device.clock_ghz,
        processors=parts,
    )


class Counts:
    """Comparisons of a check, and those that are wrong."""

    def __init__(self) -> None:
        self.checked = self.wrong = self.large = 0
        self.worst = 0.0
        self.where = ""

    def rises(self, logs: Array, where: str) -> None:
        """Count the falls along the last axis."""
        self.falls(-np.diff(logs, axis=-1), where)

    def falls(self, excess: Array, where: str) -> None:
        """Count what is above zero."""
        values = np.asarray(excess).ravel()
        self.checked += values.size
        self.wrong += int((values > SLACK).sum())
        self.large += int((values > LARGE).sum())
        if values.size and values.max() > self.worst:
            self.worst, self.where = float(values.max()), where

    def row(self) -> dict[str, Any]:
        """The counts as a row of the results."""
        return {
            "checked": self.checked,
            "wrong_percent": 100 * self.wrong / max(self.checked, 1),
            "beyond_5_percent": self.large,
            "worst_percent": 100 * float(np.expm1(self.worst)),
            "worst_where": self.where if self.worst > SLACK else "",
        }


def check(
    model: Any, chosen: Sequence[Hardware], graphs: Sequence[Graph], progress: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """All checks by a latency predictor; a row each."""
    names = ("batch", "width", "side", "stronger device", "precision", "measured", "kernels")
    counts = {name: Counts() for name in names}
    by_width = [[wider(graph, factor) for factor in WIDTHS] for graph in graphs]
    by_side = [[larger(graph, factor) for factor in SIDES] for graph in graphs]
    flat = [graph for each in (*by_width, *by_side) for graph in each]
    for device in chosen:
        progress(device.name)
        for way in ways(device):
            where = f"{device.name} {way.text}".strip()
            columns = [Setting.of(device, size, way) for size in BATCHES]
            logs = model.log_latency(graphs, columns)
            counts["batch"].rises(logs, where)
            changed = model.log_latency(flat, [Setting.of(device, 8, way)])[:, 0]
            widths, sides = np.split(changed, [len(graphs) * len(WIDTHS)])
            counts["width"].rises(widths.reshape(len(graphs), -1), where)
            counts["side"].rises(sides.reshape(len(graphs), -1), where)
            own = [logs[:, BATCHES.index(size)] for size in (1, 64)]
            for size, usual in zip((1, 64), own, strict=True):
                more = model.log_latency(graphs, [Setting.of(stronger(device), size, way)])[:, 0]
                counts["stronger device"].falls(more - usual, where)
            _precisions(model, device, way, graphs, own[0], counts["precision"])
            for graph in graphs[:3]:
                parts = model.explain(graph, device, 8, way.text or None)
                whole = parts.ms.sum() + parts.rest_ms
                counts["kernels"].falls(np.array(parts.ms.sum() / whole - 1), where)
    _measured(model, graphs, counts["measured"])
    return {name: count.row() for name, count in counts.items()}


def _precisions(
    model: Any, device: Hardware, way: Way, graphs: Sequence[Graph], logs: Array, count: Counts
) -> None:
    """Fewer bits are not slower, where the hardware is faster in them."""
    for narrow, wide in (("fp16", "fp32"), ("int8", "fp16")):
        if (way.precision or "fp32") != narrow or way.runtime == "":
            continue
        other = replace(way, precision=wide)
        peaks = Setting.of(device, 1, way).processor.peak_tflops
        if exists(device, other) and peaks.get(narrow, 0) > peaks.get(wide, peaks["fp32"]):
            slower = model.log_latency(graphs, [Setting.of(device, 1, other)])[:, 0]
            count.falls(logs - slower, f"{device.name} {way.text}")


def _measured(model: Any, graphs: Sequence[Graph], count: Counts) -> None:
    """A measured batch size lies between its neighbours, but for the growth between them."""
    for setting in model._columns.settings:
        size = setting.batch_size
        if size < 8:
            continue
        near = [replace(setting, batch_size=n) for n in (size - 1, size, size + 1)]
        below, at, above = model.log_latency(graphs, near).T
        slope = np.maximum(above - below, np.log((size + 1) / (size - 1)))
        count.falls(np.abs(at - (below + above) / 2) - slope / 2, setting.key)


def main() -> None:
    parser = Options(__doc__)
    parser.add_argument("--devices", type=int, default=40)
    parser.add_argument("--networks", type=int, default=60)
    options = parser.parse_args()
    model = load_predictor("network-latency", "torch").model
    chosen, graphs = devices(options.devices), networks(options.networks)
    rows = check(model, chosen, graphs, lambda name: print(name, flush=True))
    write_result(
        "sanity",
        devices=[device.name for device in chosen],
        networks=len(graphs),
        checks=rows,
        provenance=provenance(),
    )


if __name__ == "__main__":
    main()
