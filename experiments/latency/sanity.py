"""Check that predicted latencies of whole networks are consistent with each other.

    python -m experiments.latency.sanity [--threads 1] [--devices 40] [--networks 60] [--fresh]

On devices of all kinds, each in the ways that networks are run there, and networks that packages
build: time grows with the batch, with the width of the layers and with the side of the images; a
device that has more of everything is not slower; half precision and int8 are not slower where the
hardware has them; a batch size that was measured is no jump; kernels take no longer than the whole.
A violation is an answer that is wrong by more than a thousandth. Writes results/sanity.json;
finished devices are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from experiments.campaign import Campaign, Options
from experiments.common import Array
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
DEVICE_CHECKS = ("batch", "width", "side", "stronger device", "precision", "kernels")
# Name of the row on measured columns of all devices.
MEASURED = "measured columns"
# Channels that units for matrices take at once.
_EIGHT = 8
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
    """The network with more channels in all layers.

    Channels that are multiples of eight stay so, as designers have it: others are slower on units
    for matrices, and the next multiple may truly take less time.
    """
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
    # Groups stay as wide as they were.
    groups = np.where(is_grouped, _scaled(table["groups"], factor), table["groups"])
    for name in ("in_channels", "out_channels"):
        fixed = is_input | (from_image & (name == "in_channels"))
        of_groups = table[name] / np.maximum(table["groups"], 1) * groups
        scaled = np.where(is_grouped, of_groups, _scaled(table[name], factor))
        table[name] = np.where(fixed, table[name], scaled)
    table["groups"] = groups
    table["bytes"] = activations * np.where(is_input, 1.0, factor) + FLOAT_BYTES * table["params"]
    return _with(graph, table)


def _scaled(counts: Array, factor: float) -> Array:
    """Channels times a factor, in multiples of eight where they were so."""
    step = np.where(counts % _EIGHT == 0, _EIGHT, 1.0)
    result: Array = step * np.round(counts * factor / step)
    return result


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

    def __init__(self, row: Mapping[str, Any] | None = None) -> None:
        """Begin with the counts of a `row`, or with none."""
        row = row or {}
        self.checked, self.wrong, self.large = (
            row.get(k, 0) for k in ("checked", "wrong", "large")
        )
        self.worst: float = row.get("worst", 0.0)
        self.where: str = row.get("where", "")

    def rises(self, logs: Array, where: str) -> None:
        """Count the falls along the last axis."""
        self.falls(-np.diff(logs, axis=-1), where)

    def falls(self, excess: Array, where: str) -> None:
        """Count what is above zero."""
        values = np.asarray(excess).ravel()
        wrong, large = int((values > SLACK).sum()), int((values > LARGE).sum())
        worst = float(values.max()) if values.size else 0.0
        self.add(
            Counts(dict(checked=values.size, wrong=wrong, large=large, worst=worst, where=where))
        )

    def add(self, other: Counts) -> None:
        """Add the counts of some other comparisons."""
        self.checked += other.checked
        self.wrong += other.wrong
        self.large += other.large
        if other.worst > self.worst:
            self.worst, self.where = other.worst, other.where

    def stored(self) -> dict[str, Any]:
        """The counts as they are."""
        return vars(self)

    def row(self) -> dict[str, Any]:
        """The counts as a row of the results."""
        return {
            "checked": self.checked,
            "wrong_percent": 100 * self.wrong / max(self.checked, 1),
            "beyond_5_percent": self.large,
            "worst_percent": 100 * float(np.expm1(self.worst)),
            "worst_where": self.where if self.worst > SLACK else "",
        }


@dataclass(frozen=True)
class Networks:
    """Networks that are checked, in several widths and sides."""

    graphs: Sequence[Graph]

    @cached_property
    def changed(self) -> list[Graph]:
        """All networks in all widths, then in all sides."""
        by_width = [wider(graph, factor) for graph in self.graphs for factor in WIDTHS]
        return by_width + [larger(graph, factor) for graph in self.graphs for factor in SIDES]


def check(model: Any, device: Hardware, networks: Networks) -> dict[str, Counts]:
    """Checks of a latency predictor on a device, each network read once for all ways to run it."""
    counts = {name: Counts() for name in DEVICE_CHECKS}
    graphs, own = networks.graphs, ways(device)
    columns = [Setting.of(device, size, way) for way in own for size in BATCHES]
    wide = {way: other for way in own if (other := _wider(device, way))}
    columns += [Setting.of(device, 1, other) for other in wide.values()]
    logs = model.log_latency(graphs, columns)
    by_way = logs[:, : len(own) * len(BATCHES)].reshape(len(graphs), len(own), len(BATCHES))
    slower = dict(zip(wide, logs[:, len(own) * len(BATCHES) :].T, strict=True))
    changed = model.log_latency(networks.changed, [Setting.of(device, 8, way) for way in own])
    widths, sides = np.split(changed, [len(graphs) * len(WIDTHS)])
    more = [Setting.of(stronger(device), size, way) for way in own for size in (1, 64)]
    faster = model.log_latency(graphs, more).reshape(len(graphs), len(own), 2)
    for k, way in enumerate(own):
        where = f"{device.name} {way.text}".strip()
        counts["batch"].rises(by_way[:, k], where)
        counts["width"].rises(widths[:, k].reshape(len(graphs), -1), where)
        counts["side"].rises(sides[:, k].reshape(len(graphs), -1), where)
        usual = by_way[:, k][:, [BATCHES.index(1), BATCHES.index(64)]]
        counts["stronger device"].falls(faster[:, k] - usual, where)
        if way in slower:
            counts["precision"].falls(by_way[:, k, 0] - slower[way], where)
        for graph in graphs[:3]:
            parts = model.explain(graph, device, 8, way.text or None)
            whole = parts.ms.sum() + parts.rest_ms
            counts["kernels"].falls(np.array(parts.ms.sum() / whole - 1), where)
    return counts


def _wider(device: Hardware, way: Way) -> Way | None:
    """The way in the next wider precision, where the hardware is slower in it."""
    wide = {"fp16": "fp32", "int8": "fp16"}.get(way.precision)
    if wide is None or way.runtime == "":
        return None
    other = replace(way, precision=wide)
    peaks = Setting.of(device, 1, way).processor.peak_tflops
    is_faster = peaks.get(way.precision, 0) > peaks.get(wide, peaks["fp32"])
    return other if is_faster and exists(device, other) else None


def check_measured(model: Any, graphs: Sequence[Graph]) -> Counts:
    """A measured batch size lies between its neighbours, but for the growth between them."""
    count = Counts()
    for setting in model._columns.settings:
        size = setting.batch_size
        if size < 8:
            continue
        near = [replace(setting, batch_size=n) for n in (size - 1, size, size + 1)]
        below, at, above = model.log_latency(graphs, near).T
        slope = np.maximum(above - below, np.log((size + 1) / (size - 1)))
        count.falls(np.abs(at - (below + above) / 2) - slope / 2, setting.key)
    return count


def main() -> None:
    parser = Options(__doc__, fresh=True)
    parser.add_argument("--devices", type=int, default=40)
    parser.add_argument("--networks", type=int, default=60)
    options = parser.parse_args()
    model = load_predictor("network-latency", "torch").model
    chosen = {device.name: device for device in devices(options.devices)}
    read = Networks(networks(options.networks))
    campaign = Campaign(
        "sanity", ("device",), same=("networks",), fresh=options.fresh, networks=len(read.graphs)
    )

    def counted(name: str) -> dict[str, Any]:
        if name == MEASURED:
            return {"checks": {"measured": check_measured(model, read.graphs).stored()}}
        counts = check(model, chosen[name], read)
        return {"checks": {key: count.stored() for key, count in counts.items()}}

    campaign.complete(((name,) for name in (*chosen, MEASURED)), counted)
    totals = {name: Counts() for name in (*DEVICE_CHECKS, "measured")}
    for row in campaign.rows:
        for name, stored in row["checks"].items():
            totals[name].add(Counts(stored))
    checks = {name: count.row() for name, count in totals.items()}
    campaign.add(*campaign.rows, devices=list(chosen), checks=checks)


if __name__ == "__main__":
    main()
