"""Load an ONNX model from an untrusted file, and check its structure.

Nothing is executed and no other file is opened: weights outside the file are known by their shapes
alone.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from nasplug.search_spaces.errors import InputError

if TYPE_CHECKING:
    import onnx

__all__ = [
    "MAX_RAW_NODES",
    "SAME_AS_DEFAULT",
    "first_line",
    "load_model",
    "parse_model",
    "sorted_nodes",
]

MAX_BYTES = 2**31
MAX_RAW_NODES = 20_000
# Names in a file are for error messages; longer ones are damage.
MAX_NAME = 1_000
MAX_VERSION = 1_000
# Two spellings of the domain of ONNX's own operators.
SAME_AS_DEFAULT = ("", "ai.onnx")


def load_model(source: str | os.PathLike[str] | onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """Load a model, with its local functions expanded.

    Args:
        source: Path of an ONNX file, or a model in memory, which stays as it is.

    Returns:
        The model and its name in error messages.

    Raises:
        InputError: If there is no such file, if it is larger than 2 GB or no ONNX model, if it
            has control flow or more than `MAX_RAW_NODES` nodes.
    """
    import onnx

    if isinstance(source, onnx.ModelProto):
        model, name = source, "the ONNX model"
    elif isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        model = parse_model(Path(source), name)
    else:
        raise InputError(
            "expected the path of an ONNX file or an onnx.ModelProto, "
            f"got a {type(source).__name__}"
        )
    _check(model, name)
    if model.functions:
        model = _without_functions(model, name)
        _check(model, name)
    return model, name


def parse_model(path: Path, name: str) -> onnx.ModelProto:
    """Parse an ONNX file, and no other files that it names; `name` is for error messages.

    Raises:
        InputError: If there is no such file, if it is larger than 2 GB or no ONNX model.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        size = path.stat().st_size if path.is_file() else None
        if size is None:
            reason = "is a folder" if path.is_dir() else "does not exist"
            raise InputError(f"{name} {reason}; expected an ONNX file")
        if size >= MAX_BYTES:
            raise InputError(
                f"{name} has {size / 1e9:.1f} GB; an ONNX file of one part has less than 2 GB "
                "(weights are not needed: save them as external data)"
            )
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name} cannot be read: {error}") from None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RuntimeError, ValueError):
        raise InputError(f"{name} is no ONNX model, or a damaged one") from None
    return model


def _check(model: onnx.ModelProto, name: str) -> None:
    nodes = len(model.graph.node)
    if not nodes:
        raise InputError(f"{name} holds no network: an ONNX model with at least one node is needed")
    if nodes > MAX_RAW_NODES:
        raise InputError(f"{name} has {nodes:,} nodes; at most {MAX_RAW_NODES:,} are read")
    versions = [op.version for op in model.opset_import if op.domain in SAME_AS_DEFAULT]
    if not versions or any(not 0 < op.version < MAX_VERSION for op in model.opset_import):
        raise InputError(f"{name} does not say which version of ONNX's operators it uses")
    _check_nodes(model.graph.node, name)
    graph = model.graph
    tensors = (*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer))
    values = (*graph.input, *graph.output, *graph.value_info)
    _check_text([*(tensor.name for tensor in tensors), *(value.name for value in values)], name)
    _check_text([opset.domain for opset in model.opset_import], name)


def _check_text(words: Iterable[object], name: str) -> None:
    # protobuf gives bytes for a name that is not UTF-8.
    if not all(isinstance(word, str) for word in words):
        raise InputError(f"{name} holds names that are no text; the file is damaged")


def _check_nodes(nodes: Iterable[onnx.NodeProto], name: str) -> None:
    from onnx import AttributeProto

    branches = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    for node in nodes:
        _check_text((node.op_type, node.domain, node.overload, *node.input, *node.output), name)
        _check_text((attribute.name for attribute in node.attribute), name)
        # Error messages print both unchanged.
        label = node.domain + node.op_type
        if not node.op_type or len(label) > MAX_NAME or not label.isprintable():
            raise InputError(f"{name} has a node without an operator type; the file is damaged")
        for attribute in node.attribute:
            if attribute.type in branches or attribute.HasField("g") or attribute.graphs:
                raise InputError(
                    f"{name} has a {node.op_type[:80]} with inner graphs; control flow has no one "
                    "latency: export the model for fixed shapes, or the part that runs"
                )


def _without_functions(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model with its local functions expanded, and large weights left out."""
    import onnx
    from onnx.inliner import inline_local_functions

    _check_expansion(model, name)
    light = onnx.ModelProto()
    light.ir_version = model.ir_version
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    light.graph.output.extend(model.graph.output)
    light.graph.value_info.extend(model.graph.value_info)
    for tensor in model.graph.initializer:
        light.graph.initializer.append(_shape_only(tensor))
    try:
        return inline_local_functions(light)
    except Exception as error:
        raise InputError(
            f"{name} has functions of its own that cannot be expanded: {first_line(error)}"
        ) from None


def _shape_only(tensor: onnx.TensorProto) -> onnx.TensorProto:
    import onnx

    if tensor.ByteSize() < 64 * 1024:
        return tensor
    light = onnx.TensorProto()
    light.name = tensor.name
    light.data_type = tensor.data_type
    light.dims.extend(tensor.dims)
    return light


def _check_expansion(model: onnx.ModelProto, name: str) -> None:
    """Refuse functions that call themselves or expand to too many nodes."""
    for f in model.functions:
        _check_text((f.domain, f.name, f.overload), name)
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    sizes: dict[tuple[str, str, str], int] = {}

    def size(nodes: Iterable[onnx.NodeProto], depth: int) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type, node.overload)
            if key in functions and key not in sizes:
                # Without a cycle there are at most as many levels as functions.
                if depth > min(len(functions), 100):
                    raise InputError(f"{name} has functions that call themselves")
                _check_nodes(functions[key].node, name)
                sizes[key] = size(functions[key].node, depth + 1)
            total += sizes.get(key, 1)
        return total

    total = size(model.graph.node, 0)
    if total > MAX_RAW_NODES:
        raise InputError(
            f"{name} has {total:,} nodes with its functions expanded; at most {MAX_RAW_NODES:,} "
            "are read"
        )


def sorted_nodes(
    model: onnx.ModelProto, sources: Container[str], name: str
) -> list[onnx.NodeProto]:
    """Sort the nodes topologically.

    Args:
        model: A model that `load_model` has checked.
        sources: Names of the graph's inputs and constants.
        name: Name of the model in error messages.

    Raises:
        InputError: If a name is written twice or nowhere, or if the nodes have a cycle.
    """
    nodes = list(model.graph.node)
    writer = _writers(nodes, sources, name)
    sorter: TopologicalSorter[int] = TopologicalSorter()
    for k, node in enumerate(nodes):
        sorter.add(k)
        for source in node.input:
            if not source or source in sources:
                continue
            if source not in writer:
                raise InputError(
                    f"{name}: a {node.op_type[:80]} reads {source[:80]!r}, which is neither an "
                    "input, a constant, nor the output of a node"
                )
            sorter.add(k, writer[source])
    try:
        return [nodes[k] for k in sorter.static_order()]
    except CycleError:
        raise InputError(f"{name}: the nodes have a cycle; a network must be acyclic") from None


def _writers(nodes: Iterable[onnx.NodeProto], sources: Container[str], name: str) -> dict[str, int]:
    """Position of the node that writes each name."""
    writer: dict[str, int] = {}
    for k, node in enumerate(nodes):
        for output in filter(None, node.output):
            if output in writer or output in sources:
                raise InputError(
                    f"{name} writes {output[:80]!r} twice; a name in an ONNX graph has one writer"
                )
            writer[output] = k
    return writer


def first_line(error: BaseException) -> str:
    """First line of an error's message, to be put into a sentence."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]
