"""Fourier transforms, factorisations and distances: multiply-accumulates worked out by hand."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from nasplug.search_spaces.importers.onnx_graph import onnx_graph
from nasplug.search_spaces.importers.torch_graph import torch_graph
from tests.search_spaces.importers.onnx_models import N, ints, model, tensor


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *arguments):
        return self.function(*arguments)


def flops(function, *shapes):
    arguments = tuple(torch.zeros(*shape) for shape in shapes)
    return torch_graph(Function(function).eval(), arguments).total("flops")


@pytest.mark.parametrize(
    ("function", "shapes", "expected"),
    [
        (torch.fft.rfft, [(1, 4, 128)], 4 * 65 * 2 * 7),
        (torch.fft.fft, [(1, 4, 128)], 4 * 128 * 2 * 7),
        (torch.fft.fft2, [(1, 3, 32, 16)], 3 * 32 * 16 * 2 * (5 + 4)),
        (lambda x: torch.fft.irfft(torch.fft.rfft(x)), [(1, 100)], 51 * 2 * 7 + 100 * 7),
        (torch.linalg.det, [(1, 9, 9)], 9**3 / 3),
        (torch.linalg.inv, [(1, 9, 9)], 9**3),
        (torch.linalg.solve, [(1, 9, 9), (1, 9, 3)], 9**3 / 3 + 9 * 9 * 3),
        (torch.cdist, [(1, 100, 8), (1, 50, 8)], 100 * 50 * (8 + 2)),
        (lambda x, y: torch.cdist(x, y, p=1.0), [(1, 100, 8), (1, 50, 8)], 0),
    ],
)
def test_in_pytorch(function, shapes, expected):
    assert flops(function, *shapes) == expected


def test_a_codebook_has_distances_by_a_product_with_a_constant():
    codes = torch.zeros(50, 8)
    graph = torch_graph(Function(lambda x: torch.cdist(x, codes)), torch.zeros(1, 100, 8))
    assert graph.total("flops") == 100 * 50 * (8 + 2)
    assert "Gemm" in graph.ops


def test_a_bilinear_layer():
    layer = nn.Bilinear(8, 6, 5)
    graph = torch_graph(layer, (torch.zeros(1, 8), torch.zeros(1, 6)))
    assert graph.total("flops") == 8 * 5 * 6 + 5 * 6
    assert graph.total("params") == 5 * 8 * 6 + 5


def test_the_spectra_of_frames():
    def spectra(x):
        window = torch.hann_window(64)
        return torch.view_as_real(torch.stft(x, 64, 16, window=window, return_complex=True))

    graph = torch_graph(Function(spectra), torch.zeros(1, 1600))
    nodes = [
        N("Pad", ["x", "pads"], ["p"]),
        N("STFT", ["p", "step", "window", "length"], ["y"]),
    ]
    constants = [
        ints("pads", [0, 32, 0, 32]),
        ints("step", [16], []),
        ints("length", [64], []),
        tensor("window", [64]),
    ]
    read = onnx_graph(model(nodes, constants, x=(1, 1600)))
    for each in (graph, read):
        assert each.total("flops") == 101 * 33 * 2 * 6
        assert each.total("params") == 0
        assert {"Gather", "Mul", "DFT"} < set(each.ops)


@pytest.mark.parametrize("opset", [17, 20])
def test_a_transform_of_onnx(opset):
    # Version 20 has the axis as an input.
    inputs = ["x", ""] if opset == 17 else ["x", "", "axis"]
    options = {"axis": 2} if opset == 17 else {}
    nodes = [N("DFT", inputs, ["y"], onesided=1, **options)]
    graph = onnx_graph(model(nodes, [ints("axis", [2], [])], x=(1, 4, 128, 1), opset=opset))
    assert graph.total("flops") == 4 * 65 * 2 * 7


def test_a_determinant_of_onnx():
    nodes = [N("Det", ["x"], ["d"]), N("Exp", ["d"], ["y"])]
    graph = onnx_graph(model(nodes, x=(1, 9, 9)))
    assert graph.total("flops") == 9**3 / 3


def test_a_transform_of_a_length_that_is_not_known():
    values = [helper.make_tensor_value_info("n", TensorProto.INT64, [])]
    nodes = [N("DFT", ["x", "n"], ["d"], axis=1), N("ReduceSum", ["d", "last"], ["y"])]
    last = numpy_helper.from_array(np.array([-1]), "last")
    with pytest.warns(UserWarning, match="not known before it runs"):
        graph = onnx_graph(model(nodes, [last], x=(1, 64, 1), inputs=values))
    assert "DFT" in graph.ops
