"""Random and damaged ONNX files, and what no damage may do."""

import random
import warnings

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers.onnx_graph import onnx_graph
from tests.search_spaces.importers.onnx_models import N, ints, model, small_network, tensor


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

    def test_a_large_constant_of_no_type(self):
        constant = tensor("w", [80, 80])
        constant.data_type = 0
        graph = onnx_graph(model([N("Add", ["x", "w"], ["y"])], [constant], x=(1, 80, 80)))
        assert graph.ops == ("Input", "Add", "Output")

    def test_axes_that_are_there_stay(self):
        flat = [N("Flatten", ["x"], ["f"], axis=4), N("Unsqueeze", ["f"], ["y"], axes=[2])]
        assert onnx_graph(model(flat, opset=11)).ops == ("Input", "Reshape", "Output")


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
@settings(max_examples=60)
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
@settings(max_examples=40)
def test_what_no_output_needs_is_dropped(steps):
    nodes, constants, names, _, edges, _ = random_network(steps)
    needed = {len(names) - 1}
    for source, target in sorted(edges, key=lambda edge: -edge[1]):
        if target in needed:
            needed.add(source)
    graph = onnx_graph(model(nodes, constants, x=("N", 3, 8, 8), outputs=names[-1:]))
    assert len(graph) == len(needed) + 1


@given(st.integers(0, 2**32), st.integers(1, 20))
@settings(max_examples=150)
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
