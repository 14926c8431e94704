"""Latency of whole networks on any device by models of classes: GPUs, CPUs, and other processors.

Each model learned from measurements of all devices of its class (`fused_roofline` and its like). A
device that was measured departs from its class; what is known of that at one batch size, runtime
and precision is carried to others, the less the further they are away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.checkpoint import joined
from nasplug.predictors.features.devices import compute_class, features_text
from nasplug.predictors.features.roofline import peak_rates
from nasplug.predictors.features.runtimes import EAGER, Way, computed_precision
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.fused_operators import (
    FUSIONS,
    KERNEL_COLUMNS,
    KERNEL_KINDS,
    kernels_of_nodes,
)
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph

__all__ = [
    "CLASSES",
    "Anchors",
    "ClassModel",
    "ClassModels",
    "Parts",
    "class_of",
    "told",
    "told_key",
]

CLASSES = ("gpu", "cpu", "other")
# Doublings of the batch over which what is known of a device falls to a third, what another runtime
# or precision is worth, and the share of noise in what is known.
DOUBLINGS, OTHER_WAY, NOISE = 4.0, 0.5, 1e-3
# Year that stands for one that a description leaves out.
USUAL_YEAR = 2019
# What another device of the same and of another microarchitecture is worth, and the logarithm of
# the ratio of rates over which that falls to a third.
SAME_ARCHITECTURE, OTHER_ARCHITECTURE, APART = 0.8, 0.4, 1.0
# Operations that take as long as moving a number, where kernels of a kind share their time.
_MOVED = 30.0
# Likeness that is left out: each column that counts takes its time.
LEAST = 0.05


class ModelParts(Protocol):
    """Times of the kernels of a network; see `fused_roofline.KernelTimes`."""

    @property
    def ms(self) -> Array:
        """Time of each kernel in ms, `(kernels,)`."""

    @property
    def bounds(self) -> tuple[str, ...]:
        """Limit of each kernel: `"arithmetic"`, `"traffic"` or `"launch"`."""

    @property
    def of_nodes(self) -> NDArray[np.int64]:
        """Kernel that does the work of each node of the graph, or −1; `(nodes,)`."""

    @property
    def rest(self) -> float:
        """Time of no kernel in ms."""


class ClassModel(Protocol):
    """Predicts latencies of whole networks on the processors of a class."""

    def log_latency(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
        """Natural logarithm of the latency of each network on its column in ms, `(networks,)`."""

    def parts(self, graph: Graph, column: Setting) -> Any:
        """Times of the kernels of a network, as `ModelParts`."""

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """Arrays to store."""

    def described(self) -> dict[str, Any]:
        """Entries of the card beside them."""


class Parts(NamedTuple):
    """Shares of operators in a latency.

    Attributes:
        ms: Time of each node in ms, `(nodes,)`.
        rest_ms: Time of no node.
        bounds: Limit of each node: `"compute"`, `"memory"`, `"launch"`, or `""` for a node that
            another one's kernel computes too.
    """

    ms: Array
    rest_ms: float
    bounds: tuple[str, ...] = ()


_MOBILE = frozenset({"ncnn vulkan"})
# Runtimes that compute as they are told, and precision -> the next wider one.
_AS_TOLD = frozenset({EAGER, "eager nhwc", "eager graphs"})
_WIDER = {"int8": "fp16", "fp16": "fp32", "bf16": "fp32"}
_BOUNDS = {"arithmetic": "compute", "traffic": "memory"}


def class_of(column: Setting) -> str:
    """Class of the processor that runs networks, one of `CLASSES`.

    GPUs of phones and of boards are no GPUs here, but for NVIDIA's; neither is any GPU in a runtime
    of theirs.
    """
    kind = compute_class(column.processor)
    if kind == "gpu":
        hardware = column.hardware
        is_large = hardware.kind == "gpu" or hardware.vendor.strip().lower() == "nvidia"
        return "gpu" if is_large and column.runtime not in _MOBILE else "other"
    return "cpu" if kind == "cpu" else "other"


def told(column: Setting) -> Setting:
    """The column with its runtime and precision in words, as the tables of measurements say them.

    A GPU or an NPU is described alone.
    """
    whole = replace(
        column,
        hardware=_dated(column.hardware),
        runtime=column.runtime or EAGER,
        precision=computed_precision(column.hardware, column.way),
    )
    if class_of(column) == "gpu":
        return replace(whole, hardware=whole.processor, unit="", threads=0)
    return whole


def told_key(column: Setting) -> str:
    """Device, runtime, precision and unit in words: settings that differ in batch have one key."""
    words = told(column)
    kind = compute_class(column.processor)
    # Clusters of a CPU differ.
    unit = column.unit if " " in column.unit else {"gpu": "gpu", "cpu": "cpu"}.get(kind, "npu")
    return "|".join((column.hardware.name, words.runtime, words.precision, unit))


def _dated(hardware: Hardware) -> Hardware:
    """The device with a usual year where its description has none."""
    if hardware.year:
        return hardware
    # A calibrated device has more fields than a description.
    content = {entry.name: getattr(hardware, entry.name) for entry in fields(Hardware)}
    return Hardware(**content | {"year": USUAL_YEAR})


@dataclass(frozen=True, eq=False)
class ClassModels:
    """Models of classes of processors.

    Attributes:
        models: Class -> its model.
        learned: Device and way to run networks (`told_key`) -> number of networks learned from.
    """

    models: Mapping[str, ClassModel]
    learned: Mapping[str, int] = field(default_factory=dict)

    def knows(self, column: Setting) -> bool:
        """Whether there is a model of the column's class."""
        return class_of(column) in self.models

    def explains(self, column: Setting) -> bool:
        """Whether the model of the column's class tells the times of kernels."""
        return hasattr(self.models.get(class_of(column)), "parts")

    def log_latency(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
        """Natural logarithms of latencies in ms, `(graphs, columns)`.

        An engine that may compute in few bits takes more of them where that is faster.
        """
        result = self._log_latency(graphs, columns)
        wider = {k: wide for k, column in enumerate(columns) for wide in _wider(column)}
        if wider:
            others = self.log_latency(graphs, list(wider.values()))
            result[:, list(wider)] = np.minimum(result[:, list(wider)], others)
        return result

    def _log_latency(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
        result = np.empty((len(graphs), len(columns)))
        for name in dict.fromkeys(map(class_of, columns)):
            places = [k for k, column in enumerate(columns) if class_of(column) == name]
            pairs = [(graph, k) for k in places for graph in graphs]
            words = {k: told(columns[k]) for k in places}
            logs = self.models[name].log_latency(
                [graph for graph, _ in pairs], [words[k] for _, k in pairs]
            )
            result[:, places] = logs.reshape(len(places), len(graphs)).T
        return result

    def are_known(self, graphs: Sequence[Graph], column: Setting) -> list[bool] | None:
        """Whether each network was measured on processors of the column's line.

        None where the model of the column's class does not tell.
        """
        model = self.models.get(class_of(column))
        process = getattr(model, "process", None)
        if process is None:
            return None
        known: list[bool] = process.is_known(graphs, [told(column)] * len(graphs)).tolist()
        return known

    def measured_in(self, way: Way) -> tuple[str, ...]:
        """Names of devices whose networks were learned in a runtime, precision and unit.

        A precision or a unit that is not named may be any.
        """
        wanted = (way.runtime or EAGER, way.precision, way.unit)
        keys = [key.split("|") for key in self.learned]
        return tuple(name for name, *words in keys if _agree(words, wanted))

    def parts(self, graph: Graph, column: Setting) -> Parts:
        """Share the latency of a network out among its operators.

        The time of a kernel is that of the operator in it that computes most.
        """
        found = self.models[class_of(column)].parts(graph, told(column))
        parts: ModelParts = _by_kind(graph, found) if isinstance(found, list) else found
        kernels = np.asarray(parts.of_nodes)
        work = graph.attribute("flops") + 1e-3 * graph.attribute("bytes")
        ms = np.zeros(len(graph))
        bounds = [""] * len(graph)
        first: dict[int, int] = {}
        for node in np.argsort(-work, kind="stable").tolist():
            kernel = int(kernels[node])
            if kernel >= 0 and kernel not in first:
                first[kernel] = node
        for kernel, node in first.items():
            ms[node] = parts.ms[kernel]
            bounds[node] = _BOUNDS.get(parts.bounds[kernel], parts.bounds[kernel])
        rest = max(float(parts.rest) + float(np.sum(parts.ms)) - float(ms.sum()), 0.0)
        return Parts(ms, rest, tuple(bounds))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Arrays to store; the rest belongs to the card (`described`)."""
        return joined({f"class {name}": dict(m.tensors()) for name, m in self.models.items()})

    def described(self) -> dict[str, Any]:
        """Entries of the card that describe the models."""
        return {name: model.described() for name, model in self.models.items()}

    @classmethod
    def restored(
        cls,
        tensors: Mapping[str, Mapping[str, NDArray[Any]]],
        card: Mapping[str, Any],
        learned: Mapping[str, int] | None = None,
    ) -> ClassModels:
        """Restore the models that `tensors` and `described` stored, by class."""
        models = {name: _restored(name, tensors[name], card[name]) for name in card}
        return cls(models, {str(key): int(count) for key, count in (learned or {}).items()})


def _agree(words: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether words are the wanted ones; an empty one may be any."""
    return all(not b or a == b for a, b in zip(words, wanted, strict=True))


def _wider(column: Setting) -> list[Setting]:
    """The column in the next wider precision, if an engine chooses and the processor is slower."""
    whole = told(column)
    wide = _WIDER.get(whole.precision)
    if whole.runtime in _AS_TOLD or wide is None:
        return []
    other = replace(column, precision=wide)
    if told(other).precision == whole.precision:
        # A processor without the wider one computes it in this one.
        return []
    peaks = column.processor.peak_tflops
    is_faster = peaks.get(whole.precision, 0.0) > peaks.get(wide, peaks["fp32"])
    return [other] if is_faster else []


class _Times(NamedTuple):
    """Times of kernels, as `ModelParts`."""

    ms: Array
    bounds: tuple[str, ...]
    of_nodes: NDArray[np.int64]
    rest: float


def _by_kind(graph: Graph, rows: Sequence[Mapping[str, Any]]) -> _Times:
    """Times of kernels from those of kinds of kernels, shared out by operations and bytes."""
    kernels, of_nodes = kernels_of_nodes(graph, FUSIONS[-1])
    table = dict(zip(KERNEL_COLUMNS, kernels.T, strict=True))
    work = table["macs"] + _MOVED * (table["weights"] + table["activations"])
    kinds = [KERNEL_KINDS[int(kind)] for kind in table["kind"]]
    ms, bounds, rest = np.zeros(len(kinds)), [""] * len(kinds), 0.0
    for name in dict.fromkeys(str(row["kind"]) for row in rows):
        own = [row for row in rows if row["kind"] == name]
        total = sum(float(row["ms"]) for row in own)
        places = [k for k, kind in enumerate(kinds) if kind == name]
        share = float(work[places].sum())
        if share <= 0:
            rest += total
            continue
        ms[places] = total * work[places] / share
        longest = max(own, key=lambda row: float(row["ms"]))
        for k in places:
            bounds[k] = str(longest["bound"])
    return _Times(ms, tuple(bounds), of_nodes, rest)


def _restored(
    name: str, tensors: Mapping[str, NDArray[Any]], card: Mapping[str, Any]
) -> ClassModel:
    """Restore the model of a class from what `tensors` and `described` stored."""
    from nasplug.predictors.latency.cpu_roofline import CpuRoofline
    from nasplug.predictors.latency.fused_roofline import FusedRoofline
    from nasplug.predictors.latency.npu_roofline import NpuRoofline

    kinds: dict[str, Any] = {"gpu": FusedRoofline, "cpu": CpuRoofline, "other": NpuRoofline}
    restored: ClassModel = kinds[name].restored(tensors, card)
    return restored


class Anchors:
    """Measured columns whose departures are carried to other columns.

    The weights are those of a Gaussian process over devices, the logarithm of the batch and the way
    to run networks, so that an anchor has its own departure, and what is like it nearly that.
    """

    def __init__(self, settings: Sequence[Setting]) -> None:
        """Describe measured columns."""
        self.settings = tuple(settings)
        self._described = _Described.of(self.settings)
        self._among = self._described.alike(self._described)

    def weights(self, columns: Sequence[Setting], among: NDArray[np.int64] | None = None) -> Array:
        """Weights of anchors in columns, `(columns, anchors)`; 0 for one that hardly counts.

        Args:
            columns: Settings.
            among: Positions of the anchors that are known; all if left out.
        """
        places = np.arange(len(self.settings)) if among is None else among
        across = _Described.of(columns).alike(self._described)[:, places]
        known = self._among[np.ix_(places, places)] + NOISE * np.eye(len(places))
        weights: Array = np.asarray(np.linalg.solve(known, across.T).T, dtype=np.float64)
        # A weight vanishes by and by, so that nothing jumps.
        result: Array = weights * np.clip(across / LEAST - 1, 0, 1)
        return result


class _Described(NamedTuple):
    """Columns in numbers and words, `(columns,)` each."""

    batches: Array
    words: NDArray[np.str_]
    devices: NDArray[np.str_]
    classes: NDArray[np.str_]
    architectures: NDArray[np.str_]
    rates: Array

    @classmethod
    def of(cls, columns: Sequence[Setting]) -> _Described:
        known: dict[tuple[int, str, int], tuple[str, str, str, tuple[float, float]]] = {}
        rows = []
        for column in columns:
            key = (id(column.hardware), column.unit, column.threads)
            if key not in known:
                part = column.processor
                # Catalogues of two versions may differ in words.
                device = f"{column.hardware.name} {features_text(column.hardware, 1)}"
                rates = peak_rates(part)
                known[key] = (device, class_of(column), part.microarchitecture, rates)
            rows.append(known[key])
        ways = [column.way.plain for column in columns]
        words = [(w.runtime, w.precision, f"{w.unit} {w.threads}") for w in ways]
        return cls(
            np.log2([column.batch_size for column in columns]),
            np.array(words).reshape(-1, 3),
            np.array([row[0] for row in rows]),
            np.array([row[1] for row in rows]),
            np.array([row[2] for row in rows]),
            np.log([row[3] for row in rows]).reshape(-1, 2),
        )

    def alike(self, other: _Described) -> Array:
        """Likeness of columns, from 0 to 1, `(columns, others)`."""
        near = np.exp(-np.abs(self.batches[:, None] - other.batches) / DOUBLINGS)
        ways = OTHER_WAY ** (self.words[:, None] != other.words).sum(2)
        apart = np.abs(self.rates[:, None] - other.rates).mean(2)
        related = self.architectures[:, None] == other.architectures
        devices = np.where(related, SAME_ARCHITECTURE, OTHER_ARCHITECTURE) * np.exp(-apart / APART)
        devices = np.where(self.classes[:, None] == other.classes, devices, 0.0)
        devices = np.where(self.devices[:, None] == other.devices, 1.0, devices)
        result: Array = near * ways * devices
        return result
