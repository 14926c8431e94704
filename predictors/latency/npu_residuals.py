"""Gaussian process over what a roofline leaves of a latency: by network, processor and setting.

A network that takes longer than its roofline on some processors takes longer on their siblings, and
a processor that is slower than its data sheet is like those of near figures. The covariance of two
logarithms of factors is

    c² K + p² K [same precision] + M (n² [same network] + f² F)
    M = (r + (1 - r) [same runtime]) (q + (1 - q) [same precision]) (a + (1 - a) S) (b + (1 - b) K)

with K the similarity of two data sheets of one line of processors S, and F that of two networks by
their sizes and by which operators they consist of; both are Gaussian in distances.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.fused_operators import KERNEL_COLUMNS, KERNEL_KINDS, graph_kernels
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph

__all__ = ["ResidualProcess", "family", "network_features", "peak_rate"]

# Standard deviations of the parts, as logarithms of factors, and shares that others have in common.
CHIP, CHIP_PRECISION, NETWORK, FEATURES = 0.3, 0.15, 0.15, 0.25
OTHER_RUNTIME, OTHER_PRECISION, OTHER_FAMILY, OTHER_CHIP = 0.6, 0.6, 0.1, 0.8
# Lengths of the similarities: of networks, of logarithms of peak and bandwidth, and of years; those
# of logarithms of a network's sizes are long, so that a larger network does not take less time.
NETWORK_LENGTH, SAME_LENGTH = 1.0, 0.05
CHIP_LENGTHS = (1.2, 1.0, 3.0)
NOISE = 0.12
# Factors beyond are of what went wrong.
LARGEST = 3.0
# Makers of drivers whose microarchitectures have names without a common word.
_ONE_LINE = ("AMD", "Apple", "Intel", "NVIDIA")
_SHARES_LENGTH, _SIZES_LENGTH = 0.5, 5.0
_COLUMN = {name: place for place, name in enumerate(KERNEL_COLUMNS)}


def family(setting: Setting) -> str:
    """Maker's line of processors, such as `"Hexagon"`, `"Mali-G"` or `"NVIDIA"`."""
    if setting.hardware.vendor in _ONE_LINE:
        return setting.hardware.vendor
    return re.split(r"[ \d]", setting.processor.microarchitecture)[0]


def network_features(graph: Graph) -> Array:
    """Logarithms of a network's sizes, and shares of kinds of operators in them."""
    table = graph_kernels(graph, "engine", flash=False).astype(np.float64)
    kinds, count = table[:, 0].astype(int), table[:, _COLUMN["count"]]

    def by_kind(column: str) -> Array:
        sums = np.bincount(kinds, table[:, _COLUMN[column]] * count, len(KERNEL_KINDS))
        return sums.astype(float)

    macs, moved = by_kind("macs"), by_kind("activations")
    number: Array = np.bincount(kinds, count, len(KERNEL_KINDS)).astype(float)
    sizes = np.log1p([macs.sum(), by_kind("weights").sum(), moved.sum(), number.sum()])
    logs = np.log(np.maximum(table[:, [_COLUMN["depth"], _COLUMN["width"]]], 1))
    by_macs = table[:, _COLUMN["macs"]] * count / max(macs.sum(), 1)
    shares = [part / max(part.sum(), 1) / _SHARES_LENGTH for part in (macs, moved, number)]
    return np.concatenate([sizes / _SIZES_LENGTH, by_macs @ logs, *shares])


class _Points(NamedTuple):
    """Measurements in numbers; texts as codes."""

    networks: Array
    chips: Array
    embedded: Array
    family: NDArray[np.int64]
    runtime: NDArray[np.int64]
    precision: NDArray[np.int64]
    unit: NDArray[np.int64]

    def take(self, rows: Any) -> _Points:
        return _Points(*(column[rows] for column in self))

    def distinct(self) -> tuple[_Points, NDArray[np.int64], Array, NDArray[np.int64]]:
        """One point a setting, each point's setting, distinct networks, each point's network."""
        networks, network = np.unique(self.networks, axis=0, return_inverse=True)
        table = np.column_stack(self[1:])
        _, first, setting = np.unique(table, axis=0, return_index=True, return_inverse=True)
        return self.take(first), setting.ravel(), networks, network.ravel()


@dataclass(frozen=True, eq=False)
class ResidualProcess:
    """Measurements that were learned, and the weight of each.

    Attributes:
        words: Texts of families, runtimes, precisions and units, which points have as codes.
        points: Features of the measurements.
        weights: Of the measurements.
    """

    words: Sequence[str]
    points: _Points
    weights: Array

    @classmethod
    def of(
        cls,
        graphs: Sequence[Graph],
        settings: Sequence[Setting],
        residuals: Array,
        noise: Array | float = NOISE,
    ) -> ResidualProcess:
        """Learn from residuals.

        Args:
            graphs: The network of each measurement.
            settings: The device, its unit, the runtime and the precision of each.
            residuals: Logarithms of measured latencies, less the predicted ones.
            noise: Standard deviation of each.
        """
        texts = [text for setting in settings for text in _texts(setting)]
        words = tuple(dict.fromkeys(texts))
        points = _points(graphs, settings, words)
        clipped = np.clip(residuals, -LARGEST, LARGEST)
        deviations = np.broadcast_to(noise, len(clipped))
        weights = np.zeros(len(clipped))
        for unit in np.unique(points.unit):
            rows = np.flatnonzero(points.unit == unit)
            some = points.take(rows)
            covariance = _covariance(some, some) + np.diag(deviations[rows] ** 2)
            factor = torch.linalg.cholesky(torch.from_numpy(covariance))
            target = torch.from_numpy(clipped[rows])[:, None]
            weights[rows] = torch.cholesky_solve(target, factor)[:, 0].numpy()
        return cls(words, points, weights)

    def mean(self, graphs: Sequence[Graph], settings: Sequence[Setting]) -> Array:
        """Expected residual of each network on its setting, `(networks,)`."""
        if not len(graphs):
            return np.zeros(0)
        asked, setting, networks, network = _points(graphs, settings, self.words).distinct()
        learned, known, weights = self._summed
        common, mixed = _alike(asked, learned)
        of_settings = common @ weights.sum(1)
        of_networks = mixed @ weights @ _networks_alike(networks, known).T
        result: Array = of_settings[setting] + of_networks[setting, network]
        return result

    @cached_property
    def _summed(self) -> tuple[_Points, Array, Array]:
        """Settings and networks that were learned, and sums of weights, `(settings, networks)`.

        The covariance of two measurements is made of parts of their settings and networks alone.
        """
        settings, setting, networks, network = self.points.distinct()
        weights = np.zeros((len(settings.family), len(networks)))
        np.add.at(weights, (setting, network), self.weights)
        return settings, networks, weights

    def is_known(self, graphs: Sequence[Graph], settings: Sequence[Setting]) -> NDArray[np.bool_]:
        """Whether each network was measured on a processor of the same line."""
        points = _points(graphs, settings, self.words)
        learned, known, weights = self._summed
        near = _near(points.networks, known, SAME_LENGTH) > 0.5
        is_measured = (points.family[:, None] == learned.family).astype(float) @ (weights != 0)
        result: NDArray[np.bool_] = (near & (is_measured > 0)).any(1)
        return result

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Arrays to store; the rest belongs to the card (`described`)."""
        networks, network = np.unique(self.points.networks, axis=0, return_inverse=True)
        chips = np.column_stack([self.points.chips, self.points.embedded])
        chips, chip = np.unique(chips, axis=0, return_inverse=True)
        codes = [network.ravel(), chip.ravel(), *self.points[3:]]
        return {
            "networks": networks.astype(np.float32),
            "chips": chips.astype(np.float32),
            "codes": np.stack(codes, 1).astype(np.int16),
            "weights": self.weights.astype(np.float32),
        }

    def described(self) -> dict[str, Any]:
        """Entry of the card."""
        return {"words": list(self.words)}

    @classmethod
    def restored(cls, tensors: Mapping[str, NDArray[Any]], words: Sequence[str]) -> ResidualProcess:
        """Restore the process that `tensors` and `described` stored."""
        codes = tensors["codes"].astype(np.int64)
        chips = tensors["chips"][codes[:, 1]].astype(float)
        networks = tensors["networks"][codes[:, 0]].astype(float)
        points = _Points(networks, chips[:, :-1], chips[:, -1], *codes[:, 2:].T)
        return cls(tuple(map(str, words)), points, tensors["weights"].astype(float))


def peak_rate(setting: Setting) -> float:
    """Peak of the data sheet for a setting's precision, or for the next wider one that it has."""
    peaks = setting.processor.peak_tflops
    wider = ["fp32"]
    if setting.precision != "fp32":
        # Half precision is what such runtimes usually compute in.
        wider.append("fp16")
    if setting.precision in ("int8", "w8a16"):
        wider.append("int8")
    return max(peaks.get(precision, 0.0) for precision in wider)


def _texts(setting: Setting) -> tuple[str, str, str, str]:
    unit = "gpu" if setting.processor.kind == "gpu" else "npu"
    return family(setting), setting.runtime, setting.precision or "fp16", unit


def _points(graphs: Sequence[Graph], settings: Sequence[Setting], words: Sequence[str]) -> _Points:
    features: dict[int, Array] = {}
    for graph in graphs:
        if id(graph) not in features:
            features[id(graph)] = network_features(graph)
    place = {word: k for k, word in enumerate(words)}
    distinct = {id(setting): setting for setting in settings}
    numbers = {key: _numbers(setting, place) for key, setting in distinct.items()}
    table = np.array([numbers[id(setting)] for setting in settings])
    codes = table[:, 4:].astype(int).T
    networks = np.array([features[id(graph)] for graph in graphs])
    return _Points(networks, table[:, :3], table[:, 3], *codes)


def _numbers(setting: Setting, place: Mapping[str, int]) -> tuple[float, ...]:
    part = setting.processor
    peak = peak_rate(setting)
    codes = [place.get(text, -1) for text in _texts(setting)]
    return (
        *(np.log(peak), np.log(max(part.memory_bandwidth_gbs, 1.0)), setting.hardware.year),
        *(float(setting.hardware.kind == "edge"), *codes),
    )


def _near(a: Array, b: Array, length: Any) -> Array:
    a, b = a / length, b / length
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    near: Array = np.exp(-0.5 * np.maximum(squares, 0))
    return near


def _covariance(a: _Points, b: _Points) -> Array:
    common, mixed = _alike(a, b)
    return common + mixed * _networks_alike(a.networks, b.networks)


def _networks_alike(a: Array, b: Array) -> Array:
    """Covariances of what is particular to networks."""
    same = NETWORK**2 * _near(a, b, SAME_LENGTH)
    return same + FEATURES**2 * _near(a, b, NETWORK_LENGTH)


def _alike(a: _Points, b: _Points) -> tuple[Array, Array]:
    """Covariances of what settings do to all networks, and factors on those of networks."""

    def same(name: str) -> Array:
        is_same: Array = (getattr(a, name)[:, None] == getattr(b, name)).astype(float)
        return is_same

    def shared(is_same: Array, share: float) -> Array:
        return share + (1 - share) * is_same

    line, precision = same("family"), same("precision")
    chip = _near(a.chips, b.chips, np.array(CHIP_LENGTHS)) * line
    chip = chip * np.exp(-0.5 * (a.embedded[:, None] != b.embedded))
    mixed = shared(same("runtime"), OTHER_RUNTIME) * shared(precision, OTHER_PRECISION)
    mixed = mixed * shared(line, OTHER_FAMILY) * shared(chip, OTHER_CHIP)
    common: Array = chip * (CHIP**2 + CHIP_PRECISION**2 * precision)
    # A GPU says nothing of an NPU.
    return common * same("unit"), mixed * same("unit")
