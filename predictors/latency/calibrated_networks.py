"""Latency of whole networks on a device that a few networks were measured on.

The data sheet's prediction holds for any network; how far the device departs from it is learned
from the measurements (`departure_process`). No interval is wider than that of the data sheet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.departure_process import DeparturePrior, DepartureProcess, Located
from nasplug.predictors.latency.few_shot import few_shot_prediction
from nasplug.predictors.latency.measured_device import END, LeftOut
from nasplug.predictors.latency.network_features import network_features
from nasplug.predictors.prediction import Array, Prediction
from nasplug.search_spaces import Graph

__all__ = ["CalibratedNetworks", "DataSheet", "located", "processor_class"]

# How much wider or narrower a data sheet's interval may make a departure than the prior has it.
NARROWEST, WIDEST = 0.25, 4.0
# How much farther from the data sheet a network may be than any measured one, in log units: what
# holds whatever is written into a table.
FARTHEST = np.log(2.0)
# Nearness to a measured network from which on a network is like it: it is one and a half standard
# deviations of the features away at most.
FAMILIAR = 0.75

# Log-latencies that the data sheet promises for networks in settings, and half-widths of their
# 90 % intervals.
DataSheet = Callable[[Sequence[Graph], Sequence[Setting]], tuple[Array, Array]]
Mask = NDArray[np.bool_]


def processor_class(setting: Setting) -> str:
    """Class of the processor that runs networks: `"gpu"`, `"cpu"` or `"other"`.

    GPUs of phones and boards are of the last, but for NVIDIA's.
    """
    kind, device = setting.processor.kind, setting.hardware
    is_nvidia = device.vendor.strip().lower() == "nvidia"
    if kind == "gpu" or (kind == "edge" and is_nvidia):
        return "gpu" if device.kind == "gpu" or is_nvidia else "other"
    return "other" if kind in ("asic", "fpga") else "cpu"


@dataclass(frozen=True, eq=False)
class _Measured:
    """Measurements on one class of processor: networks, log ms, and the data sheet's answers."""

    located: Located
    logs: Array
    promised: Array
    widths: Array

    @property
    def limits(self) -> tuple[float, float]:
        """Smallest and largest departure from the data sheet of any network."""
        residuals = np.append(self.logs - self.promised, 0.0)
        return float(residuals.min() - FARTHEST), float(residuals.max() + FARTHEST)

    def without(self, place: int) -> _Measured:
        """The others."""
        others = np.delete(np.arange(len(self.logs)), place)
        return _Measured(
            self.located.take(others), *(a[others] for a in (self.logs, self.promised, self.widths))
        )


class CalibratedNetworks:
    """A device that a few whole networks were measured on.

    Args:
        priors: Class of processors -> how devices of it depart from their data sheets.
        data_sheet: What is promised without measurements.
        graphs: The measured networks.
        settings: How each was run on the device.
        latencies: In ms, shape `(graphs,)`, positive.
    """

    def __init__(
        self,
        priors: Mapping[str, DeparturePrior],
        data_sheet: DataSheet,
        graphs: Sequence[Graph],
        settings: Sequence[Setting],
        latencies: Array,
    ) -> None:
        self._priors, self._data_sheet = priors, data_sheet
        self._order: list[int] = []
        self._measured: dict[str, _Measured] = {}
        logs = np.log(np.asarray(latencies, dtype=np.float64))
        promised, halves = data_sheet(graphs, settings)
        every = located(graphs, settings)
        classes = [processor_class(setting) for setting in settings]
        for name in dict.fromkeys(classes):
            places = np.array([k for k, other in enumerate(classes) if other == name])
            part = every.take(places)
            widths = self._widths(name, part, halves[places])
            self._measured[name] = _Measured(part, logs[places], promised[places], widths)
            self._order += places.tolist()

    def predict(self, graphs: Sequence[Graph], settings: Sequence[Setting]) -> Prediction:
        """Predict latency in ms of each network in its setting; the evidence is `"few-shot"`."""
        if not graphs:
            return few_shot_prediction(np.empty(0), np.empty(0))
        promised, halves = self._data_sheet(graphs, settings)
        mean, std = promised.copy(), halves / END
        for name, places, part in self._parts(graphs, settings):
            widths = self._widths(name, part, halves[places])
            shift, spread = self._processes[name](part, widths)
            mean[places] += np.clip(shift, *self._measured[name].limits)
            std[places] = np.minimum(spread, std[places])
        return few_shot_prediction(mean, std)

    def like(self, graphs: Sequence[Graph], settings: Sequence[Setting]) -> Mask:
        """Whether networks are near one that was measured, `(graphs,)`.

        Their time goes into kernels of the same kinds, in a setting like the measured one.
        """
        result = np.zeros(len(graphs), bool)
        for name, places, part in self._parts(graphs, settings):
            result[places] = self._processes[name].nearness(part) >= FAMILIAR
        return result

    def left_out(self) -> LeftOut:
        """Predict each measurement by a device that was learned without it."""
        parts: list[tuple[Array, ...]] = []
        for name, measured in self._measured.items():
            for k in range(len(measured.logs)):
                place = np.array([k])
                widths = measured.widths[place]
                process = self._process(name, measured.without(k))
                shift, std = process(measured.located.take(place), widths)
                promised = measured.promised[place]
                parts.append((measured.logs[place], promised + shift, std, promised))
        logs, mean, std, promised = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(self._order)
        return LeftOut(logs[order], mean[order], std[order], promised[order])

    @cached_property
    def _processes(self) -> dict[str, DepartureProcess]:
        return {name: self._process(name, part) for name, part in self._measured.items()}

    def _process(self, name: str, measured: _Measured) -> DepartureProcess:
        residuals = measured.logs - measured.promised
        return DepartureProcess(self._priors[name], measured.located, residuals, measured.widths)

    def _parts(
        self, graphs: Sequence[Graph], settings: Sequence[Setting]
    ) -> list[tuple[str, NDArray[np.int64], Located]]:
        """Networks of each class of processor that was measured: their places and themselves."""
        classes = np.array([processor_class(setting) for setting in settings])
        result = []
        for name in self._measured:
            places = np.flatnonzero(classes == name)
            if len(places):
                own = places.tolist()
                chosen = [graphs[k] for k in own], [settings[k] for k in own]
                result.append((name, places, located(*chosen)))
        return result

    def _widths(self, name: str, part: Located, halves: Array) -> Array:
        """Widths of the data sheet's intervals over those of the prior, `(n,)`."""
        usual = np.sqrt(self._priors[name].variances(part))
        result: Array = np.clip(halves / END / usual, NARROWEST, WIDEST)
        return result


def located(graphs: Sequence[Graph], settings: Sequence[Setting]) -> Located:
    """Networks in settings, as a process of departures reads them."""
    # All measurements of a user's are of one source.
    ways = [(s.runtime, s.precision, f"{s.unit} {s.threads}", "") for s in settings]
    return Located(network_features(graphs, settings), ways)
