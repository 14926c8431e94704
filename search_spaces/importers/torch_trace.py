"""One forward pass of a PyTorch module on tensors that have shapes and no values.

`Trace` is a mode in which each call of an ATen function reaches this file before PyTorch takes it
apart. The call becomes steps of a network, and its results are `Traced` tensors. Nothing is
computed but constants of a few elements, whose values a module may ask for.
"""

from __future__ import annotations

import linecache
import math
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.importers.network import ImportedNetwork
from nasplug.search_spaces.importers.onnx_loading import first_line
from nasplug.search_spaces.importers.torch_autocast import autocast_kind
from nasplug.search_spaces.importers.torch_call import (
    Call,
    Computed,
    Shape,
    Weight,
    is_floating,
    words,
)
from nasplug.search_spaces.importers.torch_operators import MAPPED, add_call
from nasplug.search_spaces.importers.torch_products import weight_product
from nasplug.search_spaces.importers.torch_quantised import float_calls, quantised_type
from nasplug.search_spaces.importers.torch_recurrent import recurrent_shapes
from nasplug.search_spaces.importers.torch_shapes import output_shape
from nasplug.search_spaces.operators import KNOWN_OPS

__all__ = ["Trace", "Traced", "failure", "tensors_in", "type_name"]

# Constants of so many elements are computed, since a module may use their values.
SMALL = 65_536
# Functions that return their argument itself in evaluation mode, although no signature says so.
_SILENT_VIEWS = frozenset({"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"})
# Functions that read the shape of their argument alone.
_SHAPED_LIKE = words(
    "zeros_like ones_like full_like empty_like rand_like randn_like new_zeros new_ones "
    "new_full new_empty new_empty_strided"
)
# Functions of values that have no tag for it.
_NEED_VALUES = frozenset({"item", "is_nonzero", "equal", "allclose", "_local_scalar_dense"})
# Functions with multiply-accumulates, which are steps even where they read weights alone.
_PRODUCTS = words("linear matmul mm bmm addmm baddbmm conv1d conv2d conv3d")
_INTEGER_PRODUCTS = words("_int_mm _scaled_mm")
_TYPES = {"quint8": "uint8", "qint8": "int8", "qint32": "int32", "complex32": "float32"}


def type_name(dtype: torch.dtype) -> str:
    """Name of an element type, a key of `costs.TYPE_BYTES`."""
    name = str(dtype).removeprefix("torch.")
    return "float8" if name.startswith("float8") else _TYPES.get(name, name)


Value = Computed | Weight


class _Node:
    """Source of a traced tensor.

    Attributes:
        value: The step that computes it, or the constant that it is.
        real: The same tensor with values, if it is a small constant.
        parent: Node of the tensor of which it is a view.
        view: Function that computes its value from the value of the parent.
        unview: Function that writes its value back: the parent's value from the two values.
        version: How often memory was written that it shows; a view may lag behind its root.
        is_quantised: Whether the tensor, traced as one of floats, holds integers and a scale.
    """

    __slots__ = ("is_quantised", "parent", "real", "unview", "value", "version", "view")

    def __init__(self, value: Value) -> None:
        self.value = value
        self.real: torch.Tensor | None = None
        self.parent: _Node | None = None
        self.view: Callable[[Value], Value] | None = None
        self.unview: Callable[[Value, Value], Value] | None = None
        self.version = 0
        self.is_quantised = False

    @property
    def root(self) -> _Node:
        """Node of the tensor that owns the memory."""
        node = self
        while node.parent is not None:
            node = node.parent
        return node

    def current(self) -> Value:
        """Step or constant, after all that was written to the memory."""
        if self.parent is not None and self.version != (version := self.root.version):
            assert self.view is not None
            self.value = self.view(self.parent.current())
            self.version, self.real = version, None
        return self.value

    def assign(self, value: Value) -> None:
        """Set the value, and that of all memory that the tensor shows."""
        chain = [self]
        while (parent := chain[-1].parent) is not None:
            chain.append(parent)
        before = [node.current() for node in chain]
        version = chain[-1].version + 1
        for k, node in enumerate(chain):
            if k:
                unview = chain[k - 1].unview
                assert unview is not None
                value = unview(value, before[k])
            node.value, node.version, node.real = value, version, None


class Traced(torch.Tensor):
    """Tensor of a traced forward pass: a shape, a type, a device and a node, without memory."""

    node: _Node

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        # After the pass, where the module kept a constant for later.
        args, kwargs = _mapped(_real, args), _mapped(_real, kwargs or {})
        return func(*args, **kwargs)

    def tolist(self) -> Any:
        """Values, as nested lists."""
        return _real(self).tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """Values, as a NumPy array."""
        return _real(self).numpy(force=force)

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        return _real(self).__array__(*arguments, **options)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"Traced(shape={tuple(self.shape)}, dtype={self.dtype})"


def _real(value: Any) -> Any:
    """The value itself, or the tensor with values that a traced tensor stands for."""
    if not isinstance(value, Traced):
        return value
    if value.node.real is None:
        _refuse("values")
    return value.node.real


def _refuse(what: str) -> NoReturn:
    """Refuse a module that uses the values of a tensor, naming its line.

    Raises:
        InputError: Always.
    """
    raise InputError(
        f"what it does depends on {what} of a tensor, at {_user_line()}; a network is read without "
        "values, so its operators and their shapes have to be the same for all of them"
    )


_LIBRARIES = (str(Path(torch.__file__).parent), str(Path(__file__).parent))


def _user_line() -> str:
    """Place and text of the innermost line that is neither PyTorch's nor this package's."""
    frame: Any = sys._getframe(1)
    while frame is not None and not _is_users(frame):
        frame = frame.f_back
    return "an unknown place" if frame is None else _line(frame.f_code.co_filename, frame.f_lineno)


def _is_users(frame: Any) -> bool:
    return not frame.f_code.co_filename.startswith((*_LIBRARIES, "<"))


def _line(file: str, number: int) -> str:
    return f"{file}:{number} ({linecache.getline(file, number).strip()})"


def failure(error: BaseException) -> str:
    """Say in a sentence where a forward pass failed, and why."""
    lines = [
        _line(frame.f_code.co_filename, number)
        for frame, number in traceback.walk_tb(error.__traceback__)
        if _is_users(frame)
    ]
    message = f"{type(error).__name__}: {first_line(error)}" if str(error) else type(error).__name__
    return f"its forward pass fails at {lines[-1]}: {message}" if lines else message


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    """Change every value in nested lists, tuples and dictionaries."""
    if isinstance(value, (list, tuple)):
        return [_mapped(change, part) for part in value]
    if isinstance(value, dict):
        return {key: _mapped(change, part) for key, part in value.items()}
    return change(value)


def tensors_in(value: Any, depth: int = 12) -> Iterator[torch.Tensor]:
    """Tensors in a module's input or result: in lists, dictionaries and objects, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth == 0 or isinstance(value, (str, bytes, int, float, type, torch.nn.Module)):
        return
    elif isinstance(value, dict):
        for part in value.values():
            yield from tensors_in(part, depth - 1)
    elif isinstance(value, (list, tuple, set)):
        for part in value:
            yield from tensors_in(part, depth - 1)
    elif hasattr(value, "__dict__") and not callable(value):
        for part in vars(value).values():
            yield from tensors_in(part, depth - 1)


class _Signature:
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

    def bound(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        """All arguments by position, defaults filled in."""
        arguments = list(args)
        for k in range(len(args), len(self.names)):
            name = self.names[k]
            arguments.append(kwargs[name] if name in kwargs else self.defaults[k])
        return arguments


_SIGNATURES: dict[Any, _Signature] = {}
# Shape, strides, type of a result, and which tensor among the arguments it is a view of.
_Result = tuple[Shape, "tuple[int, ...] | None", torch.dtype, "int | None"]


class _TypedNetwork(ImportedNetwork):
    """Network whose new steps have the types and parameters of the call that adds them."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.fields: dict[str, Any] = {}

    def add(self, op: str, inputs: Sequence[int], shape: Sequence[int], **fields: Any) -> int:
        """Append a step and return its position."""
        return super().add(op, inputs, shape, **{**self.fields, **fields})


class Trace(TorchDispatchMode):
    """Mode that records the calls of ATen functions as steps of a network.

    Attributes:
        network: The steps.
        unknown: Operators whose cost is not known, in the order of their appearance.
    """

    def __init__(
        self,
        name: str,
        parameters: dict[int, tuple[str, int]],
        device: torch.device,
        folds: bool = False,
        autocast: torch.dtype | None = None,
    ) -> None:
        """Start with no step.

        Args:
            name: Name of the module, for messages.
            parameters: Name and number of elements of each parameter, by its `id`.
            device: Device on which traced tensors seem to be.
            folds: Whether what depends on weights alone is computed once, by a compiler.
            autocast: Type of automatic mixed precision; None for none.
        """
        super().__init__()
        self.network = _TypedNetwork(name)
        self.unknown: dict[str, None] = {}
        self.parameters = parameters
        self.device = device
        self.folds = folds
        self.autocast = autocast
        self.has_quantised = False
        self.weights: dict[int, Weight] = {}
        # Traced tensors for tensors of the module that views or writes reach; tensors that are
        # known by their `id` are kept alive.
        self.stand_ins: dict[int, Traced] = {}
        self.kept_alive: list[torch.Tensor] = []
        self.known_results: dict[Any, Any] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Else a call would import the compiler, which takes over a second.
        return False

    def input(self, shape: Shape, dtype: torch.dtype) -> Traced:
        """Traced tensor that stands for an input of the module."""
        self.network.fields = {"type": type_name(dtype)}
        step = self.network.add("Input", (), shape)
        return self._traced((shape, None, dtype, None), Computed(step))

    def value_of(self, tensor: torch.Tensor) -> Value:
        """Step or constant of a tensor, after all that was written to its memory."""
        if isinstance(tensor, Traced):
            return tensor.node.current()
        weight = self.weights.get(id(tensor))
        if weight is None:
            self.kept_alive.append(tensor)
            weight = self.weights[id(tensor)] = self._weight(tensor)
        elif id(tensor) in self.stand_ins:
            return self.value_of(self.stand_ins[id(tensor)])
        return weight

    def _weight(self, tensor: torch.Tensor) -> Weight:
        parameter = self.parameters.get(id(tensor))
        named = () if parameter is None else (parameter,)
        return Weight(tuple(tensor.shape), type_name(tensor.dtype), named)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        signature = _SIGNATURES.get(func)
        if signature is None:
            signature = _SIGNATURES[func] = _Signature(func)
        if not signature.returns and not signature.written:
            return None
        kwargs = kwargs or {}
        if signature.is_quantised or (self.has_quantised and any(map(_is_quantised, _parts(args)))):
            return self._quantised(func, signature, args, kwargs)
        if self.autocast is not None and (kind := autocast_kind(signature.name)):
            args = self._cast(args, kind)
        arguments = signature.bound(args, kwargs)
        values = [self._resolved(value) for value in arguments]
        reads_data = _reads_data(values)
        if signature.needs_values and signature.name not in _INDEXING:
            if reads_data:
                _refuse("values")
            return self._constants(func, args, kwargs)
        if signature.written:
            return self._write(func, signature, arguments, values)
        is_sequence, results = self._results(func, signature, arguments, args, kwargs)
        computed = self._emitted(signature.name, values, results)
        real: Any = None
        if not reads_data and all(math.prod(r[0]) <= SMALL for r in results if r is not None):
            real = self._computed(func, args, kwargs)
        reals = list(real) if isinstance(real, (list, tuple)) else [real] * len(results)
        outputs: list[Any] = []
        for k, (result, value) in enumerate(zip(results, computed, strict=True)):
            if result is None:
                outputs.append(None)
                continue
            output = self._traced(result, value)
            output.node.real = reals[k]
            if result[3] is not None:
                self._link(output, arguments, signature.name, values, results, k)
            outputs.append(output)
        return outputs if is_sequence else outputs[0]

    def _quantised(
        self, func: Any, signature: _Signature, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Record a call that reads or makes quantised tensors."""
        arguments = signature.bound(args, kwargs)
        dtype = quantised_type(signature.name, arguments)
        if dtype is not None:
            return self._requantised(arguments[0], dtype)
        if signature.name == "dequantize":
            return _mapped(self._restored, args[0])
        if not func.namespace == "quantized":
            result = self.__torch_dispatch__(func, (), _mapped(self._restored, args), kwargs)
            result = _mapped(self._requantised, result)
            if signature.written:
                args[0].node.assign(result.node.value)
                return args[0]
            return result
        calls, is_quantised = float_calls(signature.name, arguments)
        results: list[Any] = []
        for function, operands in calls:
            operands = [self._restored(value) for value in (*results, *operands)]
            results = [self.__torch_dispatch__(function, (), operands)]
        return self._requantised(results[0]) if is_quantised else results[0]

    def _restored(self, value: Any) -> Any:
        """A quantised tensor as floats; any other value as it is."""
        if isinstance(value, tuple) and isinstance(value[0], torch.Tensor):
            shape, stored = tuple(value[0].shape), type_name(value[0].dtype)
            weight = Weight(shape, "float32", stored=stored)
            return self._traced((shape, None, torch.float32, None), weight)
        if isinstance(value, list):
            return [self._restored(part) for part in value]
        return (
            self._changed(value, "DequantizeLinear", "float32") if _is_quantised(value) else value
        )

    def _requantised(self, value: Any, dtype: torch.dtype = torch.uint8) -> Any:
        """A tensor of floats as a quantised one."""
        if not isinstance(value, torch.Tensor) or isinstance(self.value_of(value), Weight):
            return value
        result = self._changed(value, "QuantizeLinear", type_name(dtype))
        result.node.is_quantised = self.has_quantised = True
        return result

    def _changed(self, tensor: torch.Tensor, op: str, type_: str) -> Traced:
        """A tensor of floats whose step changes the type of another one."""
        value, shape = self.value_of(tensor), tuple(tensor.shape)
        assert isinstance(value, Computed)
        self.network.fields = {"type": type_, "parameters": ()}
        step = self.network.add(op, (value.step,), shape)
        return self._traced((shape, None, torch.float32, None), Computed(step))

    def _cast(self, args: Any, kind: str) -> Any:
        """Change the types of floating-point tensors as automatic mixed precision does."""
        types = {t.dtype for t in _parts(args) if isinstance(t, torch.Tensor)} & _CAST_TYPES
        wide = torch.float32 if kind == "wide" or torch.float32 in types else self.autocast
        dtype = self.autocast if kind == "narrow" else wide

        def changed(value: Any) -> Any:
            is_other = isinstance(value, torch.Tensor) and value.dtype in _CAST_TYPES - {dtype}
            return self.__torch_dispatch__(_TO, (), (value, dtype)) if is_other else value

        return _mapped(changed, args)

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self.value_of(value)
        if isinstance(value, (list, tuple)):
            return [self._resolved(part) for part in value]
        return value

    def _traced(self, result: _Result, value: Value) -> Traced:
        shape, strides, dtype, _ = result
        tensor: Traced = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            Traced, shape, strides=strides, dtype=dtype, device=self.device
        )
        tensor.node = _Node(value)
        return tensor

    # ------------------------------------------------------------------------ shapes and values

    def _results(
        self,
        func: Any,
        signature: _Signature,
        arguments: Sequence[Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
    ) -> tuple[bool, list[_Result | None]]:
        """Shapes of the outputs, and whether there are several of them."""
        if signature.returns == 1:
            shape = output_shape(signature.name, arguments)
            if shape is not None:
                first = arguments[0]
                dtype = (first[0] if isinstance(first, (list, tuple)) else first).dtype
                return False, [(shape, None, dtype, None)]
        shapes = recurrent_shapes(signature.name, arguments)
        if shapes is not None:
            return signature.returns > 1, [(s, None, arguments[0].dtype, None) for s in shapes]
        if signature.name in _INDEXING:
            args = [args[0], [_indices(index) for index in args[1]], *args[2:]]
        key = (func, _key(args), _key(kwargs))
        known = self.known_results.get(key)
        if known is None:
            known = self.known_results[key] = _inferred(func, signature, args, kwargs)
        return known

    def _computed(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Result of a call on small constants, with values; None if there are no values."""
        try:
            return func(*_mapped(self._known, args), **_mapped(self._known, kwargs))
        except Exception:
            return None

    def _known(self, value: Any) -> Any:
        """The value, or the small constant with values that a tensor stands for."""
        if not isinstance(value, torch.Tensor):
            return value
        if not isinstance(value, Traced):
            stand_in = self.stand_ins.get(id(value))
            is_small = value.numel() <= (1 if id(value) in self.parameters else SMALL)
            real = (value if is_small else None) if stand_in is None else stand_in.node.real
        else:
            value.node.current()
            real = value.node.real
        if real is None or real.is_meta:
            raise LookupError
        return real

    def _constants(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Result of a call that needs the values of constants."""
        try:
            result = func(*_mapped(self._known, args), **_mapped(self._known, kwargs))
        except LookupError:
            _refuse("values")
        return _mapped(self._constant, result)

    def _constant(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        tensor = self._traced((tuple(value.shape), None, value.dtype, None), self._weight(value))
        tensor.node.real = value
        return tensor

    # ------------------------------------------------------------------------------------ steps

    def _emitted(
        self, name: str, values: Sequence[Any], results: Sequence[_Result | None]
    ) -> list[Value]:
        """Append the steps of a call, and give the value of each output."""
        outputs = [result for result in results if result is not None]
        weights = [part for part in _parts(values) if part.__class__ is Weight]
        types = [type_name(result[2]) for result in outputs]
        reads_data = _reads_data(values) and name not in _SHAPED_LIKE
        is_product = name in _PRODUCTS and not self.folds and is_floating(types[0])
        if not reads_data and not is_product:
            return [
                Weight((), "bool")
                if result is None
                else _joined(weights, result[0], type_name(result[2]))
                for result in results
            ]
        first = values[0][0] if isinstance(values[0], list) and values[0] else values[0]
        if first.__class__ is Computed:
            source_type = self.network.steps[first.step].type
        else:
            source_type = first.type if first.__class__ is Weight else types[0]
        parameters = tuple(dict.fromkeys(p for weight in weights for p in weight.parameters))
        main = max(weights, key=_weight_size, default=None)
        is_read = main is not None and (main.params or name in _INTEGER_PRODUCTS)
        weight_type = main.stored or main.type if main is not None and is_read else ""
        self.network.fields = {
            "type": types[0],
            "weight_type": weight_type if weight_type != types[0] else "",
            "parameters": parameters,
        }
        shapes = tuple(result[0] for result in outputs)
        call = Call(name, tuple(values), shapes, (source_type, types[0]))
        if reads_data:
            positions = add_call(self.network, call)
        else:
            positions = [weight_product(self.network, call)]
        label = self.network.steps[-1].op
        if label not in KNOWN_OPS and name not in MAPPED:
            self.unknown[label] = None
        positions += positions[-1:] * (len(results) - len(positions))
        return [Computed(position) for position in positions]

    # -------------------------------------------------------------------------- views and writes

    def _stand_in(self, tensor: torch.Tensor) -> Traced:
        """Traced tensor that holds what is written to a tensor."""
        if isinstance(tensor, Traced):
            return tensor
        stand_in = self.stand_ins.get(id(tensor))
        if stand_in is None:
            value = self.value_of(tensor)
            result = (tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype, None)
            stand_in = self._traced(result, value)
            if tensor.numel() <= SMALL and not tensor.is_meta:
                stand_in.node.real = tensor
            self.stand_ins[id(tensor)] = stand_in
        return stand_in

    def _link(
        self,
        output: Traced,
        arguments: Sequence[Any],
        name: str,
        values: Sequence[Any],
        results: Sequence[_Result | None],
        k: int,
    ) -> None:
        """Note that an output is a view of an argument."""
        assert results[k] is not None
        source = next(part for part in _parts(arguments) if isinstance(part, torch.Tensor))
        parent = self._stand_in(source)
        rest = values[1:]
        shape, source_shape = tuple(output.shape), tuple(parent.shape)

        def view(value: Value) -> Value:
            return self._emitted(name, [value, *rest], results)[k]

        def unview(value: Value, whole: Value) -> Value:
            parts = [part for part in (whole, value) if isinstance(part, Computed)]
            if not parts:
                assert isinstance(whole, Weight)
                return whole
            is_whole = math.prod(shape) == math.prod(source_shape)
            if is_whole and not isinstance(value, Computed):
                return Weight(source_shape, value.type, value.parameters)
            self.network.fields = {"type": type_name(output.dtype), "parameters": ()}
            if not is_whole:
                # Only what is written is computed, but an engine writes it into a copy.
                steps = [part.step for part in parts]
                return Computed(self.network.add("ScatterND", steps, source_shape))
            assert isinstance(value, Computed)
            order = _order(name, rest, len(shape))
            if order is None:
                return Computed(self.network.add("Reshape", (value.step,), source_shape))
            inverse = sorted(range(len(order)), key=order.__getitem__)
            return Computed(self.network.add_transpose(value.step, inverse))

        node = output.node
        node.parent, node.view, node.unview = parent.node, view, unview
        node.version = node.root.version

    def _write(
        self, func: Any, signature: _Signature, arguments: list[Any], values: list[Any]
    ) -> Any:
        """Append a call in place, or one that writes its result to an argument."""
        targets = [self._stand_in(arguments[k]) for k in signature.written]
        if signature.changes_shape:
            return self._reshaped(func, signature, arguments, values)
        results: list[_Result | None] = [
            (tuple(target.shape), None, target.dtype, None) for target in targets
        ]
        # What is overwritten is not read.
        if signature.written != [0] or signature.name in _OVERWRITING:
            for k in signature.written:
                values[k] = None
        computed = self._emitted(signature.name, values, results)
        borrowed = {id(stand_in.node) for stand_in in self.stand_ins.values()}
        owns = not any(id(target.node.root) in borrowed for target in targets)
        is_constant = all(isinstance(value, Weight) for value in computed)
        if not (is_constant and owns and self._computed_in_place(func, signature, arguments)):
            for target, value in zip(targets, computed, strict=True):
                target.node.assign(value)
        written = [arguments[k] for k in signature.written]
        return written if len(written) > 1 else written[0]

    def _computed_in_place(self, func: Any, signature: _Signature, arguments: list[Any]) -> bool:
        """Run a call on the values of small constants, and say whether that was possible."""
        kinds = [argument.kwarg_only for argument in signature.arguments]
        args = [value for value, named in zip(arguments, kinds, strict=True) if not named]
        kwargs = {
            name: value
            for name, value, named in zip(signature.names, arguments, kinds, strict=True)
            if named
        }
        return self._computed(func, args, kwargs) is not None

    def _reshaped(
        self, func: Any, signature: _Signature, arguments: list[Any], values: list[Any]
    ) -> Any:
        """Change the shape of a tensor in place."""
        tensor = self._stand_in(arguments[0])
        node = tensor.node
        source_view = node.view
        with torch._C._DisableTorchDispatch():
            func(tensor, *arguments[1:])
        result = (tuple(tensor.shape), None, tensor.dtype, None)

        def view(value: Value) -> Value:
            source = value if source_view is None else source_view(value)
            return self._emitted(signature.name, [source, *values[1:]], [result])[0]

        node.value = self._emitted(signature.name, values, [result])[0]
        node.view, node.real = view, None
        return tensor


_TO = torch.ops.aten.to.dtype
_CAST_TYPES = frozenset({torch.float32, torch.float16, torch.bfloat16})
# Functions whose first argument is only written to.
_OVERWRITING = words("copy fill zero normal uniform random bernoulli exponential")
_INDEXING = frozenset({"index", "index_put", "_unsafe_index", "_unsafe_index_put"})


def _parts(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _parts(value)
        else:
            yield value


def _reads_data(values: Sequence[Any]) -> bool:
    for value in values:
        if value.__class__ is Computed or (value.__class__ is list and _reads_data(value)):
            return True
    return False


def _is_quantised(value: Any) -> bool:
    return isinstance(value, Traced) and value.node.is_quantised


def _weight_size(weight: Weight) -> int:
    return weight.size


def _joined(weights: Sequence[Weight], shape: Shape, type_: str) -> Weight:
    """Constant that is computed from other constants."""
    parameters = tuple(dict.fromkeys(p for weight in weights for p in weight.parameters))
    main = max(weights, key=_weight_size, default=None)
    stored = ""
    if main is not None and is_floating(type_):
        stored = main.stored or (main.type if main.type in _QUANTISED else "")
        if stored and 2 * main.size == math.prod(shape):
            stored = "int4"
        elif main.size != math.prod(shape):
            stored = ""
    return Weight(shape, type_, parameters, stored)


# Types in which weights are stored that a network widens before it multiplies by them.
_QUANTISED = frozenset({"int8", "uint8", "float8", "int4", "uint4"})


def _order(name: str, arguments: Sequence[Any], rank: int) -> list[int] | None:
    """Input axis of each output axis of a permutation; None for another view."""
    if name == "permute":
        return [axis % rank for axis in arguments[0]]
    if name in ("transpose", "swapaxes", "t") and rank > 1:
        order = list(range(rank))
        first, second = (arguments[0], arguments[1]) if len(arguments) > 1 else (0, 1)
        order[first], order[second] = order[second], order[first]
        return order
    return None


def _indices(index: Any) -> Any:
    """An index; a mask of constants as the positions where it is true."""
    if not isinstance(index, torch.Tensor) or index.dtype not in (torch.bool, torch.uint8):
        return index
    return torch.empty(int(_real(index).count_nonzero()), dtype=torch.long, device="meta")


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


def _meta(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    return torch.device("meta") if isinstance(value, torch.device) else value


def _inferred(
    func: Any, signature: _Signature, args: Any, kwargs: Any
) -> tuple[bool, list[_Result | None]]:
    """Shapes of the outputs, by PyTorch's own rules."""
    args, kwargs = _mapped(_meta, args), _mapped(_meta, kwargs)
    try:
        outputs = func(*args, **kwargs)
    except Exception as error:
        raise InputError(
            f"{signature.name} fails at {_user_line()}: {first_line(error)}"
        ) from error
    sources = []
    if signature.may_view:
        memory = [part for part in _parts(args) if isinstance(part, torch.Tensor)]
        sources = [part.untyped_storage()._cdata for part in memory]
    is_sequence = isinstance(outputs, (list, tuple))
    results: list[_Result | None] = []
    for output in outputs if is_sequence else [outputs]:
        if not isinstance(output, torch.Tensor):
            results.append(None)
            continue
        shares = sources and output.untyped_storage()._cdata == sources[0]
        result = (tuple(output.shape), output.stride(), output.dtype, 0 if shares else None)
        results.append(result)
    return is_sequence, results
