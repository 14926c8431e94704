"""Quantised networks in all spellings: one graph on integers, as engines run it."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.search_spaces.importers.test_onnx_fused import FLOAT, INT8, MS, UINT8, N, read, weight

INT32, INT4 = TensorProto.INT32, TensorProto.INT4
SCALES = [
    *(weight(name) for name in ("s", "ws", "ys")),
    *(weight(name, code=UINT8) for name in ("z", "yz")),
    weight("wz", code=INT8),
]
IMAGE = ((1, 8, 14, 14), UINT8)
KERNEL = weight("w", 16, 8, 3, 3, code=INT8)
CONV_FLOPS = 16 * 8 * 9 * 144


def node(graph, op):
    (k,) = (k for k, name in enumerate(graph.ops) if name == op)
    return k


def types(graph, op):
    k = node(graph, op)
    return graph.types[k], graph.weight_types[k]


def restored(source, name, scale="s", zero="z"):
    return N("DequantizeLinear", f"{source} {scale} {zero}", name)


def stored(source, name):
    return N("QuantizeLinear", f"{source} ys yz", name)


class TestConvolutions:
    QDQ = (
        restored("x", "xf"),
        restored("w", "wf", "ws", "wz"),
        N("Conv", "xf wf", "c"),
        stored("c", "y"),
    )

    def test_between_changes_of_the_type(self):
        graph = read(self.QDQ, [KERNEL, *SCALES], x=IMAGE)
        assert graph.ops == ("Input", "Conv", "Output")
        assert types(graph, "Conv") == ("uint8", "int8")
        weights = 16 * 8 * 9
        assert graph.total("params") == weights
        assert graph.total("bytes") == 8 * 196 + 16 * 144 + weights
        assert graph.total("flops") == CONV_FLOPS

    def test_as_one_operator(self):
        qdq = read(self.QDQ, [KERNEL, *SCALES], x=IMAGE)
        whole = read([N("QLinearConv", "x s z w ws wz ys yz", "y")], [KERNEL, *SCALES], x=IMAGE)
        assert whole.ops == qdq.ops
        assert whole.types == qdq.types
        assert np.array_equal(whole.attributes, qdq.attributes)
        assert np.array_equal(whole.weight_bytes, qdq.weight_bytes)

    def test_a_bias_of_whole_numbers(self):
        bias = helper.make_tensor("b", INT32, [16], range(16))
        graph = read(
            [N("QLinearConv", "x s z w ws wz ys yz b", "y")], [KERNEL, bias, *SCALES], x=IMAGE
        )
        assert graph.total("params") == 16 * 72 + 16

    def test_an_activation_in_the_kernel(self):
        nodes = [*self.QDQ[:3], N("Relu", "c", "r"), stored("r", "y")]
        graph = read(nodes, [KERNEL, *SCALES], x=IMAGE)
        assert graph.ops == ("Input", "Conv", "Relu", "Output")
        assert graph.types == ("uint8",) * 4

    def test_a_result_in_floats(self):
        graph = read([*self.QDQ[:2], N("Conv", "xf wf", "y")], [KERNEL, *SCALES], x=IMAGE)
        assert graph.ops == ("Input", "Conv", "Output")
        assert types(graph, "Conv") == ("float32", "int8")
        assert graph.total("bytes") == 8 * 196 + 4 * 16 * 144 + 16 * 72

    def test_a_result_that_is_read_in_floats_too(self):
        nodes = [*self.QDQ[:3], stored("c", "q"), restored("q", "f"), N("Add", "c f", "y")]
        graph = read(nodes, [KERNEL, *SCALES], x=IMAGE)
        assert types(graph, "Conv") == ("float32", "int8")
        assert graph.ops.count("QuantizeLinear") == 1

    def test_float_weights_stay_in_floats(self):
        nodes = [restored("x", "xf"), N("Conv", "xf w", "c"), stored("c", "y")]
        graph = read(nodes, [weight("w", 16, 8, 3, 3), *SCALES], x=IMAGE)
        assert types(graph, "Conv") == ("float32", "float32")
        assert {"QuantizeLinear", "DequantizeLinear"} <= set(graph.ops)

    def test_a_residual_block(self):
        nodes = [
            *self.QDQ[:3],
            stored("c", "q"),
            restored("q", "cf"),
            restored("z2", "zf"),
            N("Add", "cf zf", "a"),
            N("Relu", "a", "r"),
            stored("r", "y"),
        ]
        graph = read(nodes, [KERNEL, *SCALES], x=IMAGE, z2=((1, 16, 12, 12), UINT8))
        assert sorted(graph.ops) == ["Add", "Conv", "Input", "Input", "Output", "Relu"]
        assert set(graph.types) == {"uint8"}

    def test_scales_of_each_channel_are_read(self):
        scales = [weight("cs", 16), weight("cz", 16, code=INT8)]
        nodes = [restored("x", "xf"), N("DequantizeLinear", "w cs cz", "wf", axis=0)]
        graph = read([*nodes, N("Conv", "xf wf", "y")], [KERNEL, *scales, *SCALES], x=IMAGE)
        assert graph.weight_bytes.sum() == 16 * 72 + 4 * 16
        assert graph.total("params") == 16 * 72

    def test_channels_last(self):
        node = MS("QLinearConv", "x s z w ws wz ys yz", "y", channels_last=1)
        graph = read([node], [KERNEL, *SCALES], x=((1, 14, 14, 8), UINT8))
        assert types(graph, "Conv") == ("uint8", "int8")
        assert graph.total("flops") == CONV_FLOPS

    def test_computed_in_whole_numbers(self):
        nodes = [
            N("DynamicQuantizeLinear", "x", "q qs qz"),
            N("ConvInteger", "q w qz", "i"),
            N("Cast", "i", "f", to=FLOAT),
            N("Mul", "qs ws", "scale"),
            N("Mul", "f scale", "y"),
        ]
        graph = read(nodes, [KERNEL, *SCALES], x=(1, 8, 14, 14))
        assert graph.ops == ("Input", "QuantizeLinear", "Conv", "Output")
        assert types(graph, "QuantizeLinear")[0] == "uint8"
        assert types(graph, "Conv") == ("float32", "int8")
        assert graph.total("params") == 16 * 72


MATRIX = weight("w", 16, 8, code=INT8)
WORDS = (1, 5, 16)


class TestProducts:
    def test_as_one_operator(self):
        node = N("QLinearMatMul", "x s z w ws wz ys yz", "y")
        graph = read([node], [MATRIX, *SCALES], x=(WORDS, UINT8))
        assert graph.ops == ("Input", "Gemm", "Output")
        assert types(graph, "Gemm") == ("uint8", "int8")
        assert graph.total("bytes") == 80 + 40 + 128
        assert graph.total("params") == 128

    def test_of_two_tensors(self):
        node = N("QLinearMatMul", "x s z k ws wz ys yz", "y")
        graph = read([node], SCALES, x=(WORDS, UINT8), k=((1, 16, 8), INT8))
        assert graph.ops == ("Input", "Input", "MatMul", "Output")
        assert graph.types == ("uint8", "int8", "uint8", "uint8")

    def test_gemm(self):
        bias = helper.make_tensor("b", INT32, [8], range(8))
        for written, element_type in (("ys yz", "uint8"), ("", "float32")):
            node = MS("QGemm", f"x s z w ws wz b {written}", "y")
            graph = read([node], [MATRIX, bias, *SCALES], x=((1, 16), UINT8))
            assert graph.ops == ("Input", "Gemm", "Output")
            assert types(graph, "Gemm") == (element_type, "int8")
            assert graph.total("params") == 136

    def test_dynamic(self):
        """All spellings of a product whose left side is quantised as it runs."""
        constants = [weight("b", 8), weight("fc.zero_point", code=INT8)]
        spellings = [
            [MS("DynamicQuantizeMatMul", "x w ws wz b", "y")],
            [
                N("DynamicQuantizeLinear", "x", "q qs qz"),
                MS("MatMulIntegerToFloat", "q w qs ws qz wz b", "y"),
            ],
            [
                N("DynamicQuantizeLinear", "x", "q qs qz"),
                N("MatMulInteger", "q w qz fc.zero_point", "i"),
                N("Cast", "i", "f", to=FLOAT),
                N("Mul", "qs ws", "scale"),
                N("Mul", "f scale", "p"),
                N("Add", "p b", "y"),
            ],
        ]
        for nodes in spellings:
            graph = read(nodes, [MATRIX, *constants, *SCALES], x=WORDS)
            assert graph.ops == ("Input", "QuantizeLinear", "Gemm", "Output")
            assert types(graph, "Gemm") == ("float32", "int8")
            assert graph.total("params") == 136
            assert graph.total("flops") == 5 * 128

    @pytest.mark.parametrize(("bits", "size"), [(2, 0.25), (4, 0.5), (8, 1)])
    def test_few_bits(self, bits, size):
        blocks = 64 // 32
        constants = [
            weight("w", 8, blocks, 32 * bits // 8, code=UINT8),
            weight("scales", 8 * blocks),
            weight("b", 8),
        ]
        node = MS("MatMulNBits", "x w scales - - b", "y", K=64, N=8, bits=bits, block_size=32)
        graph = read([node], constants, x=(1, 5, 64))
        assert graph.ops == ("Input", "Gemm", "Output")
        assert types(graph, "Gemm") == ("float32", f"int{bits}")
        assert graph.total("params") == 64 * 8 + 8
        # Scales are read too, the bias as so many numbers of the weights' type.
        assert graph.weight_bytes.sum() == size * (64 * 8 + 8) + 4 * 8 * blocks

    @pytest.mark.parametrize("packed", [True, False])
    def test_rows_of_few_bits(self, packed):
        table = weight("w", 50, 32, code=UINT8) if packed else weight("w", 50, 64, code=INT4)
        scales = weight("scales", 50, 2)
        node = MS("GatherBlockQuantized", "w x scales", "y", bits=4, block_size=32)
        graph = read([node], [table, scales], x=((1, 5), TensorProto.INT64))
        assert graph.ops == ("Input", "Gather", "Output")
        assert types(graph, "Gather") == ("float32", "int4")
        assert graph.total("params") == 50 * 64
        assert graph.weight_bytes.sum() == 0.5 * 5 * 64

    def test_recurrent(self):
        matrices = [weight("w", 1, 6, 32, code=INT8), weight("r", 1, 8, 32, code=INT8)]
        scales = [
            *(weight(name, 1) for name in ("as", "bs")),
            *(weight(name, 1, code=INT8) for name in ("az", "bz")),
        ]
        node = MS("DynamicQuantizeLSTM", "x w r - - - - - as az bs bz", "y", hidden_size=8)
        graph = read([node], [*matrices, *scales], x=(5, 1, 6))
        assert graph.total("flops") == 5 * 32 * 14
        assert graph.total("params") == 32 * 14
        assert {t for t in graph.weight_types if t} == {"int8"}


@pytest.mark.parametrize(
    ("node", "op"),
    [
        (MS("QLinearAdd", "x s z k s z ys yz", "y"), "Add"),
        (MS("QLinearMul", "x s z k s z ys yz", "y"), "Mul"),
        (MS("QLinearSigmoid", "x s z ys yz", "y"), "Sigmoid"),
        (MS("QLinearLeakyRelu", "x s z ys yz", "y"), "LeakyRelu"),
        (MS("QLinearSoftmax", "x s z ys yz", "y", axis=-1, opset=13), "Softmax"),
        (MS("QLinearConcat", "ys yz x s z k s z", "y", axis=1), "Concat"),
        (MS("QLinearGlobalAveragePool", "x s z ys yz", "y"), "GlobalAveragePool"),
        (
            MS("QLinearAveragePool", "x s z ys yz", "y", kernel_shape=[2, 2], strides=[2, 2]),
            "AveragePool",
        ),
        (MS("QLinearReduceMean", "x s z ys yz", "y", axes=[1]), "ReduceMean"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.op_type,
)
@pytest.mark.parametrize("opset", [13, 21])
def test_other_operators(node, op, opset):
    graph = read([node], SCALES, opset=opset, x=IMAGE, k=IMAGE)
    assert op in graph.ops
    assert not {"QuantizeLinear", "DequantizeLinear"} & set(graph.ops)
    assert set(graph.types) == {"uint8"}


def test_one_scale_has_no_axis():
    nodes = [N("DequantizeLinear", "q s z", "f", axis=1), N("Add", "x f", "y")]
    graph = read(nodes, [weight("q", 8, code=UINT8), *SCALES], x=(1, 5, 8))
    assert graph.ops == ("Input", "Add", "Output")
    assert types(graph, "Add") == ("float32", "uint8")


def test_moves_keep_integers():
    nodes = [restored("x", "f"), N("Transpose", "f", "t", perm=[0, 2, 3, 1]), stored("t", "y")]
    graph = read(nodes, SCALES, x=IMAGE)
    assert graph.ops == ("Input", "Transpose", "Output")
    assert graph.total("bytes") == 2 * 8 * 196


def test_what_has_no_form_on_integers_is_restored():
    nodes = [restored("x", "f"), N("Erf", "f", "e"), stored("e", "y")]
    graph = read(nodes, SCALES, x=IMAGE)
    assert graph.ops == ("Input", "DequantizeLinear", "Erf", "QuantizeLinear", "Output")
    assert graph.types == ("uint8", "float32", "float32", "uint8", "uint8")
