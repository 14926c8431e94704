"""Changes to valid ONNX models that leave most of them valid, and a second opinion on shapes.

Where `experiments.checks.fuzz_onnx` damages any field, a change here keeps the structure: nodes are
dropped, doubled or rewired, attributes, sizes, versions and types become others of their kind.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper, parser, shape_inference

from experiments.reading.backend_tests import models as backend_models

__all__ = ["CONTROL", "control_flow", "inferred_shapes", "mutated", "valid_models"]

Graph = onnx.GraphProto
SIZES = (0, 1, 1, 2, 2, 3, 4, 5, 8, 16, 17, 64)
TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.INT8)
# Operators of one tensor that keep its shape, and of two that broadcast.
UNARY = ("Relu", "Sigmoid", "Exp", "Neg", "Identity", "Softmax", "Flatten", "Shape", "Cast")
BINARY = ("Add", "Mul", "Sub", "MatMul", "Concat", "Div", "Pow")
LARGEST = 20_000

CONTROL = (
    """g (float[2, 3, 4] x) => (float[] y) <int64 trips = {3}, bool yes = {1}, int64[1] one = {1}> {
        s = Shape (x) n = Gather (s, trips_at) c = Less (n, trips)
        a = If (c) <then_branch = t () => (float[] p) { q = Exp (x) p = Relu (q) },
                    else_branch = e () => (float[] r) { r = Sqrt (x) }>
        z, rows = Loop (trips, yes, a) <body = b (int64 i, bool go, float[2, 3, 4] h)
            => (bool on, float[2, 3, 4] h2, float[2, 3, 4] row)
            { on = Identity (go) h2 = Add (h, x) row = Tanh (h2) }>
        hn, ys = Scan <num_scan_inputs = 1, body = sb (float[3, 4] st, float[3, 4] xt)
            => (float[3, 4] st2, float[3, 4] yt) { st2 = Add (st, xt) yt = Abs (st2) }> (zero, z)
        y = Add (hn, yes_f)
    }""",
    """g (float[1, 6, 4] x) => (float[] y) <int64 two = {2}, int64 at = {1}> {
        s = SplitToSequence <axis = 1> (x, two) a = SequenceAt (s, at) b = Exp (a)
        t = SequenceInsert (s, b) n = SequenceLength (t)
        m = SequenceMap <body = body (float[1, 2, 4] p) => (float[1, 2, 4] q) { q = Relu (p) }> (t)
        c = ConcatFromSequence <axis = 1> (m) o = Optional (c) h = OptionalHasElement (o)
        g = OptionalGetElement (o)
        y = If (h) <then_branch = then () => (float[] u) { u = Neg (g) },
                    else_branch = other () => (float[] v) { v = Identity (x) }>
    }""",
)


def valid_models(seeds: list[onnx.ModelProto]) -> list[onnx.ModelProto]:
    """Models to change: the seeds, control flow, and onnx's own tests that are small."""
    models = [*seeds, *map(control_flow, CONTROL)]
    for _, _, model in backend_models():
        loaded = onnx.load(model) if isinstance(model, Path) else model
        if loaded.ByteSize() < LARGEST and loaded.graph.node:
            models.append(loaded)
    return models


def control_flow(text: str) -> onnx.ModelProto:
    """One of the models of `CONTROL`."""
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 17]> {text}')
    for name, array in (
        ("trips_at", np.asarray(1)),
        ("zero", np.zeros((3, 4), np.float32)),
        ("yes_f", np.ones((1,), np.float32)),
    ):
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


def graphs(graph: Graph) -> Iterator[Graph]:
    """A graph and all graphs inside of it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g)


# ------------------------------------------------------------------------------------ changes


def _drop(rng: random.Random, graph: Graph) -> None:
    """Drop a node; what read its output reads its first input."""
    node = graph.node.pop(rng.randrange(len(graph.node)))
    source = next(iter(node.input), "")
    for other in graph.node:
        for k, name in enumerate(other.input):
            if name in node.output and source:
                other.input[k] = source


def _double(rng: random.Random, graph: Graph) -> None:
    """Let a copy of a node run after it, on its output."""
    k = rng.randrange(len(graph.node))
    copy = deepcopy(graph.node[k])
    if copy.input and copy.output:
        new = f"{copy.output[0]}_{rng.randrange(10_000)}"
        for other in graph.node[k + 1 :]:
            for j, name in enumerate(other.input):
                if name == copy.output[0]:
                    other.input[j] = new
        copy.input[0] = graph.node[k].output[0]
        del copy.output[1:]
        copy.output[0] = new
        nodes = list(graph.node)
        nodes.insert(k + 1, copy)
        del graph.node[:]
        graph.node.extend(nodes)


def _rewire(rng: random.Random, graph: Graph) -> None:
    """Let a node read another tensor."""
    node = rng.choice(graph.node)
    names = [v.name for v in (*graph.input, *graph.initializer)]
    names += [name for other in graph.node for name in other.output]
    if node.input and names:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)


def _operator(rng: random.Random, graph: Graph) -> None:
    """Let a node be another operator with as many inputs."""
    node = rng.choice(graph.node)
    if len(node.input) in (1, 2):
        node.op_type = rng.choice(UNARY if len(node.input) == 1 else BINARY)
        del node.attribute[:]
        if node.op_type == "Cast":
            node.attribute.append(helper.make_attribute("to", rng.choice(TYPES)))
        elif node.op_type == "Concat":
            node.attribute.append(helper.make_attribute("axis", rng.choice((-1, 0, 1))))


def _attribute(rng: random.Random, graph: Graph) -> None:
    """Change a number of an attribute, or leave the attribute out."""
    having = [node for node in graph.node if node.attribute]
    if not having:
        return
    node = rng.choice(having)
    k = rng.randrange(len(node.attribute))
    attribute = node.attribute[k]
    if rng.random() < 0.15:
        del node.attribute[k]
    elif attribute.type == AttributeProto.INT:
        attribute.i = rng.choice((-2, -1, *SIZES))
    elif attribute.type == AttributeProto.INTS and attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice((-1, *SIZES))


def _size(rng: random.Random, graph: Graph) -> None:
    """Change a declared size, or leave it open."""
    values = [*graph.input, *graph.output, *graph.value_info]
    dims = [d for v in values for d in v.type.tensor_type.shape.dim]
    if dims:
        dim = rng.choice(dims)
        if rng.random() < 0.15:
            dim.dim_param = "N"
        else:
            dim.dim_value = rng.choice(SIZES)


def _constant(rng: random.Random, graph: Graph) -> None:
    """Change a number, the shape or the type of a constant, or make an input of it."""
    if not graph.initializer:
        return
    k = rng.randrange(len(graph.initializer))
    try:
        array = numpy_helper.to_array(graph.initializer[k]).copy()
    except (ValueError, TypeError):
        return
    name = graph.initializer[k].name
    choice = rng.random()
    if choice < 0.5 and array.size and array.dtype.kind in "iuf":
        array.flat[rng.randrange(array.size)] = rng.choice(SIZES)
    elif choice < 0.7 and array.dtype.kind in "iuf":
        shape = [rng.choice((size, size, *SIZES)) for size in array.shape]
        array = np.resize(array, shape) if np.prod(shape) < LARGEST else array
    elif choice < 0.85:
        array = array.astype(rng.choice((np.float32, np.float16, np.int64, np.int8)))
    else:
        graph.input.append(
            helper.make_tensor_value_info(name, graph.initializer[k].data_type, array.shape)
        )
        del graph.initializer[k]
        return
    graph.initializer[k].CopyFrom(numpy_helper.from_array(array, name))


def _type(rng: random.Random, graph: Graph) -> None:
    """Change the element type of an input."""
    tensors = [value for value in graph.input if value.type.HasField("tensor_type")]
    if tensors:
        rng.choice(tensors).type.tensor_type.elem_type = rng.choice(TYPES)


CHANGES: tuple[Callable[[random.Random, Graph], None], ...] = (
    *(_drop, _double, _rewire, _operator, _attribute, _attribute, _size, _size, _constant),
    *(_constant, _type),
)


def mutated(rng: random.Random, models: list[onnx.ModelProto]) -> onnx.ModelProto:
    """A copy of one of the models with up to four changes."""
    model = onnx.ModelProto()
    model.CopyFrom(rng.choice(models))
    for _ in range(rng.choice((1, 1, 2, 4))):
        inner = [graph for graph in graphs(model.graph) if graph.node]
        if rng.random() < 0.1 and model.opset_import:
            rng.choice(model.opset_import).version = rng.randrange(7, 26)
        elif inner:
            rng.choice(CHANGES)(rng, rng.choice(inner))
    return model


# -------------------------------------------------------------------------------- second opinion


def inferred_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]] | None:
    """Shapes of tensors by onnx's checker and its inference on the whole model.

    None if the model is invalid, or leaves a size of its inputs open.
    """
    dims = [d for value in model.graph.input for d in value.type.tensor_type.shape.dim]
    if any(dim.dim_value < 1 for dim in dims):
        return None
    try:
        onnx.checker.check_model(model)
        shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        # What the file declares beside its inputs may contradict them.
        bare = deepcopy(model)
        del bare.graph.value_info[:]
        for value in bare.graph.output:
            value.type.tensor_type.ClearField("shape")
        whole = shape_inference.infer_shapes(bare, strict_mode=True, data_prop=True)
    except Exception:
        return None
    shapes = {}
    for value in (*whole.graph.value_info, *whole.graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim):
            shapes[value.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    return shapes
