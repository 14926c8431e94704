"""Predicted intervals: their numbers, and those of latencies as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["DIGITS", "WIDEST", "in_words", "interval_of", "is_usable", "magnitude", "shown"]

# Digits after the point in results, few enough to be equal on every machine.
DIGITS = 6
# Largest factor between the ends of an interval whose numbers are shown.
WIDEST = 10.0
# Names of the powers of ten, from a thousandth on.
_ORDERS = ["thousandths", "hundredths", "tenths", "ones", "tens", "hundreds", "thousands"]
_ORDERS += ["ten thousands", "hundred thousands", "millions"]
_SMALLEST = -3
ENDS = ("mean", "lower", "upper")


def interval_of(ends: Sequence[float], unit: str) -> dict[str, Any]:
    """Mean, lower and upper end of a predicted quantity, rounded for tables and JSON.

    A value in % lies from 0 to 100. A latency, in ms, also has `"usable"`: whether its interval is
    narrow enough for its numbers to mean something.
    """
    shown = np.clip(ends, 0.0, 100.0) if unit == "%" else np.asarray(ends)
    interval: dict[str, Any] = {
        name: round(end, DIGITS) for name, end in zip(ENDS, shown.tolist(), strict=True)
    }
    if unit == "ms":
        interval["usable"] = is_usable(ends[1], ends[2])
    return interval


def is_usable(lower: float, upper: float) -> bool:
    """Whether an interval of a latency is narrow enough for its numbers to mean something."""
    # NaN, from a predictor without intervals, leaves the numbers usable.
    return not (lower <= 0 or upper > WIDEST * lower)


def shown(ends: Mapping[str, float], form: str) -> dict[str, str]:
    """Write `"mean"`, `"lower"` and `"upper"` of a latency as text.

    Numbers of a usable interval are written in a format such as `".3f"`, those of another one as
    their order of magnitude, such as `"tens"`.
    """
    numbers = {end: float(ends[end]) for end in ENDS}
    # A lower end that was rounded for JSON may have become 0.
    if ends.get("usable", is_usable(numbers["lower"], numbers["upper"])):
        return {end: f"{number:{form}}" for end, number in numbers.items()}
    return {end: magnitude(number) for end, number in numbers.items()}


def in_words(ends: Mapping[str, float]) -> str:
    """Write a latency in a sentence: `"4.2 ms (3 to 6)"`, or `"tens of ms (ones to hundreds)"`."""
    text = shown(ends, ".4g")
    unit = "ms" if is_usable(ends["lower"], ends["upper"]) else "of ms"
    return f"{text['mean']} {unit} ({text['lower']} to {text['upper']})"


def magnitude(number: float) -> str:
    """Name the order of magnitude of a positive number: `"tens"` for 42."""
    power = math.floor(math.log10(number)) - _SMALLEST if 0 < number < math.inf else -1
    if 0 <= power < len(_ORDERS):
        return _ORDERS[power]
    return f"below {_ORDERS[0]}" if power < 0 and number < 1 else f"beyond {_ORDERS[-1]}"
