"""The published measurements that are nearest to a network in a setting."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.datasets.measurements import (
    MeasurementTable,
    measurement_sources,
    network_measurements,
)
from nasplug.datasets.network_graphs import shipped_network_graphs
from nasplug.measurements.networks import plain_name
from nasplug.measurements.settings import NOT_TAUGHT, setting_of
from nasplug.predictors.features.devices import compute_class
from nasplug.predictors.features.roofline import peak_rates
from nasplug.predictors.features.settings import Setting
from nasplug.search_spaces.graph import ATTRIBUTES, Graph

__all__ = ["NearMeasurement", "nearest_measurements", "rows_of_networks"]

# Distance up to which two graphs are one network: exporters differ in what they fold.
SAME = 0.08
# Distance beyond which a network tells nothing of another one: costs of a factor e.
FARTHEST = 1.0
# Factor in the multiply-accumulates of a whole batch beyond which a measurement tells nothing.
MOST_WORK = 3.0
# How far apart settings are: another runtime, precision or processor; another microarchitecture
# or maker; a doubling of the batch.
OTHER_RUNTIME, OTHER_PRECISION, OTHER_THREADS = 1.0, 0.8, 0.3
OTHER_ARCHITECTURE, OTHER_VENDOR, DOUBLING = 0.3, 0.3, 0.15
# A factor e in the costs of networks counts as so much.
NETWORK = 2.0
_MODES = ("inference", "request")


@dataclass(frozen=True)
class NearMeasurement:
    """A published measurement.

    Attributes:
        network: Name of the network, without its package.
        reference: Reference of its graph, such as `"timm:resnet50@224"`.
        setting: What it was measured on, and how it was run.
        version: Version of the runtime, as far as stated.
        latency_ms: Milliseconds a batch.
        source: Repository and commit, as owner/name@commit.
        licence: Licence of the source.
        same_network: Whether the graph is that of the network that was asked for.
        same_setting: Whether device, runtime, precision and batch are those that were asked for.
    """

    network: str
    reference: str
    setting: Setting
    version: str
    latency_ms: float
    source: str
    licence: str
    same_network: bool
    same_setting: bool

    @property
    def sentence(self) -> str:
        """Network, way, batch, time, device and source in one line."""
        setting = self.setting
        unit = f" ({setting.unit})" if setting.unit else ""
        words = " ".join(filter(None, (setting.precision, setting.runtime)))
        threads = f", threads {setting.threads}" if setting.threads else ""
        return (
            f"measured: {self.network} {words} batch {setting.batch_size}{threads}: "
            f"{self.latency_ms:.4g} ms on {setting.hardware.name}{unit}, {self.source}"
        )

    def to_json(self) -> dict[str, Any]:
        """The measurement as a dictionary for `json.dumps`."""
        setting = self.setting
        return {
            "network": self.network,
            "graph": self.reference,
            "hardware": setting.hardware.name,
            "unit": setting.unit,
            "threads": setting.threads,
            "runtime": setting.runtime,
            "version": self.version,
            "precision": setting.precision,
            "batch_size": setting.batch_size,
            "latency_ms": self.latency_ms,
            "source": self.source,
            "licence": self.licence,
            "same_network": self.same_network,
            "same_setting": self.same_setting,
        }


def rows_of_networks(table: MeasurementTable, references: Collection[str]) -> NDArray[np.bool_]:
    """Whether each row is of a network of `references` on a device, and says something of it."""
    flags = set(NOT_TAUGHT) | {"noisy"}
    bad = [text for text in table.values["quality"] if flags & set(text.split(", "))]
    return (
        table.where("kind", ["network"])
        & table.where("graph", set(references))
        & table.where("mode", _MODES)
        & ~table.where("device", [""])
        & ~table.where("quality", bad)
        & ~table.where("precision", ["fp64"])
        & (table.numbers["batch"] > 0)
    )


def nearest_measurements(graph: Graph, setting: Setting, most: int = 3) -> list[NearMeasurement]:
    """Find the published measurements that are nearest to a network in a setting.

    Near are networks of similar costs and kinds of operators, and devices of the same
    microarchitecture and similar figures; the same runtime and precision come first. None is near
    beyond a factor of `MOST_WORK` in the multiply-accumulates of the whole batch.

    Args:
        graph: The network for one item, with the bytes of float32.
        setting: Device, batch and way to run networks, in words as the table has them.
        most: Measurements at most, each of another network or device.

    Returns:
        The nearest first; a measurement of this very network in this very setting before all.

    Example:
        >>> import nasplug
        >>> from nasplug.datasets.network_graphs import shipped_network_graphs
        >>> from nasplug.predictors.features.settings import Setting
        >>> graph = shipped_network_graphs().graph("timm:resnet50@224")
        >>> setting = Setting(nasplug.hardware("RTX 3090"), 256, "eager nhwc", "fp16")
        >>> near = nearest_measurements(graph, setting)[0]
        >>> near.same_network, near.setting.hardware.name
        (True, 'RTX 4090')
    """
    known = _known()
    of_reference = _network_distances(graph)
    of_setting = known.described.distances(setting)
    of_reference = np.where(of_reference <= FARTHEST, of_reference, np.inf)
    scores = NETWORK * of_reference[known.reference] + of_setting[known.setting]
    work = _totals()[0][known.reference, 0] + np.log(2) * known.described.batches[known.setting]
    asked = np.log(max(graph.total("flops"), 1.0) * setting.batch_size)
    scores[np.abs(work - asked) > np.log(MOST_WORK)] = np.inf
    # A network that was measured beside this very device counts more than a like one elsewhere.
    order = np.lexsort((known.table.numbers["latency_ms"], scores))
    found: list[NearMeasurement] = []
    seen: set[tuple[str, str]] = set()
    sources = measurement_sources()
    for row in order.tolist():
        if len(found) == most or not np.isfinite(scores[row]):
            break
        other = known.settings[known.setting[row]]
        reference = known.references[known.reference[row]]
        name = plain_name(reference)
        key = (name, other.hardware.name)
        if key in seen:
            continue
        seen.add(key)
        texts = {n: known.table.values[n][known.table.codes[n][row]] for n in ("source", "version")}
        found.append(
            NearMeasurement(
                name,
                reference,
                other,
                texts["version"],
                float(f"{known.table.numbers['latency_ms'][row]:.4g}"),
                texts["source"],
                sources[texts["source"]].licence,
                bool(of_reference[known.reference[row]] <= SAME),
                bool(of_setting[known.setting[row]] == 0),
            )
        )
    return sorted(found, key=lambda near: not (near.same_network and near.same_setting))


@dataclass(frozen=True, eq=False)
class _Known:
    """Measurements with the positions of their references and settings, `(rows,)` each."""

    table: MeasurementTable
    references: tuple[str, ...]
    reference: NDArray[np.int64]
    settings: tuple[Setting, ...]
    setting: NDArray[np.int64]
    described: _Settings


@cache
def _known() -> _Known:
    table = network_measurements()
    names = ("hardware", "device", "unit", "cores", "runtime", "precision")
    columns = [table.codes[name] for name in names]
    columns += [table.numbers["threads"], table.numbers["batch"]]
    distinct, which = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    settings = []
    for line in distinct.tolist():
        texts = {n: table.values[n][code] for n, code in zip(names, line, strict=False)}
        settings.append(setting_of({**texts, "threads": line[-2], "batch": line[-1]}))
    has = np.array([setting is not None for setting in settings])
    places = np.cumsum(has) - 1
    rows = np.flatnonzero(has[which])
    described = tuple(setting for setting in settings if setting is not None)
    return _Known(
        table.take(rows),
        table.values["graph"],
        table.codes["graph"][rows].astype(np.int64),
        described,
        places[which[rows]],
        _Settings(described),
    )


class _Settings:
    """Settings in numbers and words, `(settings,)` each."""

    def __init__(self, settings: Sequence[Setting]) -> None:
        parts = [setting.processor for setting in settings]
        self.batches = np.log2([setting.batch_size for setting in settings])
        self.classes = np.array([compute_class(part) for part in parts])
        self.names = np.array([setting.hardware.name for setting in settings])
        self.architectures = np.array([part.microarchitecture for part in parts])
        self.vendors = np.array([part.vendor for part in parts])
        self.runtimes = np.array([setting.runtime for setting in settings])
        self.precisions = np.array([setting.precision for setting in settings])
        self.units = np.array([setting.unit for setting in settings])
        self.threads = np.array([setting.threads for setting in settings])
        self.rates = {
            half: np.log([peak_rates(part, half) for part in parts]) for half in (False, True)
        }

    def distances(self, asked: Setting) -> NDArray[np.float64]:
        """Distances from a setting; infinite for processors of other kinds."""
        part = asked.processor
        half = asked.precision not in ("", "fp32", "tf32")
        # What was not asked for is the usual processor, with any number of threads.
        other_part = (self.units != asked.unit) & (asked.unit != "")
        other_part |= (self.threads != asked.threads) & (asked.threads != 0)
        apart = np.abs(self.rates[half] - np.log(peak_rates(part, half))).mean(1)
        apart = apart + OTHER_ARCHITECTURE * (self.architectures != part.microarchitecture)
        apart = apart + OTHER_VENDOR * (self.vendors != part.vendor)
        is_same = self.names == asked.hardware.name
        result: NDArray[np.float64] = np.where(is_same, OTHER_THREADS * other_part, apart)
        result = result + DOUBLING * np.abs(self.batches - np.log2(asked.batch_size))
        result = result + OTHER_RUNTIME * (self.runtimes != asked.runtime)
        result = result + OTHER_PRECISION * (self.precisions != asked.precision)
        return np.where(self.classes == compute_class(part), result, np.inf)


def _is_conv(table: Mapping[str, Any]) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = table["op"] == "Conv"
    return result


def _depthwise(table: Mapping[str, Any]) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = _is_conv(table) & (table["groups"] > 1)
    return result


def _pointwise(table: Mapping[str, Any]) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = _is_conv(table) & (table["groups"] <= 1) & (table["kernel"] <= 1)
    return result


# What networks are compared by: total costs, and FLOPs and numbers of operators of some kinds.
_COSTS: dict[str, Callable[[Mapping[str, Any]], NDArray[Any]]] = {
    "flops": lambda table: table["flops"],
    "params": lambda table: table["params"],
    "bytes": lambda table: table["bytes"],
}
_KINDS: dict[str, Callable[[Mapping[str, Any]], NDArray[Any]]] = {
    "grouped": lambda table: table["flops"] * _depthwise(table),
    "pointwise": lambda table: table["flops"] * _pointwise(table),
    "dense": lambda table: (
        table["flops"] * (_is_conv(table) & ~_depthwise(table) & ~_pointwise(table))
    ),
}


@cache
def _totals() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logarithms of costs `(references, 3)`, and shares of kinds `(references, 3)`."""
    graphs = shipped_network_graphs()
    totals = graphs.totals(_COSTS | _KINDS)
    places = {name: k for k, name in enumerate(graphs.references)}
    rows = [places[name] for name in _known().references]
    costs = np.stack([totals[name][rows] for name in _COSTS], axis=1)
    kinds = np.stack([totals[name][rows] for name in _KINDS], axis=1)
    return np.log(np.maximum(costs, 1.0)), kinds / np.maximum(costs[:, :1], 1.0)


def _network_distances(graph: Graph) -> NDArray[np.float64]:
    """Distances of a network from the references, `(references,)`."""
    table = {name: graph.attribute(name) for name in ATTRIBUTES}
    table["op"] = np.array(graph.ops, dtype=object)
    costs = np.array([add(table).sum() for add in _COSTS.values()])
    kinds = np.array([add(table).sum() for add in _KINDS.values()]) / max(costs[0], 1.0)
    known_costs, known_kinds = _totals()
    apart = np.sqrt(((known_costs - np.log(np.maximum(costs, 1.0))) ** 2).mean(1))
    result: NDArray[np.float64] = apart + np.abs(known_kinds - kinds).sum(1)
    return result
