"""Constraints in physical units, such as `latency<=5ms`, read from text."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nasplug.devices.hardware import hardware as device_named
from nasplug.objectives import QUANTITY_ALIASES, canonical_name
from nasplug.predictors.hardware import Hardware
from nasplug.search_spaces import InputError
from nasplug.search_spaces.errors import closest

__all__ = ["Constraint", "checked_hardware", "parse_constraint", "parse_constraints"]

# Factors to the canonical unit, which is the first one of each quantity.
UNITS: dict[str, dict[str, float]] = {
    "latency": {"ms": 1.0, "us": 1e-3, "µs": 1e-3, "μs": 1e-3, "s": 1e3},
    "params": {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9},
    "flops": {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12},
    "accuracy": {"%": 1.0},
}
# Range of a bound, in the canonical unit.
LEAST, MOST = 1e-9, 1e18
_EXAMPLES = {
    "latency": "latency<=5ms",
    "params": "params<=1.2M",
    "flops": "flops<=100M",
    "accuracy": "accuracy>=92%",
}
_FORM = re.compile(r"\s*([^\s<>=]*)\s*([<>=]+)\s*(.*?)\s*", re.DOTALL)
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*)", re.ASCII | re.DOTALL)
# A wrong input can be a whole file: quote no more than this of it.
_QUOTED = 80


@dataclass(frozen=True)
class Constraint:
    """A bound on a predicted quantity, to be met with a stated probability.

    Attributes:
        name: The quantity: `"latency"`, `"params"`, `"flops"` or `"accuracy"`.
        bound: The limit, in `unit`; from `LEAST` to `MOST`.
        unit: The canonical unit: `"ms"`, `"%"` or `"count"`.
        sense: `"<="` or `">="`.
        probability: Probability with which the limit is to hold, strictly between 0 and 1.
    """

    name: str
    bound: float
    unit: str
    sense: str
    probability: float = 0.9

    def __post_init__(self) -> None:
        if self.name not in UNITS:
            raise InputError(
                f"unknown quantity {self.name!r} in a constraint; known: {', '.join(UNITS)}"
            )
        if self.unit != _canonical(self.name):
            raise InputError(
                f"the bound on {self.name} has the unit {self.unit!r}; use "
                f"{_canonical(self.name)!r}"
            )
        if self.sense not in ("<=", ">="):
            raise InputError(f"a constraint needs <= or >=, not {self.sense!r}")
        if not LEAST <= self.bound <= MOST:
            raise InputError(
                f"the bound {self.bound:g} on {self.name} is not a number from {LEAST:g} to "
                f"{MOST:g}"
            )
        if not 0 < self.probability < 1:
            raise InputError(
                f"probability {self.probability:g} is not strictly between 0 and 1, such as 0.9"
            )

    def __str__(self) -> str:
        """The text that `parse_constraint` reads back to the same bound."""
        unit = "" if self.unit == "count" else self.unit
        return f"{self.name}{self.sense}{self.bound!r}".removesuffix(".0") + unit

    @property
    def is_upper(self) -> bool:
        """Whether the bound is the largest allowed value, not the smallest."""
        return self.sense == "<="


def _canonical(name: str) -> str:
    return next(iter(UNITS[name])) or "count"


def parse_constraint(text: str, probability: float = 0.9) -> Constraint:
    """Read a constraint such as `latency<=5ms`, `params <= 1.2M` or `accuracy>=92%`.

    Args:
        text: Quantity, `<=` or `>=`, number and unit. A latency needs us, µs, ms or s; an accuracy
            needs %; params and flops, which `macs` stands for, too, may carry k, M, G.
        probability: Probability with which the limit is to hold.

    Raises:
        InputError: If it is no text or has another form, an unknown quantity or a wrong unit, or
            if the bound is out of range.
    """
    if not isinstance(text, str):
        raise InputError(f"constraint {text!r} is no text; write it like latency<=5ms")
    quoted = repr(text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…")
    form = _FORM.fullmatch(text)
    if form is None:
        raise InputError(f"constraint {quoted} has no <= or >=; write it like latency<=5ms")
    name, sense, value = form.groups()
    name = canonical_name(name)
    if name not in UNITS:
        known = closest(name, [*UNITS, *QUANTITY_ALIASES])
        raise InputError(
            f"unknown quantity {name!r} in constraint {quoted}; known: {known}"
            if name
            else f"constraint {quoted} names no quantity; write it like latency<=5ms"
        )
    example = _EXAMPLES[name]
    if sense not in ("<=", ">="):
        raise InputError(f"constraint {quoted} has {sense}; use <= or >=, like {example}")
    number = _NUMBER.fullmatch(value)
    if number is None:
        raise InputError(
            f"the bound in constraint {quoted} is not a number; write it like {example}"
        )
    digits, unit = number.groups()
    units = UNITS[name]
    if unit not in units:
        shown = ", ".join(u for u in units if u not in ("", "μs", "K"))
        what = f"has unknown unit {unit[:_QUOTED]!r}" if unit else "has no unit"
        raise InputError(f"the bound in constraint {quoted} {what}; use {shown}, like {example}")
    # Decimal scaling keeps "0.005 s" at exactly 5 ms where a float product would not.
    bound = _scaled(digits, units[unit])
    if not LEAST <= bound <= MOST:
        raise InputError(
            f"the bound in constraint {quoted} is not a number from {LEAST:g} to {MOST:g}"
            f"{'' if _canonical(name) == 'count' else f' {_canonical(name)}'}; write it like "
            f"{example}"
        )
    if name == "accuracy" and bound > 100:
        raise InputError(
            f"the bound in constraint {quoted} is above 100 %; write it like {example}"
        )
    return Constraint(name, bound, _canonical(name), sense, probability)


def _scaled(digits: str, factor: float) -> float:
    exponent = round(math.log10(factor))
    mantissa, _, power = digits.lower().partition("e")
    # int() refuses exponents of thousands of digits; such a number is 0 or infinite anyway.
    shift = int(power[:8] or 0) + exponent
    return float(f"{mantissa}e{shift}")


def parse_constraints(
    constraints: str | Constraint | Iterable[str | Constraint] | None, probability: float = 0.9
) -> tuple[Constraint, ...]:
    """Read any number of constraints.

    Args:
        constraints: Texts, or constraints that stay as they are; one alone, or None for none.
        probability: Probability of those given as text.

    Raises:
        InputError: As `parse_constraint` does, or if one quantity is bounded twice on one side.
    """
    if constraints is None:
        return ()
    if isinstance(constraints, (str, Constraint)):
        constraints = (constraints,)
    read = tuple(
        c if isinstance(c, Constraint) else parse_constraint(c, probability) for c in constraints
    )
    seen: set[tuple[str, str]] = set()
    for constraint in read:
        if (constraint.name, constraint.sense) in seen:
            raise InputError(
                f"{constraint.name} has two bounds with {constraint.sense}; keep the stricter one"
            )
        seen.add((constraint.name, constraint.sense))
    return read


def checked_hardware(
    hardware: str | os.PathLike[str] | Hardware | None, constraints: Sequence[Constraint]
) -> Hardware | None:
    """The device, by name, path or as it is; it must be there if a latency is bounded."""
    if hardware is None and any(c.name == "latency" for c in constraints):
        raise InputError("a constraint on latency needs a device; name one, such as RTX 3090")
    return None if hardware is None else device_named(hardware)
