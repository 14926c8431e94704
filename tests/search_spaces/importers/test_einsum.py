"""Einstein sums as products: FLOPs worked out by hand, shapes as numpy gives them."""

import math

import numpy as np
import pytest
from onnx import TensorProto, helper

from nasplug.search_spaces.importers.onnx_graph import onnx_graph

# Sum, shapes, multiply-accumulates.
SUMS = [
    ("bhld,bhsd->bhls", [(1, 2, 5, 8), (1, 2, 7, 8)], 2 * 5 * 7 * 8),
    ("bij,bjk", [(1, 4, 6), (1, 6, 3)], 4 * 6 * 3),
    ("...ij,...jk->...ik", [(1, 2, 4, 6), (1, 2, 6, 3)], 2 * 4 * 6 * 3),
    ("...ij,jk", [(1, 2, 4, 6), (6, 3)], 2 * 4 * 6 * 3),
    ("bij,jk,kl->bil", [(1, 4, 6), (6, 3), (3, 5)], 4 * 6 * 3 + 4 * 3 * 5),
    ("bi,bj->bij", [(1, 4), (1, 6)], 0),
    ("bij,bij->bij", [(1, 4, 6), (1, 4, 6)], 0),
    ("bij->bji", [(1, 4, 6)], 0),
    ("bij->bi", [(1, 4, 6)], 0),
    ("bii->bi", [(1, 4, 4)], 0),
    ("bijx,jk->bik", [(1, 4, 6, 2), (6, 3)], 4 * 6 * 3),
    ("i,bi->b", [(6,), (1, 6)], 6),
]


def sum_of(equation, shapes, constant=None):
    names = [f"x{k}" for k in range(len(shapes))]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip(names, shapes, strict=True)
    ]
    weights = []
    if constant is not None:
        shape = shapes[constant]
        inputs.pop(constant)
        values = np.ones(math.prod(shape))
        weights = [helper.make_tensor(names[constant], TensorProto.FLOAT, shape, values)]
    graph = helper.make_graph(
        [helper.make_node("Einsum", names, ["y"], equation=equation)],
        "g",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(("equation", "shapes", "flops"), SUMS, ids=[s[0] for s in SUMS])
def test_multiply_accumulates(equation, shapes, flops):
    graph = onnx_graph(sum_of(equation, shapes))
    assert graph.total("flops") == flops
    assert "Einsum" not in graph.ops
    expected = np.einsum(equation, *(np.zeros(shape) for shape in shapes)).size
    last = graph.attributes[-2]
    assert math.prod(last[[4, 5, 6]]) == expected


@pytest.mark.parametrize(
    ("equation", "shapes", "flops"), [s for s in SUMS if len(s[1]) == 2], ids=lambda s: str(s)[:20]
)
@pytest.mark.parametrize("constant", [0, 1])
def test_by_a_constant(equation, shapes, flops, constant):
    graph = onnx_graph(sum_of(equation, shapes, constant))
    assert graph.total("flops") == flops
    assert graph.total("params") == math.prod(shapes[constant])


@pytest.mark.parametrize("constant", [None, 1])
def test_a_sum_over_no_entries_costs_nothing(constant):
    model = sum_of("ij,jk->ik", ((3, 0), (0, 4)), constant)
    graph = model.graph
    graph.node.add(op_type="Relu", input=["x"], output=["z"])
    graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 8)))
    graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    assert onnx_graph(model).total("flops") == 0
