"""Shapes and values of the inputs of ONNX files: declared, open, or given."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers.onnx_graph import onnx_graph, onnx_network

N = helper.make_node
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def weight(name, *shape):
    return numpy_helper.from_array(np.zeros(shape, np.float32), name)


def model(nodes, inputs, constants=(), output=None):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, *value) for name, value in inputs.items()],
        [helper.make_tensor_value_info("y", FLOAT, output)],
        list(constants),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def image(*shape):
    """A convolution of an image of some shape."""
    return model([N("Conv", ["x", "w"], ["y"])], {"x": (FLOAT, shape)}, [weight("w", 4, 3, 1, 1)])


def flops(network, **options):
    return onnx_graph(network, **options).total("flops")


def test_open_sizes_are_given_and_declared_ones_changed():
    assert flops(image("N", 3, "H", "W"), input_shapes={"x": (1, 3, 8, 8)}) == 12 * 64
    assert flops(image(1, 3, 8, 8), input_shapes={"x": (1, 3, 10, 10)}) == 12 * 100


def test_the_only_input_needs_no_name():
    assert flops(image("N", 3, "H", "W"), input_shapes={"": (1, 3, 8, 8)}) == 12 * 64
    two = model([N("Add", ["x", "z"], ["y"])], dict.fromkeys("xz", (FLOAT, ("N", "C"))))
    with pytest.raises(InputError, match="network of one input; the inputs of .* are x, z"):
        onnx_graph(two, input_shapes={"": (1, 8)})


@pytest.mark.parametrize("shape", [5, "1x3", None])
def test_a_shape_is_a_list_of_sizes(shape):
    with pytest.raises(InputError, match="input_shapes gives 'x' .*; expected sizes"):
        onnx_graph(image("N", 3, 8, 8), input_shapes={"x": shape})


def test_a_shape_that_is_given_says_the_sizes_of_its_symbols():
    nodes = [N("Add", ["x", "z"], ["s"]), N("Relu", ["s"], ["y"])]
    network = model(nodes, dict.fromkeys("xz", (FLOAT, ("N", "L", 8))))
    read = onnx_network(network, input_shapes={"x": (4, 5, 8)})
    assert (read.batch, read.is_free) == (4, True)
    assert read.graph.attribute("height").tolist()[:2] == [5, 5]


def test_an_input_that_nothing_reads_may_stay_open():
    network = model([N("Relu", ["x"], ["y"])], {"x": (FLOAT, (1, 8)), "z": (FLOAT, ("A", "B"))})
    assert onnx_graph(network).ops == ("Input", "Relu", "Output")


def test_scalars():
    nodes = [N("Exp", ["t"], ["e"]), N("Mul", ["x", "e"], ["y"])]
    network = model(nodes, {"x": (FLOAT, (1, 8)), "t": (FLOAT, ())})
    assert onnx_graph(network).ops.count("Input") == 2
    unknown = model(nodes, {"x": (FLOAT, (1, 8)), "t": (FLOAT, None)})
    with pytest.raises(InputError, match="'t' has no shape"):
        onnx_graph(unknown)
    assert onnx_graph(unknown, input_shapes={"t": ()}).ops.count("Input") == 2


def shape_as_input():
    nodes = [N("Reshape", ["x", "s"], ["r"]), N("Conv", ["r", "w"], ["y"])]
    inputs = {"x": (FLOAT, (1, 192)), "s": (INT64, (4,))}
    return model(nodes, inputs, [weight("w", 4, 3, 1, 1)])


def test_a_shape_that_is_an_input():
    with pytest.raises(InputError, match="'s' fixes a shape.*give its value.*--input-value s="):
        onnx_graph(shape_as_input())
    assert flops(shape_as_input(), input_values={"s": [1, 3, 8, 8]}) == 12 * 64
    assert flops(shape_as_input(), input_values={"s": np.array([1, 3, 4, 16])}) == 12 * 64


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"s": [1, 3]}, r"value of shape \[2\]; expected \[4\]"),
        ({"s": "ab"}, "the value ab; expected numbers"),
        ({"s": float("nan")}, "the value nan; expected numbers"),
        ({"q": 3}, "names 'q', but the inputs of the ONNX model are"),
    ],
)
def test_values_that_do_not_fit(values, words):
    with pytest.raises(InputError, match=words) as caught:
        onnx_graph(shape_as_input(), input_values=values)
    assert "\n" not in str(caught.value)


def test_one_number_fills_a_vector_of_one():
    nodes = [N("Expand", ["x", "n"], ["y"])]
    network = model(nodes, {"x": (FLOAT, (1, 8)), "n": (INT64, (1,))})
    assert onnx_graph(network, input_values={"n": 8}).ops[-1] == "Output"


def test_a_declared_shape_that_contradicts_the_nodes():
    network = image(1, 3, 8, 8)
    network.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, (1, 4, 9, 8)))
    with pytest.raises(InputError, match=r"shape \[1, 4, 9, 8\] for 'y', but a Conv"):
        onnx_graph(network)
    # For other sizes of the inputs the file says nothing.
    assert flops(network, input_shapes={"x": (1, 3, 4, 4)}) == 12 * 16
    # Exporters leave the batch of their trace.
    network.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, (5, 4, 8, 8)))
    assert flops(network) == 12 * 64


def stateful(first="N", state=2):
    """A layer whose state has the batch on its second axis."""
    nodes = [
        N("Gather", ["s", "zero"], ["h"], axis=0),
        N("Add", ["x", "h"], ["a"]),
        N("MatMul", ["a", "w"], ["y"]),
    ]
    inputs = {"x": (FLOAT, (first, 8)), "s": (FLOAT, (state, first, 8))}
    zero = numpy_helper.from_array(np.array(0), "zero")
    return model(nodes, inputs, [weight("w", 8, 3), zero])


@pytest.mark.parametrize("size", [1, 5])
def test_a_symbol_is_the_batch_on_every_axis(size):
    shapes = {"x": (size, 8), "s": (2, size, 8)}
    for options in ({}, {"input_shapes": shapes}):
        read = onnx_network(stateful(), batch_size=7, **options)
        assert read.is_free
        assert read.graph.total("flops") == 24
    assert read.batch == size


@pytest.mark.filterwarnings("ignore:the ONNX model has operators of unknown cost")
def test_a_spectrum_of_real_numbers_has_one_side():
    nodes = [
        N("STFT", ["x", "step", "window"], ["s"]),
        N("ReduceSum", ["s", "last"], ["m"], keepdims=0),
        N("MatMul", ["m", "w"], ["y"]),
    ]
    numbers = {"step": np.array(8), "last": np.array([-1])}
    constants = [numpy_helper.from_array(value, name) for name, value in numbers.items()]
    network = model(
        nodes, {"x": (FLOAT, (1, 64, 1))}, [*constants, weight("window", 16), weight("w", 9, 3)]
    )
    spectrum = 7 * 9 * 2 * 4
    assert flops(network) == spectrum + 7 * 9 * 3


class TestEmptyCache:
    """Cache of a language model before its first word, of length 0."""

    def network(self, length):
        nodes = [N("Concat", ["past", "x"], ["k"], axis=1), N("MatMul", ["k", "w"], ["y"])]
        inputs = {"x": (FLOAT, (1, 5, 8)), "past": (FLOAT, (1, length, 8))}
        return model(nodes, inputs, [weight("w", 8, 3)])

    @pytest.mark.parametrize(("length", "given"), [(0, None), ("P", 0), (7, 0)])
    def test_it_is_read(self, length, given):
        shapes = None if given is None else {"past": (1, given, 8)}
        graph = onnx_graph(self.network(length), input_shapes=shapes)
        assert graph.total("flops") == 5 * 8 * 3
        assert "Concat" not in graph.ops

    def test_it_may_be_given_a_length(self):
        graph = onnx_graph(self.network(0), input_shapes={"past": (1, 7, 8)})
        assert graph.total("flops") == 12 * 8 * 3

    def test_a_network_of_no_elements_is_refused(self):
        with pytest.raises(InputError, match="positive whole numbers"):
            onnx_graph(self.network("P"), input_shapes={"past": (1, 0, 8), "x": (1, 0, 8)})
