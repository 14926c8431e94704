"""Checks of arguments that the sampler and the search share; each raises `InputError`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from nasplug.candidates.constraints import Constraint
from nasplug.candidates.scoring import OBJECTIVES, PROXIES, Objective
from nasplug.devices.hardware import hardware as find_hardware
from nasplug.predictors.hardware import Hardware
from nasplug.search_spaces import InputError, SearchSpace
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
    "is_registered",
]


def checked_space(space: str | SearchSpace) -> SearchSpace:
    """A space, by name or as it is."""
    return find_space(space) if isinstance(space, str) else space


def is_registered(space: SearchSpace) -> bool:
    """Whether the name of a space means this very one."""
    try:
        return find_space(space.name) is space
    except InputError:
        return False


def checked_hardware(
    hardware: str | os.PathLike[str] | Hardware | None, constraints: Sequence[Constraint]
) -> Hardware | None:
    """The device, by name, path or as it is; it must be there if a latency is bounded."""
    if hardware is None and any(c.name == "latency" for c in constraints):
        raise InputError("a latency constraint needs hardware; name a device, such as RTX 3090")
    return None if hardware is None else find_hardware(hardware)


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
