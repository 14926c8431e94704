"""Reader of PyTorch modules as graphs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.importers.network import ImportedNetwork
from nasplug.search_spaces.importers.onnx_loading import first_line
from nasplug.search_spaces.importers.torch_call import Call, Computed, Weight, flat
from nasplug.search_spaces.importers.torch_operators import MAPPED, add_call
from nasplug.search_spaces.operators import KNOWN_OPS

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

__all__ = ["images_in", "torch_graph"]


def torch_graph(module: torch.nn.Module, example: torch.Tensor | tuple[torch.Tensor, ...]) -> Graph:
    """Read a network from a PyTorch module, in the canonical form of `search_spaces.canonical`.

    The module is traced by `torch.export` in evaluation mode, on one image, and is not changed.
    The graph equals the one that `onnx_graph` reads from an export of the same module.

    Args:
        module: Any module that `torch.export` can trace.
        example: A tensor, or the tensors of several arguments, `(images, …)` each; only the first
            image is used.

    Raises:
        InputError: If the example is no tensor, if the module cannot be traced, or if its
            result does not depend on the example.
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        raise InputError(f"expected a torch.nn.Module, got a {type(module).__name__}")
    tensors = tuple(example) if isinstance(example, (tuple, list)) else (example,)
    if not tensors or not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        raise InputError(
            "the example is to be a tensor or a tuple of tensors, such as torch.zeros(1, 3, 32, 32)"
        )
    name = f"the module {type(module).__name__}"
    one_image = tuple(tensor[:1] if tensor.dim() else tensor for tensor in tensors)
    return _Reader(_exported(module, one_image, name), name).graph()


def images_in(example: Any) -> tuple[int, ...]:
    """Sizes of the first axis of an example's tensors, which `torch_graph` reads as the images."""
    tensors = example if isinstance(example, (tuple, list)) else (example,)
    shapes = [tuple(getattr(tensor, "shape", ())) for tensor in tensors]
    return tuple(int(shape[0]) for shape in shapes if shape)


@contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Keep a module in evaluation mode for as long as the block runs."""
    import torch

    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training


def _exported(
    module: torch.nn.Module, example: tuple[torch.Tensor, ...], name: str
) -> ExportedProgram:
    import torch

    try:
        with _evaluating(module), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(module, example)
            if _readable(program):
                return program
            table = torch.export.default_decompositions()
            for operator in list(table):
                if _name(operator) in MAPPED:
                    del table[operator]
            result: ExportedProgram = program.run_decompositions(table)
            return result
    except Exception as error:
        raise InputError(f"{name} cannot be traced by torch.export: {first_line(error)}") from error


# Functions that return their argument itself in evaluation mode, although no signature says so.
_SILENT_VIEWS = frozenset({"dropout", "feature_dropout", "alpha_dropout"})
# Functions that read the shape of their argument alone.
_SHAPED_LIKE = frozenset(
    {"zeros_like", "ones_like", "full_like", "empty_like"}
    | {"new_zeros", "new_ones", "new_full", "new_empty"}
)


def _readable(program: ExportedProgram) -> bool:
    """Whether each call on data has a known name and none writes to memory that a view shows.

    Any other program has to be made functional, which takes longer than the trace.
    """
    inputs = set(program.graph_signature.user_inputs)
    order = {node: k for k, node in enumerate(program.graph.nodes)}
    data: set[Any] = set()
    for node in order:
        if node.op == "placeholder" and node.name in inputs:
            data.add(node)
        elif node.op != "output" and any(source in data for source in node.all_input_nodes):
            if node.op != "call_function" or not _readable_call(node, order):
                return False
            if _name(node.target) not in _SHAPED_LIKE:
                data.add(node)
    return True


def _readable_call(node: Any, order: dict[Any, int]) -> bool:
    name = _name(node.target)
    if not _in_place(node):
        is_known = name in MAPPED or name in _SHAPED_LIKE
        return is_known or _is_part(node) or node.meta.get("val") is None
    # Written in place: safe where the memory is the fresh output of a call and has no view yet.
    target = _written(node)
    fresh = target.op == "call_function" and not _may_view(target)
    return fresh and not _viewed(target, node, order) and name.endswith("_") and name[:-1] in MAPPED


def _is_part(node: Any) -> bool:
    """Whether a node takes one of several results of a call."""
    return getattr(node.target, "__name__", "") == "getitem"


def _in_place(node: Any) -> bool:
    schema = getattr(node.target, "_schema", None)
    return node.op == "call_function" and schema is not None and bool(schema.is_mutable)


def _written(node: Any) -> Any:
    """Call that made the memory to which a call in place writes."""
    while _in_place(node):
        node = node.args[0]
    return node


def _viewed(node: Any, writer: Any, order: dict[Any, int]) -> bool:
    """Whether a view of the memory was taken before it is written to."""
    return any(
        _viewed(user, writer, order) if _in_place(user) else _may_view(user)
        for user in node.users
        if user.op == "call_function" and order[user] < order[writer]
    )


def _may_view(node: Any) -> bool:
    """Whether the result of a call may share memory with an argument."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or _name(node.target) in _SILENT_VIEWS:
        return True
    return any(result.alias_info is not None for result in schema.returns)


class _Reader:
    """Reader that walks the calls of a program once, in order."""

    def __init__(self, program: ExportedProgram, name: str) -> None:
        self.program = program
        self.name = name
        self.network = ImportedNetwork(name)
        # Result of each node of the program; a list for a node with several outputs.
        self.results: dict[str, Any] = {}
        self.unknown: dict[str, None] = {}
        # Names of memory that is written in place, by the first of them.
        self.names_of: dict[str, list[str]] = {}

    def graph(self) -> Graph:
        signature = self.program.graph_signature
        inputs = set(signature.user_inputs)
        ends: list[int] = []
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self.results[node.name] = self._placeholder(node, node.name in inputs)
            elif node.op == "get_attr":
                self.results[node.name] = self._weight(node.meta.get("val"))
            elif node.op == "call_function":
                self._record(node, self._call(node))
            elif node.op == "output":
                output_names = set(signature.user_outputs)
                results = [self.results.get(str(k)) for k in node.args[0] if str(k) in output_names]
                ends = [result.step for result in results if isinstance(result, Computed)]
        if not ends:
            raise InputError(f"{self.name} returns nothing that depends on the example")
        if self.unknown:
            names = ", ".join(sorted(self.unknown)[:20])
            warnings.warn(
                f"{self.name} has operators of unknown cost, priced by the data they move: {names}",
                stacklevel=3,
            )
        return self.network.graph(ends)

    def _placeholder(self, node: Any, is_input: bool) -> Computed | Weight:
        value = node.meta.get("val")
        weight = self._weight(value)
        if not is_input or not hasattr(value, "shape"):
            return weight
        return Computed(self.network.add("Input", (), weight.shape))

    def _weight(self, value: Any) -> Weight:
        if not hasattr(value, "shape"):
            return Weight((), False)
        return Weight(_shape(value), value.is_floating_point())

    def _record(self, node: Any, result: Any) -> None:
        """Keep a call's result; memory written in place has it under all its names."""
        self.results[node.name] = result
        if _in_place(node):
            names = self.names_of.setdefault(_written(node).name, [_written(node).name])
            names.append(node.name)
            self.results.update(dict.fromkeys(names, result))

    def _call(self, node: Any) -> Any:
        if _is_part(node):
            results, k = self.results[node.args[0].name], node.args[1]
            if isinstance(results, list):
                return results[min(k, len(results) - 1)]
            return results
        arguments = self._arguments(node)
        value = node.meta.get("val")
        outputs = list(value) if isinstance(value, (list, tuple)) else [value]
        reads_data = any(isinstance(part, Computed) for part in flat(arguments))
        if not reads_data or _name(node.target) in _SHAPED_LIKE:
            weights = [self._weight(part) for part in outputs]
            return weights if isinstance(value, (list, tuple)) else weights[0]
        tensors = [part for part in outputs if hasattr(part, "shape")]
        if not tensors:
            return Weight((), False)
        first = node.args[0].meta.get("val") if hasattr(node.args[0], "meta") else None
        floats = first is not None and self._weight(first).floating
        name = _name(node.target)
        name = name[:-1] if _in_place(node) else name
        call = Call(
            name,
            arguments,
            tuple(_shape(tensor) for tensor in tensors),
            (floats, tensors[0].is_floating_point()),
        )
        computed_outputs = [Computed(step) for step in add_call(self.network, call)]
        label = self.network.steps[-1].op
        if label not in KNOWN_OPS and call.name not in MAPPED:
            self.unknown[label] = None
        return computed_outputs if isinstance(value, (list, tuple)) else computed_outputs[0]

    def _arguments(self, node: Any) -> tuple[Any, ...]:
        """All arguments by position, with the results of earlier nodes in their place."""
        schema = getattr(node.target, "_schema", None)
        arguments = list(node.args)
        if schema is not None:
            for argument in schema.arguments[len(arguments) :]:
                arguments.append(node.kwargs.get(argument.name, argument.default_value))
        return tuple(self._resolved(value) for value in arguments)

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [self._resolved(part) for part in value]
        if hasattr(value, "op") and hasattr(value, "name"):
            result = self.results[value.name]
            return result[0] if isinstance(result, list) else result
        return value


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in tensor.shape)


def _name(target: Any) -> str:
    """Name of a function, such as `"conv2d"` for `aten.conv2d.default`; other namespaces stay."""
    full = target.name() if hasattr(target, "name") and callable(target.name) else str(target)
    namespace, _, name = full.rpartition("::")
    name = name.split(".")[0]
    return name if namespace == "aten" else f"{namespace}.{name}" if namespace else name
