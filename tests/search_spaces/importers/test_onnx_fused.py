"""Operators of ONNX Runtime against the nodes that its optimiser fused them from."""

import collections
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers.onnx_fused import FUSED
from nasplug.search_spaces.importers.onnx_graph import onnx_graph

FLOAT, INT64, INT8, UINT8 = (getattr(TensorProto, n) for n in ("FLOAT", "INT64", "INT8", "UINT8"))


def N(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def MS(op, inputs, outputs, **attributes):
    """A node of ONNX Runtime; `-` stands for an input or output that is left out."""
    names = [[name.strip("-") for name in text.split()] for text in (inputs, outputs)]
    return helper.make_node(op, *names, domain="com.microsoft", **attributes)


def weight(name, *shape, code=FLOAT):
    return helper.make_tensor(name, code, shape, np.ones(int(np.prod(shape))))


def ints(name, *values):
    return helper.make_tensor(name, INT64, [len(values)], values)


def read(nodes, constants=(), opset=21, **inputs):
    """The graph of a model; inputs are shapes, or pairs of a shape and a type."""
    values = []
    for name, shape in inputs.items():
        sizes, code = shape if isinstance(shape[0], tuple) else (shape, FLOAT)
        values.append(helper.make_tensor_value_info(name, code, sizes))
    others = ("com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc")
    domains = [("", opset), *((domain, 1) for domain in others)]
    graph = helper.make_graph(
        nodes,
        "g",
        values,
        [helper.make_tensor_value_info("y", FLOAT, None)],
        list(constants),
    )
    opsets = [helper.make_opsetid(*domain) for domain in domains]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return onnx_graph(helper.make_model(graph, opset_imports=opsets, ir_version=10))


def rows(graph):
    return collections.Counter(
        (op, *map(float, row)) for op, row in zip(graph.ops, graph.attributes, strict=True)
    )


def same(fused, unfused):
    assert rows(fused) - rows(unfused) == rows(unfused) - rows(fused) == collections.Counter()
    assert fused.canonical_hash == unfused.canonical_hash


IMAGE = (1, 8, 14, 14)
CONV = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}
WEIGHTS = [weight("w", 16, 8, 3, 3), weight("b", 16)]


class TestProducts:
    def test_fused_conv(self):
        fused = read([MS("FusedConv", "x w b", "y", activation="Relu", **CONV)], WEIGHTS, x=IMAGE)
        nodes = [N("Conv", "x w b", "c", **CONV), N("Relu", "c", "y")]
        same(fused, read(nodes, WEIGHTS, x=IMAGE))

    def test_fused_conv_with_a_sum(self):
        shapes = {"x": IMAGE, "z": (1, 16, 7, 7)}
        fused = read(
            [MS("FusedConv", "x w b z", "y", activation="Relu", **CONV)], WEIGHTS, **shapes
        )
        nodes = [N("Conv", "x w b", "c", **CONV), N("Add", "c z", "s"), N("Relu", "s", "y")]
        same(fused, read(nodes, WEIGHTS, **shapes))

    @pytest.mark.parametrize("last", [False, True])
    def test_fused_matrix_product(self, last):
        nodes = [MS("FusedMatMul", "a b", "y", transA=int(last), transB=1, alpha=0.125)]
        a = (1, 2, 8, 5) if last else (1, 2, 5, 8)
        graph = read(nodes, a=a, b=(1, 2, 7, 8))
        assert graph.total("flops") == 2 * 5 * 7 * 8
        assert graph.attributes[-2][[4, 5, 6]].tolist() == [2, 5, 7]

    def test_fused_matrix_product_of_batches_inside(self):
        nodes = [MS("FusedMatMul", "a b", "y", transBatchA=1)]
        graph = read(nodes, a=(2, 5, 1, 8), b=(5, 1, 8, 7))
        # (2, 5, 1, 8) is read as (5, 1, 2, 8), of which 5 are a batch.
        assert graph.total("flops") == 2 * 7 * 8

    def test_fused_gemm(self):
        constants = [weight("w", 10, 16), weight("b", 10)]
        fused = read(
            [MS("FusedGemm", "x w b", "y", transB=1, activation="Relu")], constants, x=(1, 16)
        )
        nodes = [N("Gemm", "x w b", "g", transB=1), N("Relu", "g", "y")]
        same(fused, read(nodes, constants, x=(1, 16)))

    @pytest.mark.parametrize("domain", ["com.microsoft", "com.ms.internal.nhwc"])
    def test_channels_last(self, domain):
        op = "NhwcConv" if domain == "com.microsoft" else "Conv"
        node = helper.make_node(op, ["x", "w", "b"], ["y"], domain=domain, **CONV)
        graph = read([node], WEIGHTS, x=(1, 14, 14, 8))
        expected = read([N("Conv", "x w b", "y", **CONV)], WEIGHTS, x=IMAGE)
        assert graph.ops == ("Input", "Reshape", "Conv", "Reshape", "Output")
        assert rows(graph)[next(r for r in rows(expected) if r[0] == "Conv")] == 1
        stored = [weight("w", 16, 3, 3, 8), weight("b", 16)]
        assert read([node], stored, x=(1, 14, 14, 8)).total("flops") == graph.total("flops")

    def test_channels_in_blocks(self):
        nodes = [
            N("ReorderInput", "x", "r"),
            N("Conv", "r w b", "c", activation="Relu", **CONV),
            N("Conv", "c w2", "d", group=16, kernel_shape=[1, 1]),
            N("MaxPool", "d", "p", kernel_shape=[2, 2]),
            N("ReorderOutput", "p", "y", channels=12),
        ]
        for node in nodes:
            node.domain = "com.microsoft.nchwc"
        # The image has 6 channels in a block of 8, and the result 12 in two blocks.
        graph = read(nodes, [*WEIGHTS, weight("w2", 16, 1, 1, 1)], x=(1, 6, 14, 14))
        assert graph.ops == (
            "Input",
            "Reshape",
            "Conv",
            "Relu",
            "Conv",
            "MaxPool",
            "Reshape",
            "Output",
        )
        assert graph.total("flops") == 49 * 16 * (72 + 1)
        assert graph.attributes[-2][[4, 5, 6]].tolist() == [12, 6, 6]

    def test_pooling_with_channels_last(self):
        node = MS("NhwcMaxPool", "x", "y", kernel_shape=[2, 2], strides=[2, 2])
        graph = read([node], x=((1, 14, 14, 8), INT8))
        assert graph.ops == ("Input", "Reshape", "MaxPool", "Reshape", "Output")
        assert graph.attributes[-2][[4, 5, 6]].tolist() == [7, 7, 8]

    def test_the_shape_is_right_for_what_follows(self):
        nodes = [MS("FusedConv", "x w b", "c", activation="Relu", **CONV), N("Conv", "c w2", "y")]
        graph = read(nodes, [*WEIGHTS, weight("w2", 4, 16, 1, 1)], x=IMAGE)
        assert graph.total("flops") == 49 * (16 * 72 + 64)

    def test_a_misfit_names_the_fused_operator(self):
        nodes = [MS("FusedConv", "x w b", "y", activation="Relu", **CONV)]
        with pytest.raises(
            InputError, match=r"com.microsoft.FusedConv that writes 'y'.*\[1, 5, 14"
        ):
            read(nodes, WEIGHTS, x=(1, 5, 14, 14))


class TestActivations:
    @pytest.mark.parametrize(
        ("node", "op"),
        [
            (MS("Gelu", "x", "y"), "Gelu"),
            (MS("FastGelu", "x", "y"), "Gelu"),
            (MS("QuickGelu", "x", "y", alpha=1.702), "Silu"),
        ],
    )
    def test_alone(self, node, op):
        same(
            read([node], x=(1, 5, 16)),
            read(
                [N(op, "x", "y")]
                if op == "Gelu"
                else [N("Sigmoid", "x", "s"), N("Mul", "x s", "y")],
                x=(1, 5, 16),
            ),
        )

    @pytest.mark.parametrize("op", ["BiasGelu", "FastGelu"])
    def test_with_a_bias(self, op):
        constants = [weight("w", 16, 8), weight("b", 8)]
        fused = read([N("MatMul", "x w", "h"), MS(op, "h b", "y")], constants, x=(1, 5, 16))
        nodes = [N("MatMul", "x w", "h"), N("Add", "h b", "s"), N("Gelu", "s", "y")]
        same(fused, read(nodes, constants, x=(1, 5, 16)))

    def test_gated(self):
        graph = read([MS("BiasSplitGelu", "x b", "y")], [weight("b", 16)], x=(1, 5, 16))
        assert graph.ops.count("Gelu") == graph.ops.count("Mul") == 1
        assert graph.attributes[-2][4] == 8


class TestNorms:
    SCALES = (weight("s", 16), weight("b", 16), weight("c", 16))

    @pytest.mark.parametrize("domain", ["", "com.microsoft"])
    def test_simplified(self, domain):
        node = helper.make_node("SimplifiedLayerNormalization", ["x", "s"], ["y"], domain=domain)
        graph = read([node], self.SCALES, x=(1, 5, 16), opset=17)
        assert graph.ops == ("Input", "RMSNormalization", "Output")
        assert graph.total("params") == 16

    def test_skip(self):
        shapes = {"x": (1, 5, 16), "z": (1, 5, 16)}
        fused = read([MS("SkipLayerNormalization", "x z s b", "y - - t")], self.SCALES, **shapes)
        nodes = [N("Add", "x z", "t"), N("LayerNormalization", "t s b", "y")]
        same(fused, read(nodes, self.SCALES, **shapes))

    def test_skip_with_the_bias_of_a_product(self):
        constants = [weight("w", 16, 16), *self.SCALES]
        product = N("MatMul", "x w", "p")
        fused = MS("SkipLayerNormalization", "p z s b c", "y")
        nodes = [N("Add", "p c", "q"), N("Add", "q z", "t"), N("LayerNormalization", "t s b", "y")]
        shapes = {"x": (1, 5, 16), "z": (1, 5, 16)}
        same(
            read([product, fused], constants, **shapes),
            read([product, *nodes], constants, **shapes),
        )

    def test_simplified_skip_with_its_sum(self):
        shapes = {"x": (1, 5, 16), "z": (1, 5, 16)}
        nodes = [
            MS("SkipSimplifiedLayerNormalization", "x z s", "n - - t"),
            N("Add", "n t", "y"),
        ]
        graph = read(nodes, self.SCALES, **shapes)
        assert sorted(graph.ops) == ["Add", "Add", "Input", "Input", "Output", "RMSNormalization"]

    def test_embeddings(self):
        tables = [weight("words", 100, 16), weight("places", 32, 16), weight("parts", 2, 16)]
        node = MS("EmbedLayerNormalization", "ids seg words places parts s b", "y mask")
        ids = ((1, 5), TensorProto.INT32)
        graph = read([node], [*tables, *self.SCALES], ids=ids, seg=ids)
        assert graph.ops.count("Gather") == 2
        assert graph.ops.count("LayerNormalization") == 1
        assert graph.total("params") == 134 * 16 + 32

    def test_groups_with_channels_last(self):
        node = MS("GroupNorm", "x s b", "y", groups=4, activation=1)
        graph = read([node], self.SCALES, x=(1, 7, 7, 16))
        assert {"GroupNormalization", "Silu"} <= set(graph.ops)


def attention(words, asked, heads, size):
    """Multiply-accumulates of scores and their use."""
    return 2 * heads * words * asked * size


class TestAttention:
    def test_merged_projections(self):
        constants = [weight("w", 16, 48), weight("b", 48)]
        node = MS("Attention", "x w b", "y", num_heads=4)
        graph = read([node], constants, x=(1, 5, 16))
        assert graph.total("flops") == 5 * 16 * 48 + attention(5, 5, 4, 4)
        assert graph.total("params") == 16 * 48 + 48
        assert graph.attributes[-2][[4, 5]].tolist() == [16, 5]

    def test_merged_projections_with_a_cache(self):
        constants = [weight("w", 16, 48), weight("b", 48)]
        node = MS("Attention", "x w b - past", "y present", num_heads=4, unidirectional=1)
        graph = read([node], constants, x=(1, 1, 16), past=(2, 1, 4, 9, 4))
        assert graph.total("flops") == 16 * 48 + attention(1, 10, 4, 4)

    def test_several_heads(self):
        node = MS("MultiHeadAttention", "q k v", "y", num_heads=4)
        graph = read([node], q=(1, 5, 16), k=(1, 7, 16), v=(1, 7, 32))
        assert graph.total("flops") == 4 * 5 * 7 * (4 + 8)
        assert graph.attributes[-2][[4, 5]].tolist() == [32, 5]

    def test_several_heads_with_a_bias_and_a_cache(self):
        node = MS("MultiHeadAttention", "q k v b - - pk pv", "y nk nv", num_heads=4)
        cache = (1, 4, 9, 4)
        shapes = {"q": (1, 1, 16), "k": (1, 1, 16), "v": (1, 1, 16), "pk": cache, "pv": cache}
        graph = read([node], [weight("b", 48)], **shapes)
        assert graph.total("flops") == attention(1, 10, 4, 4)
        assert graph.ops.count("Concat") == 2

    def test_several_heads_packed(self):
        node = MS("MultiHeadAttention", "qkv", "y", num_heads=4)
        graph = read([node], qkv=(1, 5, 4, 3, 4))
        assert graph.total("flops") == attention(5, 5, 4, 4)

    @pytest.mark.parametrize("past", [0, 9])
    def test_heads_that_share(self, past):
        node = MS(
            "GroupQueryAttention",
            f"q k v {'pk pv' if past else '- -'} len total cos sin",
            "y nk nv",
            num_heads=8,
            kv_num_heads=2,
            do_rotary=1,
        )
        counts = [helper.make_tensor(n, TensorProto.INT32, [1], [past]) for n in ("len", "total")]
        tables = [weight("cos", 32, 2), weight("sin", 32, 2)]
        shapes = {"q": (1, 3, 32), "k": (1, 3, 8), "v": (1, 3, 8)}
        if past:
            shapes |= dict.fromkeys(("pk", "pv"), (1, 2, past, 4))
        graph = read([node], [*counts, *tables], **shapes)
        assert graph.total("flops") == attention(3, 3 + past, 8, 4)
        assert graph.ops.count("RotaryEmbedding") == 2
        assert graph.attributes[-2][[4, 5]].tolist() == [32, 3]

    def test_of_onnx_with_a_cache(self):
        node = N("Attention", "q k v  pk pv", "y nk nv")
        node.input.insert(3, "")
        cache = (1, 2, 9, 4)
        now = (1, 2, 3, 4)
        shapes = {"q": (1, 8, 3, 4), "k": now, "v": now, "pk": cache, "pv": cache}
        graph = read([node], opset=23, **shapes)
        assert graph.total("flops") == attention(3, 12, 8, 4)
        assert graph.ops.count("Concat") == 2

    def test_quantised(self):
        constants = [
            weight("w", 16, 48, code=INT8),
            weight("b", 48),
            weight("xs"),
            weight("ws"),
            weight("xz", code=UINT8),
            weight("wz", code=INT8),
        ]
        node = MS("QAttention", "x w b xs ws - xz wz", "y", num_heads=4)
        graph = read([node], constants, x=((1, 5, 16), UINT8))
        assert graph.total("flops") == 5 * 16 * 48 + attention(5, 5, 4, 4)
        k = graph.ops.index("Gemm")
        assert graph.weight_types[k] == "int8"
        assert "DequantizeLinear" not in graph.ops

    def test_rotation(self):
        tables = [weight("cos", 32, 2), weight("sin", 32, 2), ints("p", 0)]
        graph = read([MS("RotaryEmbedding", "x p cos sin", "y")], tables, x=(1, 5, 16))
        assert graph.ops == ("Input", "RotaryEmbedding", "Output")
        assert graph.total("params") == 0
        assert graph.total("bytes") == 2 * 4 * 80


class TestNewOperators:
    """Operators of ONNX that are newer than most files."""

    @pytest.mark.parametrize("past", [False, True])
    def test_a_convolution_with_what_came_before(self, past):
        shapes = {"x": (1, 8, 20)} | ({"p": (1, 8, 3)} if past else {})
        node = helper.make_node(
            "CausalConvWithState",
            ["x", "w", "", "p"] if past else ["x", "w"],
            ["y", "s"],
            activation="silu",
        )
        graph = read([node], [weight("w", 8, 1, 4)], opset=27, **shapes)
        assert graph.total("flops") == 8 * 4 * 20
        assert "Silu" in graph.ops

    def test_a_convolution_of_one_place_keeps_no_state(self):
        nodes = [
            N("CausalConvWithState", "x w", "c s"),
            N("Relu", "c", "r"),
            N("Exp", "s", "e"),
            N("Concat", "r e", "y", axis=2),
        ]
        graph = read(nodes, [weight("w", 8, 1, 1)], opset=27, x=(1, 8, 20))
        assert graph.ops == ("Input", "Conv", "Relu", "Output")

    @pytest.mark.parametrize(("rule", "products"), [("linear", 2), ("gated_delta", 4)])
    def test_linear_attention(self, rule, products):
        node = N("LinearAttention", "q k v", "y", q_num_heads=4, kv_num_heads=4, update_rule=rule)
        graph = read([node], opset=27, q=(1, 5, 16), k=(1, 5, 16), v=(1, 5, 32))
        assert graph.total("flops") == products * 4 * 5 * 4 * 8
        assert graph.attributes[-2][[4, 5]].tolist() == [32, 5]

    def test_a_convolution_at_computed_places(self):
        node = N("DeformConv", "x w o b", "y", kernel_shape=[3, 3], group=2)
        constants = [weight("w", 16, 4, 3, 3), weight("b", 16)]
        graph = read([node], constants, x=(1, 8, 9, 9), o=(1, 18, 7, 7))
        assert graph.total("flops") == 49 * 16 * 4 * 9
        assert graph.total("params") == 16 * 36 + 16
        assert graph.ops.count("Gather") == 1

    def test_a_gate(self):
        graph = read([N("SwiGLU", "a b", "y")], opset=28, a=(1, 5, 16), b=(1, 5, 16))
        assert sorted(graph.ops) == ["Input", "Input", "Mul", "Output", "Silu"]


SHAPES = st.lists(st.integers(1, 6), max_size=5).map(tuple)
OPERATORS = [*FUSED["com.microsoft"], "FusedConv", "NotKnown"]


@settings(max_examples=150)
@given(
    op=st.sampled_from(OPERATORS),
    shapes=st.lists(SHAPES, min_size=1, max_size=9),
    constants=st.sets(st.integers(0, 8)),
    numbers=st.lists(st.integers(-2, 9), min_size=9, max_size=9),
)
def test_any_operands_give_an_input_error_or_a_graph(op, shapes, constants, numbers):
    names = ("num_heads", "kv_num_heads", "unidirectional", "do_rotary", "K", "N", "bits", "group")
    attributes = dict(zip((*names, "block_size"), numbers, strict=True))
    inputs = [f"x{k}" for k in range(len(shapes))]
    weights = [weight(inputs[k], *shapes[k]) for k in constants if k < len(shapes)]
    data = {name: shape for k, (name, shape) in enumerate(zip(inputs, shapes, strict=True))}
    for constant in weights:
        del data[constant.name]
    node = MS(op, " ".join(inputs), "y a b", kernel_shape=[1], axes=[0], **attributes)
    values = [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in data.items()]
    outputs = [helper.make_tensor_value_info("y", FLOAT, None)]
    graph = helper.make_graph([node], "g", values, outputs, weights)
    domains = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            onnx_graph(helper.make_model(graph, opset_imports=domains, ir_version=10))
        except InputError as error:
            assert len(str(error)) < 600
