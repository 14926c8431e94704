"""The columns that a predictor of many devices was trained on, and how it knows them again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.features.settings import Setting, parse_runtime, usual_runtime
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.device_similarity import Similar, similar_devices
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import InputError

__all__ = ["MeasuredColumns", "log_latencies", "runtime_of"]

FINGERPRINT: Callable[[Setting], str] = attrgetter("fingerprint")


@dataclass(frozen=True, eq=False)
class MeasuredColumns:
    """Settings in which latencies were measured.

    Attributes:
        keys: `Setting.key` of each column.
        texts: What a predictor reads of each, as text: a user's own entry under a known name is
            another device.
        architectures: Microarchitecture of each device; `""` where it is not known.
        numbers: `Setting.features` of each, with or without the vector of the device's text, shape
            `(columns, features)`.
        text_of: Makes such a text of a setting.
    """

    keys: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    numbers: NDArray[np.float32] | Array = field(default_factory=lambda: np.zeros((0, 0)))
    text_of: Callable[[Setting], str] = FINGERPRINT

    @classmethod
    def of(
        cls,
        settings: Sequence[Setting],
        text_of: Callable[[Setting], str] = FINGERPRINT,
        *,
        with_text: bool,
    ) -> MeasuredColumns:
        """The columns of some settings; `numbers` have the vectors of devices' texts or not."""
        return cls(
            tuple(setting.key for setting in settings),
            tuple(text_of(setting) for setting in settings),
            tuple(setting.hardware.microarchitecture for setting in settings),
            np.stack([setting.features(with_text) for setting in settings]),
            text_of,
        )

    def place(self, setting: Setting) -> int:
        """Position of a setting among the columns; -1 if it was not measured."""
        if setting.key not in self.keys:
            return -1
        place = self.keys.index(setting.key)
        return place if self.texts[place] == self.text_of(setting) else -1

    def of_device(self, hardware: Hardware) -> list[Setting]:
        """Settings in which a device was measured."""
        parts = [_parts(key) for key in self.keys]
        settings = [Setting(hardware, int(n), r) for name, n, r in parts if name == hardware.name]
        return [setting for setting in settings if self.place(setting) >= 0]

    def batches(self, setting: Setting) -> list[int]:
        """Batch sizes at which a setting's device was measured in its runtime."""
        measured = self.of_device(setting.hardware)
        return [other.batch_size for other in measured if other.runtime == setting.runtime]

    def setting(self, hardware: Hardware, batch_size: int, runtime: str | None) -> Setting:
        """The setting that is meant, see `ManyDevices.setting`."""
        if runtime is not None:
            return Setting(hardware, batch_size, parse_runtime(runtime))
        measured = [setting.runtime for setting in self.of_device(hardware)]
        return Setting(hardware, batch_size, usual_runtime(hardware, measured))

    def measured_in(self, runtime: str) -> list[str]:
        """Names of the devices that were measured in one of `RUNTIMES`."""
        wanted = parse_runtime(runtime)
        names = [name for name, _, other in map(_parts, self.keys) if other == wanted]
        return list(dict.fromkeys(names))

    def similar(
        self, unknown: Mapping[int, Setting], share: float
    ) -> tuple[dict[int, Similar], set[int]]:
        """The columns that each of several unmeasured settings is like, and all of their positions.

        At a share (see `similar_devices`) of 0 nothing is like anything.
        """
        if not share:
            return {}, set()
        similar = {
            k: similar_devices(
                setting.features(False),
                self.numbers,
                share,
                [name == setting.hardware.microarchitecture for name in self.architectures],
            )
            for k, setting in unknown.items()
        }
        return similar, {int(j) for each in similar.values() for j in np.flatnonzero(each.weights)}


def log_latencies(
    targets: Array, graphs: int, settings: Iterable[Setting], smallest_ms: float
) -> Array:
    """Natural logarithms of latencies in ms, `(graphs, columns)`.

    They are NaN where a latency is unknown, or degenerate: below `smallest_ms`.

    Raises:
        InputError: If there is no column, or the shape is another.
    """
    columns = len(list(settings))
    values = np.asarray(targets, dtype=np.float64)
    if not columns or values.shape != (graphs, columns):
        raise InputError(
            f"latencies have shape {values.shape}; expected ({graphs}, {columns}), a row per "
            "graph and a column per device"
        )
    with np.errstate(invalid="ignore"):
        return np.where(values >= smallest_ms, np.log(values), np.nan)


def runtime_of(key: str) -> str:
    """The runtime in a `Setting.key`."""
    return _parts(key)[2]


def _parts(key: str) -> tuple[str, str, str]:
    """Name, batch size and runtime of a `Setting.key`."""
    name, _, rest = key.rpartition("@")
    batch, _, runtime = rest.partition(" ")
    return name, batch, runtime
