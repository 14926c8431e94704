"""PyTorch modules and examples as they are handed over, and as they are after a forward pass."""

from __future__ import annotations

import gc
import inspect
import random
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from nasplug.search_spaces.errors import InputError

__all__ = ["arguments_of", "drop_size_checks", "named_parameters", "undisturbed", "unwrapped"]

_CONTAINERS = (dict, list, set)


def unwrapped(module: Any) -> torch.nn.Module:
    """The module that a compiled or a parallel one wraps, or that an exported program holds.

    Raises:
        InputError: If it is no module.
    """
    if hasattr(module, "_orig_mod"):
        return unwrapped(module._orig_mod)
    if isinstance(module, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
        return unwrapped(module.module)
    if isinstance(module, torch.export.ExportedProgram):
        return module.module()
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"expected a torch.nn.Module, got a {type(module).__name__}")
    return module


class _Unchecked(torch.nn.Module):
    """Module in place of the checks of an exported program."""

    def forward(self, *args: Any, **kwargs: Any) -> None:
        """Accept any arguments."""


def drop_size_checks(module: torch.nn.Module) -> None:
    """Let an exported program take inputs of other sizes than its example's, within `undisturbed`.

    The program checks sizes even where none of its operators has them written down.
    """
    if not isinstance(module, torch.fx.GraphModule):
        return
    if "_guards_fn" in module._modules:
        module._modules["_guards_fn"] = _Unchecked()
    for key, hook in list(module._forward_pre_hooks.items()):
        if getattr(hook, "__module__", "").startswith("torch.export"):
            del module._forward_pre_hooks[key]


def arguments_of(module: torch.nn.Module, example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of a forward pass.

    Args:
        module: The module.
        example: One argument; a tuple or list of several; a dictionary of keyword arguments; or a
            tuple of positional arguments and a dictionary of others, as `torch.export` takes them.

    Raises:
        InputError: If the module takes only some of the keyword arguments, or needs others too.
    """
    if isinstance(example, dict):
        return _keywords_of(module, example)
    if isinstance(example, list) or type(example) is tuple:
        if len(example) == 2 and isinstance(example[0], tuple) and isinstance(example[1], dict):
            return example[0], dict(example[1])
        return tuple(example), {}
    return (example,), {}


def _keywords_of(
    module: torch.nn.Module, example: dict[Any, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A dictionary as keyword arguments, or as the one argument of a module that takes others."""
    names: set[Any] = set()
    try:
        signature = inspect.signature(module.forward)
        names.update(signature.parameters)
        signature.bind(**example)
    except (TypeError, ValueError) as error:
        if names.isdisjoint(example):
            return (example,), {}
        raise InputError(
            f"the example does not fit the forward pass of {type(module).__name__}: {error}"
        ) from None
    return (), dict(example)


def named_parameters(module: torch.nn.Module) -> dict[int, tuple[str, int]]:
    """Name and number of elements of each parameter of a module, by its `id`.

    A parameter that packs others, such as a quantised one, is known by the largest of them.

    Raises:
        InputError: If a parameter of a lazy module has no shape.
    """
    named = {}
    for name, parameter in module.named_parameters():
        if isinstance(parameter, torch.nn.parameter.UninitializedParameter):
            raise InputError(f"its parameter {name} has no shape yet; run it once on an example")
        tensor: Any = parameter
        while hasattr(tensor, "__tensor_flatten__"):
            names, _ = tensor.__tensor_flatten__()
            tensor = max((getattr(tensor, part) for part in names), key=torch.numel)
        named[id(tensor)] = (name, parameter.numel())
    return named


@contextmanager
def undisturbed(module: torch.nn.Module) -> Iterator[None]:
    """Keep a module in evaluation mode for a block, and leave all as it was before the block.

    That includes attributes of the module, hooks, and the state of random generators.
    """
    parts = list(module.modules())
    states = [_State(part.__dict__) for part in parts]
    numpy = sys.modules.get("numpy")
    drawn = random.getstate()
    numpy_drawn = None if numpy is None else numpy.random.get_state()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    # Thousands of small objects are made that stay: a collection would visit all others in vain.
    collects = gc.isenabled()
    gc.disable()
    try:
        for part in parts:
            part.__dict__["training"] = False
        torch.backends.mha.set_fastpath_enabled(False)
        with (
            torch.random.fork_rng(devices),
            torch.no_grad(),
            _uncompiled(),
            torch._C._AutoDispatchBelowADInplaceOrView(),
        ):
            yield
    finally:
        if collects:
            gc.enable()
        torch.backends.mha.set_fastpath_enabled(fast_path)
        random.setstate(drawn)
        if numpy is not None:
            numpy.random.set_state(numpy_drawn)
        for state in states:
            state.restore()


def _uncompiled() -> AbstractContextManager[None]:
    """Run functions that are compiled as they were written."""
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return stance


class _State:
    """Attributes of an object, and the items of those that are containers."""

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes
        self.items = dict(attributes)
        # Most of them are hooks, and empty.
        self.containers = [
            (value, value.copy() if value else ())
            for value in attributes.values()
            if isinstance(value, _CONTAINERS)
        ]

    def restore(self) -> None:
        """Give the object what it had."""
        for container, items in self.containers:
            if (container or items) and not _same(container, items):
                container.clear()
                if items:
                    fill = container.extend if isinstance(container, list) else container.update
                    fill(items)
        if not _same(self.attributes, self.items):
            self.attributes.clear()
            self.attributes.update(self.items)


def _same(one: Any, other: Any) -> bool:
    """Whether two containers hold the same objects."""
    if len(one) != len(other):
        return False
    if isinstance(one, dict):
        pairs = zip(one.items(), other.items(), strict=True)
        return all(a is b and x is y for (a, x), (b, y) in pairs)
    return all(a is b for a, b in zip(one, other, strict=True))
