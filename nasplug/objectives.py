"""Quantities that a search optimises or bounds, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nasplug.search_spaces import InputError
from nasplug.search_spaces.errors import closest

__all__ = [
    "COSTS",
    "MFLOPS",
    "OBJECTIVES",
    "PROXIES",
    "QUANTITY_ALIASES",
    "Objective",
    "canonical_name",
    "checked_objectives",
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
    "accuracy": Objective("accuracy", "maximize", "%"),
    "latency": Objective("latency", "minimize", "ms"),
    "flops": Objective("flops", "minimize", "count"),
    "params": Objective("params", "minimize", "count"),
}

# Stand-ins for an unknown accuracy: within the limits, more of them tends to be better. Both are
# among the zero-cost measures of NAS-Bench-Suite-Zero (Krishnakumar et al., NeurIPS 2022).
PROXIES = {name: Objective(name, "maximize", "count") for name in ("flops", "params")}

COSTS = ("flops", "params")
# NAS benchmarks call multiply-accumulates FLOPs, and so does nasplug; others call them MACs.
QUANTITY_ALIASES = {"macs": "flops"}
MFLOPS = "MFLOPs: millions of multiply-accumulates per image"


def canonical_name(name: str) -> str:
    """Name of a quantity that nasplug uses, such as `"flops"` for `"macs"`."""
    return QUANTITY_ALIASES.get(name, name)


def checked_objectives(objectives: str | Sequence[str]) -> tuple[Objective, ...]:
    """Look up one or two different quantities by name.

    Args:
        objectives: Names of `OBJECTIVES`, or `more` and a name of `PROXIES`.

    Raises:
        InputError: If a name is unknown, or there are not one or two different quantities.
    """
    words = (objectives,) if isinstance(objectives, str) else tuple(objectives)
    words = tuple(" ".join(map(canonical_name, str(word).split(" "))) for word in words)
    by_name = {**OBJECTIVES, **{f"more {name}": proxy for name, proxy in PROXIES.items()}}
    for word in words:
        if word not in by_name:
            raise InputError(f"unknown objective {word!r}; known: {closest(word, by_name)}")
    chosen = tuple(by_name[word] for word in words)
    if len(chosen) not in (1, 2) or len({o.name for o in chosen}) != len(chosen):
        raise InputError(
            f"objectives are {', '.join(words) or '()'}; choose one, or two different ones, from "
            f"{', '.join(by_name)}"
        )
    return chosen
