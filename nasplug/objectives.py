"""Quantities that a search optimises or bounds, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from nasplug.quantities import ALIASES, QUANTITIES, canonical_name, on_device, quantity_named
from nasplug.search_spaces import InputError
from nasplug.search_spaces.errors import closest

__all__ = [
    "COSTS",
    "DIRECTIONS",
    "MFLOPS",
    "OBJECTIVES",
    "PROXIES",
    "Objective",
    "canonical_name",
    "check_device",
    "checked_objectives",
    "split_direction",
    "with_key",
]


@dataclass(frozen=True)
class Objective:
    """A quantity to optimise: its name, `"maximize"` or `"minimize"`, and its unit."""

    name: str
    direction: Literal["maximize", "minimize"]
    unit: str

    @property
    def sign(self) -> float:
        """Factor that turns the quantity into one to minimise: −1 or 1."""
        return -1.0 if self.direction == "maximize" else 1.0


OBJECTIVES = {
    kind.name: Objective(kind.name, kind.direction, kind.unit) for kind in QUANTITIES.values()
}

# Stand-ins for an unknown accuracy: within the limits, more of them tends to be better. Both are
# among the zero-cost measures of NAS-Bench-Suite-Zero (Krishnakumar et al., NeurIPS 2022).
PROXIES = {name: Objective(name, "maximize", "count") for name in ("flops", "params")}

COSTS = ("flops", "params")
MFLOPS = "MFLOPs: millions of multiply-accumulates per image"
# Word of a direction -> the direction.
DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {
    "max": "maximize",
    "maximize": "maximize",
    "min": "minimize",
    "minimize": "minimize",
}
# A predicted front of more objectives is nearly the whole space.
MOST = 4


def checked_objectives(objectives: str | Sequence[str]) -> tuple[Objective, ...]:
    """Look up one to four different quantities by name.

    Args:
        objectives: Names of `OBJECTIVES`, of which each may have a device and a direction, such as
            `"memory:min"` or `"latency@RTX 3090:min"`; or `more` and a name of `PROXIES`.

    Raises:
        InputError: If a name or a direction is unknown, or there are not one to four different
            quantities.
    """
    words = (objectives,) if isinstance(objectives, str) else tuple(objectives)
    chosen = tuple(_objective(str(word)) for word in words)
    if not 1 <= len(chosen) <= MOST or len({o.name for o in chosen}) != len(chosen):
        raise InputError(
            f"objectives are {', '.join(map(str, words)) or '()'}; choose one, or up to {MOST} "
            f"different ones, from {', '.join(_by_name())}"
        )
    return chosen


def _by_name() -> dict[str, Objective]:
    return {**OBJECTIVES, **{f"more {name}": proxy for name, proxy in PROXIES.items()}}


def split_direction(text: str) -> tuple[str, str, str]:
    """Split `memory:min` into the name, a colon and the direction; the last two may be empty.

    The name of a device may hold colons of its own.
    """
    name, colon, direction = (part.strip() for part in text.partition(":"))
    if "@" in name and ":" in direction:
        name, colon, direction = (part.strip() for part in text.rpartition(":"))
    return name, colon, direction


def with_key(text: str) -> str:
    """An objective with the key of its quantity, such as `latency_ms:min` for `latency:min`."""
    name, colon, direction = split_direction(text)
    kind = quantity_named(name)
    return text if kind is None else f"{kind.key}{colon}{direction}"


def _objective(text: str) -> Objective:
    """Read an objective such as `accuracy`, `memory:min` or `more flops`."""
    word, colon, direction = split_direction(text)
    base, at, _ = word.partition("@")
    first, _, last = base.strip().rpartition(" ")
    kind = quantity_named(last)
    found = None if kind is None else _by_name().get(f"{first} {kind.name}".strip())
    if found is None or (first and (colon or at)):
        known = closest(word, [*_by_name(), *ALIASES])
        raise InputError(f"unknown objective {text[:80]!r}; known: {known}")
    if at:
        found = _with_device(found, word)
    if not colon:
        return found
    if direction not in DIRECTIONS:
        raise InputError(
            f"objective {text[:80]!r} has direction {direction[:80]!r}; write max or min"
        )
    return replace(found, direction=DIRECTIONS[direction])


def _with_device(objective: Objective, word: str) -> Objective:
    """An objective on the device that a word names after its @."""
    device = word.partition("@")[2].strip()
    check_device(objective.name, device, f"objective {word[:80]!r}")
    return replace(objective, name=on_device(objective.name, device))


def check_device(name: str, device: str, where: str) -> None:
    """Check that a quantity may be asked for on a named device; `where` begins the sentence.

    Raises:
        InputError: If the device has no name, or does not decide the quantity.
    """
    if not device:
        raise InputError(f"{where} names no device after its @; write it like {name}@RTX 3090")
    if not QUANTITIES[name].needs_device:
        known = ", ".join(kind.name for kind in QUANTITIES.values() if kind.needs_device)
        raise InputError(
            f"{where} has a device, but {QUANTITIES[name].words} is the same on all; leave the "
            f"device out, as only {known} may have one"
        )
