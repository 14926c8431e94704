"""Calls whose operands change their types first: on quantised tensors, or in mixed precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from nasplug.search_spaces.importers.torch_autocast import autocast_kind
from nasplug.search_spaces.importers.torch_call import Computed, Weight
from nasplug.search_spaces.importers.torch_quantised import float_calls, quantised_type
from nasplug.search_spaces.importers.torch_signatures import Signature, signature_of
from nasplug.search_spaces.importers.torch_tensors import (
    Traced,
    is_quantised,
    mapped,
    parts,
    type_name,
)
from nasplug.search_spaces.importers.torch_trace import Trace

__all__ = ["ConvertingTrace"]

_TO = torch.ops.aten.to.dtype
_CAST_TYPES = frozenset({torch.float32, torch.float16, torch.bfloat16})


class ConvertingTrace(Trace):
    """Trace that changes the types of operands as mixed precision and quantised operators do.

    Attributes:
        autocast: Type of automatic mixed precision; None for none.
        has_quantised: Whether a tensor was quantised so far.
    """

    autocast: torch.dtype | None = None
    has_quantised: bool = False

    def record(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Record a call, and give its traced results."""
        signature = signature_of(func)
        if signature.is_quantised or (self.has_quantised and any(map(is_quantised, parts(args)))):
            return self._quantised(func, signature, args, kwargs)
        if self.autocast is not None and (kind := autocast_kind(signature.name)):
            args = self._cast(args, kind)
        return super().record(func, args, kwargs)

    def _quantised(
        self, func: Any, signature: Signature, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Any:
        """Record a call that reads or makes quantised tensors."""
        arguments = signature.bound(args, kwargs)
        dtype = quantised_type(signature.name, arguments)
        if dtype is not None:
            return self._requantised(arguments[0], dtype)
        if signature.name == "dequantize":
            return mapped(self._restored, args[0])
        if func.namespace != "quantized":
            result = self.record(func, mapped(self._restored, args), kwargs)
            result = mapped(self._requantised, result)
            if signature.written:
                args[0].node.assign(result.node.value)
                return args[0]
            return result
        calls, is_integer = float_calls(signature.name, arguments)
        results: list[Any] = []
        for function, operands in calls:
            restored = [self._restored(value) for value in (*results, *operands)]
            results = [self.record(function, restored, {})]
        return self._requantised(results[0]) if is_integer else results[0]

    def _restored(self, value: Any) -> Any:
        """A quantised tensor, or a weight of integers, as floats; any other value as it is."""
        if isinstance(value, tuple) and isinstance(value[0], torch.Tensor):
            shape, stored = tuple(value[0].shape), type_name(value[0].dtype)
            weight = Weight(shape, "float32", stored=stored)
            return self.traced((shape, None, torch.float32, False), weight)
        if isinstance(value, list):
            return [self._restored(part) for part in value]
        return self._changed(value, "DequantizeLinear", "float32") if is_quantised(value) else value

    def _requantised(self, value: Any, dtype: torch.dtype = torch.uint8) -> Any:
        """A tensor of floats as a quantised one."""
        if not isinstance(value, torch.Tensor) or isinstance(self.value_of(value), Weight):
            return value
        result = self._changed(value, "QuantizeLinear", type_name(dtype))
        result.node.is_quantised = self.has_quantised = True
        return result

    def _changed(self, tensor: torch.Tensor, op: str, element_type: str) -> Traced:
        """A tensor of floats whose step changes the type of another one."""
        value, shape = self.value_of(tensor), tuple(tensor.shape)
        assert isinstance(value, Computed)
        self.network.fields = {"type": element_type, "parameters": ()}
        step = self.network.add(op, (value.step,), shape)
        return self.traced((shape, None, torch.float32, False), Computed(step))

    def _cast(self, args: Sequence[Any], kind: str) -> Any:
        """Change the types of floating-point tensors as automatic mixed precision does."""
        types = {t.dtype for t in parts(args) if isinstance(t, torch.Tensor)} & _CAST_TYPES
        wide = torch.float32 if kind == "wide" or torch.float32 in types else self.autocast
        dtype = self.autocast if kind == "narrow" else wide

        def changed(value: Any) -> Any:
            is_other = isinstance(value, torch.Tensor) and value.dtype in _CAST_TYPES - {dtype}
            return self.record(_TO, (value, dtype), {}) if is_other else value

        return mapped(changed, args)
