"""Costs of a network's operators."""

from dataclasses import replace

import pytest

from nasplug.search_spaces import ATTRIBUTES
from nasplug.search_spaces.operators import KNOWN_OPS, Operator
from nasplug.search_spaces.pricing import network_graph

IMAGE = Operator("Input", (), (1, 4, 8, 8))
CONV = Operator("Conv", (0,), (1, 6, 8, 8), (6, 4, 3, 3), kernel=(3, 3))


def unary(op: str, source: int, shape: tuple[int, ...] = (1, 6, 8, 8), **more) -> Operator:
    return Operator(op, (source,), shape, **more)


def row(graph, node: int) -> dict[str, float]:
    return dict(zip(ATTRIBUTES, graph.attributes[node].tolist(), strict=True))


def test_costs_of_a_convolution():
    conv = Operator("Conv", (0,), (1, 6, 4, 4), (6, 2, 3, 5), True, (3, 5), (2, 2), groups=2)
    graph = network_graph([IMAGE, conv], [1])
    assert graph.edges == ((0, 1), (1, 2))
    assert row(graph, 1) == {
        "kernel": 5,
        "stride": 2,
        "groups": 2,
        "in_channels": 4,
        "out_channels": 6,
        "height": 4,
        "width": 4,
        "flops": 6 * 2 * 15 * 16,
        "params": 6 * 2 * 15 + 6,
        "bytes": 4 * (4 * 64 + 6 * 16 + 6 * 2 * 15 + 6),
    }
    assert not graph.attributes[-1].any()


def test_costs_of_a_transposed_convolution():
    conv = Operator("ConvTranspose", (0,), (1, 6, 16, 16), (4, 6, 2, 2), False, (2, 2), (2, 2))
    found = row(network_graph([IMAGE, conv], [1]), 1)
    # Every input pixel meets every weight once.
    assert (found["flops"], found["params"]) == (4 * 6 * 4 * 64, 4 * 6 * 4)
    assert (found["in_channels"], found["out_channels"]) == (4, 6)


def test_costs_of_products():
    tokens = Operator("Input", (), (1, 5, 4))
    linear = Operator("Gemm", (0,), (1, 5, 6), (6, 4), bias=True)
    found = row(network_graph([tokens, linear], [1]), 1)
    assert (found["flops"], found["params"], found["in_channels"]) == (5 * 6 * 4, 30, 4)
    assert (found["out_channels"], found["height"], found["width"]) == (6, 5, 1)
    heads = Operator("Input", (), (1, 2, 5, 4))
    turned = Operator("Transpose", (0,), (1, 2, 4, 5))
    scores = Operator("MatMul", (0, 1), (1, 2, 5, 5))
    graph = network_graph([heads, turned, scores], [2])
    assert row(graph, 2)["flops"] == 2 * 5 * 5 * 4
    assert row(graph, 2)["params"] == 0


def test_operators_without_a_window_have_no_stride():
    graph = network_graph([IMAGE, CONV, unary("Relu", 1, stride=(1, 1))], [2])
    assert [row(graph, k)["stride"] for k in range(3)] == [0, 1, 0]


def test_a_result_that_is_read_twice_is_loaded_once():
    twice = Operator("Mul", (1, 1), (1, 6, 8, 8))
    graph = network_graph([IMAGE, CONV, twice], [2])
    assert graph.edges == ((0, 1), (1, 2), (2, 3))
    assert row(graph, 2)["bytes"] == 4 * 2 * 6 * 64


def test_reshape_moves_nothing_and_unknown_operators_their_data():
    net = [IMAGE, unary("Foo", 0, (1, 2, 8, 8), other_params=3), unary("Flatten", 1, (1, 128))]
    graph = network_graph(net, [2])
    assert graph.ops == ("Input", "Foo", "Reshape", "Output")
    assert "Foo" not in KNOWN_OPS
    assert row(graph, 1)["bytes"] == 4 * (256 + 128 + 3)
    assert (row(graph, 1)["flops"], row(graph, 1)["params"]) == (0, 3)
    assert row(graph, 2)["bytes"] == 0


@pytest.mark.parametrize(
    ("operator", "channels", "height", "width"),
    [
        (Operator("Relu", (0,), (1, 7)), 7, 1, 1),
        (Operator("Relu", (0,), (1, 5, 7)), 7, 5, 1),
        (Operator("Conv", (0,), (1, 7, 5), (7, 1, 3), kernel=(3, 1)), 7, 5, 1),
        (Operator("Relu", (0,), (1, 7, 5, 3)), 7, 5, 3),
        (Operator("Relu", (0,), (1, 7, 2, 5, 3)), 7, 10, 3),
        (Operator("LayerNormalization", (0,), (1, 5, 3, 7)), 7, 5, 3),
    ],
)
def test_reading_of_shapes(operator, channels, height, width):
    given_shape = (1, 1, 5) if operator.op == "Conv" else operator.shape
    found = row(network_graph([Operator("Input", (), given_shape), operator], [1]), 1)
    assert (found["out_channels"], found["height"], found["width"]) == (channels, height, width)


def test_features_stay_last_through_elementwise_operators():
    image = Operator("Input", (), (1, 5, 3, 7))
    net = [image, Operator("Gemm", (0,), (1, 5, 3, 9), (9, 7)), unary("Gelu", 1, (1, 5, 3, 9))]
    net.append(unary("Transpose", 2, (1, 9, 5, 3)))
    graph = network_graph(net, [3])
    assert graph.attribute("out_channels").tolist()[1:4] == [9, 9, 9]
    assert graph.attribute("height").tolist()[1:4] == [5, 5, 5]


def test_rows_that_are_kept_cannot_be_changed_through_a_graph():
    first = network_graph([IMAGE, CONV], [1])
    first.attributes[1] = 0.0
    assert network_graph([IMAGE, CONV], [1]).total("flops") > 0


def test_bytes_follow_the_element_types():
    image = Operator("Input", (), (1, 4, 8, 8), type="float16")
    conv = Operator(
        "Conv", (0,), (1, 6, 8, 8), (6, 4, 3, 3), kernel=(3, 3), type="int32", weight_type="int4"
    )
    graph = network_graph([image, conv], [1])
    assert row(graph, 1)["bytes"] == 2 * 256 + 4 * 384 + 216 / 2
    assert graph.types == ("float16", "int32", "int32")
    assert graph.weight_types == ("", "int4", "")
    assert graph.weight_bytes.tolist() == [0, 108, 0]
    assert row(graph, 1)["params"] == 216
    # A predictor sees the weights that are read, as so many float32 numbers.
    assert row(graph.executed, 1)["params"] == 27


def test_a_shared_tensor_counts_once_and_is_read_twice():
    tensors = (("w", 216),)
    net = [IMAGE, replace(CONV, parameters=tensors), unary("Relu", 0, IMAGE.shape)]
    net.append(replace(CONV, inputs=(2,), parameters=tensors))
    net.append(Operator("Add", (1, 3), (1, 6, 8, 8)))
    graph = network_graph(net, [4])
    assert graph.total("params") == 216
    assert graph.weight_bytes.sum() == 2 * 4 * 216
    assert graph.executed.total("params") == 2 * 216


def test_a_folded_norm_keeps_its_parameters_in_the_count():
    conv = replace(CONV, parameters=(("w", 216),))
    norm = unary("BatchNormalization", 1, other_params=12, parameters=(("scale", 6), ("shift", 6)))
    graph = network_graph([IMAGE, conv, norm], [2])
    assert graph.ops == ("Input", "Conv", "Output")
    # The engine reads a bias of six numbers.
    assert (graph.total("params"), graph.weight_bytes[1]) == (228, 4 * 222)


def test_rows_of_a_table_are_read_alone():
    words = Operator("Input", (), (1, 5), type="int64")
    rows = Operator("Gather", (0,), (1, 5, 8), other_params=100 * 8, parameters=(("w", 800),))
    graph = network_graph([words, rows], [1])
    assert graph.total("params") == 800
    assert graph.weight_bytes.tolist() == [0, 4 * 40, 0]
    assert graph.total("bytes") == 8 * 5 + 4 * 40 + 4 * 40
