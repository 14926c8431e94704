"""Constraints in physical units, such as `latency<=5ms`, read from text."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nasplug.devices.hardware import hardware as device_named
from nasplug.predictors.hardware import Hardware
from nasplug.quantities import ALIASES, QUANTITIES, canonical_name
from nasplug.search_spaces import InputError
from nasplug.search_spaces.errors import closest

__all__ = ["Constraint", "checked_hardware", "parse_constraint", "parse_constraints"]

# Range of a bound, in the canonical unit.
LEAST, MOST = 1e-9, 1e18
_FORM = re.compile(r"\s*([^\s<>=]*)\s*([<>=]+)\s*(.*?)\s*", re.DOTALL)
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*)", re.ASCII | re.DOTALL)
# A wrong input can be a whole file: quote no more than this of it.
_QUOTED = 80


@dataclass(frozen=True)
class Constraint:
    """A bound on a predicted quantity, to be met with a stated probability.

    Attributes:
        name: The quantity, a name of `nasplug.quantities.QUANTITIES`.
        bound: The limit, in `unit`; from `LEAST` to `MOST`.
        unit: The canonical unit of the quantity, such as `"ms"`, `"MB"` or `"count"`.
        sense: `"<="` or `">="`.
        probability: Probability with which the limit is to hold, strictly between 0 and 1.
    """

    name: str
    bound: float
    unit: str
    sense: str
    probability: float = 0.9

    def __post_init__(self) -> None:
        if self.name not in QUANTITIES:
            raise InputError(
                f"unknown quantity {self.name!r} in a constraint; known: "
                f"{closest(self.name, QUANTITIES)}"
            )
        unit = QUANTITIES[self.name].unit
        if self.unit != unit:
            raise InputError(f"the bound on {self.name} has the unit {self.unit!r}; use {unit!r}")
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


def parse_constraint(text: str, probability: float = 0.9) -> Constraint:
    """Read a constraint such as `latency<=5ms`, `params <= 1.2M` or `accuracy>=92%`.

    Args:
        text: Quantity, `<=` or `>=`, number and unit. A latency needs us, µs, ms or s; memory and
            size kB, MB, MiB or GB; energy J; an accuracy %; params and flops, which `macs` stands
            for, too, may carry k, M, G; throughput, which `fps` stands for, needs none.
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
    if name not in QUANTITIES:
        known = closest(name, [*QUANTITIES, *ALIASES])
        raise InputError(
            f"unknown quantity {name!r} in constraint {quoted}; known: {known}"
            if name
            else f"constraint {quoted} names no quantity; write it like latency<=5ms"
        )
    kind = QUANTITIES[name]
    example = kind.example
    if sense not in ("<=", ">="):
        raise InputError(f"constraint {quoted} has {sense}; use <= or >=, like {example}")
    number = _NUMBER.fullmatch(value)
    if number is None:
        raise InputError(
            f"the bound in constraint {quoted} is not a number; write it like {example}"
        )
    digits, unit = number.groups()
    if unit not in kind.units:
        shown = ", ".join(u for u in kind.units if u not in ("", "μs", "K", "KB"))
        what = f"has unknown unit {unit[:_QUOTED]!r}" if unit else "has no unit"
        raise InputError(f"the bound in constraint {quoted} {what}; use {shown}, like {example}")
    # Decimal scaling keeps "0.005 s" at exactly 5 ms where a float product would not.
    bound = _scaled(digits, kind.units[unit])
    if not LEAST <= bound <= MOST:
        raise InputError(
            f"the bound in constraint {quoted} is not a number from {LEAST:g} to {MOST:g}"
            f"{'' if kind.unit == 'count' else f' {kind.unit}'}; write it like {example}"
        )
    if name == "accuracy" and bound > 100:
        raise InputError(
            f"the bound in constraint {quoted} is above 100 %; write it like {example}"
        )
    return Constraint(name, bound, kind.unit, sense, probability)


def _scaled(digits: str, factor: float) -> float:
    exponent = round(math.log10(factor))
    if not math.isclose(factor, 10.0**exponent):
        # Such as 1 MiB.
        return float(digits) * factor
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
    bounded = [c.name for c in constraints if QUANTITIES[c.name].needs_device]
    if hardware is None and bounded:
        raise InputError(f"a constraint on {bounded[0]} needs a device; name one, such as RTX 3090")
    return None if hardware is None else device_named(hardware)
