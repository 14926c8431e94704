"""The columns that a predictor of many devices was trained on, and how it knows them again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.features.runtimes import known_way, parse_way, renamed_key
from nasplug.predictors.features.settings import Setting, usual_way
from nasplug.predictors.hardware import Hardware
from nasplug.predictors.latency.class_models import Anchors
from nasplug.predictors.latency.device_similarity import Similar, similar_devices
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import InputError

__all__ = ["MeasuredColumns", "column_parts", "log_latencies", "renamed_text", "runtime_of"]

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
        settings: The columns themselves; empty where a checkpoint does not have them.
    """

    keys: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    numbers: NDArray[np.float32] | Array = field(default_factory=lambda: np.zeros((0, 0)))
    text_of: Callable[[Setting], str] = FINGERPRINT
    settings: tuple[Setting, ...] = ()

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
            tuple(settings),
        )

    @cached_property
    def anchors(self) -> Anchors:
        """The columns as what is known of devices; none where a checkpoint lacks `settings`."""
        return Anchors(self.settings)

    def place(self, setting: Setting) -> int:
        """Position of a setting among the columns; -1 if it was not measured."""
        if setting.key not in self.keys:
            return -1
        place = self.keys.index(setting.key)
        return place if self.texts[place] == self.text_of(setting) else -1

    def of_device(self, hardware: Hardware) -> list[Setting]:
        """Settings in which a device was measured."""
        parts = [column_parts(key) for key in self.keys]
        settings = [
            Setting.of(hardware, int(batch), parse_way(way))
            for name, batch, way in parts
            if name == hardware.name
        ]
        return [setting for setting in settings if self.place(setting) >= 0]

    def batches(self, setting: Setting) -> list[int]:
        """Batch sizes at which a setting's device was measured in its way."""
        measured = self.of_device(setting.hardware)
        words = setting.way.text
        return [other.batch_size for other in measured if other.way.text == words]

    def setting(self, hardware: Hardware, batch_size: int, runtime: str | None) -> Setting:
        """The setting that is meant, see `ManyDevices.setting`."""
        way = known_way(runtime or "")
        if not way.runtime:
            measured = [setting.way.text for setting in self.of_device(hardware)]
            usual = usual_way(hardware, measured, way.unit)
            precision = way.precision or usual.precision
            way = replace(way, runtime=usual.runtime, precision=precision)
        return Setting.of(hardware, batch_size, way)

    def measured_in(self, runtime: str) -> list[str]:
        """Names of the devices that were measured in a way, as `Way.text` writes it."""
        wanted = known_way(runtime).plain.text
        names = [name for name, _, other in map(column_parts, self.keys) if other == wanted]
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
    """The `Way.text` in a `Setting.key`."""
    return column_parts(key)[2]


def renamed_text(text: str) -> str:
    """`Setting.fingerprint` in today's words; those of earlier versions say "amp nhwc"."""
    device, bar, way = text.rpartition("|")
    # A text without a way, as other predictors compare, stays as it is.
    return f"{device}|{renamed_key(f'@{way}')[1:]}" if bar else text


def column_parts(key: str) -> tuple[str, str, str]:
    """Name, batch size and `Way.text` of a `Setting.key`."""
    name, _, rest = key.rpartition("@")
    batch, _, way = rest.partition(" ")
    return name, batch, way
