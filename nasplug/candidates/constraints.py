"""Constraints in physical units, such as `latency<=5ms`, read from text; and their devices."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from nasplug.devices.hardware import hardware as device_named
from nasplug.objectives import Objective, check_device
from nasplug.predictors.hardware import Hardware
from nasplug.quantities import (
    ALIASES,
    QUANTITIES,
    canonical_name,
    on_device,
    quantity_named,
)
from nasplug.search_spaces import InputError
from nasplug.search_spaces.errors import closest

__all__ = [
    "Constraint",
    "Devices",
    "checked_devices",
    "for_devices",
    "parse_constraint",
    "parse_constraints",
]

# A device by its name, by its path or as it is; or several of them.
Devices = str | os.PathLike[str] | Hardware | Sequence[str | os.PathLike[str] | Hardware] | None

# Range of a bound, in the canonical unit.
LEAST, MOST = 1e-9, 1e18
_FORM = re.compile(r"\s*([^<>=]*?)\s*([<>=]+)\s*(.*?)\s*", re.DOTALL)
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*)", re.ASCII | re.DOTALL)
# A wrong input can be a whole file: quote no more than this of it.
_QUOTED = 80


@dataclass(frozen=True)
class Constraint:
    """A bound on a predicted quantity, to be met with a stated probability.

    Attributes:
        name: The quantity, a name of `nasplug.quantities.QUANTITIES`, perhaps with a device.
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
        base, at, device = self.name.partition("@")
        if base not in QUANTITIES:
            raise InputError(
                f"unknown quantity {self.name!r} in a constraint; known: "
                f"{closest(self.name, QUANTITIES)}"
            )
        if at:
            check_device(base, device, f"constraint {self.name!r}")
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
    def shown(self) -> str:
        """The text for readers, in the unit that makes it short: `flops<=2G`, `memory<=1GB`."""
        units = QUANTITIES[self.name].units
        if "img/s" in units:
            return str(self)
        texts = [f"{self.bound / f:.12g}{u}" for u, f in units.items() if self.bound >= f > 1]
        texts = [text for text in texts if "e" not in text and _bound(text, units) == self.bound]
        own = str(self).removeprefix(f"{self.name}{self.sense}")
        return f"{self.name}{self.sense}{min([own, *texts], key=len)}"

    @property
    def is_upper(self) -> bool:
        """Whether the bound is the largest allowed value, not the smallest."""
        return self.sense == "<="


def parse_constraint(text: str, probability: float = 0.9) -> Constraint:
    """Read a constraint such as `latency<=5ms`, `params <= 1.2M` or `accuracy>=92%`.

    Args:
        text: Quantity, `<=` or `>=`, number and unit. A quantity of a device may name it, as in
            `latency@RTX 3090<=5ms`. A latency needs us, µs, ms or s; memory and
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
    base, at, device = (part.strip() for part in canonical_name(name).partition("@"))
    if base not in QUANTITIES:
        known = closest(base, [*QUANTITIES, *ALIASES])
        raise InputError(
            f"unknown quantity {base!r} in constraint {quoted}; known: {known}"
            if base
            else f"constraint {quoted} names no quantity; write it like latency<=5ms"
        )
    if at:
        check_device(base, device, f"constraint {quoted}")
    name, kind = f"{base}{at}{device}", QUANTITIES[base]
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
    bound = _scaled(digits, kind.units[unit])
    if not LEAST <= bound <= MOST:
        raise InputError(
            f"the bound in constraint {quoted} is not a number from {LEAST:g} to {MOST:g}"
            f"{'' if kind.unit == 'count' else f' {kind.unit}'}; write it like {example}"
        )
    if base == "accuracy" and bound > 100:
        raise InputError(
            f"the bound in constraint {quoted} is above 100 %; write it like {example}"
        )
    return Constraint(name, bound, kind.unit, sense, probability)


def _bound(text: str, units: Mapping[str, float]) -> float | None:
    """The bound that a number and a unit stand for; None without a number."""
    number = _NUMBER.fullmatch(text)
    return _scaled(number[1], units[number[2]]) if number else None


def _scaled(digits: str, factor: float) -> float:
    # Decimal scaling keeps "0.005 s" at exactly 5 ms where a float product would not.
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
    _check_once(read)
    return read


def _check_once(constraints: Sequence[Constraint]) -> None:
    """Check that no quantity is bounded twice on one side."""
    seen: set[tuple[str, str]] = set()
    for constraint in constraints:
        if (constraint.name, constraint.sense) in seen:
            raise InputError(
                f"{constraint.name} has two bounds with {constraint.sense}; keep the stricter one"
            )
        seen.add((constraint.name, constraint.sense))


def checked_devices(hardware: Devices, constraints: Sequence[Constraint]) -> tuple[Hardware, ...]:
    """The devices, by name, path or as they are; one must be there if a latency is bounded.

    Raises:
        InputError: If a device is unknown or given twice, or none is there for a constraint.
    """
    several = isinstance(hardware, Sequence) and not isinstance(hardware, str)
    named = hardware if several else () if hardware is None else (hardware,)
    devices = tuple(device_named(item) for item in named)  # type: ignore[union-attr,arg-type]
    names = [device.name for device in devices]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"the device {twice} is given twice; give each device once")
    bounded = [c.name for c in constraints if QUANTITIES[c.name].needs_device]
    if not devices and bounded:
        raise InputError(f"a constraint on {bounded[0]} needs a device; name one, such as RTX 3090")
    return devices


_Named = TypeVar("_Named", Constraint, Objective)


def for_devices(items: Sequence[_Named], devices: Sequence[Hardware]) -> tuple[_Named, ...]:
    """Limits or objectives with the devices of a search.

    With several devices each quantity that a device decides gets the name of one: a quantity
    without a name stands for that on every device. With a single device none has a name.

    Args:
        items: Limits, or objectives by the name or the key of their quantity; names of devices are
            in any spelling.
        devices: The devices of the search, which may be none.

    Raises:
        InputError: If a quantity names a device that the search does not have.
    """
    named: list[_Named] = []
    for item in items:
        base, at, device = item.name.partition("@")
        kind = quantity_named(base)
        if kind is None or not kind.needs_device or base not in (kind.name, kind.key):
            named.append(item)
            continue
        chosen = [_device_of(item.name, device, devices)] if at else devices
        if len(devices) > 1:
            named += [replace(item, name=on_device(base, d.name)) for d in chosen]
        else:
            named.append(replace(item, name=base))
    if all(isinstance(item, Constraint) for item in named):
        _check_once(named)  # type: ignore[arg-type]
    return tuple(named)


def _device_of(name: str, word: str, devices: Sequence[Hardware]) -> Hardware:
    """The device of a search that a word means, as in `hardware`."""
    for device in devices:
        if word == device.name:
            return device
    same = []
    if devices:
        meant = device_named(word)
        same = [device for device in devices if device.name == meant.name]
    if not same:
        has = f"has {', '.join(d.name for d in devices)}" if devices else "has no device"
        raise InputError(
            f"{name} names a device that the search does not have: it {has}; give it with --hw, "
            "too, which may be repeated"
        )
    return same[0]
