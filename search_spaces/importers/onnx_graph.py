"""Reader of ONNX files as graphs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.importers.batches import (
    Reading,
    ReadNetwork,
    batch_axes,
    independent,
    one_sample,
)
from nasplug.search_spaces.importers.onnx_batches import OtherBatch
from nasplug.search_spaces.importers.onnx_constants import (
    constant,
    sparse_constant,
)
from nasplug.search_spaces.importers.onnx_inputs import Asked, Inputs, read_inputs
from nasplug.search_spaces.importers.onnx_loading import (
    load_model,
)
from nasplug.search_spaces.importers.onnx_node import (
    Constant,
    Shape,
)
from nasplug.search_spaces.importers.onnx_reader import OnnxReader

if TYPE_CHECKING:
    import onnx

__all__ = ["onnx_graph", "onnx_network", "tensor_shapes"]


def onnx_graph(
    path_or_model: str | os.PathLike[str] | onnx.ModelProto,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    input_values: Mapping[str, Any] | None = None,
) -> Graph:
    """Read a network from an ONNX file, in the canonical form of `search_spaces.canonical`.

    Inputs have the shapes that the file declares, and an open first axis is one image. If the first
    axis is a batch, the graph is that of one image, else that of the whole input. Other shapes are
    those that `onnx.shape_inference` gives. Weights are never read: files with their weights
    removed or in other files (external data, which is not opened) will do, as long as the constants
    that fix shapes are there. A constant operand of one number is no parameter, a larger one is.
    Branches and loops that shapes and constants decide are the nodes that run.

    Operators of unknown types keep their name and are priced by the data they move, with
    one warning that names them; if such an operator has no known output shape, the shape of its
    first input stands in.

    Args:
        path_or_model: Path of an ONNX file, or a model in memory.
        input_shapes: Shapes of inputs by name, for axes that the file leaves open or that are to be
            others; the name of an only input may be empty.
        input_values: Values by name, of inputs that fix shapes or conditions.

    Raises:
        InputError: If the file is no ONNX model, is damaged or too large, if the values of its
            inputs decide what runs, or if a size other than the batch is nowhere given.
    """
    return onnx_network(path_or_model, input_shapes=input_shapes, input_values=input_values).graph


def onnx_network(
    path_or_model: str | os.PathLike[str] | onnx.ModelProto,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    input_values: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
) -> ReadNetwork:
    """Read a network from an ONNX file, and whether its batch is free; see `onnx_graph`.

    Args:
        path_or_model: Path of an ONNX file, or a model in memory.
        input_shapes: Shapes of inputs by name.
        input_values: Values of inputs by name.
        batch_size: Batch that the network is wanted for. A file for a batch of one is checked for
            a larger one only if it is wanted, since that takes a second reading.
    """
    model, name = load_model(path_or_model)
    constants = _file_constants(model, name)
    asked = Asked(input_shapes or {}, input_values or {})
    inputs = read_inputs(model.graph, constants, asked, name)
    if inputs.moved is not None and inputs.moved[0] != inputs.moved[1]:
        # A closed batch was asked to be another one.
        declared = read_inputs(model.graph, constants, Asked({}, asked.values), name)
        found = _read(model, name, constants, declared, inputs.moved[1])
        if found.is_free:
            return ReadNetwork(found.graph, inputs.moved[1])
    return _read(model, name, constants, inputs, batch_size)


def tensor_shapes(
    path_or_model: str | os.PathLike[str] | onnx.ModelProto,
) -> dict[str, Shape | None]:
    """Shapes of the computed tensors of an ONNX file by name, for a check of the reader."""
    model, name = load_model(path_or_model)
    constants = _file_constants(model, name)
    inputs = read_inputs(model.graph, constants, Asked({}, {}), name)
    reader = OnnxReader(model, name, constants, inputs)
    reader.read()
    return {tensor: known.shape for tensor, known in reader.tensors.items()}


def _read(
    model: onnx.ModelProto,
    name: str,
    constants: dict[str, Constant],
    inputs: Inputs,
    batch_size: int | None,
) -> ReadNetwork:
    first = OnnxReader(model, name, constants, inputs)
    reading = first.read()
    first.warn()

    shapes = list(inputs.batched.values())

    def resized(old: int, new: int, axes: Sequence[int | None]) -> Reading:
        version = first.scope.opsets.get("", 1)
        other = OtherBatch(first.tensors, first.constants, old, new, version)
        return OnnxReader(model, name, constants, inputs.resized(axes, old, new), other).read()

    found = one_sample(reading, shapes, lambda times, axes: resized(times, 1, axes))
    if found.is_free and found.batch == 1 and (batch_size or 1) > 1 and not inputs.open_axes:
        try:
            is_free = independent(resized(1, 2, batch_axes(shapes, 1)), reading, 2)
        except InputError:
            is_free = False
        return ReadNetwork(found.graph, 1, is_free)
    return found


def _file_constants(model: onnx.ModelProto, name: str) -> dict[str, Constant]:
    """The initialisers of a model by name."""
    dense = {tensor.name: constant(tensor, name) for tensor in model.graph.initializer}
    sparse = {s.values.name: sparse_constant(s, name) for s in model.graph.sparse_initializer}
    return dense | sparse
