"""Networks that a builder returns: made without memory, read as graphs, and told apart.

An `arch_id` is the same for settings that build the same network. The graph of a network says most
of it. The rest is in the numbers that its operators are called with, such as a dilation or the
share of a dropout, which change what is learned and not what it costs.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nasplug.search_spaces.builders.recording import UnclearBuilderError
from nasplug.search_spaces.builders.running import undisturbed
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.importers.onnx_graph import onnx_graph
from nasplug.search_spaces.importers.torch_call import words
from nasplug.search_spaces.importers.torch_graph import torch_graph
from nasplug.search_spaces.importers.torch_module import unwrapped

__all__ = ["checked", "describe_example", "example_of", "is_onnx", "network_of"]

# Operators whose numbers the graph has, or that only name the axes of a tensor anew.
_IN_GRAPH = words(
    "view reshape _unsafe_view flatten unflatten permute transpose t mT adjoint movedim squeeze "
    "unsqueeze expand expand_as contiguous clone detach alias to _to_copy mean adaptive_avg_pool1d "
    "adaptive_avg_pool2d adaptive_avg_pool3d zeros ones full empty"
)
_DROPOUT = words("dropout feature_dropout alpha_dropout feature_alpha_dropout")


def example_of(example: Any) -> Any:
    """An example of a network's input, also from its description or its shape.

    Args:
        example: An example, a text such as `"1x3x32x32"`, `"1x128:int64"` for other types than
            float32, or `"1x16+1x3x32x32"` for several inputs, or a shape.

    Raises:
        InputError: If a text is no shape, or names no type.
    """
    if isinstance(example, str) and "+" in example:
        return tuple(map(example_of, example.split("+")))
    if isinstance(example, str):
        shape, _, kind = example.lower().partition(":")
        sizes = shape.split("x")
        dtype = getattr(torch, kind or "float32", None)
        is_shape = all(size.isdecimal() and int(size) for size in sizes)
        if not is_shape or not isinstance(dtype, torch.dtype):
            raise InputError(
                f"{example[:80]!r} is not the shape of an example; write it like 1x3x32x32, or "
                "1x128:int64"
            )
        return torch.zeros(*map(int, sizes), dtype=dtype)
    if isinstance(example, (tuple, list)) and example and all(type(n) is int for n in example):
        return torch.zeros(*example)
    return example


def describe_example(example: Any) -> str:
    """Shapes of an example, such as `"1x3x32x32"`; types other than float32 are named too."""
    if example is None:
        return "default"
    if isinstance(example, torch.Tensor):
        shape = "x".join(map(str, example.shape)) or "scalar"
        kind = str(example.dtype).removeprefix("torch.")
        return shape if kind == "float32" else f"{shape}:{kind}"
    if isinstance(example, Mapping):
        return "+".join(f"{key}={describe_example(part)}" for key, part in example.items())
    if isinstance(example, (tuple, list)):
        return "+".join(map(describe_example, example))
    return str(example)[:80]


def network_of(built: Any, example: Any, name: str) -> tuple[Graph, str]:
    """Read a network that a builder returned.

    Args:
        built: A PyTorch module or an exported program, an ONNX model or its path, or a
            configuration of the package transformers.
        example: Input of the network; None for ONNX models, and for modules that hold their own.
        name: Name of the builder in error messages.

    Returns:
        Its graph, and a digest that is the same for networks that are the same.

    Raises:
        InputError: If it is none of these, or cannot be read.
    """
    built, example = checked(built, example, name)
    if is_onnx(built):
        graph = onnx_graph(built)
        return graph, _digest(graph, _onnx_numbers(built))
    numbers: list[str] = []
    module = unwrapped(built)
    if isinstance(module, (torch.fx.GraphModule, torch.jit.ScriptModule)):
        graph = torch_graph(built, example)
    else:
        with _watched(module, numbers):
            graph = torch_graph(module, example)
        numbers += _dropped_paths(module)
    return graph, _digest(graph, numbers)


def is_onnx(built: Any) -> bool:
    """Whether a network is an ONNX model, or the path of one."""
    return isinstance(built, (str, os.PathLike)) or type(built).__name__ == "ModelProto"


def checked(built: Any, example: Any, name: str, device: str = "meta") -> tuple[Any, Any]:
    """Check what a builder returned; the model of a configuration is built on a device.

    Returns:
        A module, an exported program, an ONNX model or its path; and the example of its input.

    Raises:
        UnclearBuilderError: If it is none of these, or an example is missing.
    """
    if is_onnx(built):
        return built, example
    if type(built).__module__.startswith("transformers.") and hasattr(built, "model_type"):
        built, example = _from_config(built, example, device)
    if not isinstance(built, (torch.nn.Module, torch.export.ExportedProgram)):
        raise UnclearBuilderError(
            f"{name} returns {_kind(built)}; it must return a torch.nn.Module, an ONNX "
            "model or the path of one, or a configuration of transformers"
        )
    if example is None:
        example = getattr(built, "example_inputs", None)
        if example is None:
            raise UnclearBuilderError(
                f"the networks of {name} need an example of their input, such as "
                "example=torch.zeros(1, 3, 32, 32), or --example 1x3x32x32"
            )
    return built, example


def _kind(value: Any) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _from_config(config: Any, example: Any, device: str) -> tuple[torch.nn.Module, Any]:
    """The model of a configuration of transformers, with an example of its input."""
    try:
        import transformers  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise UnclearBuilderError(
            f"a {type(config).__name__} is built by the package transformers, which is not "
            "installed; install it with pip install transformers"
        ) from None
    with undisturbed(), torch.device(device):
        model = transformers.AutoModel.from_config(config)
    return model, model.dummy_inputs if example is None else example


@contextmanager
def _watched(module: torch.nn.Module, numbers: list[str]) -> Iterator[None]:
    """Have a module note the numbers of each operator that its forward pass calls."""
    forward = module.forward

    @functools.wraps(forward)
    def watched(*args: Any, **kwargs: Any) -> Any:
        # A second pass, for one of several images, has the same operators.
        numbers.clear()
        with _Numbers(numbers):
            return forward(*args, **kwargs)

    attributes = module.__dict__
    # A module may have a forward pass of its own, beside that of its class.
    before = {"forward": attributes["forward"]} if "forward" in attributes else {}
    attributes["forward"] = watched
    try:
        yield
    finally:
        del attributes["forward"]
        attributes.update(before)


class _Numbers(TorchDispatchMode):
    """Mode that notes the arguments of operators which are no tensors."""

    def __init__(self, numbers: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._numbers = numbers

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.__name__.partition(".")[0].rstrip("_")
        if name not in _IN_GRAPH and not (name in _DROPOUT and not args[1]):
            values = [_number(value) for value in (*args, *kwargs.values())]
            if any(values):
                self._numbers.append(f"{name}{values}")
        return func(*args, **kwargs)


def _number(value: Any) -> str:
    """Text of an argument; empty for tensors, devices and what is left out."""
    if isinstance(value, (bool, int, float, str)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return ",".join(map(_number, value))
    return ""


def _dropped_paths(module: torch.nn.Module) -> list[str]:
    """Shares of paths that are left out in training, by modules that do nothing in evaluation."""
    shares = []
    for part in module.modules():
        kind = type(part).__name__
        if ("drop" in kind.lower() or "depth" in kind.lower()) and not isinstance(
            part, torch.nn.modules.dropout._DropoutNd
        ):
            share = getattr(part, "drop_prob", getattr(part, "p", None))
            if isinstance(share, (int, float)) and share:
                shares.append(f"{kind} {share!r}")
    return shares


def _onnx_numbers(model: Any) -> list[str]:
    """The attributes of an ONNX model's operators, without tensors."""
    import onnx

    if not hasattr(model, "graph"):
        model = onnx.load(os.fspath(model), load_external_data=False)
    tensors = {onnx.AttributeProto.TENSOR, onnx.AttributeProto.TENSORS, onnx.AttributeProto.GRAPH}
    return [
        f"{node.op_type} {attribute.SerializeToString(deterministic=True)!r}"
        for node in model.graph.node
        for attribute in sorted(node.attribute, key=lambda a: str(a.name))
        if attribute.type not in tensors
    ]


def _digest(graph: Graph, numbers: list[str]) -> str:
    """Digest of a graph with its costs, and of the numbers that it does not have."""
    return hashlib.sha256(repr((graph.digest, numbers)).encode()).hexdigest()
