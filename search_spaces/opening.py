"""Search spaces by name, and of functions that build a model from a trial."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from inspect import signature
from typing import TYPE_CHECKING, Any, overload

from nasplug.search_spaces.errors import InputError, closest
from nasplug.search_spaces.space import SearchSpace

if TYPE_CHECKING:
    from nasplug.search_spaces.builders import BuilderSpace

__all__ = ["is_builder", "names", "space"]


def names() -> list[str]:
    """Names of the spaces that are installed, plug-ins included.

    Example:
        >>> from nasplug import search_spaces
        >>> "nb201" in search_spaces.names()
        True
    """
    return sorted({entry.name for entry in entry_points(group="nasplug.spaces")})


@overload
def space(name: str) -> SearchSpace: ...


@overload
def space(
    name: Callable[[Any], Any], example: Any = None, *, label: str | None = None
) -> BuilderSpace: ...


def space(
    name: str | Callable[[Any], Any], example: Any = None, *, label: str | None = None
) -> SearchSpace:
    """Open a search space by name, or make that of a function that builds a model from a trial.

    A package adds its own space by an entry point of the group `nasplug.spaces` that names a class
    (or a function) that returns a `SearchSpace`. A class or function with an argument stands for a
    space of parts: it is called with the part's name, or without a name for the whole space.

    Args:
        name: One of `names()`, or `name:part` such as `"nnlqp:mobilenetv2"`; a function that takes
            an Optuna trial and returns a model: a PyTorch module, an ONNX model or the path of one,
            or a configuration of transformers; or the function's place, such as
            `"my_net.py:build"`. It must depend on the trial's suggestions alone.
        example: Input of the function's models, such as `torch.zeros(1, 3, 32, 32)` or
            `"1x3x32x32"`; not needed for ONNX models.
        label: Name of the function's space; by default that of its module and its own.

    Raises:
        InputError: If no installed package has a space of that name, it has no such part, or the
            function fails or suggests nothing.

    Example:
        >>> import nasplug
        >>> nasplug.space("nb201").tasks
        ('cifar10', 'cifar100', 'imagenet16-120')
        >>> nasplug.space("nnlqp:resnet").family_of(nasplug.space("nnlqp:resnet").standard)
        'resnet'
        >>> import torch
        >>> def build(trial):
        ...     return torch.nn.Linear(8, trial.suggest_int("width", 4, 64, step=4))
        >>> own = nasplug.space(build, example=torch.zeros(1, 8))
        >>> len(own), own.parse("width=16").text
        (16, 'width=16')
    """
    if isinstance(name, str) and name.endswith(".py"):
        raise InputError(
            f"{name!r} does not say which of its functions builds the networks; name it behind a "
            f"colon, such as {name + ':build'!r}"
        )
    if isinstance(name, str) and not is_builder(name):
        if example is not None or label is not None:
            raise InputError(
                "an example and a label are for the space of a function, such as my_net.py:build; "
                f"space {name!r} has its own"
            )
        return _installed(name)
    from nasplug.search_spaces.builders import load_builder, space_of

    return space_of(load_builder(name) if isinstance(name, str) else name, example, label)


def is_builder(text: str) -> bool:
    """Whether a text is the place of a function, such as `my_net.py:build`.

    Example:
        >>> from nasplug.search_spaces import is_builder
        >>> is_builder("my_net.py:build"), is_builder("nnlqp:resnet")
        (True, False)
    """
    path, colon, function = text.rpartition(":")
    return bool(colon) and path.endswith(".py") and function.isidentifier()


@cache
def _installed(name: str) -> SearchSpace:
    whole, colon, part = name.partition(":")
    entries = [entry for entry in entry_points(group="nasplug.spaces") if entry.name == whole]
    if not entries:
        raise InputError(f"unknown search space {name!r}; known: {closest(whole, names())}")
    factory = entries[0].load()
    if colon and not signature(factory).parameters:
        raise InputError(f"search space {whole!r} has no parts; leave out {colon + part!r}")
    opened: SearchSpace = factory(part) if colon else factory()
    return opened
