"""Calls of PyTorch's operators that take functions: control flow, wrappers, flexible attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.importers.torch_places import at_user_line
from nasplug.search_spaces.importers.torch_tensors import Traced, real_of

__all__ = ["higher_order"]

_WRAPPERS = ("wrap", "tag_activation_checkpoint", "invoke_subgraph", "strict_mode", "hints_wrapper")


def higher_order(trace: Any, func: Any, args: Any) -> Any:
    """Record a call of an operator that takes functions.

    Args:
        trace: The trace, which records what the functions call.
        func: The operator.
        args: Its arguments.

    Raises:
        InputError: If what it runs is not known without values.
    """
    name = func.name()
    if name == "flex_attention":
        function = torch.ops.aten.scaled_dot_product_attention.default
        repeats = args[0].shape[1] != args[1].shape[1]
        output = trace.record(function, args[:3], {"enable_gqa": repeats})
        sums = trace.record(torch.ops.aten.select.int, (output, -1, 0), {})
        return output, sums, sums
    if name == "cond":
        taken = args[0] if isinstance(args[0], bool) else _known_truth(args[0])
        return _run(trace, args[1] if taken else args[2], args[3])
    if name.startswith(_WRAPPERS):
        functions = [k for k, value in enumerate(args) if callable(value)]
        if functions:
            operands = [value for value in args[functions[0] + 1 :] if not isinstance(value, str)]
            return _run(trace, args[functions[0]], operands)
    raise InputError(
        f"{name}{at_user_line()} is not read, since how often its function runs depends on values"
    )


def _known_truth(value: Any) -> bool:
    return bool(real_of(value)) if isinstance(value, Traced) else bool(value)


def _run(trace: Any, function: Callable[..., Any], operands: Any) -> Any:
    with trace:
        return function(*operands)
