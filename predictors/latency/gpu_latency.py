"""Latency of networks on GPUs, measured or not: a roofline, and what it is wrong by elsewhere.

The roofline of fused kernels (fused_roofline.py) gives a time from data sheets alone; a process
over its residuals (residual_process.py) adds what was learned of like networks on like GPUs in like
settings. Of a network that was measured on other GPUs, that is mostly its own residual there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.features.settings import Setting
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.fused_roofline import FusedRoofline, KernelTimes, Script
from nasplug.predictors.latency.gpu_features import gpu_features, network_features, words_of
from nasplug.predictors.latency.gpu_ways import fusion_of, gpu_setting
from nasplug.predictors.latency.residual_process import Described, ResidualProcess
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph

__all__ = ["GpuLatency", "Measured"]

# Residuals beyond this are those of broken measurements, or of networks unlike all others.
_MOST = 1.0
# How much the measurements of operators count, beside those of networks.
_OPERATORS = 0.3
# Codes of a row: setting, precision, script, chip.
_CODES = 4


class Measured(NamedTuple):
    """Measurements, one entry each.

    Attributes:
        graphs: The network or operator.
        columns: GPU, batch size, runtime and precision.
        ms: Latency of the batch, above 0.
        scripts: By whom it was measured.
        chips: Name of the chip; GPUs that have the same one tell of each other.
    """

    graphs: Sequence[Graph]
    columns: Sequence[Setting]
    ms: Array
    scripts: Sequence[Script]
    chips: Sequence[str]


@dataclass(frozen=True, eq=False)
class GpuLatency:
    """Latency of networks on GPUs.

    Attributes:
        roofline: Learned numbers of the roofline.
        residuals: What it is wrong by; None for the roofline alone.
        words: Settings, precisions, scripts and chips in the order of their codes.
        quantiles: Setting and precision, such as `"tensorrt fp16"`, or `""` for any -> quantiles of
            log(truth) − log(prediction) on chips that were left out.
        share: How much of the residuals is believed; half is best on GPUs that were left out.
    """

    roofline: FusedRoofline
    residuals: ResidualProcess | None = None
    words: tuple[tuple[str, ...], ...] = ((), (), (), ())
    quantiles: Mapping[str, Sequence[float]] = field(default_factory=dict)
    share: float = 0.5

    @classmethod
    def of(
        cls,
        networks: Measured,
        operators: Measured,
        residuals: Measured,
        groups: Sequence[str] = (),
    ) -> GpuLatency:
        """Learn from measurements.

        Args:
            networks: Whole networks that the roofline learns from.
            operators: Single operators that it learns from, too.
            residuals: Whole networks whose residuals are learned; may be more than `networks`.
            groups: Names of the kinds of networks that these are.
        """
        both = [[*a, *b] for a, b in zip(networks, operators, strict=True)]
        roofline = FusedRoofline.of(
            both[0],
            both[1],
            np.array(both[2]),
            both[3],
            weights={script.name: _OPERATORS for script in operators.scripts},
            groups=groups,
        )
        predicted = roofline.log_latency(residuals.graphs, residuals.columns, residuals.scripts)
        wrong = np.clip(np.log(residuals.ms) - predicted, -_MOST, _MOST)
        named = _named(residuals.columns, residuals.scripts, residuals.chips)
        words = tuple(tuple(dict.fromkeys(column)) for column in zip(*named, strict=True))
        described = _described(residuals.graphs, residuals.columns, residuals.scripts, named, words)
        return cls(roofline, ResidualProcess.of(described, wrong), words)

    def log_latency(
        self,
        graphs: Sequence[Graph],
        columns: Sequence[Setting],
        scripts: Sequence[Script] = (),
    ) -> Array:
        """Natural logarithm of the latency of each network on its column in ms, `(networks,)`.

        Args:
            graphs: Whole networks.
            columns: The GPU, batch size, runtime and precision of each.
            scripts: By whom each is measured; a user's machine, where that is not said.
        """
        whole = list(scripts) or [Script()] * len(graphs)
        result = self.roofline.log_latency(graphs, columns, whole)
        if self.residuals is None or not len(result):
            return result
        named = _named(columns, whole, [""] * len(whole))
        described = _described(graphs, columns, whole, named, self.words)
        return result + self.share * np.clip(self.residuals(described), -_MOST, _MOST)

    def parts(self, graph: Graph, column: Setting) -> KernelTimes:
        """Times of the kernels of a network on a column; together they are `log_latency`'s."""
        times = self.roofline.parts(graph, column)
        whole = float(np.exp(self.log_latency([graph], [column])[0]))
        scale = whole / (float(times.ms.sum()) + times.rest)
        return times._replace(ms=times.ms * scale, rest=times.rest * scale)

    @property
    def devices(self) -> Mapping[str, Sequence[str]]:
        """Runtime -> names of the GPUs whose measurements were learned in it."""
        return self.roofline.devices

    @property
    def groups(self) -> Sequence[str]:
        """Kinds of networks that were learned."""
        return self.roofline.groups

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Arrays to store; the rest belongs to the card (`described`)."""
        return {
            **self.roofline.tensors(),
            **({} if self.residuals is None else self.residuals.tensors()),
        }

    def described(self) -> dict[str, Any]:
        """Entries of the card that describe the model."""
        return {
            **self.roofline.described(),
            "words": [list(column) for column in self.words],
            "numbers": {} if self.residuals is None else dict(self.residuals.numbers),
            "quantiles": {name: list(values) for name, values in self.quantiles.items()},
            "share": self.share,
        }

    @classmethod
    def restored(
        cls,
        tensors: Mapping[str, NDArray[Any]],
        devices: Mapping[str, Sequence[str]],
        groups: Sequence[str],
        words: Sequence[Sequence[str]],
        numbers: Mapping[str, float],
        quantiles: Mapping[str, Sequence[float]],
        share: float = 0.5,
    ) -> GpuLatency:
        """Restore the model that `tensors` and `described` stored."""
        return cls(
            FusedRoofline.restored(tensors, devices, groups),
            ResidualProcess.restored(tensors, numbers) if numbers else None,
            tuple(tuple(map(str, column)) for column in words),
            {str(name): tuple(map(float, values)) for name, values in quantiles.items()},
            float(share),
        )


def _named(
    columns: Sequence[Setting], scripts: Sequence[Script], chips: Sequence[str]
) -> list[tuple[str, ...]]:
    ways = words_of(columns)
    rows = zip(ways, scripts, chips, strict=True)
    return [(*way, script.name, chip) for way, script, chip in rows]


def _described(
    graphs: Sequence[Graph],
    columns: Sequence[Setting],
    scripts: Sequence[Script],
    named: Sequence[Sequence[str]],
    words: Sequence[Sequence[str]],
) -> Described:
    known: dict[tuple[int, int, str, bool], Array] = {}
    devices: dict[int, Array] = {}
    hardware: list[Hardware] = []
    networks = []
    for graph, column, script in zip(graphs, columns, scripts, strict=True):
        fusion = fusion_of(gpu_setting(column))
        key = (id(graph), column.batch_size, fusion, script.flash)
        if key not in known:
            known[key] = network_features(graph, column, script.flash)
        networks.append(known[key])
        hardware.append(column.hardware)
        if id(column.hardware) not in devices:
            devices[id(column.hardware)] = gpu_features(column.hardware)
    places = [{word: k for k, word in enumerate(column)} for column in words]
    # A user's machine is no script that was learned from.
    codes = [[p.get(w, -1) for w, p in zip(row, places, strict=True)] for row in named]
    table = np.array(codes, dtype=np.int64).reshape(len(codes), _CODES)
    rows = np.array([devices[id(device)] for device in hardware])
    return Described(np.array(networks), rows, table)
