"""ONNX models of networks that a builder returned, to be run, timed or exported.

A module is recorded by PyTorch's own exporters in evaluation mode. An ONNX model of the user's is
given the batch that is asked for.
"""

from __future__ import annotations

import copy
import inspect
import io
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from nasplug.search_spaces.builders.networks import checked, is_onnx
from nasplug.search_spaces.builders.running import undisturbed
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.importers.batches import batch_axes
from nasplug.search_spaces.importers.onnx_graph import onnx_network
from nasplug.search_spaces.importers.onnx_loading import parse_model
from nasplug.search_spaces.importers.torch_graph import torch_network
from nasplug.search_spaces.importers.torch_module import arguments_of, unwrapped
from nasplug.search_spaces.importers.torch_tensors import tensors_in
from nasplug.search_spaces.networks.onnx_model import OPSET, WEIGHTS

if TYPE_CHECKING:
    import onnx

__all__ = ["MADE", "onnx_of"]

# Origin of the weights: random numbers of a seed, unless the builder loads others.
MADE = "as the builder makes them"
_SHOWN = 300


def onnx_of(built: Any, example: Any, name: str, batch_size: int) -> onnx.ModelProto:
    """Write a network that a builder returned as an ONNX model with its weights.

    Args:
        built: What the builder returned, with weights.
        example: Input of the network.
        name: Name of the network in error messages.
        batch_size: Images a forward pass.

    Raises:
        InputError: If the network cannot be written, or not with this batch size.
    """
    import onnx

    network, example = checked(built, example, name, "cpu")
    if is_onnx(network):
        model = _of_batch(network, name, batch_size)
    else:
        model = _recorded(network, example, name, batch_size)
    entry = model.metadata_props.add()
    entry.key, entry.value = WEIGHTS, MADE
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # onnx raises errors of its own, without a common class
        raise InputError(f"{name} is no valid ONNX model: {_line(error)}") from error
    return model


def _recorded(network: Any, example: Any, name: str, batch_size: int) -> onnx.ModelProto:
    """Record a forward pass of a module as an ONNX model."""
    module = unwrapped(network)
    if any(part.is_meta for part in (*module.parameters(), *module.buffers())):
        raise InputError(
            f"{name} has weights on the device meta, which have no values; have the builder leave "
            "the device out"
        )
    module.cpu()
    if getattr(getattr(module, "config", None), "use_cache", False):
        # A language model returns what it keeps for the next word, in objects that no file holds.
        module.config.use_cache = False  # type: ignore[union-attr]
    args, kwargs = arguments_of(module, example)
    read = torch_network(network, example)
    if read.is_free:
        tensors = list(tensors_in((args, kwargs)))
        axes = batch_axes([tuple(tensor.shape) for tensor in tensors], read.batch)
        sized = {id(t): _sized(t, axis, batch_size) for t, axis in zip(tensors, axes, strict=True)}
        args, kwargs = copy.deepcopy((args, kwargs), sized)
    elif batch_size != 1:
        raise InputError(
            f"{name} has no batch that could be {batch_size}: it does not treat the entries of its "
            "example one by one; leave the batch size out"
        )
    failures: list[Exception] = []
    is_program = isinstance(module, torch.fx.GraphModule)
    for record in (_by_program,) if is_program else (_by_tracing, _by_program):
        try:
            with undisturbed(), _evaluating(module):
                return record(module, args, kwargs)
        except Exception as error:  # exporters raise whatever the module does
            failures.append(error)
    advice = "" if find_spec("onnxscript") else "; pip install onnxscript gives another exporter"
    raise InputError(
        f"{name} cannot be written as an ONNX model: {_line(failures[0].__cause__ or failures[0])}"
        f"{advice}"
    ) from failures[0]


def _by_tracing(module: torch.nn.Module, args: Any, kwargs: Any) -> onnx.ModelProto:
    """Export by a trace of the operators, which needs no package beside torch and is fast."""
    import onnx

    file = io.BytesIO()
    torch.onnx.export(
        module,
        args,
        file,  # type: ignore[arg-type]
        kwargs=kwargs or None,
        input_names=_input_names(module, args, kwargs),
        opset_version=OPSET,
        dynamo=False,
    )
    return onnx.load_from_string(file.getvalue())


def _input_names(module: torch.nn.Module, args: Any, kwargs: Any) -> list[str] | None:
    """Names of the forward pass's arguments; None for arguments that hold several tensors."""
    try:
        bound = inspect.signature(module.forward).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        return None
    names = [name for name, value in bound.items() if isinstance(value, torch.Tensor)]
    return names if len(names) == len(list(tensors_in((args, kwargs)))) else None


def _by_program(module: torch.nn.Module, args: Any, kwargs: Any) -> onnx.ModelProto:
    """Export by `torch.export`, for modules that cannot be traced."""
    program = torch.onnx.export(module, args, kwargs=kwargs or None, dynamo=True, verbose=False)
    model: onnx.ModelProto = program.model_proto  # type: ignore[union-attr]
    for node in model.graph.node:
        # Paths of files of this machine.
        del node.metadata_props[:]
    return model


@contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Have a module in evaluation mode for a block, by the operators that it is written in."""
    modes = [(part, part.training) for part in module.modules()]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    try:
        for part, _ in modes:
            part.__dict__["training"] = False
        torch.backends.mha.set_fastpath_enabled(False)
        with _silent_exporters(), torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for part, training in modes:
            part.__dict__["training"] = training


@contextmanager
def _silent_exporters() -> Iterator[None]:
    """Leave unsaid what exporters say on their way: where they fail they raise an error."""
    loggers = [
        logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
    ]
    levels = [logger.level for logger in loggers]
    # It prints the whole network on standard output, whatever the settings of its log.
    log = torch._C._jit_onnx_log
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        torch._C._jit_onnx_log = lambda *_: None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch._C._jit_onnx_log = log
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _sized(tensor: torch.Tensor, axis: int | None, batch_size: int) -> torch.Tensor:
    """An input with so many images, all equal to the first; it has values on the processor."""
    with torch.device("cpu"):
        if tensor.is_meta:
            tensor = torch.zeros(tensor.shape, dtype=tensor.dtype)
        tensor = tensor.detach().cpu()
        if axis is None:
            return tensor
        one = tensor.narrow(axis, 0, 1)
        return one.repeat_interleave(batch_size, axis)


def _of_batch(built: Any, name: str, batch_size: int) -> onnx.ModelProto:
    """An ONNX model of the user's with its weights, for a number of images."""
    import onnx
    from onnx.external_data_helper import load_external_data_for_model

    model = onnx.ModelProto()
    if isinstance(built, (str, os.PathLike)):
        path = os.fspath(built)
        model = parse_model(Path(path), path)
        load_external_data_for_model(model, os.path.dirname(os.path.abspath(path)))
    else:
        model.CopyFrom(built)
    read = onnx_network(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    dims = [value.type.tensor_type.shape.dim for value in inputs]
    is_open = [bool(axes) and axes[0].dim_value < 1 for axes in dims]
    if any(is_open):
        for axes in (axes for axes, free in zip(dims, is_open, strict=True) if free):
            axes[0].dim_value = batch_size
    elif read.is_free and read.batch != batch_size:
        shapes = [tuple(axis.dim_value for axis in axes) for axes in dims]
        for axes, k in zip(dims, batch_axes(shapes, read.batch), strict=True):
            if k is not None:
                axes[k].dim_value = batch_size
        for value in model.graph.output:
            for size in value.type.tensor_type.shape.dim:
                size.Clear()
        del model.graph.value_info[:]
        _check_batch(model, read.graph.digest, name, read.batch, batch_size)
    elif not read.is_free and batch_size != 1:
        _refuse_batch(name, read.batch, batch_size)
    return model


def _check_batch(
    model: onnx.ModelProto, digest: str, name: str, earlier: int, batch_size: int
) -> None:
    """Check that a model does for each of other many images what it did for one."""
    try:
        read = onnx_network(model)
    except InputError:
        _refuse_batch(name, earlier, batch_size)
    if read.batch != batch_size or read.graph.digest != digest:
        _refuse_batch(name, earlier, batch_size)


def _refuse_batch(name: str, earlier: int, batch_size: int) -> NoReturn:
    raise InputError(
        f"{name} is an ONNX model with the fixed batch size {earlier}, not {batch_size}; have the "
        "builder write it with an open batch axis, or leave the batch size out"
    )


def _line(error: BaseException) -> str:
    """The first sentence of an error."""
    return " ".join(str(error).strip().splitlines()[:1])[:_SHOWN] or type(error).__name__
