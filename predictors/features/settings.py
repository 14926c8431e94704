"""What a latency is measured on: a device, a batch size, and how the network is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.predictors.features.devices import HARDWARE_FEATURES, compute_class, hardware_features
from nasplug.predictors.features.language import embed_hardware, hardware_text
from nasplug.predictors.features.roofline import peak_rates
from nasplug.predictors.hardware import Hardware
from nasplug.search_spaces import InputError
from nasplug.search_spaces.costs import FLOAT_BYTES

__all__ = [
    "NUMBERS",
    "RUNTIMES",
    "TEXT",
    "DeviceBatch",
    "Setting",
    "alike_runtimes",
    "describe",
    "fingerprint",
    "inference_runtime",
    "is_half",
    "parse_runtime",
    "plain_key",
    "runtime_of",
    "usual_runtime",
    "way_of_running",
]

# Words of a runtime that say how it computes.
_HALF = frozenset({"amp", "fp16", "half"})
_COMPILED = frozenset({"compiled", "dynamo", "onnxruntime", "tensorrt", "tflite"})
_CHANNELS_LAST = frozenset({"nhwc"})
NUMBERS = HARDWARE_FEATURES + 3
# What a user may ask for; the first is a framework's usual way, operator after operator.
RUNTIMES = (
    *("float32", "amp", "amp nhwc", "compiled", "amp compiled"),
    *("onnxruntime", "tensorrt", "amp tensorrt", "tflite"),
)
TEXT_MODEL = "wordllama"
TEXT = 256


@dataclass(frozen=True)
class DeviceBatch:
    """A device at a batch size: what one latency column is measured on."""

    hardware: Hardware
    batch_size: int = 1

    @property
    def key(self) -> str:
        """`name@batch`, such as `"GTX 1080 Ti@256"`."""
        return plain_key(self)


@dataclass(frozen=True)
class Setting(DeviceBatch):
    """What a latency is measured on: a device, a batch size, and how the network is run.

    Attributes:
        runtime: Words such as `"amp nhwc"`; `""` for float32 in a framework's usual way.
    """

    runtime: str = ""

    @property
    def key(self) -> str:
        """`name@batch`, and the runtime after a space if there is one."""
        return f"{plain_key(self)} {self.runtime}".strip()


def plain_key(column: DeviceBatch) -> str:
    """`name@batch` of a column, whatever its runtime, as tables name it."""
    return f"{column.hardware.name}@{column.batch_size}"


def runtime_of(column: DeviceBatch) -> str:
    """The runtime of a column; a plain `DeviceBatch` has the usual one."""
    return column.runtime if isinstance(column, Setting) else ""


def is_half(column: DeviceBatch) -> bool:
    """Whether networks are run in half precision."""
    return bool(set(runtime_of(column).split()) & _HALF)


def way_of_running(column: DeviceBatch) -> tuple[bool, bool, bool]:
    """Whether half precision, a compiler and channels-last are used."""
    words = set(runtime_of(column).split())
    return bool(words & _HALF), bool(words & _COMPILED), bool(words & _CHANNELS_LAST)


def alike_runtimes(
    column: DeviceBatch,
    measured: Callable[[DeviceBatch], bool],
    way: Callable[[DeviceBatch], Any],
) -> tuple[str, ...]:
    """Other `RUNTIMES` that get the same prediction, as no measurement tells them apart.

    Args:
        column: A device at a batch size, in a runtime.
        measured: Whether a column was measured.
        way: What a prediction reads of a runtime.
    """
    others = [Setting(column.hardware, column.batch_size, parse_runtime(name)) for name in RUNTIMES]
    return tuple(
        name
        for name, other in zip(RUNTIMES, others, strict=True)
        if other.runtime != runtime_of(column)
        and way(other) == way(column)
        and not measured(other)
        and not measured(column)
    )


def parse_runtime(text: str) -> str:
    """The runtime of a `Setting` that one of `RUNTIMES` means.

    Raises:
        InputError: If it is none of them.
    """
    words = " ".join(text.lower().split())
    if words not in RUNTIMES:
        raise InputError(f"unknown runtime {text!r}; there are {', '.join(RUNTIMES)}")
    return "" if words == RUNTIMES[0] else words


def inference_runtime(hardware: Hardware) -> str | None:
    """One of `RUNTIMES` that an ONNX file is usually run in: TensorRT on a GPU of NVIDIA's.

    None for other devices: there it makes less of a difference, and more is known of frameworks.
    """
    return "tensorrt" if hardware.kind == "gpu" and hardware.vendor == "NVIDIA" else None


def usual_runtime(hardware: Hardware, measured: Sequence[str]) -> str:
    """The runtime of a `Setting` that is meant where none is named, whatever the batch size.

    Args:
        hardware: The device.
        measured: The runtimes that it was measured in.

    Returns:
        `""`, a framework's usual way; the first of `measured` for a processor other than a GPU that
        was never measured so.
    """
    usual = compute_class(hardware) == "gpu" or "" in measured or not measured
    return "" if usual else measured[0]


def describe(column: DeviceBatch, text: bool = True) -> NDArray[np.float32]:
    """A column as the network reads it: rates, numbers, and the text of the description.

    Args:
        column: A device at a batch size, or a `Setting`.
        text: Whether the language model's vector of the device's text follows.

    Returns:
        Operations a ms, bytes a ms, images, bytes a number; then `hardware_features`, and whether
        half precision, a compiler and channels-last are used; then the vector.
    """
    half = is_half(column)
    rates = (*peak_rates(column.hardware, half), column.batch_size, FLOAT_BYTES / (1 + half))
    flags = [float(flag) for flag in way_of_running(column)]
    parts = [rates, hardware_features(column.hardware, column.batch_size), flags]
    if text:
        parts.append(embed_hardware(column.hardware, "FP16" if half else "FP32", TEXT_MODEL))
    return np.concatenate([np.asarray(part, dtype=np.float32) for part in parts])


def fingerprint(column: DeviceBatch) -> str:
    """The description of a column as text: the device, `|`, and the setting.

    Two columns of one name are the same only if these are.
    """
    device = " ".join(f"{value:.4f}" for value in hardware_features(column.hardware, 1))
    return f"{device} {hardware_text(column.hardware)}|{column.batch_size} {runtime_of(column)}"
