"""ONNX files that were exported for a batch, and others whose first axis is none."""

import io

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers.onnx_graph import onnx_graph, onnx_network

N = helper.make_node


def weight(name, *shape):
    return numpy_helper.from_array(np.zeros(shape, np.float32), name)


def sizes(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def model(nodes, constants, x, y=None, opset=17):
    inputs = {"x": x} if isinstance(x, tuple) else x
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def windows(n, side=3, window=4, channels=8):
    """Windows of an image as rows of a batch, as in window attention."""
    nodes = [
        N("Reshape", ["x", "cut"], ["r"]),
        N("Transpose", ["r"], ["t"], perm=[0, 1, 3, 2, 4, 5]),
        N("Reshape", ["t", "rows"], ["w"]),
        N("Transpose", ["w"], ["k"], perm=[0, 2, 1]),
        N("MatMul", ["w", "k"], ["s"]),
        N("Softmax", ["s"], ["p"], axis=-1),
        N("MatMul", ["p", "w"], ["y"]),
    ]
    constants = [
        sizes("cut", n, side, window, side, window, channels),
        sizes("rows", n * side * side, window * window, channels),
    ]
    rows = (n * side * side, window * window, channels)
    return model(nodes, constants, (n, side * window, side * window, channels), rows)


def shuffled(n, groups=2, channels=8, side=4):
    nodes = [
        N("Reshape", ["x", "cut"], ["r"]),
        N("Transpose", ["r"], ["t"], perm=[0, 2, 1, 3, 4]),
        N("Reshape", ["t", "back"], ["b"]),
        N("Conv", ["b", "w"], ["y"]),
    ]
    constants = [
        sizes("cut", n, groups, channels // groups, side, side),
        sizes("back", n, channels, side, side),
        weight("w", channels, channels, 1, 1),
    ]
    return model(nodes, constants, (n, channels, side, side), (n, channels, side, side))


def class_token(n, length=5, channels=8):
    nodes = [
        N("Expand", ["token", "s"], ["e"]),
        N("Concat", ["e", "x"], ["c"], axis=1),
        N("MatMul", ["c", "w"], ["y"]),
    ]
    constants = [
        weight("token", 1, 1, channels),
        sizes("s", n, 1, channels),
        weight("w", channels, 3),
    ]
    return model(nodes, constants, (n, length, channels), (n, length + 1, 3))


def queries(n, length=5, channels=8):
    """Learned queries, repeated for each image, that attend to it."""
    nodes = [
        N("Tile", ["q", "times"], ["qs"]),
        N("Transpose", ["x"], ["k"], perm=[0, 2, 1]),
        N("MatMul", ["qs", "k"], ["s"]),
        N("Softmax", ["s"], ["p"], axis=-1),
        N("MatMul", ["p", "x"], ["y"]),
    ]
    constants = [weight("q", 1, 3, channels), sizes("times", n, 1, 1)]
    return model(nodes, constants, (n, length, channels), (n, 3, channels))


def constant_scale(n, length=5, channels=8):
    nodes = [
        N("Reshape", ["r", "s"], ["r4"]),
        N("Mul", ["x", "r4"], ["m"]),
        N("MatMul", ["m", "w"], ["y"]),
    ]
    constants = [weight("r", n, channels), sizes("s", n, 1, channels), weight("w", channels, 3)]
    return model(nodes, constants, (n, length, channels), (n, length, 3))


def heads_in_the_batch(n, length=8, heads=2, channels=8):
    """Attention of PyTorch's own modules: the sequence first, and heads beside the batch."""
    size = channels // heads
    nodes = [
        N("Transpose", ["x"], ["f"], perm=[1, 0, 2]),
        N("Reshape", ["f", "split"], ["h"]),
        N("Transpose", ["h"], ["q"], perm=[1, 0, 2]),
        N("Transpose", ["h"], ["k"], perm=[1, 2, 0]),
        N("MatMul", ["q", "k"], ["s"]),
        N("Softmax", ["s"], ["p"], axis=-1),
        N("MatMul", ["p", "q"], ["o"]),
        N("Transpose", ["o"], ["t"], perm=[1, 0, 2]),
        N("Reshape", ["t", "flat"], ["l"]),
        N("Gemm", ["l", "w"], ["g"]),
        N("Reshape", ["g", "join"], ["j"]),
        N("Transpose", ["j"], ["y"], perm=[1, 0, 2]),
    ]
    constants = [
        sizes("split", length, n * heads, size),
        sizes("flat", length * n, channels),
        sizes("join", length, n, channels),
        weight("w", channels, channels),
    ]
    return model(nodes, constants, (n, length, channels), (n, length, channels))


KINDS = [windows, shuffled, class_token, queries, constant_scale, heads_in_the_batch]


@pytest.mark.parametrize("kind", KINDS)
@given(n=st.integers(2, 16))
@settings(max_examples=8)
def test_a_batch_that_the_exporter_wrote_down(kind, n):
    single, several = onnx_network(kind(1), batch_size=n), onnx_network(kind(n))
    assert (single.batch, single.is_free) == (1, True)
    assert (several.batch, several.is_free) == (n, True)
    assert several.graph.canonical_hash == single.graph.canonical_hash
    assert several.graph.total("flops") == single.graph.total("flops")
    # Bytes that are moved, and weights that are read.
    executed = several.graph.executed.attributes, single.graph.executed.attributes
    assert np.array_equal(*executed)


class Rearranged:
    """Network that cuts, joins and moves axes; each axis is a list of factors, one of them "n"."""

    def __init__(self, n, channels):
        self.n = n
        self.axes = [["n"], [6], [4], [channels]]
        self.nodes, self.constants = [], []
        self.input = self.shape()

    def size(self, axis):
        return int(np.prod([self.n if factor == "n" else factor for factor in axis]))

    def shape(self):
        return tuple(map(self.size, self.axes))

    def add(self, op, constants=(), **attributes):
        k = len(self.nodes)
        source = "x" if k == 0 else f"t{k - 1}"
        self.constants += constants
        names = [source, *(c.name for c in constants)]
        self.nodes.append(N(op, names, [f"t{k}"], **attributes))

    def change(self, kind, a, b):
        k, axes = len(self.nodes), self.axes
        if kind == "move":
            order = [(i + a) % len(axes) for i in range(len(axes))]
            self.axes = [axes[i] for i in order]
            self.add("Transpose", perm=order)
        elif kind == "swap":
            order = list(range(len(axes)))
            i, j = a % len(axes), b % len(axes)
            order[i], order[j] = order[j], order[i]
            self.axes = [axes[i] for i in order]
            self.add("Transpose", perm=order)
        elif kind == "join" and len(axes) > 2:
            i = a % (len(axes) - 1)
            self.axes = [*axes[:i], axes[i] + axes[i + 1], *axes[i + 2 :]]
            self.add("Reshape", [sizes(f"s{k}", *self.shape())])
        elif kind == "cut":
            i = a % len(axes)
            if len(axes[i]) > 1:
                j = 1 + b % (len(axes[i]) - 1)
                self.axes = [*axes[:i], axes[i][:j], axes[i][j:], *axes[i + 1 :]]
                self.add("Reshape", [sizes(f"s{k}", *self.shape())])
        elif kind == "product" and "n" not in axes[-1]:
            self.add("MatMul", [weight(f"w{k}", self.size(axes[-1]), 5)])
            self.axes = [*axes[:-1], [5]]

    def model(self):
        self.add("Relu")
        self.nodes[-1].output[0] = "y"
        return model(self.nodes, self.constants, self.input, self.shape())


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["move", "swap", "join", "cut", "product"]),
        st.integers(0, 5),
        st.integers(0, 5),
    ),
    max_size=12,
)


@given(n=st.integers(2, 9), channels=st.integers(1, 8), changes=CHANGES)
@settings(max_examples=40)
def test_the_batch_is_found_wherever_it_is_moved(n, channels, changes):
    single, several = Rearranged(1, channels), Rearranged(n, channels)
    for change in changes:
        single.change(*change)
        several.change(*change)
    one, many = onnx_graph(single.model()), onnx_network(several.model())
    assert (many.batch, many.is_free) == (n, True)
    assert many.graph.total("flops") == one.total("flops")


def test_the_batch_is_asked_to_be_another_one():
    for asked in (2, 6):
        read = onnx_network(windows(3), input_shapes={"x": (asked, 12, 12, 8)})
        assert (read.batch, read.is_free) == (asked, True)
        assert read.graph.total("flops") == onnx_graph(windows(1)).total("flops")


def recurrent(steps, batch, layout=0):
    x = (steps, batch, 4) if layout == 0 else (batch, steps, 4)
    nodes = [N("LSTM", ["x", "W", "R"], ["", "h"], hidden_size=4, layout=layout)]
    nodes.append(N("Relu", ["h"], ["y"]))
    return model(nodes, [weight("W", 1, 16, 4), weight("R", 1, 16, 4)], x)


@pytest.mark.filterwarnings("ignore")
def test_the_steps_of_a_recurrent_layer_are_no_batch():
    assert not onnx_network(recurrent(50, 1)).is_free
    assert not onnx_network(recurrent(1, 1), batch_size=8).is_free
    assert onnx_network(recurrent(5, 8, layout=1)).is_free


@pytest.mark.parametrize(
    "nodes",
    [
        [N("Softmax", ["x"], ["y"], axis=0)],
        [N("CumSum", ["x", "zero"], ["y"])],
        [N("LayerNormalization", ["x", "scale"], ["y"], axis=0)],
        [N("Flatten", ["x"], ["f"]), N("Gemm", ["f", "f"], ["y"], transB=1)],
        [N("ReduceMean", ["x"], ["y"], axes=[0], keepdims=0)],
        [N("Unsqueeze", ["x", "zero"], ["u"]), N("Conv", ["u", "w"], ["y"], pads=[1, 1, 1, 1])],
    ],
)
def test_operators_that_read_across_the_first_axis(nodes):
    constants = [sizes("zero", 0), weight("w", 8, 8, 3, 3), weight("scale", 8, 8, 8)]
    read = onnx_network(model(nodes, constants, (8, 8, 8)))
    assert not read.is_free
    assert read.batch == 8


def test_one_scale_for_all_entries_leaves_the_batch_free():
    nodes = [
        N("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        N("MatMulInteger", ["q", "w", "zero"], ["p"]),
        N("Cast", ["p"], ["c"], to=TensorProto.FLOAT),
        N("Mul", ["c", "scale"], ["y"]),
    ]
    matrix = numpy_helper.from_array(np.zeros((8, 3), np.uint8), "w")
    for n in (1, 6):
        read = onnx_network(model(nodes, [matrix], (n, 8), (n, 3)), batch_size=4)
        assert (read.batch, read.is_free) == (n, True)
        assert read.graph.total("flops") == 24


def test_inputs_without_a_common_first_axis_are_read_as_declared():
    product = model([N("MatMul", ["a", "b"], ["y"])], [], {"a": (3, 4), "b": (4, 5)}, (3, 5))
    read = onnx_network(product)
    assert (read.batch, read.is_free) == (1, False)
    assert read.graph.total("flops") == 60
    nodes = [
        N("Conv", ["x", "w"], ["c"]),
        N("MatMul", ["b", "m"], ["s"]),
        N("ReduceSum", ["c"], ["t"], keepdims=0),
        N("Add", ["s", "t"], ["y"]),
    ]
    constants = [weight("w", 4, 3, 1, 1), weight("m", 4, 2)]
    read = onnx_network(model(nodes, constants, {"x": (1, 3, 8, 8), "b": (1000, 4)}))
    assert (read.batch, read.is_free) == (1, False)
    assert read.graph.total("flops") == 12 * 64 + 1000 * 8


def test_an_image_without_a_batch():
    nodes = [N("Unsqueeze", ["x", "zero"], ["u"]), N("Conv", ["u", "w"], ["y"])]
    read = onnx_network(model(nodes, [sizes("zero", 0), weight("w", 4, 3, 1, 1)], (3, 8, 8)))
    assert not read.is_free
    assert read.graph.total("flops") == 12 * 64


def test_a_reshape_to_other_elements_is_refused():
    nodes = [N("Reshape", ["x", "s"], ["r"]), N("Relu", ["r"], ["y"])]
    network = model(nodes, [sizes("s", 8, 16)], ("N", 16))
    with pytest.raises(InputError, match=r"'r' makes shape \[8, 16\] of \[1, 16\]"):
        onnx_graph(network)
    # The batch that the target holds.
    read = onnx_network(network, input_shapes={"x": (8, 16)})
    assert (read.batch, read.is_free) == (8, True)


class ClassToken(nn.Module):
    """Small vision transformer: patches, a class token, one layer of attention."""

    def __init__(self, channels=16, patches=16):
        super().__init__()
        self.patch = nn.Conv2d(3, channels, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, channels))
        self.place = nn.Parameter(torch.zeros(1, patches + 1, channels))
        self.layer = nn.TransformerEncoderLayer(channels, 2, 32, batch_first=True)
        self.head = nn.Linear(channels, 5)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.place
        return self.head(self.layer(x)[:, 0])


class Windows(nn.Module):
    """Attention in shifted windows with a mask, as in Swin (Liu et al., 2021)."""

    def __init__(self, channels=16):
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels)
        self.bias = nn.Parameter(torch.zeros(2, 16, 16))
        self.register_buffer("mask", torch.zeros(4, 16, 16))

    def forward(self, x):
        n, side, _, channels = x.shape
        x = torch.roll(x, (-2, -2), (1, 2)).view(n, side // 4, 4, side // 4, 4, channels)
        rows = x.permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, channels)
        qkv = self.qkv(rows).reshape(-1, 16, 3, 2, channels // 2).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        scores = (query @ key.transpose(-2, -1) + self.bias).view(n, 4, 2, 16, 16)
        scores = (scores + self.mask[:, None]).view(-1, 2, 16, 16).softmax(-1)
        rows = (scores @ value).transpose(1, 2).reshape(n, side // 4, side // 4, 4, 4, channels)
        return rows.permute(0, 1, 3, 2, 4, 5).reshape(n, side, side, channels)


class Shuffle(nn.Module):
    """Grouped convolution and channel shuffle, as in ShuffleNet (Zhang et al., 2018)."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1, groups=2)

    def forward(self, x):
        n, channels, height, width = x.shape
        x = self.conv(x).view(n, 2, channels // 2, height, width)
        return x.transpose(1, 2).reshape(n, channels, height, width)


class Recurrent(nn.Module):
    """Recurrent layers over a sequence, which is the first axis inside."""

    def __init__(self):
        super().__init__()
        self.rows = nn.LSTM(8, 4, 2, bidirectional=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.rows(x.transpose(0, 1))[0].transpose(0, 1))


class Queries(nn.Module):
    """Decoder with learned queries, as in DETR (Carion et al., 2020)."""

    def __init__(self, channels=16):
        super().__init__()
        self.queries = nn.Parameter(torch.zeros(6, channels))
        self.layer = nn.TransformerDecoderLayer(channels, 2, 32, batch_first=True)

    def forward(self, x):
        return self.layer(self.queries.expand(x.shape[0], -1, -1), x)


def exported(module, example, **options):
    file = io.BytesIO()
    options |= {"dynamo": False, "opset_version": 17, "input_names": ["x"]}
    torch.onnx.export(module.eval(), (example,), file, **options)
    return onnx.load_from_string(file.getvalue())


def with_states(n, layers=2):
    """A layer that adds the last of its states, whose batch is on the second axis."""
    nodes = [
        N("Gather", ["s", "last"], ["h"], axis=0),
        N("Add", ["x", "h"], ["a"]),
        N("MatMul", ["a", "w"], ["y"]),
    ]
    last = numpy_helper.from_array(np.array(layers - 1), "last")
    return model(nodes, [last, weight("w", 6, 3)], {"x": (n, 6), "s": (layers, n, 6)}, (n, 3))


def test_states_have_the_batch_on_their_second_axis():
    for n in (1, 5):
        read = onnx_network(with_states(n), batch_size=4)
        assert (read.batch, read.is_free) == (n, True)
        assert read.graph.total("flops") == 18


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (ClassToken, (3, 16, 16)),
        (Windows, (8, 8, 16)),
        (Shuffle, (8, 6, 6)),
        (Recurrent, (8, 8)),
        (Queries, (8, 16)),
    ],
)
def test_exports_at_batch_1_and_8_are_one_network(module, shape):
    network = module()
    single = onnx_network(exported(network, torch.zeros(1, *shape)), batch_size=8)
    several = onnx_network(exported(network, torch.zeros(8, *shape)))
    open_batch = exported(network, torch.zeros(2, *shape), dynamic_axes={"x": {0: "N"}})
    assert (single.batch, single.is_free) == (1, True)
    assert (several.batch, several.is_free) == (8, True)
    assert several.graph.canonical_hash == single.graph.canonical_hash
    for other in (several.graph, onnx_graph(open_batch)):
        for cost in ("flops", "bytes"):
            totals = (graph.executed.total(cost) for graph in (other, single.graph))
            assert next(totals) == pytest.approx(next(totals), rel=1e-3)


def test_a_grid_whose_size_holds_the_batch():
    def spatial_transformer(n):
        nodes = [
            N("AffineGrid", ["x", "size"], ["g"]),
            N("Reshape", ["g", "flat"], ["f"]),
            N("MatMul", ["f", "w"], ["y"]),
        ]
        constants = [sizes("size", n, 3, 8, 8), sizes("flat", n, 128), weight("w", 128, 5)]
        return model(nodes, constants, (n, 2, 3), (n, 5), opset=20)

    read = onnx_network(spatial_transformer(8))
    assert (read.batch, read.is_free) == (8, True)
    assert read.graph.total("flops") == 128 * 5
