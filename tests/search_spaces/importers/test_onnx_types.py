"""Element types and parameters of ONNX files."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from nasplug.search_spaces.importers.onnx_graph import onnx_graph

N = helper.make_node


def weights(name, shape, code):
    """A tensor of ones, of any element type."""
    return helper.make_tensor(name, code, shape, np.ones(int(np.prod(shape))))


def model(nodes, constants=(), x=(1, 16), code=TensorProto.FLOAT, opset=21):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", code, x)],
        [helper.make_tensor_value_info("y", code, None)],
        list(constants),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def node(graph, op):
    return graph.ops.index(op)


@pytest.mark.parametrize(
    ("code", "name", "size"),
    [
        (TensorProto.FLOAT, "float32", 4),
        (TensorProto.FLOAT16, "float16", 2),
        (TensorProto.BFLOAT16, "bfloat16", 2),
        (TensorProto.DOUBLE, "float64", 8),
    ],
)
def test_bytes_follow_the_type(code, name, size):
    nodes = [N("MatMul", ["x", "w"], ["h"]), N("Relu", ["h"], ["y"])]
    graph = onnx_graph(model(nodes, [weights("w", [16, 8], code)], code=code))
    assert graph.types == (name,) * 4
    assert graph.weight_types == ("", name, "", "")
    assert graph.attribute("bytes")[1] == size * (16 + 128 + 8)
    assert graph.total("params") == 128
    assert graph.executed.total("params") == 128 * size / 4


@pytest.mark.parametrize(
    ("code", "name", "size"),
    [
        (TensorProto.INT8, "int8", 1),
        (TensorProto.UINT8, "uint8", 1),
        (TensorProto.INT4, "int4", 0.5),
    ],
)
def test_weights_are_read_in_the_type_in_which_they_are_stored(code, name, size):
    nodes = [
        N("DequantizeLinear", ["q", "scale"], ["w"]),
        N("Transpose", ["w"], ["t"]),
        N("MatMul", ["x", "t"], ["y"]),
    ]
    scale = weights("scale", [], TensorProto.FLOAT)
    graph = onnx_graph(model(nodes, [weights("q", [8, 16], code), scale]))
    k = node(graph, "Gemm")
    assert (graph.types[k], graph.weight_types[k]) == ("float32", name)
    assert graph.attribute("bytes")[k] == 4 * (16 + 8) + size * 128
    assert graph.total("params") == 128


def test_a_shared_tensor_is_counted_once():
    nodes = [
        N("MatMul", ["x", "w"], ["a"]),
        N("MatMul", ["a", "w"], ["b"]),
        N("Transpose", ["w"], ["t"]),
        N("MatMul", ["b", "t"], ["y"]),
    ]
    graph = onnx_graph(model(nodes, [weights("w", [16, 16], TensorProto.FLOAT)]))
    assert graph.total("params") == 256
    assert graph.executed.total("params") == 3 * 256


def test_a_single_number_is_a_parameter_under_a_modules_name():
    def params(name):
        nodes = [N("Mul", ["x", name], ["y"])]
        return onnx_graph(model(nodes, [weights(name, [], TensorProto.FLOAT)])).total("params")

    assert params("blocks.3.gain") == 1
    assert params("val_3") == params("/blocks.3/Constant_output_0") == 0


def test_what_an_exporter_computes_is_no_parameter():
    def params(name, op="Add", shape=(16, 16)):
        constant = weights(name, shape, TensorProto.FLOAT)
        return onnx_graph(model([N(op, ["x", name], ["y"])], [constant])).total("params")

    assert params("bias") == params("pos_embed") == params("layer.where") == 256
    assert params("where") == params("unsqueeze_14") == params("onnx::Add_12") == 0
    assert params("/rnn/Constant_output_0", "MatMul") == params("eye") == 0
    # Exporters reshape scales and transpose weights.
    assert params("onnx::Mul_7", "Mul", (1, 16)) == 16
    assert params("val_40", "MatMul") == params("onnx::MatMul_7", "MatMul") == 256


def test_a_norm_without_scale_and_shift_has_no_parameters():
    def params(scale, shift):
        nodes = [N("InstanceNormalization", ["x", scale, shift], ["y"])]
        constants = [weights(name, [4], TensorProto.FLOAT) for name in (scale, shift)]
        return onnx_graph(model(nodes, constants, x=(1, 4, 8, 8))).total("params")

    assert params("val_3", "val_7") == 0
    assert params("n.weight", "n.bias") == 8


def test_scales_of_quantised_weights_are_no_parameters():
    def params(nodes, name, shape=()):
        constant = weights(name, shape, TensorProto.FLOAT)
        return onnx_graph(model(nodes, [constant])).total("params")

    for name in ("f.6.weight_scale", "onnx::MatMul_410_scale"):
        assert params([N("Mul", ["x", name], ["y"])], name, (16,)) == 0
    quantised = [N("QuantizeLinear", ["x", "input.1_scale"], ["y"])]
    assert params(quantised, "input.1_scale") == 0
    assert params([N("Mul", ["x", "blocks.0.logit_scale"], ["y"])], "blocks.0.logit_scale") == 1


def test_a_quantised_table_has_parameters():
    nodes = [N("Gather", ["table", "x"], ["g"]), N("DequantizeLinear", ["g", "s"], ["y"])]
    constants = [weights("table", [100, 8], TensorProto.INT8), weights("s", [], TensorProto.FLOAT)]
    graph = onnx_graph(model(nodes, constants, x=(1, 5), code=TensorProto.INT64))
    assert graph.total("params") == 800
    assert graph.weight_types[node(graph, "Gather")] in ("", "int8")


def test_moments_are_no_parameters():
    names = ["n.weight", "n.bias", "n.mean", "n.var"]
    nodes = [N("Conv", ["x", "w"], ["c"]), N("BatchNormalization", ["c", *names], ["y"])]
    constants = [weights(name, [4], TensorProto.FLOAT) for name in names]
    constants.append(weights("w", [4, 3, 1, 1], TensorProto.FLOAT))
    graph = onnx_graph(model(nodes, constants, x=(1, 3, 8, 8)))
    assert graph.ops == ("Input", "Conv", "Output")
    assert graph.total("params") == 12 + 8
    # The engine folds scale and shift into the weight and a bias.
    assert graph.executed.total("params") == 12 + 4


def test_a_change_of_the_type_is_an_operator():
    nodes = [N("Cast", ["x"], ["h"], to=TensorProto.FLOAT16), N("Relu", ["h"], ["y"])]
    graph = onnx_graph(model(nodes))
    assert graph.ops == ("Input", "Cast", "Relu", "Output")
    assert graph.types == ("float32", "float16", "float16", "float16")
    assert graph.attribute("bytes")[1] == 16 * (4 + 2)


def test_a_norm_that_computes_in_float32_reads_and_writes_half_precision():
    half, single = TensorProto.FLOAT16, TensorProto.FLOAT
    nodes = [
        N("Cast", ["x"], ["h"], to=single),
        N("Pow", ["h", "two"], ["square"]),
        N("ReduceMean", ["square", "axis"], ["mean"]),
        N("Add", ["mean", "eps"], ["sum"]),
        N("Sqrt", ["sum"], ["root"]),
        N("Div", ["h", "root"], ["n"]),
        N("Cast", ["n"], ["c"], to=half),
        N("Mul", ["c", "gamma"], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(np.float32(2.0), "two"),
        numpy_helper.from_array(np.float32(1e-6), "eps"),
        numpy_helper.from_array(np.array([-1]), "axis"),
        weights("gamma", [16], half),
    ]
    graph = onnx_graph(model(nodes, constants, code=half))
    assert graph.ops == ("Input", "RMSNormalization", "Output")
    assert graph.types == ("float16",) * 3
    assert graph.total("params") == 16
