"""Predicted latencies as text: a number where it says something, else its order of magnitude."""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["WIDEST", "is_usable", "magnitude", "narrowing", "shown"]

# An interval whose ends lie further apart than this factor tells the order of magnitude alone.
WIDEST = 20.0
# By the power of ten, from a thousandth on.
_ORDERS = ["thousandths", "hundredths", "tenths", "ones", "tens", "hundreds", "thousands"]
_ORDERS += ["ten thousands", "hundred thousands", "millions"]
_SMALLEST = -3
# Evidence of a latency -> what an interval is too wide for.
_CAUSES = {
    "measured": "what was measured on {0} is unlike {1}",
    "few-shot": "your measurements of {0} leave open how fast it runs {1}",
    "zero-shot": "{0} was not measured",
}


def is_usable(lower: float, upper: float) -> bool:
    """Whether an interval of a latency is narrow enough for its numbers to say something."""
    # A predictor that gives no interval has said nothing against its numbers.
    return not (lower <= 0 or upper > WIDEST * lower)


def shown(ends: Mapping[str, float], form: str) -> dict[str, str]:
    """`"mean"`, `"lower"` and `"upper"` of a latency as text.

    Args:
        ends: The numbers, in the unit that stands beside the text, and perhaps `"usable"`.
        form: How a number is written where the interval is usable, such as `".3f"`; else only its
            order of magnitude is told, such as `"tens"`.
    """
    numbers = {end: float(ends[end]) for end in ("mean", "lower", "upper")}
    # What was rounded for JSON may have lost its lower end.
    if ends.get("usable", is_usable(numbers["lower"], numbers["upper"])):
        return {end: f"{number:{form}}" for end, number in numbers.items()}
    return {end: magnitude(number) for end, number in numbers.items()}


def magnitude(number: float) -> str:
    """The order of magnitude of a positive number in a word: of 42 `"tens"`."""
    power = math.floor(math.log10(number)) - _SMALLEST if 0 < number < math.inf else -1
    if 0 <= power < len(_ORDERS):
        return _ORDERS[power]
    return f"below {_ORDERS[0]}" if power < 0 and number < 1 else f"beyond {_ORDERS[-1]}"


def narrowing(evidence: str, device: str, network: str, space: str = "nnlqp") -> str:
    """A sentence on why only the order of magnitude is told, and on what would narrow it.

    Args:
        evidence: What the latency rests on, as in `Prediction`.
        device: Name of the device.
        network: What is predicted, such as `"this network"`.
        space: The space of the networks, or one whose networks are like it.
    """
    cause = _CAUSES[evidence].format(device, network)
    way = f"or calibrate the device with ten networks, which nasplug calibrate --space {space} "
    way += "--suggest 10 names"
    if evidence == "few-shot":
        # It is calibrated already.
        way = "and calibrate the device with it, too"
    return (
        f"only the order of magnitude is told, since the ends of the interval lie more than a "
        f"factor of {WIDEST:g} apart: {cause}; measure {network} there, {way}"
    )
