"""Shapes of ONNX files that are not known: what stands in, and which cause is named."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers.onnx_graph import onnx_graph

N = helper.make_node


def parsed(text, opset=17, domains=""):
    return parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}{domains}]> {text}')


def weight(name, shape):
    return numpy_helper.from_array(np.full(shape, 0.5, np.float32), name)


def refuses(words, text, **options):
    network = parsed(text, **options)
    network.graph.initializer.append(weight("w", (4, 4, 3, 3)))
    with pytest.raises(InputError, match=words) as caught:
        onnx_graph(network)
    assert str(caught.value).isprintable()
    assert "x1f" not in str(caught.value)


class TestCauses:
    def test_a_size_that_is_known_at_run_time_alone(self):
        refuses(
            "the Conv that writes 'y' cannot be read, since the size of 'n', which a NonZero "
            "writes, is known only at run time",
            """g (float[1, 4, 8, 8] x, float[8] m) => (float[1, 4, 6, 6] y) <int64[1] zero = {0}> {
                k = Exp (m) n = NonZero (k) i = Squeeze (n, zero) c = Gather <axis = 2> (x, i)
                y = Conv (c, w)
            }""",
        )

    def test_a_target_that_values_decide(self):
        refuses(
            "the Conv that writes 'y' cannot be read, since 't', by which a Reshape sizes its "
            "output, is known only at run time",
            """g (float[1, 4, 8, 8] x, int64[4] s) => (float[] y) {
                t = Abs (s) r = Reshape (x, t) y = Conv (r, w)
            }""",
        )

    def test_a_constant_without_its_value(self):
        network = parsed("""g (float[1, 4, 8, 8] x) => (float[] y)
            <int64 n = {4}, int64[1] zero = {0}, int64[3] rest = {1, 8, 8}> {
            n1 = Unsqueeze (n, zero) t = Concat <axis = 0> (n1, rest) y = Reshape (x, t)
        }""")
        network.graph.initializer[0].ClearField("int64_data")
        network.graph.initializer[0].ClearField("raw_data")
        with pytest.raises(InputError, match="Reshape that writes 'y'.*value of 'n' is not in the"):
            onnx_graph(network)

    def test_an_operator_of_another_domain_that_declares_nothing(self):
        text = """g (float[1, 3, 8, 8] x) => (float[] y) {
            a = com.example.Strange (x) b = Relu (a) y = Conv (b, w)
        }"""
        words = (
            "the Conv that writes 'y' cannot be read, since the file does not declare the shape "
            "of 'a', which a Strange writes"
        )
        refuses(words, text, domains=', "com.example" : 1')

    @pytest.mark.filterwarnings("ignore:.*unknown cost")
    def test_an_operator_of_another_domain_has_the_declared_shape(self):
        network = parsed(
            """g (float[1, 3, 8, 8] x) => (float[] y) <float[1, 4, 8, 8] a> {
                a = com.example.Strange (x) b = Relu (a) y = Conv (b, w)
            }""",
            domains=', "com.example" : 1',
        )
        network.graph.initializer.append(weight("w", (4, 4, 3, 3)))
        assert onnx_graph(network).total("flops") == 4 * 4 * 9 * 36


@pytest.mark.filterwarnings("ignore:.*unknown cost")
def test_an_operator_of_another_domain_inside_of_a_branch():
    network = parsed(
        """g (float[1, 3, 8, 8] x) => (float[] y) <bool yes = {1}, float[4, 4, 1, 1] w = {W}> {
            y = If (yes) <
                then_branch = t () => (float[] z) <float[1, 4, 8, 8] a> {
                    a = com.example.Strange (x) z = Conv (a, w)
                },
                else_branch = e () => (float[] z) { z = Relu (x) }
            >
        }""".replace("W", ", ".join(["1"] * 16)),
        domains=', "com.example" : 1',
    )
    assert onnx_graph(network).total("flops") == 16 * 64


@pytest.mark.filterwarnings("ignore:.*not known before it runs")
def test_operators_on_tensors_of_unknown_size_cost_nothing():
    graph = onnx_graph(
        parsed("""g (float[1, 100] x) => (float[] y) {
            n = NonZero (x) t = Transpose <perm = [1, 0]> (n) y = GatherND (x, t)
        }""")
    )
    assert sorted(graph.ops) == ["GatherND", "Input", "NonZero", "Output"]
    assert graph.total("flops") == 0


@pytest.mark.filterwarnings("ignore:.*unknown cost")
@pytest.mark.parametrize(
    ("opset", "node"),
    [
        (1, N("Concat", ["x", "x"], ["c"], axis=1)),
        (1, N("Add", ["x", "b"], ["c"], broadcast=1, axis=1)),
        (3, N("Relu", ["x"], ["c"])),
        (12, N("GreaterOrEqual", ["x", "x"], ["c"])),
        (13, N("MeanVarianceNormalization", ["x"], ["c"])),
        (18, N("GroupNormalization", ["x", "b", "b"], ["c"], num_groups=2)),
    ],
)
def test_operators_for_which_onnx_infers_no_shape(opset, node):
    channels = 8 if node.op_type == "Concat" else 4
    graph = helper.make_graph(
        [node, N("Cast", ["c"], ["f"], to=1) if opset > 6 else N("Relu", ["c"], ["f"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weight("b", (4,)), weight("w", (4, channels, 3, 3))],
    )
    graph.node.append(N("Conv", ["f", "w"], ["y"]))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    assert onnx_graph(model).total("flops") == 4 * channels * 9 * 36


class TestNoElements:
    """Tensors of no elements, such as the part of a head that a rotary embedding leaves out."""

    ROTARY = """g (float[N, 4, 32, 16] x) => (float[N, 4, 32, 16] y)
    <int64[1] zero = {0}, int64[1] split = {SPLIT}, int64[1] sixteen = {16}, int64[1] axis = {3}> {
        a = Slice (x, zero, split, axis)
        b = Slice (x, split, sixteen, axis)
        e = Exp (a)
        y = Concat <axis = 3> (e, b)
    }"""

    @pytest.mark.parametrize("split", [0, 16])
    def test_cost_nothing(self, split):
        graph = onnx_graph(parsed(self.ROTARY.replace("SPLIT", str(split))))
        assert graph.ops == (("Input", "Output") if split == 0 else ("Input", "Exp", "Output"))

    def test_products_of_them(self):
        graph = onnx_graph(
            parsed("""g (float[1, 8, 8] x) => (float[1, 8, 8] y)
            <int64[1] zero = {0}, int64[1] axis = {2}, int64[1] rows = {1}> {
                a = Slice (x, zero, zero, axis) b = Slice (x, zero, zero, rows)
                m = MatMul (a, b) s = Add (m, x) y = Relu (s)
            }""")
        )
        assert graph.ops == ("Input", "Add", "Relu", "Output")

    def test_a_result_of_no_elements(self):
        words = "no output of any elements"
        refuses(
            words,
            "g (float[1, 3, 8] x) => (float[1, 3, 0] y) "
            "<int64[1] zero = {0}, int64[1] axis = {2}> { y = Slice (x, zero, zero, axis) }",
        )


def test_an_input_of_no_elements_is_no_open_one():
    refuses(
        "input 'x' has axis 2 of size 0; give its shape",
        "g (float[1, 3, 0] x) => (float[] y) { y = Relu (x) }",
    )


class TestDomains:
    def test_machine_learning_beside_networks_is_not_read(self):
        network = parsed("g (float[N, 4] x) => (float[N, 4] y) { y = ai.onnx.ml.Scaler (x) }")
        del network.opset_import[:]
        network.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
        with pytest.raises(InputError, match=r"operators of ai.onnx.ml alone, which are not read"):
            onnx_graph(network)

    def test_a_version_that_is_not_said(self):
        network = parsed("g (float[N, 4] x) => (float[N, 4] y) { y = Relu (x) }")
        del network.opset_import[:]
        network.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
        with pytest.raises(InputError, match="does not say which version"):
            onnx_graph(network)
