"""A device that is known by its data sheet and by a few measured cells, and by either alone.

What few measurements say of a cell like those measured is better than what the data sheet says
(`few_shot`); of any other cell it may be anything. So each prediction is weighed against an anchor:
what a predictor promises from the data sheet, at the scale of the measurements. The weight of the
measurements falls as their own uncertainty grows. Their mean departs from the anchor by a bounded
factor, and no interval is wider than that of the data sheet. Whole networks, of which families are
told apart, have `calibrated_networks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from nasplug.predictors.latency.few_shot import DeviceTransfer, few_shot_prediction
from nasplug.predictors.prediction import Array, NotFittedError, Prediction
from nasplug.predictors.statistics.calibration import LEVELS
from nasplug.search_spaces import Graph

__all__ = [
    "END",
    "FOREIGN",
    "LARGEST_FACTOR",
    "LeftOut",
    "MeasuredDevice",
]

Mask = NDArray[np.bool_]

# The mean for a cell unlike those measured stays within this factor of the anchor, and its interval
# is so much wider.
LARGEST_FACTOR, FOREIGN = 3.0, 2.0
# A cell that the data sheet promises to be so much faster or slower than all that were measured is
# unlike them.
BEYOND = np.log(3.0)
# Measurements whose left-out error is at most this share of the anchor's know more than its scale.
SKILLED = 0.5
# How fast the weight of measurements falls where they are less sure than the anchor.
SHARPNESS = 3
# How many measurements the data sheet's own uncertainty counts for, beside those that there are.
PRIOR = 2.0
# Of an interval.
SMALLEST = 1e-6
# Standard deviations of a normal distribution to the end of its central 90 % interval.
END = float(np.interp(0.95, LEVELS, ndtri(LEVELS)))
# Standard deviations from which on a measurement is far off.
FAR = 3.0
# Of a median absolute deviation to a standard deviation.
ROBUST = 1.4826

# Log-latencies that the data sheet promises for graphs, and half-widths of their 90 % intervals.
DataSheet = Callable[[Sequence[Graph]], tuple[Array, Array]]


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Predictions of measurements that were left out, in log ms, `(measurements,)` each.

    Attributes:
        logs: What was measured.
        mean: Predicted without it.
        std: Standard deviation of that.
        data_sheet: What the data sheet alone promises.
    """

    logs: Array
    mean: Array
    std: Array
    data_sheet: Array

    @property
    def factors(self) -> tuple[float, float]:
        """Typical factor between prediction and measurement, and between promise and measurement;
        both are at least 1."""
        errors = (np.abs(self.logs - mean).mean() for mean in (self.mean, self.data_sheet))
        first, second = (float(np.exp(error)) for error in errors)
        return first, second


@dataclass(frozen=True, eq=False)
class _Anchor:
    """Scale of a device beside its data sheet: log of the measured factor, and its deviation."""

    shift: float
    std: float

    @classmethod
    def of(cls, ratios: Array, halves: Array) -> _Anchor:
        """Fit the anchor to log(measured) − log(promised) and half-widths of promised intervals."""
        shift = float(np.median(ratios))
        errors = ratios - shift
        # A measurement that went wrong counts for no more than one that is far off.
        far = np.maximum(halves, FAR * ROBUST * np.median(np.abs(errors)))
        errors = np.clip(errors, -far, far)
        prior = PRIOR * float(np.median(halves) / END) ** 2
        return cls(shift, float(np.sqrt((prior + errors @ errors) / (PRIOR + len(ratios) - 1))))


class MeasuredDevice:
    """Latency on a device that a few networks were measured on.

    Args:
        transfer: Learns the device from its measurements.
        data_sheet: What is promised without them.
    """

    def __init__(self, transfer: DeviceTransfer, data_sheet: DataSheet) -> None:
        self.transfer = transfer
        self._data_sheet = data_sheet
        self._measured: tuple[list[Graph], Array] | None = None
        self._promised = np.empty(0), np.empty(0)

    def fit(self, graphs: Sequence[Graph], latencies: Array) -> None:
        """Learn the device; arguments and errors as those of `DeviceTransfer.fit`."""
        self.transfer.fit(graphs, latencies)
        self._measured = self.transfer.usual(graphs, latencies)
        self._promised = self._data_sheet(self._measured[0])
        for name in ("_anchor", "_left_out", "_farthest"):
            self.__dict__.pop(name, None)

    def predict(self, graphs: Sequence[Graph]) -> Prediction:
        """Predict latency in ms; the evidence is `"few-shot"`.

        Raises:
            NotFittedError: If nothing was learned.
        """
        if self._measured is None:
            raise NotFittedError("this device has no measurements yet; call fit")
        mean, std = np.empty(0), np.empty(0)
        if graphs:
            promised = self._data_sheet(graphs)
            measured = self.transfer.log_latency(graphs)
            mean, std = self._weighed(self._anchor, promised, measured)
        return few_shot_prediction(mean, std)

    def left_out(self) -> LeftOut:
        """Predict each measurement by a device that was learned without it.

        Raises:
            NotFittedError: If nothing was learned.
        """
        if self._measured is None:
            raise NotFittedError("this device has no measurements yet; call fit")
        _, logs = self._measured
        _, mean, std = self._left_out
        promised, halves = self._promised
        result = np.empty((2, len(logs)))
        for k in range(len(logs)):
            others = np.arange(len(logs)) != k
            anchor = _Anchor.of((logs - promised)[others], halves[others])
            answers = (promised[[k]], halves[[k]]), (mean[[k]], std[[k]])
            result[:, [k]] = self._weighed(anchor, *answers)
        return LeftOut(logs, result[0], result[1], promised)

    @cached_property
    def _anchor(self) -> _Anchor:
        return _Anchor.of(self._ratios, self._promised[1])

    @cached_property
    def _left_out(self) -> tuple[Array, Array, Array]:
        assert self._measured is not None
        graphs, logs = self._measured
        return self.transfer.left_out(graphs, np.exp(logs))

    @property
    def _ratios(self) -> Array:
        assert self._measured is not None
        result: Array = self._measured[1] - self._promised[0]
        return result

    @cached_property
    def _farthest(self) -> float:
        """Largest distance of the mean from the anchor for a network like those measured.

        As far as that of any other, and by as much as the farthest measurement is, if those that
        were left out tell that this is no noise.
        """
        logs, mean, _ = self._left_out
        apart = np.abs(self._ratios - self._anchor.shift)
        skilled = np.abs(logs - mean).mean() <= SKILLED * apart.mean()
        return float(np.log(LARGEST_FACTOR) + skilled * apart.max())

    def _like(self, promised: Array) -> Mask:
        least, most = self._promised[0].min() - BEYOND, self._promised[0].max() + BEYOND
        result: Mask = (least <= promised) & (promised <= most)
        return result

    def _weighed(
        self,
        anchor: _Anchor,
        promised: tuple[Array, Array],
        measured: tuple[Array, Array],
    ) -> tuple[Array, Array]:
        """Mean and standard deviation of log-latencies, `(graphs,)` each.

        Promises are those of a `DataSheet`; `measured` are mean and standard deviation that follow
        from the measurements.
        """
        center, widest = promised[0] + anchor.shift, np.maximum(promised[1], SMALLEST) / END
        like = self._like(promised[0])
        apart = measured[0] - center
        limit = np.full(len(center), np.log(LARGEST_FACTOR))
        if (np.abs(apart[like]) > limit[like]).any():
            limit[like] = self._farthest
        apart = np.clip(apart, -limit, limit)
        around = np.maximum(anchor.std, widest) ** 2
        variance = (np.where(like, 1.0, FOREIGN) * measured[1]) ** 2
        weight = 1 / (1 + (variance / around) ** SHARPNESS)
        square = weight * variance + (1 - weight) * around + weight * (1 - weight) * apart**2
        return center + weight * apart, np.minimum(np.sqrt(square), widest)
