"""Reader of PyTorch modules as graphs."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.importers.onnx_loading import first_line
from nasplug.search_spaces.importers.torch_call import Computed

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

__all__ = ["images_in", "torch_graph"]


def torch_graph(
    module: torch.nn.Module | ExportedProgram, example: Any = None, *, folds: bool = False
) -> Graph:
    """Read a network from a PyTorch module, in the canonical form of `search_spaces.canonical`.

    One forward pass in evaluation mode is recorded on tensors without values: nothing is computed,
    and the module and all random generators are left as they were. The graph equals the one that
    `onnx_graph` reads from an export of the same module.

    Args:
        module: Any module, or an exported program.
        example: Input of the module: a tensor or another single argument, a tuple of arguments, a
            dictionary of keyword arguments, or a tuple of both, as `torch.export.export` takes
            them. An exported program has its own.
        folds: Whether products of weights alone are computed once, as by a compiler, so that they
            cost nothing. A framework computes them in each pass.

    Raises:
        InputError: If the example is no input of the module, if what the module does depends on
            values of its input, or if its result does not depend on the example.
    """
    from nasplug.search_spaces.importers.torch_module import arguments_of, undisturbed, unwrapped
    from nasplug.search_spaces.importers.torch_trace import tensors_in

    if example is None and hasattr(module, "example_inputs"):
        example = module.example_inputs
    network = unwrapped(module)
    args, kwargs = arguments_of(network, example)
    if not list(tensors_in((args, kwargs))):
        raise InputError(
            "the example is to hold a tensor, such as torch.zeros(1, 3, 32, 32), or a tuple or "
            "dictionary of tensors"
        )
    name = f"the module {type(network).__name__}"
    with undisturbed(network):
        trace, ends = _traced(network, name, args, kwargs, folds)
    if not ends:
        raise InputError(f"{name} returns nothing that depends on the example")
    if trace.unknown:
        names = ", ".join(sorted(trace.unknown)[:20])
        warnings.warn(
            f"{name} has operators of unknown cost, priced by the data they move: {names}",
            stacklevel=2,
        )
    return trace.network.graph(ends)


def images_in(example: Any) -> tuple[int, ...]:
    """Sizes of the first axis of an example's tensors, which `torch_graph` reads as the images."""
    from nasplug.search_spaces.importers.torch_trace import tensors_in

    return tuple(int(tensor.shape[0]) for tensor in tensors_in(example) if tensor.dim())


def _traced(
    network: torch.nn.Module, name: str, args: Any, kwargs: Any, folds: bool
) -> tuple[Any, list[int]]:
    """Record a forward pass, and give the trace and the steps of its results."""
    import torch

    from nasplug.search_spaces.importers.torch_trace import Trace, tensors_in

    parameters = {id(p): (key, p.numel()) for key, p in network.named_parameters()}
    tensors = list(tensors_in((args, kwargs)))
    device = tensors[0].device
    trace = Trace(name, parameters, torch.device("cpu") if device.type == "meta" else device, folds)
    inputs = {id(t): trace.input(tuple(t.shape), t.dtype) for t in tensors}
    args, kwargs = copy.deepcopy((args, kwargs), dict(inputs))
    try:
        with warnings.catch_warnings(), trace:
            warnings.simplefilter("ignore")
            results = network(*args, **kwargs)
    except InputError as error:
        raise InputError(f"{name} cannot be read: {error}") from error
    except Exception as error:
        raise InputError(f"{name} cannot be read: {first_line(error)}") from error
    values = [trace.value_of(tensor) for tensor in tensors_in(results)]
    steps = dict.fromkeys(value.step for value in values if isinstance(value, Computed))
    return trace, list(steps)
