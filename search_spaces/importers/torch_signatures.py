"""Signatures of ATen functions, and the shapes of what they return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.importers.onnx_loading import first_line
from nasplug.search_spaces.importers.torch_call import Shape, words
from nasplug.search_spaces.importers.torch_operators import MAPPED
from nasplug.search_spaces.importers.torch_places import at_user_line
from nasplug.search_spaces.importers.torch_recurrent import recurrent_shapes
from nasplug.search_spaces.importers.torch_shapes import output_shape
from nasplug.search_spaces.importers.torch_tensors import mapped, parts, real_of

__all__ = [
    "SHAPED_LIKE",
    "Result",
    "ResultShapes",
    "Signature",
    "has_fixed_shape",
    "on_meta",
    "signature_of",
]

# Functions that read the shape of their argument alone.
SHAPED_LIKE = words(
    "zeros_like ones_like full_like empty_like rand_like randn_like new_zeros new_ones "
    "new_full new_empty new_empty_strided"
)
# Functions that return their argument itself in evaluation mode, although no signature says so.
_SILENT_VIEWS = frozenset({"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"})
# Functions of values that have no tag for it.
_NEED_VALUES = frozenset({"item", "is_nonzero", "equal", "allclose", "_local_scalar_dense"})
_RESHAPE = torch.ops.aten.reshape.default
_INDEXING = frozenset({"index", "index_put", "_unsafe_index", "_unsafe_index_put"})
# Shape, strides (None: contiguous) and type of a result, and whether it is a view of an argument.
Result = tuple[Shape, "tuple[int, ...] | None", torch.dtype, bool]


class Signature:
    """Signature of an ATen function, prepared for calls."""

    def __init__(self, func: Any) -> None:
        schema = func._schema
        namespace, _, name = schema.name.rpartition("::")
        self.arguments = schema.arguments
        self.names = [argument.name for argument in schema.arguments]
        self.defaults = [argument.default_value for argument in schema.arguments]
        self.written = [
            k
            for k, argument in enumerate(schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        in_place = self.written == [0] and name.endswith("_") and not name.endswith("__")
        name = name[:-1] if in_place else name
        self.name = name if namespace == "aten" else f"{namespace}.{name}"
        self.is_quantised = namespace == "quantized" or self.name.startswith("quantize_per_")
        self.returns = len(schema.returns)
        self.may_view = self.name in _SILENT_VIEWS or any(
            result.alias_info is not None for result in schema.returns
        )
        tags = set(func.tags)
        self.needs_values = self.name in _NEED_VALUES or bool(
            tags & {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
        )
        self.changes_shape = torch.Tag.inplace_view in tags
        # A composite function that no rule reads whole is read by its parts.
        self.decomposes = (
            self.name not in MAPPED
            and self.name not in SHAPED_LIKE
            and not self.written
            and func._can_decompose()
        )

    def bound(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        """All arguments by position, defaults filled in."""
        arguments = list(args)
        for k in range(len(args), len(self.names)):
            name = self.names[k]
            arguments.append(kwargs[name] if name in kwargs else self.defaults[k])
        return arguments


_SIGNATURES: dict[Any, Signature] = {}


def signature_of(func: Any) -> Signature:
    """Signature of a function, made once."""
    signature = _SIGNATURES.get(func)
    if signature is None:
        signature = _SIGNATURES[func] = Signature(func)
    return signature


def has_fixed_shape(name: str, arguments: Sequence[Any]) -> bool:
    """Whether a call that may need values gives a shape that is known without them."""
    return name in _INDEXING or (name == "one_hot" and arguments[1] > 0)


class ResultShapes:
    """Shapes of the outputs of calls, each inferred once."""

    def __init__(self) -> None:
        self.known: dict[Any, Any] = {}

    def of(
        self,
        func: Any,
        signature: Signature,
        arguments: Sequence[Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
    ) -> tuple[bool, list[Result | None]]:
        """Shapes of the outputs, and whether there are several of them."""
        if signature.returns == 1:
            layout = output_shape(signature.name, arguments)
            if layout is not None:
                first = arguments[0]
                dtype = (first[0] if isinstance(first, (list, tuple)) else first).dtype
                return False, [(*layout, dtype, False)]
        shapes = recurrent_shapes(signature.name, arguments)
        if shapes is not None:
            return signature.returns > 1, [(s, None, arguments[0].dtype, False) for s in shapes]
        if signature.name in _INDEXING:
            indices = [part for index in args[1] for part in _indices(index)]
            args = [args[0], indices, *args[2:]]
        key = (func, _key(args), _key(kwargs))
        known = self.known.get(key)
        if known is None:
            known = self.known[key] = _inferred(func, signature, args, kwargs)
        return known


def _indices(index: Any) -> list[Any]:
    """An index; a mask of constants as the positions where it is true, one tensor an axis."""
    if not isinstance(index, torch.Tensor) or index.dtype not in (torch.bool, torch.uint8):
        return [index]
    count = int(real_of(index).count_nonzero())
    return [torch.empty(count, dtype=torch.long, device="meta")] * index.dim()


def _key(value: Any) -> Any:
    """Key of arguments that give the same shapes."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape), value.stride(), value.dtype
    if isinstance(value, (list, tuple)):
        return tuple(_key(part) for part in value)
    if isinstance(value, dict):
        return tuple((name, _key(part)) for name, part in value.items())
    # 1, 1.0 and True are equal, and give different types.
    return type(value), value if value.__hash__ is not None else repr(value)


def on_meta(value: Any) -> Any:
    """A tensor without memory in place of a tensor; any other value as it is."""
    if isinstance(value, torch.Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    return torch.device("meta") if isinstance(value, torch.device) else value


def _inferred(
    func: Any, signature: Signature, args: Any, kwargs: Any
) -> tuple[bool, list[Result | None]]:
    """Shapes of the outputs, by PyTorch's own rules."""
    args, kwargs = mapped(on_meta, args), mapped(on_meta, kwargs)
    tensors = [part for part in parts(args) if isinstance(part, torch.Tensor)]
    try:
        outputs = func(*args, **kwargs)
    except Exception as error:
        if signature.name == "view":
            # The strides of a fused function's result, which let a view be taken, vary by device.
            return _inferred(_RESHAPE, signature_of(_RESHAPE), args, kwargs)
        read = ", ".join(str(list(tensor.shape)) for tensor in tensors[:6])
        raise InputError(
            f"{signature.name} of tensors of shapes {read} fails{at_user_line()}: "
            f"{first_line(error)}"
        ) from error
    source = tensors[0].untyped_storage()._cdata if signature.may_view and tensors else None
    is_sequence = isinstance(outputs, (list, tuple))
    results: list[Result | None] = []
    for output in outputs if is_sequence else [outputs]:
        if not isinstance(output, torch.Tensor):
            results.append(None)
            continue
        is_view = output.untyped_storage()._cdata == source
        results.append((tuple(output.shape), output.stride(), output.dtype, is_view))
    return is_sequence, results
