"""Recurrent layers: costs by the number of steps, in every layout and framework."""

import collections
import io
import warnings

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers import recurrent
from nasplug.search_spaces.importers.network import ImportedNetwork
from nasplug.search_spaces.importers.onnx_graph import onnx_graph
from nasplug.search_spaces.importers.recurrent import GATES, add_recurrent
from nasplug.search_spaces.importers.torch_graph import torch_graph

INPUTS, HIDDEN = 6, 8


def layer(
    op, steps, rows=1, directions=1, layout=0, bias=False, output=0, lengths=None, hidden=HIDDEN
):
    gates = GATES[op] * HIDDEN
    names = ["x", "w", "r", "b" if bias else "", "lengths" if lengths else ""]
    while not names[-1]:
        names.pop()
    shapes = {"w": (directions, gates, INPUTS), "r": (directions, gates, hidden)}
    if bias:
        shapes["b"] = (directions, 2 * gates)
    weights = [
        helper.make_tensor(name, TensorProto.FLOAT, shape, np.zeros(int(np.prod(shape))))
        for name, shape in shapes.items()
    ]
    if lengths:
        weights.append(helper.make_tensor("lengths", TensorProto.INT32, [rows], lengths))
    outputs = ["", "", ""]
    outputs[output] = "y"
    names_of = {1: "forward", 2: "bidirectional"}
    node = helper.make_node(
        op,
        names,
        outputs[: output + 1],
        hidden_size=HIDDEN,
        layout=layout,
        direction=names_of[directions],
    )
    x = (rows, steps, INPUTS) if layout else (steps, rows, INPUTS)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("layout", [0, 1])
def test_costs_grow_with_the_steps(op, directions, layout):
    gates = directions * GATES[op] * HIDDEN
    for steps in (1, 5, 50):
        graph = onnx_graph(layer(op, steps, directions=directions, layout=layout, bias=True))
        assert graph.total("flops") == steps * gates * (INPUTS + HIDDEN)
        assert graph.total("params") == gates * (INPUTS + HIDDEN + 2)
        # Each step reads the matrix of states anew.
        assert graph.ops.count("Gemm") == 1 + steps
        assert graph.ops.count(op) == 1


def test_rows_are_counted_each():
    one, three = (onnx_graph(layer("LSTM", 5, rows, layout=1)) for rows in (1, 3))
    assert one.total("flops") == three.total("flops") == 5 * 32 * 14
    assert onnx_graph(layer("LSTM", 5, 3, layout=0)).total("flops") == 3 * 5 * 32 * 14


@pytest.mark.parametrize("output", [0, 1, 2])
def test_every_output_costs_the_layer(output):
    graph = onnx_graph(layer("LSTM", 5, output=output))
    assert graph.total("flops") == 5 * 32 * 14
    last = graph.attributes[-2]
    elements = HIDDEN * (5 if output == 0 else 1)
    assert np.prod(last[[4, 5, 6]]) == elements


def test_sequences_end_where_their_lengths_say():
    graph = onnx_graph(layer("GRU", 50, 2, lengths=[5, 20]))
    assert graph.ops.count("Gemm") == 21


def test_matrices_must_fit():
    with pytest.raises(InputError, match="a LSTM of 9 features .* the matrices do not fit"):
        onnx_graph(layer("LSTM", 5, hidden=9))


def test_projections_are_products_of_each_step():
    network = ImportedNetwork("net")
    x = network.add("Input", (), (1, 5, INPUTS))
    add_recurrent(network, "LSTM", x, (1, 5, 3), steps=5, hidden=HIDDEN, projection=3)
    graph = network.graph([len(network.steps) - 1])
    assert graph.total("flops") == 5 * (32 * (INPUTS + 3) + HIDDEN * 3)


def test_long_sequences_have_several_steps_in_a_node(monkeypatch):
    monkeypatch.setattr(recurrent, "MAX_STEPS", 10)
    graph = onnx_graph(layer("RNN", 25))
    assert graph.ops.count("Gemm") == 1 + 9
    assert graph.total("flops") == 25 * HIDDEN * (INPUTS + HIDDEN)


class Outputs(torch.nn.Module):
    """A layer that returns the outputs of all steps, or its last state."""

    def __init__(self, layer, last=False):
        super().__init__()
        self.layer, self.last = layer, last

    def forward(self, x):
        outputs, state = self.layer(x)
        if not self.last:
            return outputs
        return state[0] if isinstance(state, tuple) else state


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_first": True, "last": True},
        {"num_layers": 2, "bidirectional": True, "batch_first": True},
        {"bias": False},
    ],
    ids=["usual", "last state", "two of two directions", "no bias"],
)
def test_an_export_has_the_graph_of_the_module(op, options):
    options = dict(options)
    last = options.pop("last", False)
    module = Outputs(getattr(torch.nn, op)(INPUTS, HIDDEN, **options), last).eval()
    x = torch.zeros((1, 5, INPUTS) if options.get("batch_first") else (5, 1, INPUTS))
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), file, dynamo=False)
    ours, theirs = torch_graph(module, x), onnx_graph(onnx.load_from_string(file.getvalue()))
    assert collections.Counter(ours.ops) == collections.Counter(theirs.ops)
    assert ours.canonical_hash == theirs.canonical_hash
    for name in ("flops", "params", "bytes"):
        assert ours.total(name) == theirs.total(name)
    assert ours.total("params") == sum(p.numel() for p in module.parameters())
