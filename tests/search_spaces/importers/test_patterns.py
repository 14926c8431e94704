"""Operators that exporters take apart, recognised as one."""

import numpy as np
import pytest
from onnx import numpy_helper

from nasplug.search_spaces.importers.onnx_graph import onnx_graph
from tests.search_spaces.importers.onnx_models import N, ints, model, row, tensor


def decomposed_gelu(x, y, root="root"):
    return [
        N("Div", [x, root], [f"{y}1"]),
        N("Erf", [f"{y}1"], [f"{y}2"]),
        N("Add", [f"{y}2", "one"], [f"{y}3"]),
        N("Mul", [x, f"{y}3"], [f"{y}4"]),
        N("Mul", [f"{y}4", "half"], [y]),
    ]


NUMBERS = [
    tensor(name, [], value)
    for name, value in (
        *(("root", 2**0.5), ("one", 1.0), ("half", 0.5), ("two", 2.0), ("three", 3.0)),
        *(("six", 6.0), ("zero", 0.0), ("epsilon", 1e-5), ("scale", 0.25)),
    )
]


def ops_of(nodes, constants=(), **options):
    graph = onnx_graph(model(nodes, [*NUMBERS, *constants], **options))
    return graph.ops[1:-1], graph


class TestRecognised:
    def test_gelu(self):
        assert ops_of(decomposed_gelu("x", "y"))[0] == ("Gelu",)
        # A sum as its argument, which the tanh form's own sum must not be confused with.
        nodes = [N("Add", ["x", "x"], ["s"]), *decomposed_gelu("s", "y")]
        assert ops_of(nodes)[0] == ("Add", "Gelu")
        # Another constant is another function.
        other = [*decomposed_gelu("x", "y")[:-1], N("Mul", ["y4", "three"], ["y"])]
        assert "Gelu" not in ops_of(other)[0]

    def test_gelu_by_tanh(self):
        nodes = [
            N("Pow", ["x", "three"], ["a"]),
            N("Mul", ["a", "scale"], ["b"]),
            N("Add", ["x", "b"], ["c"]),
            N("Mul", ["c", "scale"], ["d"]),
            N("Tanh", ["d"], ["e"]),
            N("Add", ["e", "one"], ["f"]),
            N("Mul", ["x", "half"], ["g"]),
            N("Mul", ["g", "f"], ["y"]),
        ]
        assert ops_of(nodes)[0] == ("Gelu",)
        nodes[2] = N("Add", ["w", "b"], ["c"])
        assert "Gelu" not in ops_of([N("Relu", ["x"], ["w"]), *nodes])[0]

    def test_gates(self):
        shift = [N("Add", ["x", "three"], ["a"]), N("Clip", ["a", "zero", "six"], ["b"])]
        assert ops_of([*shift, N("Div", ["b", "six"], ["y"])])[0] == ("HardSigmoid",)
        product = [N("Mul", ["x", "b"], ["c"]), N("Div", ["c", "six"], ["y"])]
        assert ops_of([*shift, *product])[0] == ("HardSwish",)
        gate = [N("Softplus", ["x"], ["a"]), N("Tanh", ["a"], ["b"]), N("Mul", ["x", "b"], ["y"])]
        assert ops_of(gate)[0] == ("Mish",)
        assert ops_of([N("Sigmoid", ["x"], ["a"]), N("Mul", ["a", "x"], ["y"])])[0] == ("Silu",)

    def test_layer_normalisation(self):
        nodes = [
            N("ReduceMean", ["x"], ["m"], axes=[-1]),
            N("Sub", ["x", "m"], ["d"]),
            N("Pow", ["d", "two"], ["q"]),
            N("ReduceMean", ["q"], ["v"], axes=[-1]),
            N("Add", ["v", "epsilon"], ["e"]),
            N("Sqrt", ["e"], ["r"]),
            N("Div", ["d", "r"], ["n"]),
            N("Mul", ["n", "w"], ["k"]),
            N("Add", ["k", "b"], ["y"]),
        ]
        affine = [tensor("w", [16]), tensor("b", [16])]
        ops, graph = ops_of(nodes, affine, x=(1, 9, 16))
        assert ops == ("LayerNormalization",)
        assert row(graph, "LayerNormalization")["params"] == 32
        whole = model([N("LayerNormalization", ["x", "w", "b"], ["y"])], affine, x=(1, 9, 16))
        assert np.array_equal(onnx_graph(whole).attributes, graph.attributes)
        # Without the mean it is the root-mean-square norm.
        nodes = [N("Pow", ["x", "two"], ["q"]), *nodes[3:6], N("Div", ["x", "r"], ["n"]), nodes[7]]
        ops, graph = ops_of(nodes, affine, x=(1, 9, 16), outputs=["k"])
        assert ops == ("RMSNormalization",)
        assert row(graph, "RMSNormalization")["params"] == 16

    def test_group_normalisation(self):
        nodes = [
            N("Reshape", ["x", "groups"], ["g"]),
            N("InstanceNormalization", ["g", "i", "i"], ["n"]),
            N("Shape", ["x"], ["s"]),
            N("Reshape", ["n", "s"], ["r"]),
            N("Mul", ["r", "w"], ["k"]),
            N("Add", ["k", "w"], ["y"]),
        ]
        constants = [ints("groups", [0, 2, -1]), tensor("i", [2]), tensor("w", [4, 1, 1])]
        ops, graph = ops_of(nodes, constants, x=(1, 4, 8, 8))
        assert ops == ("GroupNormalization",)
        assert row(graph, "GroupNormalization")["params"] == 8

    def test_attention_has_no_scale(self):
        nodes = [
            N("Transpose", ["x"], ["k"], perm=[0, 1, 3, 2]),
            N("Mul", ["x", "scale"], ["q"]),
            N("MatMul", ["q", "k"], ["s"]),
            N("Div", ["s", "two"], ["t"]),
            N("Softmax", ["t"], ["p"]),
            N("MatMul", ["p", "x"], ["y"]),
        ]
        ops, graph = ops_of(nodes, x=(1, 2, 9, 16))
        assert sorted(ops) == ["MatMul", "MatMul", "Softmax", "Transpose"]
        assert graph.total("flops") == 2 * 2 * 9 * 9 * 16
        whole = model([N("Attention", ["x", "x", "x"], ["y"])], x=(1, 2, 9, 16), opset=23)
        assert onnx_graph(whole).canonical_hash == graph.canonical_hash

    def test_transposes(self):
        there = N("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1])
        back = N("Transpose", ["t"], ["y"], perm=[0, 3, 1, 2])
        assert ops_of([there, back])[0] == ()
        assert ops_of([there, N("Transpose", ["t"], ["y"], perm=[0, 2, 1, 3])])[0] == ("Transpose",)
        moved = [N("Transpose", ["x"], ["y"], perm=[0, 3, 2, 1])]
        assert ops_of(moved, x=(1, 1, 1, 8))[0] == ("Reshape",)

    def test_slices(self):
        cut = [N("Slice", ["x", "a", "b", "c"], ["t"]), N("Slice", ["t", "a", "b", "d"], ["y"])]
        axes = [ints("a", [0]), ints("b", [5]), ints("c", [2]), ints("d", [3])]
        assert ops_of(cut, axes)[0] == ("Slice",)
        turn = [
            N("Slice", ["x", "l", "e", "c", "m"], ["t"]),
            N("Slice", ["t", "l", "e", "d", "m"], ["y"]),
        ]
        ends = [ints("l", [15]), ints("e", [-17]), ints("m", [-1])]
        assert ops_of(turn, [*axes, *ends])[0] == ("Slice",)
        whole = [N("Slice", ["x", "a", "l", "c"], ["y"])]
        assert ops_of(whole, [axes[0], ints("l", [99]), axes[2]])[0] == ()

    def test_means_over_a_sequence(self):
        pool = ops_of([N("GlobalAveragePool", ["x"], ["y"])], x=(1, 4, 9))
        assert pool[0] == ("ReduceMean",)

    def test_maxima_over_the_image(self):
        pool = ops_of([N("MaxPool", ["x"], ["y"], kernel_shape=[16, 16])])
        reduction = ops_of([N("ReduceMax", ["x"], ["y"], axes=[2, 3])])
        assert pool[0] == reduction[0] == ("GlobalMaxPool",)
        assert ops_of([N("MaxPool", ["x"], ["y"], kernel_shape=[2, 2])])[0] == ("MaxPool",)


class TestFree:
    """Operators that cost nothing, since an engine leaves them out."""

    def test_the_guard_of_a_softmax(self):
        nodes = [
            N("Softmax", ["x"], ["s"]),
            N("IsNaN", ["s"], ["n"]),
            N("Where", ["n", "zero", "s"], ["y"]),
        ]
        assert ops_of(nodes)[0] == ("Softmax",)
        # Another choice is one.
        nodes[2] = N("Where", ["n", "x", "s"], ["y"])
        assert ops_of(nodes)[0] == ("Softmax", "IsNaN", "Where")

    def test_numbers_that_change_nothing(self):
        nodes = [
            N("Add", ["x", "zero"], ["a"]),
            N("Mul", ["one", "a"], ["b"]),
            N("Div", ["b", "one"], ["c"]),
            N("Sub", ["c", "zero"], ["y"]),
        ]
        assert ops_of(nodes)[0] == ()
        assert ops_of([N("Sub", ["zero", "x"], ["y"])])[0] == ("Sub",)
        assert ops_of([N("Div", ["one", "x"], ["y"])])[0] == ("Reciprocal",)

    def test_a_learned_scale_of_one_is_a_scale(self):
        scale = tensor("head.scale", [], 1.0)
        ops, graph = ops_of([N("Mul", ["x", "head.scale"], ["y"])], [scale])
        assert ops == ("Mul",)
        assert graph.total("params") == 1

    @pytest.mark.parametrize("words", [8, 80])
    def test_a_mask_that_hides_nothing(self, words):
        nodes = [
            N("Where", ["seen", "zero", "least"], ["mask"]),
            N("Add", ["x", "mask"], ["s"]),
            N("Softmax", ["s"], ["y"]),
        ]
        least = tensor("least", [], -np.inf)
        for hidden, ops in ((False, ("Softmax",)), (True, ("Add", "Softmax"))):
            seen = np.ones((1, 1, words, words), bool)
            seen[..., 0, -1] = not hidden
            constants = [least, numpy_helper.from_array(seen, "seen")]
            assert ops_of(nodes, constants, x=(1, 2, words, words))[0] == ops

    def test_a_mask_of_zeros_of_the_file(self):
        nodes = [N("Add", ["mask", "x"], ["s"]), N("Softmax", ["s"], ["y"])]
        masks = [tensor("val_1", [1, 1, 80, 80], value) for value in (0.0, 1.0)]
        for mask, ops in zip(masks, (("Softmax",), ("Add", "Softmax")), strict=True):
            nodes[0] = N("Add", ["val_1", "x"], ["s"])
            assert ops_of(nodes, [mask], x=(1, 2, 80, 80))[0] == ops

    def test_the_opposite_of_a_comparison(self):
        nodes = [N("Equal", ["x", "zero"], ["e"]), N("Not", ["e"], ["n"])]
        cast = N("Cast", ["n"], ["y"], to=1)
        assert ops_of([*nodes, cast])[0] == ("Equal", "Cast")

    def test_a_norm_of_single_channels_with_a_scale(self):
        nodes = [
            N("InstanceNormalization", ["x", "i", "i"], ["n"]),
            N("Mul", ["n", "w"], ["k"]),
            N("Add", ["k", "b"], ["y"]),
        ]
        constants = [tensor("i", [4]), tensor("w", [4, 1, 1]), tensor("b", [4, 1, 1])]
        ops, graph = ops_of(nodes, constants, x=(1, 4, 8, 8))
        assert ops == ("InstanceNormalization",)
        assert graph.executed.total("params") == 8

    def test_a_transpose_within_joined_axes(self):
        nodes = [
            N("Reshape", ["x", "joined"], ["a"]),
            N("Transpose", ["a"], ["b"], perm=[0, 2, 1]),
            N("Reshape", ["b", "split"], ["c"]),
            N("Transpose", ["c"], ["y"], perm=[0, 1, 3, 2]),
        ]
        sizes = [ints("joined", [6, 8, 9]), ints("split", [2, 3, 9, 8])]
        assert ops_of(nodes[:3], sizes, x=(2, 3, 8, 9), outputs=["c"])[0] == ("Transpose",)
        assert ops_of(nodes, sizes, x=(2, 3, 8, 9))[0] == ()
        # Axes that are split elsewhere stay as they are.
        other = [ints("joined", [6, 8, 9]), ints("split", [3, 2, 9, 8])]
        ops = ops_of(nodes[:3], other, x=(2, 3, 8, 9), outputs=["c"])[0]
        assert ops == ("Reshape", "Transpose", "Reshape")
