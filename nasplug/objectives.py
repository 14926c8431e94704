"""Quantities that a search optimises or bounds, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nasplug.search_spaces import InputError
from nasplug.search_spaces.errors import closest

__all__ = ["COSTS", "OBJECTIVES", "PROXIES", "Objective", "checked_objectives"]


@dataclass(frozen=True)
class Objective:
    """A quantity to optimise: its name, `"maximize"` or `"minimize"`, and its unit."""

    name: str
    direction: Literal["maximize", "minimize"]
    unit: str

    @property
    def sign(self) -> float:
        """The factor that turns it into something to minimise."""
        return -1.0 if self.direction == "maximize" else 1.0


OBJECTIVES = {
    "accuracy": Objective("accuracy", "maximize", "%"),
    "latency": Objective("latency", "minimize", "ms"),
    "flops": Objective("flops", "minimize", "count"),
    "params": Objective("params", "minimize", "count"),
}

# Where no accuracy is known: within the limits, more of it tends to be better. Both are among the
# zero-cost measures of NAS-Bench-Suite-Zero (Krishnakumar et al., NeurIPS 2022).
PROXIES = {name: Objective(name, "maximize", "count") for name in ("flops", "params")}

COSTS = ("flops", "params")


def checked_objectives(objectives: str | Sequence[str]) -> tuple[Objective, ...]:
    """One or two different quantities: names of `OBJECTIVES`, or `more` and one of `PROXIES`."""
    words = (objectives,) if isinstance(objectives, str) else tuple(objectives)
    known = {**OBJECTIVES, **{f"more {name}": proxy for name, proxy in PROXIES.items()}}
    for word in words:
        if word not in known:
            raise InputError(f"unknown objective {word!r}; known: {closest(str(word), known)}")
    found = tuple(known[word] for word in words)
    if len(found) not in (1, 2) or len({o.name for o in found}) != len(found):
        raise InputError(
            f"objectives {', '.join(words) or '()'}: give one, or two different ones, of "
            f"{', '.join(known)}"
        )
    return found
