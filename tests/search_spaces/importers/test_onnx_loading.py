"""ONNX files without their weights, and operators that are not known."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers.onnx_graph import onnx_graph
from tests.search_spaces.importers.onnx_models import N, ints, model, row, small_network, tensor


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
