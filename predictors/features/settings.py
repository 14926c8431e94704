"""Settings of a latency: a device, a batch size, and how the network is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.features.devices import (
    HARDWARE_FEATURES,
    compute_class,
    features_text,
    hardware_features,
)
from nasplug.predictors.features.language import embed_hardware, hardware_text
from nasplug.predictors.features.roofline import peak_rates
from nasplug.predictors.features.runtimes import (
    EAGER,
    RUNTIMES,
    Way,
    default_way,
    exists,
    parse_way,
)
from nasplug.predictors.hardware import Hardware, on_unit
from nasplug.search_spaces.costs import FLOAT_BYTES

__all__ = [
    "NUMBERS",
    "TEXT",
    "DeviceBatch",
    "Setting",
    "alike_runtimes",
    "usual_way",
]

# Precisions that the features of a setting count as half.
_HALF = frozenset({"fp16", "bf16", "fp8", "int8", "int4", "w8a16"})
# Runtimes that run what a compiler or an exporter has made.
_AS_WRITTEN = frozenset({"", "eager", "eager nhwc", "pytorch mobile"})
NUMBERS = HARDWARE_FEATURES + 3
TEXT_MODEL = "wordllama"
TEXT = 256


@dataclass(frozen=True)
class Setting:
    """A device, a batch size, and how networks are run: what one latency column is measured on.

    Attributes:
        hardware: The device.
        batch_size: Images a forward pass.
        runtime: One of `runtimes.RUNTIMES`; `""` for a framework's usual way.
        precision: Precision of the arithmetic, such as `"fp16"` or `"int8"`; `""` for fp32.
        unit: Processor of a system on a chip, and cluster of its CPU; see `on_unit`.
        threads: Cores of the CPU, 0 for the usual number.
    """

    hardware: Hardware
    batch_size: int = 1
    runtime: str = ""
    precision: str = ""
    unit: str = ""
    threads: int = 0

    @property
    def key(self) -> str:
        """`name@batch`, such as `"GTX 1080 Ti@256"`, and after spaces what else is said."""
        return f"{self.plain_key} {self.way.plain.text}".strip()

    @property
    def plain_key(self) -> str:
        """`name@batch`, whatever the runtime, as tables name a column."""
        return f"{self.hardware.name}@{self.batch_size}"

    @cached_property
    def processor(self) -> Hardware:
        """The part of the device that runs the network, as a device of its own."""
        return on_unit(self.hardware, self.unit, self.threads)

    @property
    def way(self) -> Way:
        """Runtime, precision, processor and threads."""
        return Way(self.runtime, self.precision, self.unit, self.threads)

    @classmethod
    def of(cls, hardware: Hardware, batch_size: int, way: Way) -> Setting:
        """Make the setting of a way to run networks."""
        plain = way.plain
        return cls(hardware, batch_size, plain.runtime, plain.precision, way.unit, way.threads)

    @property
    def is_half(self) -> bool:
        """Whether networks are run in half precision or less."""
        return self.precision in _HALF

    @property
    def flags(self) -> tuple[bool, bool, bool]:
        """Whether half precision, a compiler and channels-last are used."""
        return self.is_half, self.runtime not in _AS_WRITTEN, self.runtime == "eager nhwc"

    @property
    def description(self) -> dict[str, str]:
        """Text to store and compare: the key, and the numbers of the device at the batch size."""
        return {"key": self.key, "features": features_text(self.hardware, self.batch_size)}

    @property
    def fingerprint(self) -> str:
        """Text of all that is read: the device, `|`, batch size and runtime.

        Two settings of one name are the same only if these are.
        """
        device = f"{features_text(self.hardware, 1)} {hardware_text(self.hardware)}"
        return f"{device}|{self.batch_size} {self.way.plain.text}".strip()

    def features(self, text: bool = True) -> NDArray[np.float32]:
        """Rates, numbers, and the text of the device, as a network of whole networks reads them.

        Args:
            text: Whether the language model's vector of the device's text follows.

        Returns:
            Operations a ms, bytes a ms, images, bytes a number; then `hardware_features`, and
            `flags` as numbers; then the vector.
        """
        half = self.is_half
        rates = (*peak_rates(self.hardware, half), self.batch_size, FLOAT_BYTES / (1 + half))
        flags = [float(flag) for flag in self.flags]
        parts = [rates, hardware_features(self.hardware, self.batch_size), flags]
        if text:
            parts.append(embed_hardware(self.hardware, "FP16" if half else "FP32", TEXT_MODEL))
        return np.concatenate([np.asarray(part, dtype=np.float32) for part in parts])


# The name by which users know it.
DeviceBatch = Setting


def alike_runtimes(
    column: Setting,
    measured: Callable[[Setting], bool],
    read: Callable[[Setting], Any],
) -> tuple[str, ...]:
    """Other `runtimes.RUNTIMES` that get the same prediction, as no measurement tells them apart.

    Args:
        column: A device at a batch size, in a runtime.
        measured: Whether a column was measured.
        read: All that a prediction reads of a way to run networks.
    """
    if measured(column):
        return ()
    others = [
        Setting.of(column.hardware, column.batch_size, replace(column.way, runtime=name))
        for name in RUNTIMES
    ]
    return tuple(
        other.way.text or EAGER
        for other in others
        if other != column
        and exists(other.hardware, other.way)
        and read(other) == read(column)
        and not measured(other)
    )


def usual_way(hardware: Hardware, measured: Sequence[str], unit: str = "") -> Way:
    """The way to run networks that is meant where none is named, whatever the batch size.

    That of `runtimes.default_way`, but for a processor other than a GPU that was measured: there it
    is a framework's usual way if it was measured so, and else the first of `measured`.

    Args:
        hardware: The device.
        measured: `Way.text` of the ways in which it was measured.
        unit: Processor of the device; empty for the usual one.
    """
    if unit or compute_class(hardware) == "gpu" or not measured:
        return default_way(hardware, unit=unit)
    return parse_way("" if "" in measured else measured[0])
