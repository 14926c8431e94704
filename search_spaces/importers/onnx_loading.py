"""Load an ONNX model from an untrusted file, and check its structure.

Nothing is executed and no other file is opened: weights outside the file are known by their shapes
alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from nasplug.search_spaces.errors import InputError

if TYPE_CHECKING:
    import onnx

__all__ = [
    "MAX_RAW_NODES",
    "RUN_MARK",
    "SAME_AS_DEFAULT",
    "first_line",
    "graphs_of",
    "load_model",
    "opset_versions",
    "parse_model",
    "part_name",
    "shape_only",
    "shown",
    "sorted_nodes",
]

MAX_BYTES = 2**31
MAX_RAW_NODES = 20_000
# Names in a file are for error messages; longer ones are damage.
MAX_NAME = 1_000
MAX_VERSION = 1_000
# Stands in a name of an inner graph between the name in the file and the number of the run.
RUN_MARK = "\x1f"
_LFS_POINTER = b"version https://git-lfs"
# Two spellings of the domain of ONNX's own operators.
SAME_AS_DEFAULT = ("", "ai.onnx")


def load_model(source: str | os.PathLike[str] | onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """Load a model and check its structure, inner graphs and local functions included.

    Args:
        source: Path of an ONNX file, or a model in memory, which stays as it is.

    Returns:
        The model and its name in error messages.

    Raises:
        InputError: If there is no such file, if it is larger than 2 GB or no ONNX model, if it
            has more than `MAX_RAW_NODES` nodes, or only operators that are not ONNX's own.
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
    if data.startswith(_LFS_POINTER):
        raise InputError(f"{name} is a pointer of Git LFS; fetch the file itself with git lfs pull")
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
    _check_graph(model.graph, name)
    for function in model.functions:
        _check_text((function.domain, function.name, function.overload), name)
        _check_text([*function.input, *function.output, *function.attribute], name)
        _check_text([attribute.name for attribute in function.attribute_proto], name)
        _check_nodes(function.node, name)
        _check_versions(function.opset_import, name)
    _check_versions(model.opset_import, name)
    if not any(opset.domain in SAME_AS_DEFAULT for opset in model.opset_import):
        _check_domains(model, name)


def _check_versions(opsets: Iterable[onnx.OperatorSetIdProto], name: str) -> None:
    _check_text([opset.domain for opset in opsets], name)
    if any(not 0 < opset.version < MAX_VERSION for opset in opsets):
        raise InputError(f"{name} does not say which version of ONNX's operators it uses")


def _check_domains(model: onnx.ModelProto, name: str) -> None:
    """Refuse a model that says no version of ONNX's own operators, unless functions do."""
    functions = {(f.domain, f.name) for f in model.functions}
    domains = {n.domain for n in model.graph.node if (n.domain, n.op_type) not in functions}
    if domains.intersection(SAME_AS_DEFAULT):
        raise InputError(f"{name} does not say which version of ONNX's operators it uses")
    if domains:
        raise InputError(
            f"{name} uses the operators of {', '.join(sorted(domains))[:80]} alone, which are not "
            "read; expected a neural network of ONNX's own operators"
        )


def _check_graph(graph: onnx.GraphProto, name: str) -> None:
    tensors = (*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer))
    values = (*graph.input, *graph.output, *graph.value_info)
    _check_text([*(tensor.name for tensor in tensors), *(value.name for value in values)], name)
    _check_text([graph.name], name)
    _check_nodes(graph.node, name)


def _check_text(words: Iterable[object], name: str) -> None:
    # protobuf gives bytes for a name that is not UTF-8.
    if not all(isinstance(word, str) and RUN_MARK not in word for word in words):
        raise InputError(f"{name} holds names that are no text; the file is damaged")


def _check_nodes(nodes: Iterable[onnx.NodeProto], name: str) -> None:
    for node in nodes:
        _check_text((node.op_type, node.domain, node.overload, *node.input, *node.output), name)
        _check_text((attribute.name for attribute in node.attribute), name)
        _check_text((attribute.ref_attr_name for attribute in node.attribute), name)
        # Error messages print both unchanged.
        label = node.domain + node.op_type
        if not node.op_type or len(label) > MAX_NAME or not label.isprintable():
            raise InputError(f"{name} has a node without an operator type; the file is damaged")
        for _, graph in graphs_of(node):
            _check_graph(graph, name)


def graphs_of(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """Graphs inside of a node, each with the name of its attribute."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.name, attribute.g
        for graph in attribute.graphs:
            yield attribute.name, graph


def opset_versions(opsets: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """Version of the operators of each domain; ONNX's own is the empty one."""
    versions: dict[str, int] = {}
    for opset in opsets:
        domain = "" if opset.domain in SAME_AS_DEFAULT else opset.domain
        versions[domain] = max(opset.version, versions.get(domain, 1))
    return versions


def shape_only(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """The tensor without its values if it is large."""
    import onnx

    if tensor.ByteSize() < 64 * 1024:
        return tensor
    light = onnx.TensorProto()
    light.name = tensor.name
    light.data_type = tensor.data_type
    light.dims.extend(tensor.dims)
    return light


def sorted_nodes(
    nodes: Iterable[onnx.NodeProto], sources: Container[str], own: Container[str], name: str
) -> list[onnx.NodeProto]:
    """Sort the nodes of a graph topologically.

    Args:
        nodes: Nodes of a model that `load_model` has checked.
        sources: Names that the nodes may read beside their own outputs.
        own: The sources that belong to the graph, which no node may write.
        name: Name of the model in error messages.

    Raises:
        InputError: If a name is written twice or nowhere, or if the nodes have a cycle.
    """
    nodes = list(nodes)
    writer = _writers(nodes, own, name)
    sorter: TopologicalSorter[int] = TopologicalSorter()
    for k, node in enumerate(nodes):
        sorter.add(k)
        for source in filter(None, node.input):
            if source in writer:
                sorter.add(k, writer[source])
            elif source not in sources:
                raise InputError(
                    f"{name}: a {node.op_type[:80]} reads {shown(source)}, which is neither an "
                    "input, a constant, nor the output of a node"
                )
        for _, graph in graphs_of(node):
            for source in _outer_names(graph):
                if source in writer:
                    sorter.add(k, writer[source])
    try:
        return [nodes[k] for k in sorter.static_order()]
    except CycleError:
        raise InputError(f"{name}: the nodes have a cycle; a network must be acyclic") from None


def _outer_names(graph: onnx.GraphProto) -> set[str]:
    """Names that an inner graph reads from the graphs around it."""
    own = {value.name for value in (*graph.input, *graph.initializer)}
    own.update(sparse.values.name for sparse in graph.sparse_initializer)
    read = {value.name for value in graph.output}
    for node in graph.node:
        own.update(node.output)
        read.update(node.input)
        for _, inner in graphs_of(node):
            read |= _outer_names(inner)
    return read - own


def _writers(nodes: Iterable[onnx.NodeProto], own: Container[str], name: str) -> dict[str, int]:
    """Position of the node that writes each name."""
    writer: dict[str, int] = {}
    for k, node in enumerate(nodes):
        for output in filter(None, node.output):
            if output in writer or output in own:
                raise InputError(
                    f"{name} writes {shown(output)} twice; a name in an ONNX graph has one writer"
                )
            writer[output] = k
    return writer


def part_name(name: str, part: int) -> str:
    """A name of the list of values for a part of a value."""
    return f"{name}{RUN_MARK}part{part}"


def shown(name: str) -> str:
    """A name as the file has it, quoted, for an error message."""
    return repr(name.split(RUN_MARK, maxsplit=1)[0][:80])


def first_line(error: BaseException) -> str:
    """First line of an error's message, to be put into a sentence."""
    lines = re.sub(rf"{RUN_MARK}(part)?\d*", "", str(error)).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]
