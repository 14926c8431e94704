"""Latency of whole networks on any device by models of classes: GPUs, CPUs, and other processors.

Each model learned from measurements of all devices of its class (`fused_roofline` and its like). A
device that was measured departs from its class; what is known of that at one batch size, runtime
and precision is carried to others, the less the further they are away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.checkpoint import joined
from nasplug.predictors.features.devices import compute_class, features_text
from nasplug.predictors.features.roofline import peak_rates
from nasplug.predictors.features.runtimes import EAGER, Way, computed_precision
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph

__all__ = ["CLASSES", "ClassModel", "ClassModels", "carried_weights", "class_of", "told"]

CLASSES = ("gpu", "cpu", "other")
# Doublings of the batch over which what is known of a device falls to a third, what another runtime
# or precision is worth, and the share of noise in what is known.
DOUBLINGS, OTHER_WAY, NOISE = 4.0, 0.5, 1e-3
# What another device of the same and of another microarchitecture is worth, and the logarithm of
# the ratio of rates over which that falls to a third.
SAME_ARCHITECTURE, OTHER_ARCHITECTURE, APART = 0.8, 0.4, 1.0
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


_BOUNDS = {"arithmetic": "compute", "traffic": "memory"}


def class_of(column: Setting) -> str:
    """Class of the processor that runs networks, one of `CLASSES`.

    GPUs of phones and of boards are no GPUs here, but for NVIDIA's.
    """
    kind = compute_class(column.processor)
    if kind == "gpu":
        hardware = column.hardware
        is_large = hardware.kind == "gpu" or hardware.vendor.strip().lower() == "nvidia"
        return "gpu" if is_large else "other"
    return "cpu" if kind == "cpu" else "other"


def told(column: Setting) -> Setting:
    """The column with its runtime and precision in words, as the tables of measurements say them.

    A GPU or an NPU is described alone.
    """
    whole = replace(
        column,
        runtime=column.runtime or EAGER,
        precision=computed_precision(column.hardware, column.way),
    )
    if class_of(column) == "gpu":
        return replace(whole, hardware=column.processor, unit="", threads=0)
    return whole


@dataclass(frozen=True, eq=False)
class ClassModels:
    """Models of classes of processors.

    Attributes:
        models: Class -> its model.
    """

    models: Mapping[str, ClassModel]

    def knows(self, column: Setting) -> bool:
        """Whether there is a model of the column's class."""
        return class_of(column) in self.models

    def explains(self, column: Setting) -> bool:
        """Whether the model of the column's class tells the times of kernels."""
        return hasattr(self.models.get(class_of(column)), "parts")

    def log_latency(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
        """Natural logarithms of latencies in ms, `(graphs, columns)`."""
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

    def measured_in(self, way: Way) -> tuple[str, ...]:
        """Names of devices whose measurements in a runtime were learned."""
        words = (way.runtime or EAGER, way.runtime)
        devices = [getattr(model, "devices", {}) for model in self.models.values()]
        return tuple(name for each in devices for word in words for name in each.get(word, ()))

    def parts(self, graph: Graph, column: Setting) -> Parts:
        """Share the latency of a network out among its operators.

        The time of a kernel is that of the operator in it that computes most.
        """
        parts: ModelParts = self.models[class_of(column)].parts(graph, told(column))
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
            bounds[node] = _BOUNDS.get(parts.bounds[kernel], "launch")
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
        cls, tensors: Mapping[str, Mapping[str, NDArray[Any]]], card: Mapping[str, Any]
    ) -> ClassModels:
        """Restore the models that `tensors` and `described` stored, by class."""
        return cls({name: _restored(name, tensors[name], card[name]) for name in card})


def _restored(
    name: str, tensors: Mapping[str, NDArray[Any]], card: Mapping[str, Any]
) -> ClassModel:
    """Restore the model of a class from what `tensors` and `described` stored."""
    from nasplug.predictors.latency.fused_roofline import FusedRoofline

    kinds: dict[str, Any] = {"gpu": FusedRoofline}
    restored: ClassModel = kinds[name].restored(tensors, **card)
    return restored


def carried_weights(columns: Sequence[Setting], anchors: Sequence[Setting]) -> Array:
    """Weights with which departures on measured columns are carried to other columns.

    They are those of a Gaussian process over devices, the logarithm of the batch and the way to run
    networks, so that an anchor has its own departure, and what is like it nearly that.

    Returns:
        Shape `(columns, anchors)`; a weight that hardly counts is 0.
    """
    across, among = _alike(columns, anchors), _alike(anchors, anchors)
    weights = np.linalg.solve(among + NOISE * np.eye(len(anchors)), across.T).T
    result: Array = np.where(across >= LEAST, weights, 0.0)
    return result


def _alike(columns: Sequence[Setting], others: Sequence[Setting]) -> Array:
    """How alike columns are, from 0 to 1, `(columns, others)`."""
    batches = [np.log2([column.batch_size for column in each]) for each in (columns, others)]
    near = np.exp(-np.abs(batches[0][:, None] - batches[1]) / DOUBLINGS)
    factors = [[_alike_ways(a, b) * _alike_devices(a, b) for b in others] for a in columns]
    result: Array = near * np.array(factors).reshape(near.shape)
    return result


def _alike_ways(a: Setting, b: Setting) -> float:
    one, other = a.way.plain, b.way.plain
    differences = (one.runtime != other.runtime) + (one.precision != other.precision)
    return OTHER_WAY ** (differences + ((one.unit, one.threads) != (other.unit, other.threads)))


def _is_same(a: Hardware, b: Hardware) -> bool:
    """Whether two descriptions are of one device, whatever their words."""
    return a.name == b.name and features_text(a, 1) == features_text(b, 1)


def _alike_devices(a: Setting, b: Setting) -> float:
    if a.hardware is b.hardware or _is_same(a.hardware, b.hardware):
        return 1.0
    if class_of(a) != class_of(b):
        return 0.0
    one, other = a.processor, b.processor
    related = one.microarchitecture == other.microarchitecture
    rates = [peak_rates(part) for part in (one, other)]
    apart = np.abs(np.log(rates[0]) - np.log(rates[1])).mean()
    return float((SAME_ARCHITECTURE if related else OTHER_ARCHITECTURE) * np.exp(-apart / APART))
