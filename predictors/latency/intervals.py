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
from nasplug.predictors.latency.npu_residuals import family
from nasplug.predictors.prediction import Array
from nasplug.predictors.statistics.calibration import LEVELS, conformal_quantiles
from nasplug.search_spaces import InputError

__all__ = ["LatencyIntervals", "device_group", "line_of", "way_words"]

SMALLEST_WIDTH = 1e-6
_PLURALS = {
    "gpu": "GPUs",
    "cpu": "CPUs",
    "other hexagon": "Hexagon NPUs",
    "other npu": "NPUs",
    "other adreno": "Adreno GPUs",
    "other mali": "Mali GPUs",
    "other mobile": "GPUs of Apple and PowerVR",
    "other desktop": "GPUs of desktops and laptops",
}
_GPU_LINES = {"Adreno": "adreno", "Mali": "mali", "PowerVR": "mobile", "Apple": "mobile"}


def device_group(hardware: Hardware) -> str:
    """The group whose left-out devices tell how wrong a never-measured one may be."""
    return "gpu" if compute_class(hardware) == "gpu" else "other"


def line_of(unit: str, family: str) -> str:
    """Line of processors whose left-out chips tell how wrong another one's latency may be.

    Args:
        unit: `"npu"` or `"gpu"`.
        family: Maker's line, see `npu_residuals.family`.
    """
    if unit == "npu":
        return "hexagon" if family == "Hexagon" else "npu"
    return next((line for name, line in _GPU_LINES.items() if family.startswith(name)), "desktop")


def way_words(runtime: str, precision: str) -> list[str]:
    """Words of groups of ways to run networks that one belongs to, the narrowest first.

    Engines for TensorRT are alike where they compute in fewer bits than 32.
    """
    engine = runtime.removeprefix("paddle ")
    is_short = engine == "tensorrt" and precision in ("fp16", "bf16", "int8")
    below = [f"{engine} below fp32"] if is_short else []
    return [f"{runtime} {precision}", *below, runtime, "all"]


def width_names(case: str, column: Setting) -> list[str]:
    """Names of the widths of a case, such as `"zero-shot"`, from the narrowest group of columns on.

    Groups are a class of processors in a runtime and precision, in a runtime, the class, and
    `device_group`; of NPUs and of GPUs of phones and boards those of `line_of` come first.
    """
    group, way = class_of(column), told(column)
    line = group
    if group == "other":
        unit = "gpu" if compute_class(way.processor) == "gpu" else "npu"
        line = f"other {line_of(unit, family(way))}"
    groups = [f"{line} {words}" for words in way_words(way.runtime, way.precision)]
    groups += [f"{group} all", device_group(column.hardware)]
    return [f"{case} {name}" for name in dict.fromkeys(groups)]


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
        if measured and (group, column.key) in self.residuals:
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
        cases = [] if measured and not group else ["zero-shot"]
        cases += [] if group else ["unfamiliar"]
        names = [width_names(case, column) for case in cases]
        return [next((n for n in each if n in self.widths), each[-1]) for each in names]

    def rests_on(self, group: str, column: Setting, measured: bool) -> str:
        """The errors that `quantiles` are of, in words; arguments likewise."""
        if measured and (group, column.key) in self.residuals:
            return f"the errors on {group} networks that were left out of training, on this device"
        wanted = self._wanted(group, column, measured)
        name = max((n for n in wanted if n in self.widths), key=lambda n: np.ptp(self.widths[n]))
        case, *where = name.split()
        words = 2 if " ".join(where[:2]) in _PLURALS else 1
        devices, way = _PLURALS.get(" ".join(where[:words]), "devices"), where[words:]
        in_way = f" in {' '.join(way)}" if way not in ([], ["all"]) else ""
        left_out = f"{self.counts.get(name, '')} {devices}{in_way}".strip()
        if case == "unfamiliar" and len(where) == 1:
            left_out = "kinds of networks"
        elif case == "unfamiliar" and where[0] != "gpu":
            # Of GPUs the networks of those that were left out are known from others.
            left_out = f"networks and {left_out}"
        return f"the errors on {left_out} that were left out of training"

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
