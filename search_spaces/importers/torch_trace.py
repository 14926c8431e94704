"""One forward pass of a PyTorch module on tensors that have shapes and no values.

`Trace` is a mode in which each call of an ATen function reaches this file before PyTorch takes it
apart. The call becomes steps of a network, and its results are `Traced` tensors. Nothing is
computed but constants of a few elements, whose values a module may ask for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nasplug.search_spaces.importers.torch_batches import NAMES_SIZES, WrittenSizes
from nasplug.search_spaces.importers.torch_call import Computed, Weight, words
from nasplug.search_spaces.importers.torch_higher_order import higher_order
from nasplug.search_spaces.importers.torch_places import refuse
from nasplug.search_spaces.importers.torch_signatures import (
    Result,
    ResultShapes,
    Signature,
    has_fixed_shape,
    on_meta,
    signature_of,
)
from nasplug.search_spaces.importers.torch_steps import TracedNetwork, reads_data
from nasplug.search_spaces.importers.torch_tensors import (
    Node,
    Traced,
    Value,
    mapped,
    parts,
    type_name,
)
from nasplug.search_spaces.importers.torch_views import link_view

__all__ = ["Trace"]

# Constants of so many elements are computed, since a module may use their values.
SMALL = 65_536
_PACKING = words("_pack_padded_sequence _pad_packed_sequence")
# Functions whose first argument is only written to.
_OVERWRITING = words("copy fill zero normal uniform random bernoulli exponential")


class Trace(TorchDispatchMode):
    """Mode that records the calls of ATen functions as steps of a network.

    Attributes:
        network: The steps.
    """

    def __init__(
        self,
        name: str,
        parameters: dict[int, tuple[str, int]],
        device: torch.device,
        folds: bool = False,
    ) -> None:
        """Start with no step.

        Args:
            name: Name of the module, for messages.
            parameters: Name and number of elements of each parameter, by its `id`.
            device: Device on which traced tensors seem to be.
            folds: Whether what depends on weights alone is computed once, by a compiler.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self.network = TracedNetwork(name, folds)
        self.parameters = parameters
        self.device = device
        self.shapes = ResultShapes()
        self.weights: dict[int, Weight] = {}
        # Traced tensors for tensors of the module that views or writes reach; tensors that are
        # known by their `id` are kept alive.
        self.stand_ins: dict[int, Traced] = {}
        self.kept_alive: list[torch.Tensor] = []
        # For an exported program: the sizes that it has written down.
        self.sizes: WrittenSizes | None = None

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Else a call would import the compiler, which takes over a second.
        return False

    def input(self, example: torch.Tensor) -> Traced:
        """Traced tensor that stands for an input of the module.

        Integers and truths keep their values: lengths, masks and indices steer what a module does.
        """
        shape, dtype = tuple(example.shape), example.dtype
        self.network.fields = {"type": type_name(dtype), "parameters": ()}
        step = self.network.add("Input", (), shape)
        tensor = self.traced((shape, None, dtype, False), Computed(step))
        steers = not (dtype.is_floating_point or dtype.is_complex)
        if steers and example.numel() <= SMALL and not example.is_meta:
            tensor.node.real = example
        return tensor

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
        if not isinstance(func, torch._ops.OpOverload):
            return higher_order(self, func, args)
        if func.namespace == "profiler":
            # Marks of a profiler hold no tensors.
            return func(*args, **(kwargs or {}))
        return self.record(func, args, kwargs or {})

    def record(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Record a call, and give its traced results."""
        signature = signature_of(func)
        if not signature.returns and not signature.written:
            return None
        if self.sizes is None or signature.name not in NAMES_SIZES:
            return self._recorded(func, signature, args, kwargs)
        number, args = self.sizes.begin(signature.name, args)
        result = self._recorded(func, signature, args, kwargs)
        self.sizes.results[number] = tuple(result.shape)
        return result

    def _recorded(
        self, func: Any, signature: Signature, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Any:
        arguments = signature.bound(args, kwargs)
        values = [self._resolved(value) for value in arguments]
        if signature.name in _PACKING:
            return self._packed(func, signature, arguments, values)
        if signature.needs_values and not has_fixed_shape(signature.name, arguments):
            return self._with_values(func, args, kwargs)
        if signature.decomposes and reads_data(values):
            with self:
                return func.decompose(*args, **kwargs)
        if signature.written:
            return self._write(func, signature, arguments, values)
        return self._called(func, signature, arguments, values, args, kwargs)

    def _called(
        self,
        func: Any,
        signature: Signature,
        arguments: list[Any],
        values: list[Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
    ) -> Any:
        """Append the steps of a call that writes to none of its arguments."""
        is_sequence, results = self.shapes.of(func, signature, arguments, args, kwargs)
        if not any(results):
            # A size or another property, which no value decides.
            return func(*mapped(on_meta, args), **mapped(on_meta, kwargs))
        computed = self.network.emitted(signature.name, values, results)
        real: Any = None
        if _have_values(arguments) and all(
            math.prod(result[0]) <= SMALL for result in results if result is not None
        ):
            real = self._computed(func, args, kwargs)
        reals = list(real) if isinstance(real, (list, tuple)) else [real] * len(results)
        outputs: list[Any] = []
        for k, (result, value) in enumerate(zip(results, computed, strict=True)):
            if result is None:
                outputs.append(None)
                continue
            output = self.traced(result, value)
            output.node.real = reals[k]
            if result[3]:
                source = next(part for part in parts(arguments) if isinstance(part, torch.Tensor))
                parent = self._stand_in(source)
                link_view(self.network, output, parent, signature.name, values, results, k)
            outputs.append(output)
        return outputs if is_sequence else outputs[0]

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self.value_of(value)
        if isinstance(value, (list, tuple)):
            return [self._resolved(part) for part in value]
        return value

    def traced(self, result: Result, value: Value) -> Traced:
        """Traced tensor of a shape and type."""
        shape, strides, dtype, _ = result
        tensor: Traced = torch.Tensor._make_wrapper_subclass(
            Traced, shape, strides=strides, dtype=dtype, device=self.device
        )
        tensor.node = Node(value)
        return tensor

    def _computed(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Result of a call on small constants, with values; None if there are no values."""
        try:
            return func(*mapped(self._known, args), **mapped(self._known, kwargs))
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

    def _with_values(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Result of a call that needs the values of its operands."""
        try:
            result = func(*mapped(self._known, args), **mapped(self._known, kwargs))
        except LookupError:
            refuse()
        return mapped(self._constant, result)

    def _packed(
        self, func: Any, signature: Signature, arguments: list[Any], values: list[Any]
    ) -> tuple[Traced, Traced]:
        """Record that sequences of known lengths are packed, or padded again."""
        data = arguments[0]
        try:
            known = [self._known(value) for value in arguments[1:]]
        except LookupError:
            refuse()
        packed, sizes = func(torch.zeros(*data.shape[:-1], 1), *known)
        result = ((*packed.shape[:-1], data.shape[-1]), None, data.dtype, False)
        value = self.network.emitted(signature.name, values, [result])[0]
        return self.traced(result, value), self._constant(sizes)

    def _constant(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        tensor = self.traced((tuple(value.shape), None, value.dtype, False), self._weight(value))
        tensor.node.real = value
        return tensor

    def _stand_in(self, tensor: torch.Tensor) -> Traced:
        """Traced tensor that holds what is written to a tensor."""
        if isinstance(tensor, Traced):
            return tensor
        stand_in = self.stand_ins.get(id(tensor))
        if stand_in is None:
            value = self.value_of(tensor)
            result = (tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype, False)
            stand_in = self.traced(result, value)
            if tensor.numel() <= SMALL and not tensor.is_meta:
                stand_in.node.real = tensor
            self.stand_ins[id(tensor)] = stand_in
        return stand_in

    def _write(
        self, func: Any, signature: Signature, arguments: list[Any], values: list[Any]
    ) -> Any:
        """Append a call in place, or one that writes its result to an argument."""
        targets = [self._stand_in(arguments[k]) for k in signature.written]
        if signature.changes_shape:
            return self._reshaped(func, signature, arguments, values)
        results: list[Result | None] = [
            (tuple(target.shape), None, target.dtype, False) for target in targets
        ]
        # What is overwritten is not read.
        if signature.written != [0] or signature.name in _OVERWRITING:
            for k in signature.written:
                values[k] = None
        computed = self.network.emitted(signature.name, values, results)
        borrowed = {id(stand_in.node) for stand_in in self.stand_ins.values()}
        owns = not any(id(target.node.root) in borrowed for target in targets)
        is_constant = all(isinstance(value, Weight) for value in computed)
        if not (is_constant and owns and self._computed_in_place(func, signature, arguments)):
            for target, value in zip(targets, computed, strict=True):
                target.node.assign(value)
        written = [arguments[k] for k in signature.written]
        return written if len(written) > 1 else written[0]

    def _computed_in_place(self, func: Any, signature: Signature, arguments: list[Any]) -> bool:
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
        self, func: Any, signature: Signature, arguments: list[Any], values: list[Any]
    ) -> Any:
        """Change the shape of a tensor in place."""
        tensor = self._stand_in(arguments[0])
        node = tensor.node
        source_view = node.view
        with torch._C._DisableTorchDispatch():
            func(tensor, *arguments[1:])
        result = (tuple(tensor.shape), None, tensor.dtype, False)

        def view(value: Value) -> Value:
            source = value if source_view is None else source_view(value)
            return self.network.emitted(signature.name, [source, *values[1:]], [result])[0]

        node.value = self.network.emitted(signature.name, values, [result])[0]
        node.view, node.real = view, None
        return tensor


def _have_values(arguments: Sequence[Any]) -> bool:
    """Whether the traced tensors among the arguments all have values."""
    for value in arguments:
        if isinstance(value, Traced):
            if value.node.real is None:
                return False
        elif isinstance(value, (list, tuple)) and not _have_values(value):
            return False
    return True
