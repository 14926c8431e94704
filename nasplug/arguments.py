"""Checks of arguments that several commands share; each check raises `InputError`."""

from __future__ import annotations

from nasplug.search_spaces import InputError, SearchSpace
from nasplug.search_spaces import space as space_named

__all__ = [
    "checked_count",
    "checked_dataset",
    "checked_probability",
    "checked_seed",
    "checked_space",
    "is_registered",
]


def checked_space(space: str | SearchSpace) -> SearchSpace:
    """Open a space by its name; a space itself is returned."""
    return space_named(space) if isinstance(space, str) else space


def is_registered(space: SearchSpace) -> bool:
    """Whether the name of a space stands for this very space."""
    try:
        return space_named(space.name) is space
    except InputError:
        return False


def checked_count(value: int, what: str) -> int:
    """Check that a value is a whole number of at least 1; `what` names it in the message."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{what} {value!r} is not a whole number of at least 1")
    return value


def checked_probability(probability: float) -> float:
    """Check that a probability lies strictly between 0 and 1."""
    if not 0 < probability < 1:
        raise InputError(f"probability {probability!r} is not strictly between 0 and 1")
    return probability


def checked_seed(seed: int) -> int:
    """Check that a seed is a whole number that every generator takes."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise InputError(f"seed {seed!r} is not a whole number from 0 to 4294967295")
    return seed


def checked_dataset(space: SearchSpace, dataset: str | None) -> str:
    """Check that the space knows an image set; its first image set for None."""
    if dataset is None:
        return space.tasks[0]
    if dataset not in space.tasks:
        raise InputError(
            f"unknown data set {dataset!r}; space {space.name} has {', '.join(space.tasks)}"
        )
    return dataset
