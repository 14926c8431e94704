"""Quantities of networks: name, unit, better direction, source, and how values are written.

Limits, objectives, columns, reports and JSON keys take them from here. A quantity that a device
decides may be named with the device: `latency@RTX 3090` is the latency on that device alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ALIASES",
    "COUNTED",
    "PREDICTED",
    "QUALITIES",
    "QUANTITIES",
    "Number",
    "QuantityKind",
    "canonical_name",
    "images_per_second",
    "on_device",
    "quantity_named",
    "without_device",
]

Number = TypeVar("Number", float, NDArray[np.float64])
# The source of a quantity: a predictor, the counts of the network, or another quantity.
Source = Literal["predicted", "counted", "derived"]


@dataclass(frozen=True)
class QuantityKind:
    """A quantity, as all parts of the package name, read and write it.

    Attributes:
        name: Name in limits and objectives, such as `"latency"`.
        words: Name in sentences.
        unit: Canonical unit, in which values are held; `"count"` for a number.
        direction: Better direction.
        source: `"predicted"` by a predictor, `"counted"` in the network, or `"derived"` from
            another quantity.
        about: Meaning and source, a phrase for tables.
        key: Key in JSON and in columns of data, with the unit.
        example: A limit on it.
        units: Units that a limit may have, with their factor to the canonical one, which is first;
            `""` where a number alone will do.
        heading: Heading of a column of values times `factor`.
        axis: Label of an axis.
        factor: Factor to the shown unit.
        digits: Digits after the point of a shown value.
        cell_unit: Unit behind a value in a column.
        text_unit: Unit behind a value in a sentence.
        extreme: Title of the best value, such as `"Fastest"`.
        needs_device: Whether it is known for a device alone.
    """

    name: str
    words: str
    unit: str
    direction: Literal["maximize", "minimize"]
    source: Source
    about: str
    key: str
    example: str
    units: dict[str, float] = field(hash=False)
    heading: str
    axis: str
    factor: float
    digits: int
    cell_unit: str
    text_unit: str
    extreme: str
    needs_device: bool = False

    @property
    def is_risky(self) -> bool:
        """Whether a limit on it holds with a probability, as it is not computed exactly."""
        return without_device(self.name) in _RISKY

    def on(self, device: str) -> QuantityKind:
        """The quantity on one of several devices."""
        words, _, unit = self.axis.rpartition(" ")
        return replace(
            self,
            name=on_device(self.name, device),
            words=f"{self.words} on {device}",
            key=on_device(self.key, device),
            heading=f"{self.heading} on {device}",
            axis=f"{words} on {device} {unit}",
            extreme=f"{self.extreme} on {device}",
        )

    def cell(self, value: float) -> str:
        """Write a value for a column below `heading`."""
        return f"{value * self.factor:.{self.digits}f}{self.cell_unit}"

    def text(self, value: float) -> str:
        """Write a value with its unit, for a sentence."""
        return f"{value * self.factor:.{self.digits}f}{self.text_unit}"


_COUNTS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}
_BYTES = {
    **{"MB": 1.0, "B": 1e-6, "kB": 1e-3, "KB": 1e-3, "GB": 1e3},
    **{"KiB": 2**10 / 1e6, "MiB": 2**20 / 1e6, "GiB": 2**30 / 1e6},
}
_SECONDS = {"ms": 1.0, "us": 1e-3, "µs": 1e-3, "μs": 1e-3, "s": 1e3}
_RATES = {"img/s": 1.0, "": 1.0, "fps": 1.0, "images/s": 1.0, "k": 1e3}
_JOULES = {"J": 1.0, "mJ": 1e-3, "kJ": 1e3}

_ALL = (
    QuantityKind(
        name="latency",
        words="latency",
        unit="ms",
        direction="minimize",
        source="predicted",
        about="time of a forward pass of the batch on the device",
        key="latency_ms",
        example="latency<=5ms",
        units=_SECONDS,
        heading="latency ms",
        axis="latency (ms)",
        factor=1.0,
        digits=3,
        cell_unit="",
        text_unit=" ms",
        extreme="Fastest",
        needs_device=True,
    ),
    QuantityKind(
        name="throughput",
        words="throughput",
        unit="img/s",
        direction="maximize",
        source="derived",
        about="images, or other inputs, a second at the batch size: those of a batch divided by "
        "its latency",
        key="throughput",
        example="throughput>=30",
        units=_RATES,
        heading="images/s",
        axis="throughput (img/s)",
        factor=1.0,
        digits=1,
        cell_unit="",
        text_unit=" img/s",
        extreme="Highest throughput",
        needs_device=True,
    ),
    QuantityKind(
        name="memory",
        words="memory",
        unit="MB",
        direction="minimize",
        source="predicted",
        about="weights and the peak of the activations, at the batch size and in the precision",
        key="memory_mb",
        example="memory<=64MB",
        units=_BYTES,
        heading="memory MB",
        axis="memory (MB)",
        factor=1.0,
        digits=2,
        cell_unit="",
        text_unit=" MB",
        extreme="Least memory",
    ),
    QuantityKind(
        name="energy",
        words="energy",
        unit="J",
        direction="minimize",
        source="predicted",
        about="energy of a forward pass of the batch on the device, where it is known",
        key="energy_j",
        example="energy<=0.5J",
        units=_JOULES,
        heading="energy J",
        axis="energy (J)",
        factor=1.0,
        digits=4,
        cell_unit="",
        text_unit=" J",
        extreme="Least energy",
        needs_device=True,
    ),
    QuantityKind(
        name="params",
        words="parameters",
        unit="count",
        direction="minimize",
        source="counted",
        about="trainable parameters",
        key="params",
        example="params<=1.2M",
        units={**_COUNTS, "B": 1e9},
        heading="params",
        axis="parameters (M)",
        factor=1e-6,
        digits=2,
        cell_unit="M",
        text_unit="M",
        extreme="Fewest parameters",
    ),
    QuantityKind(
        name="size",
        words="file size",
        unit="MB",
        direction="minimize",
        source="counted",
        about="bytes of the parameters in the precision: 4 a parameter in fp32, 2 in fp16, 1 in "
        "int8",
        key="size_mb",
        example="size<=10MB",
        units=_BYTES,
        heading="size MB",
        axis="file size (MB)",
        factor=1.0,
        digits=2,
        cell_unit="",
        text_unit=" MB",
        extreme="Smallest file",
    ),
    QuantityKind(
        name="flops",
        words="FLOPs",
        unit="count",
        direction="minimize",
        source="counted",
        about="multiply-accumulates of one image",
        key="flops",
        example="flops<=100M",
        units={**_COUNTS, "T": 1e12},
        heading="MFLOPs",
        axis="FLOPs (M)",
        factor=1e-6,
        digits=1,
        cell_unit="",
        text_unit="M",
        extreme="Fewest FLOPs",
    ),
    QuantityKind(
        name="accuracy",
        words="accuracy",
        unit="%",
        direction="maximize",
        source="predicted",
        about="accuracy on the image set",
        key="accuracy",
        example="accuracy>=92%",
        units={"%": 1.0},
        heading="accuracy %",
        axis="accuracy (%)",
        factor=1.0,
        digits=2,
        cell_unit="",
        text_unit=" %",
        extreme="Most accurate",
    ),
    QuantityKind(
        name="perplexity",
        words="perplexity",
        unit="",
        direction="minimize",
        source="predicted",
        about="perplexity of a language model on OpenWebText: e to the power of the mean loss of a "
        "token",
        key="perplexity",
        example="perplexity<=30",
        units={"": 1.0},
        heading="perplexity",
        axis="perplexity",
        factor=1.0,
        digits=2,
        cell_unit="",
        text_unit="",
        extreme="Lowest perplexity",
    ),
)


class _ByName(dict[str, QuantityKind]):
    """Quantities by name; one on a device, such as `"latency@RTX 3090"`, is made when it is read.

    It holds those without a device alone.
    """

    def __missing__(self, name: str) -> QuantityKind:
        base, at, device = name.partition("@")
        if not at or base not in self or not self[base].needs_device:
            raise KeyError(name)
        return self[base].on(device)


QUANTITIES = _ByName((kind.name, kind) for kind in _ALL)
COUNTED = tuple(kind.name for kind in _ALL if kind.source == "counted")
PREDICTED = tuple(kind.name for kind in _ALL if kind.source == "predicted")
# Quantities of which a limit holds with a probability; the others are computed from the network.
_RISKY = frozenset({"accuracy", "perplexity", "latency", "throughput", "energy"})
# Quantities that a trained network is judged by.
QUALITIES = ("accuracy", "perplexity")
# Other names that people type. NAS benchmarks call multiply-accumulates FLOPs, and so does nasplug.
ALIASES = {"macs": "flops", "fps": "throughput"}


def canonical_name(name: str) -> str:
    """Name of a quantity that nasplug uses, such as `"flops"` for `"macs"`."""
    base, at, device = name.partition("@")
    return f"{ALIASES.get(base, base)}{at}{device}"


def on_device(name: str, device: str) -> str:
    """Name or key of a quantity on one of several devices, such as `"latency@RTX 3090"`."""
    return f"{name}@{device}"


def without_device(name: str) -> str:
    """Name or key of a quantity without the device that it may have."""
    return name.partition("@")[0]


def quantity_named(word: str) -> QuantityKind | None:
    """The quantity of a name, of another name for it, or of its key; None for an unknown one."""
    name, at, device = canonical_name(word).partition("@")
    kind = QUANTITIES.get(name) or next((k for k in _ALL if k.key == name), None)
    if kind is None or not at:
        return kind
    return kind.on(device) if kind.needs_device else None


def images_per_second(latency_ms: Number, images: int) -> Number:
    """Throughput of a batch with a latency in ms; or the latency of one with a throughput."""
    return 1e3 * images / latency_ms
