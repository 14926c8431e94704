"""ONNX files as graphs: what is read and what is refused."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers.onnx_graph import onnx_graph
from tests.search_spaces.importers.onnx_models import (
    N,
    ints,
    model,
    only_dims,
    row,
    small_network,
    tensor,
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
