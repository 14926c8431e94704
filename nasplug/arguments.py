"""Checks of arguments that several commands share; each check raises `InputError`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from nasplug.search_spaces import Architecture, InputError, SearchSpace
from nasplug.search_spaces import names as space_names
from nasplug.search_spaces import space as space_named

if TYPE_CHECKING:
    import onnx

__all__ = [
    "ONNX_FILES",
    "OWN_NETWORKS",
    "can_export",
    "checked_count",
    "checked_dataset",
    "checked_probability",
    "checked_seed",
    "checked_space",
    "is_registered",
    "onnx_writer",
]

# Stands for the space of the networks of a user's own ONNX files.
ONNX_FILES = "ONNX files"
# Stand for the space of networks of a table that are of no space, or of several.
OWN_NETWORKS = (ONNX_FILES, "networks")
# Larger counts are slips of the keyboard, and do not fit into the integers of arrays.
_MOST = 10**12
# Space of cells -> space of the whole networks that the benchmark built from them.
_NETWORKS = {"nb201": "nnlqp:nasbench201"}


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
    """Check that a value is a whole number from 1 to 10¹²; `what` names it in the message."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{what} {value!r} is not a whole number of at least 1")
    if value > _MOST:
        raise InputError(f"{what} {value!r:.40} is too large; the most is {_MOST:,}")
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
            f"unknown image set {dataset!r}; space {space.name} has {', '.join(space.tasks)}"
        )
    return dataset


def can_export(space: SearchSpace) -> bool:
    """Whether networks of a space can be written as ONNX models."""
    return space.writes_onnx or space.name in _NETWORKS


def onnx_writer(
    space: SearchSpace,
) -> Callable[[Architecture, int, int, str | None], onnx.ModelProto]:
    """Function from architecture, seed, batch size and image set to an ONNX model.

    Raises:
        InputError: If the space does not write networks.
    """
    networks = space_named(_NETWORKS[space.name]) if space.name in _NETWORKS else space
    if not networks.writes_onnx:
        writer = getattr(networks, "writer", None)
        if writer is not None:
            raise InputError(
                f"networks of space {space.name} are written by the package {writer}, which is "
                f"not installed; install it with pip install {writer}"
            )
        writing = [name for name in space_names() if space_named(name).writes_onnx]
        raise InputError(
            f"space {space.name!r} cannot write its networks as ONNX files; these spaces can: "
            f"{', '.join([*_NETWORKS, *writing])}"
        )

    def write(
        arch: Architecture, seed: int, batch_size: int, dataset: str | None
    ) -> onnx.ModelProto:
        network = arch if networks is space else networks.parse(arch.text)
        # Spaces of other packages may know no image sets.
        tasks = () if dataset is None else (dataset,)
        return networks.to_onnx(network, seed, batch_size, *tasks)

    return write
