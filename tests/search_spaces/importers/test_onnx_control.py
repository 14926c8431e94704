"""Branches, loops, scans and functions of ONNX files: read as the nodes that run."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import parser

from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers import onnx_running
from nasplug.search_spaces.importers.onnx_graph import onnx_graph


def parsed(graph, functions="", opset=17, domains=""):
    imports = f'"" : {opset}{domains}'
    return parser.parse_model(
        f"<ir_version: 10, opset_import: [{imports}]> {graph.strip()} {functions}"
    )


def read(*arguments, **options):
    return onnx_graph(parsed(*arguments, **options))


def costs(graph):
    """Operators and what they cost, whatever their order."""
    rows = zip(graph.ops, graph.attributes.tolist(), strict=True)
    return sorted((op, row) for op, row in rows)


def refuses(words, *arguments, **options):
    with pytest.raises(InputError, match=words) as caught:
        read(*arguments, **options)
    assert str(caught.value).isprintable()
    assert "x1f" not in str(caught.value)


class TestIf:
    BRANCHES = """
    g (float[N, 3, 8, 8] x) => (float[] y)
    <int64 axis = {3}, int64 size = {SIZE}, int64[1] last = {3}>
    {
        s = Shape (x)
        n = Gather (s, axis)
        small = Equal (n, size)
        y = If (small) <
            then_branch = short () => (float[] a) { r = Relu (x) a = Squeeze (r, last) },
            else_branch = long () => (float[] b) { r = Exp (x) b = Sqrt (r) }
        >
    }"""

    def test_takes_the_branch_that_shapes_decide(self):
        assert read(self.BRANCHES.replace("SIZE", "7")).ops == ("Input", "Exp", "Sqrt", "Output")

    def test_takes_the_other_branch_at_another_size(self):
        network = parsed(self.BRANCHES.replace("SIZE", "1"))
        graph = onnx_graph(network, input_shapes={"x": (1, 3, 8, 1)})
        assert graph.ops == ("Input", "Relu", "Reshape", "Output")

    def test_names_the_condition_that_values_decide(self):
        refuses(
            "the If that writes 'y' has a condition 'c' that is known only at run time.*"
            "it follows from input 'c', whose value can be given: --input-value c=1",
            """g (float[1, 3] x, bool c) => (float[] y) {
                y = If (c) <then_branch = t () => (float[] a) { a = Relu (x) },
                            else_branch = e () => (float[] b) { b = Exp (x) }>
            }""",
        )

    def test_a_condition_that_the_user_gives(self):
        text = """g (float[1, 3] x, bool c) => (float[] y) {
            y = If (c) <then_branch = t () => (float[] a) { a = Relu (x) },
                        else_branch = e () => (float[] b) { b = Exp (x) }>
        }"""
        graph = onnx_graph(parsed(text), input_values={"c": False})
        assert graph.ops == ("Input", "Exp", "Output")

    def test_weights_of_a_branch_count_once(self):
        graph = read(
            """g (float[1, 4] x) => (float[] y) <bool yes = {1}> {
            y = If (yes) <
                then_branch = t () => (float[] z) <float[4, 4] w = {WEIGHT}> {
                    a = MatMul (x, w) z = MatMul (a, w)
                },
                else_branch = e () => (float[] z) { z = Relu (x) }
            >
        }""".replace("WEIGHT", ", ".join(["0.5"] * 16))
        )
        assert graph.total("params") == 16
        assert graph.total("flops") == 32


LOOP = """
g (float[1, 4] x) => (float[] y, float[] all)
<int64 trips = {TRIPS}, bool yes = {1}, float[4, 4] w = {WEIGHT}>
{
    y, all = Loop (trips, yes, x) <body = body (int64 i, bool go, float[] h)
        => (bool go_on, float[] h2, float[] row)
    {
        go_on = Identity (go)
        m = MatMul (h, w)
        h2 = Relu (m)
        row = Identity (h2)
    }>
}""".replace("WEIGHT", ", ".join(["0.5"] * 16))


class TestLoop:
    @given(st.integers(1, 6))
    @settings(max_examples=6)
    def test_runs_as_often_as_its_trip_count(self, trips):
        steps = "".join(
            f"m{k} = MatMul (h{k}, w) h{k + 1} = Relu (m{k}) u{k} = Unsqueeze (h{k + 1}, zero) "
            for k in range(trips)
        )
        rows = ", ".join(f"u{k}" for k in range(trips))
        unrolled = f"""
        g (float[1, 4] h0) => (float[] h{trips}, float[] all)
        <float[4, 4] w = {{{", ".join(["0.5"] * 16)}}}, int64[1] zero = {{0}}>
        {{ {steps} all = Concat <axis = 0> ({rows}) }}"""
        looped = read(LOOP.replace("TRIPS", str(trips)))
        assert costs(looped) == costs(read(unrolled))
        assert looped.total("flops") == 16 * trips
        assert looped.total("params") == 16

    def test_of_no_trips_passes_its_states_on(self):
        graph = read("""g (float[1, 4] x) => (float[] y) <int64 n = {0}> {
            z = Loop (n, , x) <body = body (int64 i, bool go, float[] h) => (bool on, float[] r)
                { on = Identity (go) r = Exp (h) }>
            y = Relu (z)
        }""")
        assert graph.ops == ("Input", "Relu", "Output")

    def test_stops_where_its_condition_does(self):
        graph = read("""g (float[1, 4] x) => (float[] y) <bool yes = {1}, int64 two = {2}> {
            y = Loop ( , yes, x) <body = body (int64 i, bool go, float[] h) => (bool on, float[] r)
                { on = Less (i, two) r = Exp (h) }>
        }""")
        assert graph.ops.count("Exp") == 3

    def test_a_loop_inside_of_a_loop(self):
        graph = read("""g (float[1, 4] x) => (float[] y) <int64 two = {2}, int64 three = {3}> {
            y = Loop (two, , x) <body = outer (int64 i, bool go, float[] h) => (bool on, float[] r)
                { on = Identity (go)
                  r = Loop (three, , h) <body = inner (int64 j, bool go2, float[] k)
                        => (bool on2, float[] r2)
                        { on2 = Identity (go2) sum = Add (k, h) r2 = Exp (sum) }> }>
        }""")
        assert graph.ops.count("Exp") == graph.ops.count("Add") == 6

    def test_a_sequence_that_grows(self):
        graph = read("""g (float[1, 4] x) => (float[] y) <int64 three = {3}> {
            none = SequenceEmpty ()
            all, last = Loop (three, , none, x) <body = body
                (int64 i, bool go, seq(float[]) s, float[] h)
                => (bool on, seq(float[]) s2, float[] r)
                { on = Identity (go) r = Exp (h) s2 = SequenceInsert (s, r) }>
            y = ConcatFromSequence <axis = 1> (all)
        }""")
        assert graph.ops == ("Input", "Exp", "Exp", "Exp", "Concat", "Output")
        assert graph.attribute("out_channels")[-2] == 12

    def test_names_what_only_values_decide(self):
        refuses(
            "Loop that writes 'y' has a trip count 'n' that is known only at run time",
            LOOP.replace("float[1, 4] x)", "float[1, 4] x, int64 n)")
            .replace("(trips", "(n")
            .replace("TRIPS", "1"),
        )
        refuses(
            "Loop that writes 'y' has a condition 'on' that is known only at run time.*export",
            """g (float[1, 4] x) => (float[] y) <bool yes = {1}, float limit = {2}> {
                y = Loop ( , yes, x) <body = b (int64 i, bool go, float[] h)
                    => (bool on, float[] r)
                    { r = Exp (h) m = ReduceMax <keepdims = 0> (r) on = Less (m, limit) }>
            }""",
        )

    def test_results_of_several_shapes(self):
        refuses(
            "Loop that writes 'y' has results of several shapes, one a trip",
            """g (float[1, 4] x) => (float[] y, float[] rows) <int64 two = {2}> {
                y, rows = Loop (two, , x) <body = b (int64 i, bool go, float[] h)
                    => (bool go, float[] r, float[] row)
                    { r = Concat <axis = 1> (h, h) row = Exp (r) }>
            }""",
        )

    def test_names_in_its_body_are_those_of_the_file(self):
        refuses(
            "FusedMatMul that writes 'm': it does not fit its inputs",
            """g (float[1, 4] x) => (float[] y) <int64 two = {2}> {
                y = Loop (two, , x) <body = b (int64 i, bool go, float[] h) => (bool go, float[] m)
                    { m = com.microsoft.FusedMatMul (h, h) }>
            }""",
            domains=', "com.microsoft" : 1',
        )

    def test_loops_without_end_are_refused(self, monkeypatch):
        monkeypatch.setattr(onnx_running, "MAX_RAW_NODES", 200)
        refuses(
            "more than 200 nodes after 40 trips of the Loop that writes 'y'",
            LOOP.replace("TRIPS", "4611686018427387904"),
        )
        refuses(
            "more than 200 nodes",
            """g (float[1, 4] x) => (float[] y) <bool yes = {1}> {
                    z = Loop ( , yes, x) <body = b (int64 i, bool go, float[] h)
                        => (bool go, float[] h) { }>
                    y = Relu (z)
                }""",
        )


SCAN = """
g (float[1, 4] h0, float[5, 1, 4] xs) => (float[] hn, float[] ys)
{
    hn, ys = Scan <num_scan_inputs = 1, DIRECTION body = body (float[] h, float[] x)
        => (float[] h2, float[] y) { s = Add (h, x) h2 = Tanh (s) y = Identity (h2) }> (h0, xs)
}"""


class TestScan:
    @pytest.mark.parametrize("direction", ["", "scan_input_directions = [1], "])
    def test_runs_along_an_axis(self, direction):
        graph = read(SCAN.replace("DIRECTION", direction))
        assert graph.ops.count("Tanh") == graph.ops.count("Slice") == 5
        assert graph.ops.count("Concat") == 1

    def test_of_version_8_runs_for_each_entry_of_a_batch(self):
        graph = read(
            """g (float[2, 4] h0, float[2, 3, 4] xs) => (float[2, 4] hn, float[2, 3, 4] ys) {
            hn, ys = Scan <num_scan_inputs = 1, body = body (float[] h, float[] x)
                => (float[] h2, float[] y) { s = Add (h, x) h2 = Tanh (s) y = Identity (h2) }>
                ( , h0, xs)
        }""",
            opset=8,
        )
        # The batch is free, so the graph is that of one entry.
        assert graph.ops.count("Tanh") in (3, 6)

    def test_lengths_that_differ(self):
        refuses(
            "Scan that writes 'y' runs over tensors of lengths",
            """g (float[5, 4] a, float[6, 4] b) => (float[] y) {
                y = Scan <num_scan_inputs = 2, body = body (float[] p, float[] q) => (float[] r)
                    { r = Add (p, q) }> (a, b)
            }""",
        )


CALLS = """
g (float[1, 16, 8, 8] x) => (float[] y) <float[16, 16, 1, 1] w = {WEIGHT}>
{ y = own.block <slope = 0.25> (x, w) }
""".replace("WEIGHT", ", ".join(["0.5"] * 256))


class TestFunctions:
    @pytest.mark.parametrize("version", [7, 11, 13, 17, 18, 21, 23])
    def test_of_any_version(self, version):
        axes = "n0 = Constant <value_ints = [2, 3]> () m = ReduceSum (c, n0)"
        if version < 13:
            axes = "m = ReduceSum <axes = [2, 3]> (c)"
        function = f"""
        <domain: "own", opset_import: ["" : {version}]>
        block (a, k) => (b) {{ c = Conv (a, k) {axes} b = Relu (m) }}"""
        graph = read(CALLS.replace("<slope = 0.25>", ""), function, domains=', "own" : 1')
        assert graph.ops == ("Input", "Conv", "ReduceSum", "Relu", "Output")
        assert graph.total("flops") == 16 * 16 * 64

    def test_attributes_and_inputs_that_are_left_out(self):
        function = """
        <domain: "own", opset_import: ["" : 17]>
        block <slope>(a, k, bias) => (b) {
            c = Conv (a, k, bias)
            b = LeakyRelu <alpha: float = @slope> (c)
        }"""
        graph = read(CALLS, function, domains=', "own" : 1')
        assert graph.ops == ("Input", "Conv", "LeakyRelu", "Output")
        assert graph.total("params") == 256

    def test_that_read_a_weight_twice_share_it(self):
        function = """
        <domain: "own", opset_import: ["" : 17]>
        block (a, k) => (b) { b = Conv (a, k) }"""
        text = CALLS.replace("<slope = 0.25>", "").replace(
            "y = own.block  (x, w)", "z = own.block (x, w) y = own.block (z, w)"
        )
        graph = read(text, function, domains=', "own" : 1')
        assert graph.ops.count("Conv") == 2
        assert graph.total("params") == 256

    def test_inside_of_a_branch(self):
        function = """
        <domain: "own", opset_import: ["" : 17]>
        block (a, k) => (b) { b = Conv (a, k) }"""
        graph = read(
            """g (float[1, 2, 8, 8] x) => (float[] y)
            <float[2, 2, 1, 1] w = {1, 1, 1, 1}, bool yes = {1}> {
                y = If (yes) <then_branch = t () => (float[] a) { a = own.block (x, w) },
                              else_branch = e () => (float[] b) { b = Relu (x) }>
            }""",
            function,
            domains=', "own" : 1',
        )
        assert graph.ops == ("Input", "Conv", "Output")


def test_a_captured_name_is_read_before_the_node_that_captures_it():
    network = parsed("""g (float[1, 3] x) => (float[] y) <bool yes = {1}> {
        z = Exp (x)
        y = If (yes) <then_branch = t () => (float[] a) { a = Relu (z) },
                      else_branch = e () => (float[] b) { b = Relu (x) }>
    }""")
    nodes = list(network.graph.node)
    del network.graph.node[:]
    network.graph.node.extend(reversed(nodes))
    assert onnx_graph(network).ops == ("Input", "Exp", "Relu", "Output")


def test_functions_inside_of_functions_without_end_are_refused():
    functions = "".join(
        f"""<domain: "own", opset_import: ["" : 17, "own" : 1]>
        f{k} (a) => (b) {{ b = {"Relu" if k == 60 else f"own.f{k + 1}"} (a) }}
        """
        for k in range(61)
    )
    refuses(
        "deeper than 50 levels",
        "g (float[1, 3] x) => (float[] y) { y = own.f0 (x) }",
        functions,
        domains=', "own" : 1',
    )


def test_a_network_of_trips_equals_itself_at_another_batch():
    one = read(LOOP.replace("TRIPS", "3"))
    four = read(LOOP.replace("TRIPS", "3").replace("float[1, 4] x", "float[4, 4] x"))
    assert np.array_equal(one.attribute("flops"), four.attribute("flops"))
