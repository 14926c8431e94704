"""Settings of a latency: a device, a batch size, and how the network is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from nasplug.predictors.hardware import Hardware, on_unit
from nasplug.search_spaces import InputError
from nasplug.search_spaces.costs import FLOAT_BYTES

__all__ = [
    "NUMBERS",
    "RUNTIMES",
    "TEXT",
    "DeviceBatch",
    "Setting",
    "alike_runtimes",
    "inference_runtime",
    "parse_runtime",
    "runtime_name",
    "usual_runtime",
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
# Names of runtimes in sentences, where they differ from those that a user asks for.
_NAMES = {
    "amp": "AMP",
    "amp nhwc": "AMP with channels last",
    "compiled": "torch.compile",
    "amp compiled": "torch.compile with AMP",
    "onnxruntime": "ONNX Runtime",
    "tensorrt": "TensorRT",
    "amp tensorrt": "TensorRT with FP16",
    "tflite": "TensorFlow Lite",
}
TEXT_MODEL = "wordllama"
TEXT = 256


@dataclass(frozen=True)
class Setting:
    """A device, a batch size, and how networks are run: what one latency column is measured on.

    Attributes:
        hardware: The device.
        batch_size: Images a forward pass.
        runtime: Words such as `"amp nhwc"`; `""` for float32 in a framework's usual way.
        precision: Precision of the arithmetic, such as `"fp16"` or `"int8"`; `""` for what the
            runtime says.
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
        threads = f"{self.threads} threads" if self.threads else ""
        words = (self.plain_key, self.runtime, self.precision, self.unit, threads)
        return " ".join(word for word in words if word)

    @property
    def plain_key(self) -> str:
        """`name@batch`, whatever the runtime, as tables name a column."""
        return f"{self.hardware.name}@{self.batch_size}"

    @property
    def processor(self) -> Hardware:
        """The part of the device that runs the network, as a device of its own."""
        return on_unit(self.hardware, self.unit, self.threads)

    @property
    def is_half(self) -> bool:
        """Whether networks are run in half precision."""
        return self.way[0]

    @property
    def way(self) -> tuple[bool, bool, bool]:
        """Whether half precision, a compiler and channels-last are used."""
        words = set(self.runtime.split())
        half = bool(words & _HALF) or self.precision in ("fp16", "bf16")
        return half, bool(words & _COMPILED), bool(words & _CHANNELS_LAST)

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
        rest = self.key.removeprefix(self.plain_key)
        return f"{device}|{self.batch_size} {rest.strip()}"

    def features(self, text: bool = True) -> NDArray[np.float32]:
        """Rates, numbers, and the text of the device, as a network of whole networks reads them.

        Args:
            text: Whether the language model's vector of the device's text follows.

        Returns:
            Operations a ms, bytes a ms, images, bytes a number; then `hardware_features`, and `way`
            as numbers; then the vector.
        """
        half = self.is_half
        rates = (*peak_rates(self.hardware, half), self.batch_size, FLOAT_BYTES / (1 + half))
        flags = [float(flag) for flag in self.way]
        parts = [rates, hardware_features(self.hardware, self.batch_size), flags]
        if text:
            parts.append(embed_hardware(self.hardware, "FP16" if half else "FP32", TEXT_MODEL))
        return np.concatenate([np.asarray(part, dtype=np.float32) for part in parts])


# The name by which users know it.
DeviceBatch = Setting


def alike_runtimes(
    column: Setting,
    measured: Callable[[Setting], bool],
    way: Callable[[Setting], Any],
) -> tuple[str, ...]:
    """Other `RUNTIMES` that get the same prediction, as no measurement tells them apart.

    Args:
        column: A device at a batch size, in a runtime.
        measured: Whether a column was measured.
        way: What a prediction reads of a runtime.
    """
    if measured(column):
        return ()
    others = {name: replace(column, runtime=parse_runtime(name)) for name in RUNTIMES}
    return tuple(
        name
        for name, other in others.items()
        if other != column and way(other) == way(column) and not measured(other)
    )


def parse_runtime(text: str) -> str:
    """The runtime of a `Setting` that one of `RUNTIMES` means.

    Raises:
        InputError: If it is none of them.
    """
    words = " ".join(text.lower().split())
    if words not in RUNTIMES:
        raise InputError(f"unknown runtime {text!r}; known: {', '.join(RUNTIMES)}")
    return "" if words == RUNTIMES[0] else words


def runtime_name(runtime: str) -> str:
    """Name of a runtime in a sentence, such as `"TensorRT"` for `"tensorrt"`."""
    words = " ".join(runtime.lower().split())
    return _NAMES.get(words, words)


def inference_runtime(hardware: Hardware) -> str | None:
    """One of `RUNTIMES` that an ONNX file is usually run in: TensorRT on a GPU of NVIDIA's.

    None for other devices: there it makes less of a difference, and more is known of frameworks.
    """
    return "tensorrt" if hardware.kind == "gpu" and hardware.vendor == "NVIDIA" else None


def usual_runtime(hardware: Hardware, measured: Sequence[str]) -> str:
    """The runtime of a `Setting` that is meant where none is named, whatever the batch size.

    It is `""`, a framework's usual way, or the first of `measured` for a processor other than a GPU
    that was never measured so.
    """
    usual = compute_class(hardware) == "gpu" or "" in measured or not measured
    return "" if usual else measured[0]
