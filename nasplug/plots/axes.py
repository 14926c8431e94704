"""Axes of pictures: labels of quantities, scales, and limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nasplug.arrays import Array
from nasplug.choices import error_height
from nasplug.quantities import QUANTITIES, QuantityKind

__all__ = ["Axis", "Scale", "axis_of", "heights", "kind_of", "label_of", "scale_of", "shown_factor"]

# Ratio of the largest to the smallest value from which an axis is logarithmic.
_WIDE = 30.0
_KINDS = {text: kind for kind in QUANTITIES.values() for text in (kind.name, kind.key)}

Scale = Literal["linear", "log", "error"]


@dataclass(frozen=True)
class Axis:
    """Axis of one quantity.

    Attributes:
        label: Quantity and unit.
        scale: `"linear"`, `"log"`, or `"error"` for an accuracy in % by the logarithm of its error.
        maximize: Whether more is better.
        limits: Bounds in the shown unit, with their texts.
    """

    label: str
    scale: Scale
    maximize: bool
    limits: list[tuple[float, str]]


def kind_of(name: str) -> QuantityKind | None:
    """The quantity of a name or key, without the device behind an `@`; None for an unknown one."""
    return _KINDS.get(name.partition("@")[0])


def label_of(name: str, about: str = "") -> str:
    """Label of a quantity: its name, where it holds, and its unit.

    Args:
        name: Name or key of a quantity, such as `"latency"` or `"latency@Pixel 3"`, or any other
            name, which is shown in words.
        about: Words between name and unit, such as `"on T4, batch 1"`, instead of the device that
            the name has.

    Example:
        >>> label_of("latency_ms"), label_of("energy@Pixel 3"), label_of("my_score")
        ('latency (ms)', 'energy on Pixel 3 (J)', 'my score')
    """
    kind, device = kind_of(name), name.partition("@")[2]
    if kind is None:
        return name.replace("_", " ")
    about = about or f"on {device}" * bool(device)
    words, bracket, unit = kind.axis.partition(" (")
    return f"{words} {about}{bracket}{unit}" if about else kind.axis


def shown_factor(name: str) -> float:
    """Factor from the unit of a quantity's values to the one of its label."""
    kind = kind_of(name)
    return 1.0 if kind is None else kind.factor


def axis_of(
    label: str,
    values: Array,
    maximize: bool,
    limits: Sequence[tuple[float, str]] = (),
    *,
    is_accuracy: bool = False,
) -> Axis:
    """An axis with the scale that shows the values best.

    Args:
        label: Quantity and unit.
        values: Values that the axis shows, in any shape.
        maximize: Whether more is better.
        limits: Bounds in the shown unit, with their texts.
        is_accuracy: Whether the quantity is an accuracy, in % or as a fraction.
    """
    return Axis(label, scale_of(values, is_accuracy), maximize, list(limits))


def scale_of(values: Array, is_accuracy: bool) -> Scale:
    """The scale that shows values best; see `axis_of`."""
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if not finite.size or finite.min() < 0:
        return "linear"
    if is_accuracy and 1 < finite.max() <= 100:
        return "error"
    return "log" if finite.min() > 0 and finite.max() / finite.min() >= _WIDE else "linear"


def heights(scale: Scale, values: Array) -> Array:
    """Positions of values along an axis of a scale."""
    values = np.asarray(values, np.float64)
    if scale == "error":
        return error_height(values)
    return np.log10(np.maximum(values, 1e-300)) if scale == "log" else values
