"""Shape arithmetic of ONNX files, in every version of the operators."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from nasplug.search_spaces.importers.onnx_graph import onnx_graph

N = helper.make_node


def const(name, values):
    return numpy_helper.from_array(np.asarray(values), name)


def target_of(nodes, constants, opset, x=(2, 3, 4, 5)):
    """The shape to which nodes that end in `t` reshape the input."""
    graph = helper.make_graph(
        [*nodes, N("Reshape", ["x", "t"], ["r"]), N("Softmax", ["r"], ["y"], axis=1)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [const(name, values) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return tuple(int(onnx_graph(model).attribute(name)[-2]) for name in ("out_channels", "height"))


SHAPE = N("Shape", ["x"], ["s"])
VERSIONS = range(7, 26)


@pytest.mark.parametrize("opset", VERSIONS)
class TestEveryVersion:
    """Each network reshapes (2, 3, 4, 5) to (8, 15), or its first axis to one image's rows."""

    def test_axes_as_attributes_and_as_inputs(self, opset):
        constants = {"i2": 2, "eight": np.array([[8]])}
        gathered = N("Gather", ["s", "i2"], ["four"])
        if opset < 13:
            nodes = [
                N("Unsqueeze", ["four"], ["four1"], axes=[0]),
                N("Squeeze", ["eight"], ["eight1"], axes=[0]),
            ]
        else:
            constants |= {"zero": np.array([0])}
            nodes = [
                N("Unsqueeze", ["four", "zero"], ["four1"]),
                N("Squeeze", ["eight", "zero"], ["eight1"]),
            ]
        nodes += [
            N("Div", ["eight1", "four1"], ["two"]),
            N("Concat", ["two", "four1", "fifteen"], ["t"], axis=0),
        ]
        constants["fifteen"] = np.array([15])
        assert target_of([SHAPE, gathered, *nodes], constants, opset) == (15, 4)

    def test_slices_products_and_casts(self, opset):
        constants = {"minus": np.array([-1])}
        if opset < 10:
            front = N("Slice", ["s"], ["front"], axes=[0], starts=[0], ends=[3])
        else:
            constants |= {"begin": np.array([0]), "end": np.array([3]), "axis": np.array([0])}
            front = N("Slice", ["s", "begin", "end", "axis"], ["front"])
        nodes = [
            N("ReduceProd", ["front"], ["twentyfour"], keepdims=1),
            N("Cast", ["twentyfour"], ["f"], to=TensorProto.FLOAT),
            N("Mul", ["f", "half"], ["f2"]),
            N("Floor", ["f2"], ["f3"]),
            N("Cast", ["f3"], ["twelve"], to=TensorProto.INT64),
            N("Concat", ["minus", "twelve"], ["t"], axis=0),
        ]
        constants["half"] = np.array([0.5], np.float32)
        assert target_of([SHAPE, front, *nodes], constants, opset)[0] == 12

    def test_splits_sums_and_bounds(self, opset):
        constants = {"hundred": np.array([15])}
        if opset < 13:
            nodes = [
                N("Split", ["s"], ["a", "b"], axis=0, split=[2, 2]),
                N("ReduceSum", ["b"], ["nine"], axes=[0], keepdims=1),
            ]
        else:
            constants |= {"sizes": np.array([2, 2]), "zero": np.array([0])}
            nodes = [
                N("Split", ["s", "sizes"], ["a", "b"], axis=0),
                N("ReduceSum", ["b", "zero"], ["nine"], keepdims=1),
            ]
        nodes += [
            # Before version 12, Clip, Min and Max know floats alone.
            N("Cast", ["nine"], ["f"], to=TensorProto.FLOAT),
            N("Cast", ["hundred"], ["h"], to=TensorProto.FLOAT),
            N("Max", ["f", "h"], ["m"]),
            N("Cast", ["m"], ["fifteen"], to=TensorProto.INT64),
            N("ReduceProd", ["a"], ["six"], axes=[0], keepdims=1)
            if opset < 18
            else N("ReduceProd", ["a", "zero"], ["six"], keepdims=1),
            N("Sub", ["fifteen", "six"], ["nine2"]),
            N("Sub", ["nine2", "one"], ["eight"]),
            N("Concat", ["eight", "fifteen"], ["t"], axis=0),
        ]
        constants["one"] = np.array([1])
        assert target_of([SHAPE, *nodes], constants, opset)[0] == 15


# ConstantOfShape and Where are of version 9, Range of version 11.
@pytest.mark.parametrize("opset", range(9, 26))
def test_constants_of_shapes_and_choices(opset):
    nodes = [
        N("ConstantOfShape", ["two"], ["minus"], value=const("v", [-1])),
        N("Equal", ["target", "minus"], ["open"]),
        N("Where", ["open", "sizes", "target"], ["t"]),
    ]
    constants = {"two": np.array([2]), "target": np.array([-1, 15]), "sizes": np.array([8, 1])}
    assert target_of(nodes, constants, opset)[0] == 15


@pytest.mark.parametrize("opset", range(11, 26))
def test_ranges_and_gathers(opset):
    nodes = [
        SHAPE,
        N("Range", ["one", "four", "two"], ["odd"]),
        N("Gather", ["s", "odd"], ["three_five"]),
        N("ReduceProd", ["three_five"], ["fifteen"], keepdims=1),
        N("Concat", ["minus", "fifteen"], ["t"], axis=0),
    ]
    constants = {"one": 1, "four": 4, "two": 2, "minus": np.array([-1])}
    assert target_of(nodes, constants, opset)[0] == 15


def test_places_of_what_is_not_zero():
    nodes = [
        N("NonZero", ["mask"], ["places"]),
        N("Squeeze", ["places", "zero"], ["index"]),
        N("Gather", ["sizes", "index"], ["t"]),
    ]
    constants = {
        "mask": np.array([True, False, True]),
        "zero": np.array([0]),
        "sizes": np.array([8, 7, 15]),
    }
    assert target_of(nodes, constants, 17)[0] == 15
