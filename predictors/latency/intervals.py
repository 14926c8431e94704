"""Errors of predicted latencies of whole networks, by device and by kind of network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.features.devices import compute_class
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.class_models import class_of, told
from nasplug.predictors.prediction import Array
from nasplug.predictors.statistics.calibration import LEVELS, conformal_quantiles
from nasplug.search_spaces import InputError

__all__ = ["LatencyIntervals", "device_group"]

SMALLEST_WIDTH = 1e-6
_PLURALS = {"gpu": "GPUs", "cpu": "CPUs"}


def device_group(hardware: Hardware) -> str:
    """The group whose left-out devices tell how wrong a never-measured one may be."""
    return "gpu" if compute_class(hardware) == "gpu" else "other"


def width_names(case: str, column: Setting) -> list[str]:
    """Names of the widths of a case, such as `"zero-shot"`, from the narrowest group of columns on.

    Groups are a class of processors in a runtime and precision, in a runtime, the class, and
    `device_group`.
    """
    group, way = class_of(column), told(column)
    return [
        f"{case} {group} {way.runtime} {way.precision}",
        f"{case} {group} {way.runtime}",
        f"{case} {group} all",
        f"{case} {device_group(column.hardware)}",
    ]


@dataclass(eq=False)
class LatencyIntervals:
    """Quantiles of log(truth) − log(prediction) at `calibration.LEVELS`.

    Attributes:
        residuals: (group of networks, column key) -> those of networks held out there.
        widths: `"zero-shot <device group>"` -> those of devices that were left out of training;
            `"unfamiliar <device group>"` -> those of groups of networks that were left out; for
            narrower groups see `width_names`.
        counts: Name of a width -> devices that were left out.
    """

    residuals: dict[tuple[str, str], Array] = field(default_factory=dict)
    widths: dict[str, Array] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, errors: Array, groups: Sequence[str], keys: Sequence[str]) -> LatencyIntervals:
        """From held-out networks.

        Args:
            errors: log(truth) − log(prediction), shape `(n, columns)`; NaN where unknown.
            groups: Group of each network.
            keys: Key of each column.
        """
        residuals = {}
        for name in dict.fromkeys(groups):
            for key, column in zip(keys, errors[np.array(groups) == name].T, strict=True):
                if np.isfinite(column).any():
                    residuals[name, key] = conformal_quantiles(column[np.isfinite(column)])
        return cls(residuals)

    def groups_on(self, key: str) -> list[str]:
        """Groups of networks that were measured on a column."""
        return [name for name, other in self.residuals if other == key]

    def quantiles(self, group: str, column: Setting, measured: bool) -> Array:
        """Residuals for networks of a group (`""`: of none) on a column that was `measured` or not.

        Raises:
            InputError: If nothing is known of such cases.
        """
        if measured and group:
            return self.residuals[group, column.key]
        wanted = self._wanted(group, column, measured)
        if not self.widths.keys() >= set(wanted):
            case = f"{column.key} was not measured"
            if measured:
                case = f"a network is unlike those measured on {column.key}"
            keys = dict.fromkeys(key for _, key in self.residuals)
            raise InputError(
                f"{case}, and this predictor did not learn its errors in that case; measured: "
                f"{', '.join(keys)}"
            )
        return max((self.widths[name] for name in wanted), key=np.ptp)

    def _wanted(self, group: str, column: Setting, measured: bool) -> list[str]:
        """Names of the widths that count, see `quantiles`."""
        cases = [] if measured else ["zero-shot"]
        cases += [] if group else ["unfamiliar"]
        names = [width_names(case, column) for case in cases]
        return [next((n for n in each if n in self.widths), each[-1]) for each in names]

    def rests_on(self, group: str, column: Setting, measured: bool) -> str:
        """The errors that `quantiles` are of, in words; arguments likewise."""
        if measured and group:
            return f"the errors on {group} networks that were left out of training, on this device"
        wanted = self._wanted(group, column, measured)
        name = max((n for n in wanted if n in self.widths), key=lambda n: np.ptp(self.widths[n]))
        case, _, where = name.partition(" ")
        devices = _PLURALS.get(where.split()[0], "devices")
        way = " ".join(where.split()[1:])
        in_way = "" if way in ("", "all") else f" in {way}"
        count = self.counts.get(name)
        if case == "unfamiliar":
            return f"the errors on kinds of networks that were left out of training, on {devices}"
        number = f"{count} " if count else ""
        return f"the errors on {number}{devices}{in_way} that were left out of training"

    def spread(
        self, groups: Sequence[str], column: Setting, measured: bool
    ) -> tuple[Array, Array, Array]:
        """One shape for all networks, and what each makes of it; arguments as `quantiles`.

        Returns:
            Quantiles of median 0 whose central 90 % interval has half-width 1, shape `(levels,)`;
            median and half-width of each network's, `(n,)` each.
        """
        names = list(dict.fromkeys(groups))
        if not names:
            return np.linspace(-1.0, 1.0, len(LEVELS)), np.zeros(0), np.zeros(0)
        quantiles = np.array([self.quantiles(name, column, measured) for name in names])
        low, middle, high = np.array([np.interp((0.05, 0.5, 0.95), LEVELS, q) for q in quantiles]).T
        width = np.maximum((high - low) / 2, SMALLEST_WIDTH)
        normal = (quantiles - middle[:, None]) / width[:, None]
        rows = np.array([names.index(name) for name in groups], dtype=np.intp)
        return np.mean(normal, axis=0), middle[rows], width[rows]

    def tensors(self) -> dict[str, Array]:
        """Arrays to store; the keys of `residuals` belong to the card."""
        widths = {f"widths.{name}": value for name, value in self.widths.items()}
        return {"residuals": np.stack(list(self.residuals.values())), **widths}

    @classmethod
    def restored(
        cls,
        residuals: NDArray[Any],
        pairs: Sequence[Sequence[str]],
        widths: Mapping[str, NDArray[Any]],
    ) -> LatencyIntervals:
        """Restore the intervals that `tensors` stored."""
        keys = [(str(group), str(key)) for group, key in pairs]
        rows = np.asarray(residuals, np.float64)
        known = {name: np.asarray(row, np.float64) for name, row in widths.items()}
        return cls(dict(zip(keys, rows, strict=True)), known)
