"""Reader of PyTorch modules as graphs."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.importers.batches import Reading, ReadNetwork, one_sample
from nasplug.search_spaces.importers.torch_call import Computed

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

    from nasplug.search_spaces.importers.torch_batches import WrittenSizes


__all__ = ["torch_graph", "torch_network"]


def torch_graph(
    module: torch.nn.Module | ExportedProgram,
    example: Any = None,
    *,
    autocast: str | None = None,
    folds: bool = False,
) -> Graph:
    """Read a network from a PyTorch module, in the canonical form of `search_spaces.canonical`.

    The graph is that of one image, unless the batch is fixed; see `torch_network`, which says so.
    It equals the one that `onnx_graph` reads from an export of the same module.

    Args:
        module: Any module, or an exported program.
        example: Input of the module: a tensor or another single argument, a tuple of arguments, a
            dictionary of keyword arguments, or a tuple of both, as `torch.export.export` takes
            them. An exported program has its own. Values count for integers and truths alone,
            such as lengths and masks.
        autocast: Type of PyTorch's automatic mixed precision, `"float16"` or `"bfloat16"`; None
            for none.
        folds: Whether products of weights alone are computed once, as by a compiler, so that they
            cost nothing. A framework computes them in each pass.

    Raises:
        InputError: If the example is no input of the module, if what the module does depends on
            values of its input, or if its result does not depend on the example.
    """
    return torch_network(module, example, autocast=autocast, folds=folds).graph


def torch_network(
    module: torch.nn.Module | ExportedProgram,
    example: Any = None,
    *,
    autocast: str | None = None,
    folds: bool = False,
) -> ReadNetwork:
    """Read a network from a PyTorch module, with its batch; see `torch_graph` for the arguments.

    A forward pass in evaluation mode is recorded on tensors without values: nothing is computed,
    and the module and all random generators are left as they were. Where the example holds several
    images, a second pass on one of them tells whether the network treats them independently.
    """
    import torch

    from nasplug.search_spaces.importers.torch_autocast import checked_autocast
    from nasplug.search_spaces.importers.torch_batches import WrittenSizes
    from nasplug.search_spaces.importers.torch_module import (
        arguments_of,
        drop_size_checks,
        undisturbed,
        unwrapped,
    )
    from nasplug.search_spaces.importers.torch_tensors import tensors_in

    if example is None:
        example = getattr(module, "example_inputs", None)
    checked_autocast(autocast)
    network = unwrapped(module)
    args, kwargs = arguments_of(network, example)
    tensors = list(tensors_in((args, kwargs)))
    if any(tensor.is_nested for tensor in tensors):
        raise InputError("the example has a nested tensor; give tensors of one shape, padded")
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if not shapes:
        raise InputError(
            "the example is to hold a tensor, such as torch.zeros(1, 3, 32, 32), or a tuple or "
            "dictionary of tensors"
        )
    name = f"the module {type(network).__name__}"

    first = WrittenSizes() if isinstance(network, torch.fx.GraphModule) else None

    def read(times: int = 0, axes: Sequence[int | None] = ()) -> Reading:
        """Read at the shapes of the example, or with 1 in place of `times` images."""
        sizes = first
        if times:
            drop_size_checks(network)
            sizes = None if first is None else WrittenSizes(first, times)
        return _reading(network, name, args, kwargs, axes, autocast, folds, sizes)

    with undisturbed(network):
        return one_sample(read(), shapes, read)


def _reading(
    network: torch.nn.Module,
    name: str,
    args: Any,
    kwargs: Any,
    axes: Sequence[int | None],
    autocast: str | None,
    folds: bool,
    sizes: WrittenSizes | None,
) -> Reading:
    """Record a forward pass, with size 1 on the given axis of each input."""
    import torch

    from nasplug.search_spaces.importers.torch_conversions import ConvertingTrace
    from nasplug.search_spaces.importers.torch_module import named_parameters
    from nasplug.search_spaces.importers.torch_places import failure
    from nasplug.search_spaces.importers.torch_tensors import tensors_in

    tensors = list(tensors_in((args, kwargs)))
    device = tensors[0].device
    device = torch.device("cpu") if device.type == "meta" else device
    try:
        parameters = named_parameters(network)
    except InputError as error:
        raise InputError(f"{name} cannot be read: {error}") from None
    trace = ConvertingTrace(name, parameters, device, folds)
    trace.sizes = sizes
    trace.autocast = None if autocast is None else getattr(torch, autocast)
    inputs: dict[int, Any] = {}
    for tensor, axis in zip_longest(tensors, axes):
        inputs[id(tensor)] = trace.input(tensor if axis is None else tensor.narrow(axis, 0, 1))
    args, kwargs = copy.deepcopy((args, kwargs), inputs)
    try:
        with warnings.catch_warnings(), trace:
            warnings.simplefilter("ignore")
            results = network(*args, **kwargs)
    except InputError as error:
        raise InputError(f"{name} cannot be read: {error}") from error
    except Exception as error:
        raise InputError(f"{name} cannot be read: {failure(error)}") from error
    values = [trace.value_of(tensor) for tensor in tensors_in(results)]
    steps = list(dict.fromkeys(v.step for v in values if isinstance(v, Computed)))
    if not steps:
        raise InputError(f"{name} returns nothing that depends on the example")
    # A second reading has the same operators.
    if trace.network.unknown and not axes:
        names = ", ".join(sorted(trace.network.unknown)[:20])
        warnings.warn(
            f"{name} has operators of unknown cost, priced by the data they move: {names}",
            stacklevel=5,
        )
    return Reading(trace.network, steps)
