"""Checks of arguments that the sampler and the search share; each raises `InputError`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from nasplug._hardware import hardware as find_hardware
from nasplug.candidates import OBJECTIVES
from nasplug.constraints import Constraint
from nasplug.predictors.hardware import Hardware
from nasplug.search_spaces import FiniteSpace, InputError, SearchSpace
from nasplug.search_spaces import space as find_space
from nasplug.search_spaces.errors import closest

__all__ = [
    "checked_count",
    "checked_dataset",
    "checked_hardware",
    "checked_objectives",
    "checked_probability",
    "checked_seed",
    "checked_space",
]


def checked_space(space: str | SearchSpace) -> FiniteSpace:
    """A space that can be listed, by name or as it is."""
    found = find_space(space) if isinstance(space, str) else space
    if not isinstance(found, FiniteSpace):
        raise InputError(f"space {found.name!r} cannot be listed; the search scores every cell")
    return found


def checked_hardware(
    hardware: str | os.PathLike[str] | Hardware | None, constraints: Sequence[Constraint]
) -> Hardware | None:
    """The device, by name, path or as it is; it must be there if a latency is bounded."""
    if hardware is None and any(c.name == "latency" for c in constraints):
        raise InputError("a latency constraint needs hardware; name a device, such as RTX 3090")
    return None if hardware is None else find_hardware(hardware)


def checked_objectives(objectives: str | Sequence[str]) -> tuple[str, ...]:
    """One or two different names of `OBJECTIVES`."""
    names = (objectives,) if isinstance(objectives, str) else tuple(objectives)
    for name in names:
        if name not in OBJECTIVES:
            raise InputError(f"unknown objective {name!r}; known: {closest(str(name), OBJECTIVES)}")
    if len(names) not in (1, 2) or len(set(names)) != len(names):
        raise InputError(
            f"objectives {', '.join(names) or '()'}: give one, or two different ones, of "
            f"{', '.join(OBJECTIVES)}"
        )
    return names


def checked_count(value: int, what: str) -> int:
    """A whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{what} {value!r} is not a whole number of at least 1")
    return value


def checked_probability(probability: float) -> float:
    """A number strictly between 0 and 1."""
    if not 0 < probability < 1:
        raise InputError(f"probability {probability!r} is not strictly between 0 and 1")
    return probability


def checked_seed(seed: int) -> int:
    """A whole number that every generator takes."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise InputError(f"seed {seed!r} is not a whole number from 0 to 4294967295")
    return seed


def checked_dataset(space: SearchSpace, dataset: str | None) -> str:
    """An image set that the space knows; its first one for None."""
    if dataset is None:
        return space.tasks[0]
    if dataset not in space.tasks:
        raise InputError(
            f"unknown data set {dataset!r}; space {space.name} has {', '.join(space.tasks)}"
        )
    return dataset
