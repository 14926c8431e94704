"""Cells of recurrent layers: modules, and files that have each gate as an operator."""

import io
import warnings

import onnx
import pytest
import torch
from torch import nn

from nasplug import predict
from nasplug.search_spaces.importers.onnx_graph import onnx_graph
from nasplug.search_spaces.importers.torch_graph import torch_graph


class Loop(nn.Module):
    """Cell that a loop in Python runs over a sequence."""

    def __init__(self, cell, steps=3):
        super().__init__()
        self.cell, self.steps = cell, steps

    def forward(self, x, state):
        states = (state, state) if isinstance(self.cell, nn.LSTMCell) else state
        outputs = []
        for step in range(self.steps):
            states = self.cell(x[step], states)
            outputs.append(states[0] if isinstance(states, tuple) else states)
        return torch.stack(outputs)


class OwnGru(nn.Module):
    """GRU cell as the field writes it: (1 − z)·n + z·h."""

    def __init__(self):
        super().__init__()
        self.read, self.state = nn.Linear(8, 48), nn.Linear(16, 48)

    def forward(self, x, state):
        r, z, n = self.read(x).chunk(3, -1)
        hidden_r, hidden_z, hidden_n = self.state(state).chunk(3, -1)
        gate = torch.sigmoid(z + hidden_z)
        new = torch.tanh(n + torch.sigmoid(r + hidden_r) * hidden_n)
        return (1 - gate) * new + gate * state


def exported(module, *arguments):
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, arguments, buffer, dynamo=False)
    return onnx.load_from_string(buffer.getvalue())


@pytest.mark.parametrize(
    ("cell", "gates", "ops"),
    [
        (nn.LSTMCell(8, 16), 4, {"Gemm": 6, "LSTM": 3}),
        (nn.GRUCell(8, 16), 3, {"Gemm": 6, "GRU": 3}),
        (nn.RNNCell(8, 16), 1, {"Gemm": 6, "Add": 3, "Tanh": 3}),
    ],
    ids=["LSTM", "GRU", "RNN"],
)
def test_a_loop_is_one_network_as_a_module_and_as_a_file(cell, gates, ops):
    arguments = (torch.zeros(3, 1, 8), torch.zeros(1, 16))
    module = Loop(cell).eval()
    graph, read = torch_graph(module, arguments), onnx_graph(exported(module, *arguments))
    for each in (graph, read):
        assert each.total("flops") == 3 * gates * 16 * (8 + 16)
        assert each.total("params") == sum(p.numel() for p in cell.parameters())
        assert {op: each.ops.count(op) for op in ops} == ops
        assert not {"Sigmoid", "Mul", "Sub"} & set(each.ops)
    times = [predict(each, hardware="RTX 3090").mean for each in (graph, read)]
    assert times[0] == pytest.approx(times[1], rel=1e-3)


def test_a_first_state_of_zeros():
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.loop = Loop(nn.LSTMCell(8, 16))

        def forward(self, x):
            return self.loop(x, x.new_zeros(1, 16))

    module, x = Whole().eval(), torch.zeros(3, 1, 8)
    read, folded = onnx_graph(exported(module, x)), torch_graph(module, x, folds=True)
    # A compiler computes the product of the zeros once, a framework in each pass.
    assert read.total("flops") == folded.total("flops") == 4 * 16 * (3 * 8 + 2 * 16)
    assert torch_graph(module, x).total("flops") == 3 * 4 * 16 * (8 + 16)
    assert sorted(read.ops) == sorted(folded.ops)


def test_gates_as_the_field_writes_them():
    module = OwnGru().eval()
    graph = torch_graph(module, (torch.zeros(1, 8), torch.zeros(1, 16)))
    assert sorted(graph.ops) == ["GRU", "Gemm", "Gemm", "Input", "Input", "Output"]


def test_other_gates_are_single_operators():
    class Highway(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.new = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x):
            gate = torch.sigmoid(self.gate(x))
            return gate * torch.tanh(self.new(x)) + (1 - gate) * x

    graph = torch_graph(Highway().eval(), torch.zeros(1, 8))
    assert {"Sigmoid", "Tanh", "Mul", "Add"} < set(graph.ops)
    assert "GRU" not in graph.ops
