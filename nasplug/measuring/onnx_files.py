"""Networks of the user's own ONNX files, with their open sizes filled in."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasplug.arguments import ONNX_FILES
from nasplug.measuring.choice import Networks
from nasplug.measuring.runtimes import constants, write_value
from nasplug.search_spaces import Architecture, Graph, InputError
from nasplug.search_spaces.errors import closest
from nasplug.search_spaces.importers.batches import ReadNetwork
from nasplug.search_spaces.importers.onnx_graph import onnx_network
from nasplug.search_spaces.importers.onnx_inputs import given_value
from nasplug.search_spaces.importers.onnx_loading import first_line, parse_model
from nasplug.text import shown_path

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

__all__ = ["content_id", "networks_of_files"]

# Elements of one input, 4 GB of them.
_MOST_ELEMENTS = 2**30
_SHOWN = 80

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class _File:
    """ONNX file with the shapes of its inputs, its batch, and its graph if it can be read."""

    path: Path
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    batch_size: int
    graph: Graph | None = field(compare=False, repr=False)


def networks_of_files(
    files: Sequence[str | os.PathLike[str]],
    batch_size: int,
    input_shapes: Shapes,
    input_values: Mapping[str, Any] | None = None,
) -> Networks:
    """Open ONNX files as networks to time; weights beside a file are read, too.

    An open first axis gets the batch size. A file that fixes its first axis is timed as it is, at a
    batch of 1 if that axis is no batch, such as the length of a sequence.

    Args:
        files: Paths of the files.
        batch_size: Images a forward pass.
        input_shapes: Shapes of inputs by name, for sizes that the files leave open; the name of an
            only input may be empty.
        input_values: Values of inputs by name, with which the files are run.

    Raises:
        InputError: If a file cannot be read or is no ONNX model, leaves a size open that is not
            given, or fixes its first axis at another number than a batch size above 1.
    """
    archs: dict[str, Architecture] = {}
    values = input_values or {}
    unused = {*input_shapes, *values} - {""}
    names: dict[str, None] = {}
    for file in files:
        path = Path(file)
        model = _loaded(path)
        where = shown_path(path)
        arrays = _values(model, where, values)
        known = {**input_shapes, **{name: array.shape for name, array in arrays.items()}}
        shapes = _shapes(model, where, batch_size, known)
        names |= dict.fromkeys(shapes)
        unused -= shapes.keys()
        batch = _batch(shapes, where, batch_size)
        read = _read(path, shapes, input_shapes, values)
        if read is None:
            opened = _File(path, tuple(shapes.items()), batch, None)
        else:
            opened = _File(path, tuple(shapes.items()), batch if read.is_free else 1, read.graph)
        arch = Architecture(ONNX_FILES, str(path), f"{path.name}-{content_id(path)}", opened)
        archs.setdefault(arch.arch_id, arch)
    if unused:
        raise InputError(
            f"no file has an input {min(unused)[:_SHOWN]!r}; the inputs are "
            f"{closest(min(unused), names)}"
        )
    return Networks(
        ONNX_FILES,
        list(archs.values()),
        lambda arch: _file(arch).path.name,
        lambda arch: _file(arch).batch_size,
        lambda arch: _file(arch).graph,
        lambda arch: _model(_file(arch), values),
    )


def content_id(path: Path) -> str:
    """End of the id of a file's network, which tells its content: 16 digits of its SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _file(arch: Architecture) -> _File:
    assert isinstance(arch.key, _File)
    return arch.key


def _loaded(path: Path) -> onnx.ModelProto:
    """Load a model with its weights.

    Raises:
        InputError: If the file or one with its weights cannot be read, or it holds no network.
    """
    from onnx.external_data_helper import load_external_data_for_model

    where = shown_path(path)
    model = parse_model(path, where)
    if not model.graph.node:
        raise InputError(f"{where} has no nodes; give an ONNX model with at least one")
    try:
        load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # onnx raises errors of many types for bad paths
        raise InputError(
            f"{where}: cannot read the separate file of its weights: {first_line(error)}"
        ) from None
    return model


def _shapes(
    model: onnx.ModelProto, where: str, batch_size: int, input_shapes: Shapes
) -> dict[str, tuple[int, ...]]:
    """Shapes of all inputs: as given, else as the file has them with the batch filled in."""
    weights = constants(model)
    inputs = [value for value in model.graph.input if value.name not in weights]
    if not inputs:
        raise InputError(
            f"{where} has no input, so its output is constant; give a network with an input"
        )
    unnamed = [value for value in inputs if value.name not in input_shapes]
    only = input_shapes.get("") if len(unnamed) == 1 else None
    if "" in input_shapes and only is None:
        raise InputError(
            f"{where} has inputs {', '.join(value.name[:_SHOWN] for value in inputs)}; name the "
            "one whose shape is given, as in --input-shape name=1x3x224x224"
        )
    axes = {v.name: _axes(v, where, input_shapes.get(v.name, only)) for v in inputs}
    batch_symbols = {sizes[0] for sizes in axes.values() if sizes} - {""}
    shapes = {}
    for name, sizes in axes.items():
        shape = []
        for axis, size in enumerate(sizes):
            if isinstance(size, str) and axis and size not in batch_symbols:
                example = "x".join(str(s) if isinstance(s, int) else "224" for s in sizes[1:])
                raise InputError(
                    f"{where}: axis {axis} of input {name[:_SHOWN]!r} has no fixed size; give the "
                    "input's shape, for example --input-shape "
                    f"{name[:_SHOWN]}={batch_size}x{example}"
                )
            shape.append(size if isinstance(size, int) else batch_size)
        if math.prod(shape) > _MOST_ELEMENTS:
            raise InputError(f"{where}: input {name[:_SHOWN]!r} of shape {shape} is too large")
        shapes[name] = tuple(shape)
    return shapes


def _axes(
    value: onnx.ValueInfoProto, where: str, given: Sequence[int] | None
) -> Sequence[int | str]:
    """Sizes of an input's axes, for an open axis its symbol or an empty text."""
    label = f"{where}: input {value.name[:_SHOWN]!r}"
    if not value.type.HasField("tensor_type"):
        raise InputError(f"{label} is not a tensor; only tensors can be inputs")
    tensor = value.type.tensor_type
    dims = tensor.shape.dim
    if given is None and not tensor.HasField("shape"):
        raise InputError(
            f"{label} has no shape; give one, for example --input-shape "
            f"{value.name[:_SHOWN]}=1x3x224x224"
        )
    sizes = [dim.dim_value if dim.dim_value > 0 else str(dim.dim_param) for dim in dims]
    if given is None:
        return sizes
    known = [
        size if isinstance(size, int) else new for size, new in zip(sizes, given, strict=False)
    ]
    if tensor.HasField("shape") and (len(given) != len(sizes) or known != list(given)):
        raise InputError(f"{label} got the shape {list(given)}, which contradicts the file")
    if not all(isinstance(size, int) and size > 0 for size in given):
        raise InputError(
            f"{label} got the shape {list(given)}; sizes must be positive whole numbers"
        )
    return list(given)


def _batch(shapes: Mapping[str, tuple[int, ...]], where: str, batch_size: int) -> int:
    """First axis that inputs of several axes share; the batch size if they share none."""
    firsts = {shape[0] for shape in shapes.values() if len(shape) > 1}
    if len(firsts) != 1 or firsts == {batch_size}:
        return batch_size
    (first,) = firsts
    if batch_size > 1:
        raise InputError(
            f"{where} has the fixed batch size {first}, not {batch_size}; export it with a "
            "dynamic batch axis, or leave --batch-size out"
        )
    return first


def _read(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    input_shapes: Shapes,
    values: Mapping[str, Any],
) -> ReadNetwork | None:
    """Read a file for its batch and its counts of parameters and FLOPs; None if that fails.

    What a runtime runs may have no graph: control flow, or sizes that depend on values.
    """
    given = {name: shape for name, shape in shapes.items() if {name, ""} & input_shapes.keys()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return onnx_network(path, input_shapes=given, input_values=values)
    except Exception:  # a network without counts is timed all the same
        return None


def _values(
    model: onnx.ModelProto, where: str, values: Mapping[str, Any]
) -> dict[str, NDArray[Any]]:
    """Values that are given for inputs of a model, in their types and shapes."""
    return {
        value.name: given_value(value, values[value.name], where)
        for value in model.graph.input
        if value.name in values
    }


def _model(file: _File, values: Mapping[str, Any]) -> onnx.ModelProto:
    """Load the model and write the shapes and values of its inputs into it."""
    model = _loaded(file.path)
    for name, array in _values(model, shown_path(file.path), values).items():
        write_value(model, name, array)
    shapes = dict(file.shapes)
    for value in model.graph.input:
        if value.name in shapes:
            dims = value.type.tensor_type.shape.dim
            del dims[:]
            for size in shapes[value.name]:
                dims.add().dim_value = size
    return model
