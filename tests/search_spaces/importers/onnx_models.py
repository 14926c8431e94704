"""Small ONNX models for tests of the readers."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from nasplug.search_spaces import ATTRIBUTES

N = helper.make_node


def tensor(name, shape, value=0.5):
    return numpy_helper.from_array(np.full(shape, value, np.float32), name)


def ints(name, values, shape=None):
    shape = [len(values)] if shape is None else shape
    return helper.make_tensor(name, TensorProto.INT64, shape, values)


def only_dims(name, dims):
    return TensorProto(name=name, dims=dims, data_type=TensorProto.FLOAT)


def model(nodes, constants=(), x=(1, 3, 16, 16), opset=17, outputs=("y",), inputs=(), domains=()):
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)] if x is not None else []
    graph = helper.make_graph(
        nodes,
        "g",
        [*values, *inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        list(constants),
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def row(graph, op):
    """The attributes of the only node of a type."""
    (k,) = (k for k, name in enumerate(graph.ops) if name == op)
    return {name: int(value) for name, value in zip(ATTRIBUTES, graph.attributes[k], strict=True)}


def small_network(batch=1):
    return model(
        [
            N("Conv", ["x", "w"], ["c"], kernel_shape=[3, 5], pads=[1, 2, 1, 2], strides=[2, 2]),
            N("BatchNormalization", ["c", "s", "s", "s", "s"], ["n"]),
            N("Relu", ["n"], ["r"]),
            N("GlobalAveragePool", ["r"], ["p"]),
            N("Flatten", ["p"], ["f"]),
            N("Gemm", ["f", "m", "b"], ["y"], transB=1),
        ],
        [tensor("w", [8, 3, 3, 5]), tensor("s", [8]), tensor("m", [10, 8]), tensor("b", [10])],
        x=(batch, 3, 16, 16),
    )
