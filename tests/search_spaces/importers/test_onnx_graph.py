"""ONNX files as graphs: what is read, what is refused, and what no damage may do."""

import random
import warnings

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from nasplug.search_spaces import ATTRIBUTES, InputError
from nasplug.search_spaces.importers.onnx_graph import onnx_graph

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


class TestReading:
    def test_a_convolutional_network(self):
        graph = onnx_graph(small_network())
        assert graph.ops == (
            *("Input", "Conv", "Relu", "GlobalAveragePool", "Reshape", "Gemm", "Output"),
        )
        assert graph.edges == tuple((k, k + 1) for k in range(6))
        conv = 8 * 3 * 3 * 5
        moved = 3 * 16 * 16 + 8 * 8 * 8 + conv + 8
        assert list(row(graph, "Conv").values()) == [
            5,
            2,
            1,
            3,
            8,
            8,
            8,
            conv * 64,
            conv + 8,
            4 * moved,
        ]
        assert row(graph, "Gemm")["params"] == 90
        assert row(graph, "Gemm")["flops"] == 80

    def test_from_a_file_and_from_memory(self, tmp_path):
        onnx.save(small_network(), tmp_path / "a.onnx")
        assert (
            onnx_graph(tmp_path / "a.onnx").canonical_hash
            == onnx_graph(str(tmp_path / "a.onnx")).canonical_hash
            == onnx_graph(small_network()).canonical_hash
        )

    @pytest.mark.parametrize("batch", [8, "N", "batch_size", None])
    def test_costs_are_for_one_image(self, batch):
        graph = onnx_graph(small_network(batch))
        assert np.array_equal(graph.attributes, onnx_graph(small_network()).attributes)

    def test_a_batch_symbol_on_another_axis(self):
        graph = onnx_graph(model([N("Relu", ["x"], ["y"])], x=("N", 3, "N", 5)))
        assert row(graph, "Relu")["height"] == 1

    def test_a_batch_that_the_file_writes_down(self):
        nodes = [N("Reshape", ["x", "s"], ["r"]), N("MatMul", ["r", "w"], ["y"])]
        constants = [ints("s", [8, 768]), tensor("w", [768, 5])]
        graph = onnx_graph(model(nodes, constants, x=(8, 3, 16, 16)))
        assert row(graph, "Gemm")["flops"] == 768 * 5

    def test_open_axes_must_be_given(self):
        network = model([N("Relu", ["x"], ["y"])], x=("N", 3, "height", None))
        with pytest.raises(InputError, match=r"'x' leaves axis 2 \('height'\) open.*input_shapes="):
            onnx_graph(network)
        graph = onnx_graph(network, input_shapes={"x": (4, 3, 20, 30)})
        assert (row(graph, "Relu")["height"], row(graph, "Relu")["width"]) == (20, 30)
        with pytest.raises(InputError, match="'images', but the inputs of the ONNX model are x"):
            onnx_graph(network, input_shapes={"images": (1, 3, 20, 30)})
        with pytest.raises(InputError, match="has 4 axes"):
            onnx_graph(network, input_shapes={"x": (3, 20, 30)})
        with pytest.raises(InputError, match="positive"):
            onnx_graph(network, input_shapes={"x": (1, 3, 0, 30)})
        with pytest.raises(InputError, match="whole numbers"):
            onnx_graph(network, input_shapes={"x": (1, 3, "a", 30)})

    def test_the_model_stays_as_it_is(self):
        network = small_network(batch=8)
        before = network.SerializeToString()
        onnx_graph(network)
        assert network.SerializeToString() == before

    def test_shapes_computed_in_the_graph(self):
        nodes = [
            N("Shape", ["x"], ["s"]),
            N("Gather", ["s", "i"], ["n"]),
            N("Unsqueeze", ["n", "i0"], ["n1"]),
            N("ConstantOfShape", ["one"], ["zero"]),
            N("Cast", ["zero"], ["zero64"], to=TensorProto.INT64),
            N("Sub", ["zero64", "one"], ["minus"]),
            N("Concat", ["n1", "minus", "four"], ["target"], axis=0),
            N("Reshape", ["x", "target"], ["y"]),
        ]
        graph = onnx_graph(
            model(
                nodes,
                [ints("i", [0], []), ints("i0", [0]), ints("one", [1]), ints("four", [4])],
                x=("N", 3, 4, 4),
            )
        )
        assert graph.ops == ("Input", "Reshape", "Output")
        assert (row(graph, "Reshape")["height"], row(graph, "Reshape")["out_channels"]) == (12, 4)

    def test_an_embedding_table_is_a_parameter(self):
        tokens = helper.make_tensor_value_info("t", TensorProto.INT64, ["N", 7])
        nodes = [N("Gather", ["table", "t"], ["e"]), N("Relu", ["e"], ["y"])]
        graph = onnx_graph(model(nodes, [tensor("table", [50, 6])], x=None, inputs=[tokens]))
        assert graph.ops == ("Input", "Gather", "Relu", "Output")
        assert row(graph, "Gather")["params"] == 300

    def test_local_functions_are_expanded(self):
        body = [N("Relu", ["a"], ["r"]), N("Add", ["r", "a"], ["b"])]
        function = helper.make_function(
            "own", "block", ["a"], ["b"], body, [helper.make_opsetid("", 17)]
        )
        network = model([N("block", ["x"], ["y"], domain="own")], domains=["own"])
        network.functions.append(function)
        assert onnx_graph(network).ops == ("Input", "Relu", "Add", "Output")

    def test_splits_slices_and_gathers_are_one(self):
        split = model(
            [N("Split", ["x"], ["a", "b", "c"], axis=1), N("Add", ["a", "c"], ["y"])],
        )
        picks = model(
            [
                N("Slice", ["x", "zero", "one", "one"], ["a"]),
                N("Gather", ["x", "two"], ["c"], axis=1),
                N("Add", ["a", "c"], ["y"]),
            ],
            [ints("zero", [0]), ints("one", [1]), ints("two", [2])],
        )
        graphs = [onnx_graph(split), onnx_graph(picks)]
        assert graphs[0].canonical_hash == graphs[1].canonical_hash
        assert sorted(graphs[0].ops) == ["Add", "Input", "Output", "Slice", "Slice"]

    def test_a_weight_that_is_computed_is_no_parameter(self):
        nodes = [N("Conv", ["x", "v"], ["y"])]
        kernel = helper.make_tensor_value_info("v", TensorProto.FLOAT, [4, 3, 1, 1])
        used = model([N("Relu", ["v"], ["v1"]), N("Conv", ["x", "v1"], ["y"])], inputs=[kernel])
        graph = onnx_graph(used)
        assert graph.ops.count("Input") == 2
        assert (row(graph, "Conv")["params"], row(graph, "Conv")["flops"]) == (0, 4 * 3 * 256)
        # One that only a convolution's weight slot reads was a weight, though.
        assert row(onnx_graph(model(nodes, inputs=[kernel])), "Conv")["params"] == 12

    def test_einstein_sums_are_products(self):
        nodes = [N("Einsum", ["x", "x"], ["y"], equation="bchw,bcwk->bchk")]
        product = onnx_graph(model(nodes, x=(1, 3, 16, 16)))
        assert row(product, "MatMul")["flops"] == 3 * 16**3
        nodes = [N("Einsum", ["x", "w"], ["y"], equation="bchw,ck->bkhw")]
        matrix = onnx_graph(model(nodes, [tensor("w", [3, 7])]))
        assert row(matrix, "Gemm")["flops"] == 3 * 7 * 256
        assert row(matrix, "Gemm")["params"] == 21

    def test_an_einstein_sum_over_an_inner_axis_moves_it(self):
        nodes = [N("Einsum", ["x", "x"], ["y"], equation="bchw,bchk->bcwk")]
        graph = onnx_graph(model(nodes, x=(1, 3, 8, 16)))
        assert graph.ops == ("Input", "Transpose", "MatMul", "Output")
        assert row(graph, "MatMul")["flops"] == 3 * 16 * 16 * 8

    def test_casts(self):
        half = [N("Cast", ["x"], ["h"], to=TensorProto.FLOAT16), N("Relu", ["h"], ["y"])]
        graph = onnx_graph(model(half))
        assert graph.ops == ("Input", "Cast", "Relu", "Output")
        assert graph.types == ("float32", "float16", "float16", "float16")
        same = [N("Cast", ["x"], ["h"], to=TensorProto.FLOAT), N("Relu", ["h"], ["y"])]
        assert onnx_graph(model(same)).ops == ("Input", "Relu", "Output")
        whole = [N("Cast", ["x"], ["y"], to=TensorProto.INT64)]
        assert onnx_graph(model(whole)).ops == ("Input", "Cast", "Output")

    def test_a_bias_is_a_parameter(self):
        weights = [tensor("w", [4, 3, 1, 1]), tensor("b", [4])]
        graph = onnx_graph(model([N("Conv", ["x", "w", "b"], ["y"])], weights))
        assert row(graph, "Conv")["params"] == 16

    def test_a_first_axis_that_is_no_batch_counts_as_rows(self):
        windows = N("Reshape", ["x", "s"], ["r"])
        matrix = [ints("s", [16, 3, 16]), tensor("w", [16, 5])]
        gemm = row(onnx_graph(model([windows, N("MatMul", ["r", "w"], ["y"])], matrix)), "Gemm")
        assert (gemm["height"], gemm["width"], gemm["out_channels"]) == (48, 1, 5)
        kernel = [ints("s", [16, 3, 16]), tensor("w", [4, 3, 1])]
        conv = row(onnx_graph(model([windows, N("Conv", ["r", "w"], ["y"])], kernel)), "Conv")
        assert (conv["height"], conv["out_channels"], conv["flops"]) == (256, 4, 256 * 12)


class TestStrippedFiles:
    def test_values_removed_and_shapes_kept(self):
        full, empty = small_network(), small_network()
        for weight in empty.graph.initializer:
            weight.ClearField("raw_data")
        assert np.array_equal(onnx_graph(empty).attributes, onnx_graph(full).attributes)

    def test_weights_that_became_inputs(self):
        network = small_network()
        for weight in list(network.graph.initializer):
            network.graph.input.append(
                helper.make_tensor_value_info(weight.name, TensorProto.FLOAT, weight.dims)
            )
        del network.graph.initializer[:]
        assert np.array_equal(
            onnx_graph(network).attributes, onnx_graph(small_network()).attributes
        )

    def test_external_data_is_not_opened(self, tmp_path, monkeypatch):
        onnx.save(
            small_network(),
            tmp_path / "a.onnx",
            save_as_external_data=True,
            location="weights.bin",
            size_threshold=0,
        )
        (tmp_path / "weights.bin").unlink()
        monkeypatch.chdir(tmp_path)
        graph = onnx_graph("a.onnx")
        assert np.array_equal(graph.attributes, onnx_graph(small_network()).attributes)

    def test_a_missing_target_is_named(self):
        shape = ints("s", [1, 3, 256])
        shape.ClearField("int64_data")
        network = model([N("Reshape", ["x", "s"], ["y"])], [shape])
        with pytest.raises(
            InputError, match="the Reshape that writes 'y'.*the value of 's' is not in the file"
        ):
            onnx_graph(network)
        # A shape that the file states instead will do.
        network.graph.output[0].CopyFrom(
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 256])
        )
        assert onnx_graph(network).ops == ("Input", "Reshape", "Output")

    def test_a_missing_target_of_two_sizes_flattens(self):
        shape = ints("s", [1, -1])
        shape.ClearField("int64_data")
        nodes = [N("Reshape", ["x", "s"], ["r"]), N("Gemm", ["r", "m"], ["y"])]
        graph = onnx_graph(model(nodes, [shape, tensor("m", [768, 4])]))
        assert row(graph, "Gemm")["flops"] == 768 * 4


class TestUnknownOperators:
    def test_priced_by_their_data_with_one_warning(self):
        nodes = [
            N("Strange", ["x", "w"], ["a"], domain="com.example"),
            N("Conv", ["a", "k"], ["b"]),
            N("Conv", ["b", "b"], ["y"], domain="com.example"),
        ]
        network = model(
            nodes, [tensor("w", [3, 7]), tensor("k", [4, 3, 1, 1])], domains=["com.example"]
        )
        with pytest.warns(UserWarning, match="unknown cost.*Strange, com.example.Conv") as caught:
            graph = onnx_graph(network)
        assert len(caught) == 1
        assert graph.ops == ("Input", "Strange", "Conv", "com.example.Conv", "Output")
        assert row(graph, "Strange")["bytes"] == 4 * (2 * 768 + 21)
        assert row(graph, "Strange")["params"] == 21

    def test_output_sizes_that_depend_on_values(self):
        nodes = [N("NonZero", ["x"], ["n"]), N("Cast", ["n"], ["y"], to=1)]
        words = "data they move: NonZero; .*not known before it runs.*: Cast$"
        with pytest.warns(UserWarning, match=words):
            graph = onnx_graph(model(nodes))
        assert "NonZero" in graph.ops

    def test_a_weighty_operator_of_unknown_shape_is_refused(self):
        nodes = [
            N("NonZero", ["x"], ["n"]),
            N("Cast", ["n"], ["f"], to=1),
            N("MatMul", ["f", "w"], ["y"]),
        ]
        with pytest.raises(InputError, match="MatMul that writes 'y'.*'n', which a NonZero"):
            onnx_graph(model(nodes, [tensor("w", [5, 6])]))


class TestRefused:
    def refuses(self, network, words):
        with pytest.raises(InputError, match=words) as caught:
            onnx_graph(network)
        assert "\n" not in str(caught.value)

    def test_files(self, tmp_path):
        self.refuses(tmp_path / "none.onnx", "does not exist")
        self.refuses(tmp_path, "is a folder")
        self.refuses(3, "path of an ONNX file")
        data = small_network().SerializeToString()
        for name, content, words in (
            ("empty.onnx", b"", "holds no network"),
            ("text.onnx", b"version https://git-lfs", "is a pointer of Git LFS"),
            ("short.onnx", data[: len(data) // 2], "no ONNX model"),
        ):
            (tmp_path / name).write_bytes(content)
            self.refuses(tmp_path / name, words)

    def test_a_file_of_two_gigabytes_before_it_is_read(self, tmp_path):
        with open(tmp_path / "large.onnx", "wb") as file:
            file.truncate(2**31)
        self.refuses(tmp_path / "large.onnx", "has 2.1 GB")

    def test_deep_nesting(self, tmp_path):
        def field(number, content):
            size, length = len(content), b""
            while size > 127:
                length, size = length + bytes([size & 127 | 128]), size >> 7
            return bytes([number << 3 | 2]) + length + bytes([size]) + content

        graph = b""
        for _ in range(2_000):
            # A graph of one node of one attribute that holds the graph before.
            graph = field(1, field(4, b"If") + field(5, field(6, graph)))
        data = field(7, graph)
        (tmp_path / "deep.onnx").write_bytes(data)
        self.refuses(tmp_path / "deep.onnx", "no ONNX model")

    def test_structure(self):
        relu = N("Relu", ["x"], ["y"])
        self.refuses(model([N("Relu", ["a"], ["y"])]), "reads 'a', which is neither")
        self.refuses(model([relu, relu]), "writes 'y' twice")
        self.refuses(model([N("Relu", ["x"], ["x"])]), "writes 'x' twice")
        self.refuses(
            model([N("Add", ["x", "b"], ["a"]), N("Relu", ["a"], ["b"]), N("Relu", ["b"], ["y"])]),
            "cycle",
        )
        self.refuses(model([relu], outputs=["z"]), "output 'z' that no node writes")
        self.refuses(model([N("Relu", ["c"], ["y"])], [tensor("c", [3])]), "no output that depends")
        self.refuses(model([relu], x=None, inputs=[]), "no input")
        self.refuses(model([relu], opset=0), "which version")
        self.refuses(model([relu] * 20_001), "20,001 nodes; at most 20,000")

    def test_too_many_operators_after_simplification(self):
        nodes = [N("Relu", ["x" if k == 0 else f"a{k}"], [f"a{k + 1}"]) for k in range(5_001)]
        self.refuses(model(nodes, outputs=["a5001"]), "5,002 operators.*at most 5,000")

    def test_shapes(self):
        conv = [N("Conv", ["x", "w"], ["y"])]
        self.refuses(model(conv, [tensor("w", [4, 2, 1, 1])]), "channels do not match")
        gemm = [N("Flatten", ["x"], ["f"]), N("Gemm", ["f", "w"], ["y"])]
        self.refuses(model(gemm, [tensor("w", [767, 2])]), "Gemm that writes 'y' does not fit")
        self.refuses(model(conv, [only_dims("w", [2**40, 3, 1, 1])]), "fits a device")
        self.refuses(model(conv, [only_dims("w", [-4, 3, 1, 1])]), "fits a device")
        self.refuses(model([N("Relu", ["x"], ["y"])], x=(1, 2**31, 2**31)), "fits a device")
        self.refuses(
            model([N("Expand", ["x", "s"], ["y"])], [ints("s", [2**31, 3, 2**20, 16])]),
            "Expand|fits",
        )
        wrong = model([N("Transpose", ["x"], ["y"], perm=[0, 1])])
        self.refuses(wrong, "Transpose")
        self.refuses(model([N("MaxPool", ["x"], ["y"], kernel_shape="ab")]), "MaxPool")

    def test_functions_that_call_themselves(self):
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        calls = [N("block", ["a"], ["b"], domain="own")]
        network = model([N("block", ["x"], ["y"], domain="own")], domains=["own"])
        network.functions.append(helper.make_function("own", "block", ["a"], ["b"], calls, opsets))
        self.refuses(network, "call themselves")

    def test_functions_that_grow_without_end(self):
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        network = model([N("f40", ["x"], ["y"], domain="own")], domains=["own"])
        for level in range(41):
            last = level == 0
            callee = ("Relu", "") if last else (f"f{level - 1}", "own")
            body = [
                N(callee[0], ["a"], ["m"], domain=callee[1]),
                N(callee[0], ["m"], ["b"], domain=callee[1]),
            ]
            network.functions.append(
                helper.make_function("own", f"f{level}", ["a"], ["b"], body, opsets)
            )
        self.refuses(network, "nodes with its functions expanded")


class TestFoundByFuzzing:
    """Inputs that once ended the process, or in another error; experiments/checks/fuzz_onnx.py."""

    def test_an_axis_beyond_the_tensor(self):
        # onnx 1.23's shape inference ends the process with a segmentation fault here.
        for axis in (2**31, 4, -5):
            network = model(
                [N("LayerNormalization", ["x", "w"], ["y"], axis=axis)], [tensor("w", [16])]
            )
            with pytest.raises(InputError, match="axes of a tensor of 4 axes"):
                onnx_graph(network)

    @pytest.mark.parametrize("batch_dims", [-2, 2, 2**31])
    def test_shared_axes_that_are_none(self, batch_dims):
        # onnx 1.23's shape inference ends the process with a segmentation fault here.
        gather = N("GatherND", ["x", "i"], ["y"], batch_dims=batch_dims)
        with pytest.raises(InputError, match="attribute batch_dims of a GatherND"):
            onnx_graph(model([gather], [ints("i", [0, 0], [2, 1])]))

    def test_more_parts_than_a_split_makes(self):
        network = model([N("Split", ["x"], ["y", "a", "b"], num_outputs=1)], opset=21)
        with pytest.raises(InputError, match="Split with 1 inputs and 3 outputs"):
            onnx_graph(network)

    def test_a_constant_with_inputs_and_two_outputs(self):
        network = model([N("Constant", ["x"], ["y", "z"], value_int=1)])
        with pytest.raises(InputError, match="Constant with 1 inputs and 2 outputs"):
            onnx_graph(network)

    def test_a_version_beyond_64_bits_of_sense(self):
        network = model([N("Strange", ["x"], ["y"], domain="own")], domains=["own"])
        network.opset_import[1].version = 2**62
        with pytest.raises(InputError, match="which version"):
            onnx_graph(network)

    def test_names_that_are_no_text(self, tmp_path):
        network = model([N("Strange", ["x"], ["y"])])
        data = network.SerializeToString()
        (tmp_path / "a.onnx").write_bytes(data.replace(b"Strange", b"Str\xffnge"))
        with pytest.raises(InputError, match="names that are no text"):
            onnx_graph(tmp_path / "a.onnx")

    def test_an_operator_newer_than_the_version(self):
        nodes = [N("QLinearMatMul", ["x", "w", "w"], ["y"])]
        with pytest.raises(InputError, match="QLinearMatMul that writes 'y': it does not fit"):
            onnx_graph(model(nodes, [tensor("w", [16])], opset=7))
        nodes = [N("LayerNormalization", ["x", "w"], ["y"])]
        assert onnx_graph(model(nodes, [tensor("w", [16])], opset=11)).ops[1] == nodes[0].op_type

    @pytest.mark.parametrize("equation", [b"....,a", b"ab\x1d", b"ab,\xc9->a", "ij->jk->k"])
    def test_an_equation_that_is_none(self, equation):
        # onnx 1.23's shape inference never ends on some of these.
        network = model([N("Einsum", ["x", "w"], ["y"], equation=equation)], [tensor("w", [16])])
        with pytest.raises(InputError, match="expected an Einstein sum such as"):
            onnx_graph(network)

    def test_types_of_several_lines(self):
        for network in (
            model([N("a\nb", ["c"], ["y"])]),
            model([N("a", ["c"], ["y"], domain="\n")]),
        ):
            with pytest.raises(InputError, match="without an operator type") as caught:
                onnx_graph(network)
            assert "\n" not in str(caught.value)

    def test_a_window_larger_than_its_image(self):
        pool = N("MaxPool", ["x"], ["y"], kernel_shape=[20, 3])
        with pytest.raises(InputError, match=r"would give shape \[1, 3, -3, 14\].*window fits"):
            onnx_graph(model([pool]))

    def test_a_window_on_an_image_of_no_elements(self):
        pools = [
            N("MaxPool", ["x"], ["a"], kernel_shape=[17, 3], strides=[1, 1]),
            N("MaxPool", ["a"], ["b"], kernel_shape=[1, 1], pads=[1, 0, 1, 0]),
            N("Relu", ["x"], ["y"]),
        ]
        assert onnx_graph(model(pools)).ops == ("Input", "Relu", "Output")

    def test_axes_that_are_there_stay(self):
        flat = [N("Flatten", ["x"], ["f"], axis=4), N("Unsqueeze", ["f"], ["y"], axes=[2])]
        assert onnx_graph(model(flat, opset=11)).ops == ("Input", "Reshape", "Output")


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


# A random network: each step reads earlier tensors of one shape or another.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["Relu", "Tanh", "Add", "Conv1", "Conv3", "Sub", "MaxPool"]),
        st.integers(0, 30),
        st.integers(0, 30),
    ),
    min_size=1,
    max_size=10,
)


def random_network(steps):
    """Nodes and constants, and by hand the node types, edges and multiply-accumulates."""
    nodes, constants, names, ops, edges, flops = [], [], ["x"], ["Input"], set(), [0]
    for k, (op, a, b) in enumerate(steps):
        sources = [a % len(names)]
        options = {}
        inputs = [names[sources[0]]]
        if op in ("Add", "Sub"):
            sources.append(b % len(names))
            inputs.append(names[sources[1]])
        elif op.startswith("Conv"):
            side = int(op[-1])
            constants.append(tensor(f"w{k}", [3, 3, side, side]))
            inputs.append(f"w{k}")
            options = {"pads": [side // 2] * 4}
        elif op == "MaxPool":
            options = {"kernel_shape": [3, 3], "pads": [1] * 4}
        nodes.append(N(op.rstrip("13"), inputs, [f"t{k}"], **options))
        edges |= {(source, len(names)) for source in sources}
        flops.append(9 * int(op[-1]) ** 2 * 64 if op.startswith("Conv") else 0)
        names.append(f"t{k}")
        ops.append(op.rstrip("13"))
    return nodes, constants, names, ops, edges, flops


@given(STEPS, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_random_networks(steps, shuffle):
    nodes, constants, names, ops, edges, flops = random_network(steps)
    # Every tensor is an output, so that nothing is dropped.
    network = model(nodes, constants, x=("N", 3, 8, 8), outputs=names[1:])
    graph = onnx_graph(network)
    assert sorted(graph.ops) == sorted([*ops, "Output"])
    assert len(graph.edges) == len(edges) + len(names) - 1
    assert graph.total("flops") == sum(flops)
    shuffle.shuffle(nodes)
    again = onnx_graph(model(nodes, constants, x=("N", 3, 8, 8), outputs=names[1:]))
    assert again.canonical_hash == graph.canonical_hash
    assert sorted(map(tuple, again.attributes)) == sorted(map(tuple, graph.attributes))


@given(STEPS)
@settings(max_examples=40, deadline=None)
def test_what_no_output_needs_is_dropped(steps):
    nodes, constants, names, _, edges, _ = random_network(steps)
    needed = {len(names) - 1}
    for source, target in sorted(edges, key=lambda edge: -edge[1]):
        if target in needed:
            needed.add(source)
    graph = onnx_graph(model(nodes, constants, x=("N", 3, 8, 8), outputs=names[-1:]))
    assert len(graph) == len(needed) + 1


@given(st.integers(0, 2**32), st.integers(1, 20))
@settings(max_examples=150, deadline=None)
def test_damaged_files_give_an_input_error_or_a_graph(seed, flips):
    rng = random.Random(seed)
    data = bytearray(small_network().SerializeToString())
    for _ in range(flips):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    network = onnx.ModelProto()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            network.ParseFromString(bytes(data))
        except Exception:
            return
        try:
            onnx_graph(network)
        except InputError as error:
            assert "\n" not in str(error)
