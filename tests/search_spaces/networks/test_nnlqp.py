"""The families' standard networks have the published sizes, and all networks run."""

import numpy as np
import pytest

from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.nb201 import NB201
from nasplug.search_spaces.networks.builder import NetworkBuilder, make_divisible
from nasplug.search_spaces.networks.nasbench201 import network_as_written
from nasplug.search_spaces.networks.nnlqp import FAMILIES, nnlqp

SPACES = {name: nnlqp(name) for name in FAMILIES}

# Trainable parameters as published with torchvision's weights, and GMACs as it lists them.
PUBLISHED = {
    "alexnet": ("alexnet", 61_100_840, 0.714),
    "vgg11": ("vgg", 132_863_336, 7.609),
    "vgg13": ("vgg", 133_047_848, 11.308),
    "vgg16": ("vgg", 138_357_544, 15.470),
    "vgg19": ("vgg", 143_667_240, 19.632),
    "googlenet": ("googlenet", 6_624_904, 1.498),
    "squeezenet1.0": ("squeezenet", 1_248_424, 0.819),
    "squeezenet1.1": ("squeezenet", 1_235_496, 0.349),
    "resnet18": ("resnet", 11_689_512, 1.814),
    "resnet34": ("resnet", 21_797_672, 3.664),
    "resnet50": ("resnet", 25_557_032, 4.089),
    "mobilenetv2": ("mobilenetv2", 3_504_872, 0.301),
    "mobilenetv3_large": ("mobilenetv3", 5_483_032, 0.217),
    "mobilenetv3_small": ("mobilenetv3", 2_542_856, 0.057),
    "mnasnet1.0": ("mnasnet", 4_383_312, 0.314),
    "efficientnet_b0": ("efficientnet", 5_288_548, 0.386),
}
# These have no batch normalisation.
PLAIN = {"alexnet", "vgg", "squeezenet"}


def normed_channels(graph: Graph) -> int:
    """Channels of the convolutions that were trained with batch normalisation.

    All of them but those of an excitation, which see one pixel.
    """
    convs = np.array([op == "Conv" for op in graph.ops]) & (graph.attribute("height") > 1)
    return int(graph.attribute("out_channels")[convs].sum())


@pytest.mark.parametrize("name", PUBLISHED)
def test_standard_networks_have_the_published_sizes(name):
    family, params, gmacs = PUBLISHED[name]
    graph = SPACES[family].to_graph(SPACES[family].standards[name])
    # A norm has a scale and a shift a channel; folded, it leaves one bias a channel.
    folded = 0 if family in PLAIN else normed_channels(graph)
    assert graph.total("params") + folded == params
    assert graph.total("flops") / 1e9 == pytest.approx(gmacs, abs=5e-4)


def test_known_sizes_after_folding():
    graphs = {n: SPACES[f].to_graph(SPACES[f].standards[n]) for n, (f, _, _) in PUBLISHED.items()}
    # 4,800 channels are normalised in ResNet-18.
    assert graphs["resnet18"].total("params") == 11_689_512 - 4_800
    assert graphs["resnet18"].total("flops") == 1_814_073_344
    assert graphs["vgg16"].total("flops") == 15_470_264_320
    assert graphs["alexnet"].total("flops") == 714_188_480


def test_every_published_network_is_there():
    listed = {name for space in SPACES.values() for name in space.standards}
    # The paper's GoogLeNet, whose published weights nobody has, is the one without a figure.
    assert listed == {*PUBLISHED, "googlenet_5x5"}
    for family, space in SPACES.items():
        if space.standards:
            assert space.standard == next(iter(space.standards.values())), family


def test_structure_of_the_standard_networks():
    def count(name: str, op: str) -> int:
        family = PUBLISHED[name][0]
        return SPACES[family].to_graph(SPACES[family].standards[name]).ops.count(op)

    assert count("resnet18", "Add") == 8
    assert count("resnet50", "Conv") == 53
    assert count("googlenet", "Concat") == 9
    assert count("googlenet", "MaxPool") == 13
    assert count("mobilenetv2", "Clip") == 35
    assert count("mobilenetv2", "Add") == 10
    assert count("mobilenetv3_large", "HardSwish") == 21
    assert count("mobilenetv3_large", "HardSigmoid") == 8
    assert count("mobilenetv3_large", "Mul") == 8
    assert count("efficientnet_b0", "Silu") == 33 + 16
    assert count("efficientnet_b0", "Sigmoid") == 16
    assert count("mnasnet1.0", "Relu") == 35
    assert count("vgg16", "Gemm") == 3


def test_classifiers_have_a_thousand_classes():
    for family, space in SPACES.items():
        graph = space.to_graph(space.standard)
        classes = 10 if family == "nasbench201" else 1000
        assert graph.attribute("out_channels")[-2] == classes
        assert graph.ops[0], graph.ops[-1] == ("Input", "Output")
        side = 32 if family == "nasbench201" else 224
        assert graph.attribute("height")[0] == graph.attribute("width")[0] == side


def test_block_beyond_the_standard_depth_is_added():
    space = SPACES["mobilenetv2"]
    shallow = space.to_graph(space.parse("mobilenetv2:d_3=3"))
    deep = space.to_graph(space.parse("mobilenetv2:d_3=4"))
    assert deep.ops.count("Conv") == shallow.ops.count("Conv") + 3
    assert deep.ops.count("Add") == shallow.ops.count("Add") + 1


@pytest.mark.parametrize(
    ("family", "text", "node", "attribute", "value"),
    [
        ("resnet", "k_1_1=5", 4, "kernel", 5),
        ("resnet", "w_0=0.5", 1, "out_channels", 32),
        ("alexnet", "k_1=7", 1, "kernel", 7),
        ("vgg", "w_1=1.5", 1, "out_channels", 96),
        ("mobilenetv2", "e_2_1=3", 8, "out_channels", 48),
        ("efficientnet", "k_1_1=7", 3, "kernel", 7),
    ],
)
def test_decisions_reach_the_network(family, text, node, attribute, value):
    space = SPACES[family]
    assert space.to_graph(space.parse(text)).attribute(attribute)[node] == value
    assert space.to_graph(space.standard).attribute(attribute)[node] != value


def test_alexnet_keeps_its_shape_whatever_the_first_kernel():
    space = SPACES["alexnet"]
    for kernel in (7, 9, 11, 13):
        graph = space.to_graph(space.parse(f"alexnet:k_1={kernel}"))
        assert graph.attribute("height")[1] == 55


def test_make_divisible_follows_the_reference():
    cases = {19.2: 24, 28.8: 32, 134.4: 136, 3: 8, 16: 16, 20: 24, 11: 16, 91.7: 88}
    assert {value: make_divisible(value) for value in cases} == cases


# --- the NAS-Bench-201 network -----------------------------------------------------------------

CELLS = NB201()
DEAD = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


@pytest.mark.parametrize("index", [1462, 0, 9930])
def test_nasbench201_network_has_the_published_sizes(index):
    space = SPACES["nasbench201"]
    for task in ("cifar10", "cifar100", "imagenet16-120"):
        graph = space.to_graph(space.parse(CELLS[index].text), task)
        published = CELLS.to_graph(CELLS[index], task)
        # The shortcuts' two convolutions, of 32 and 64 channels, have neither norm nor bias.
        folded = normed_channels(graph) - 32 - 64
        # The benchmark counts the classifier's bias as multiply-accumulates, too.
        classes = graph.attribute("out_channels")[-2]
        assert graph.total("flops") + classes == published.total("flops")
        assert graph.total("params") + folded == published.total("params")


def test_nasbench201_network_has_no_dead_operations():
    space = SPACES["nasbench201"]
    # Node 1 feeds nothing, so its convolution is never run.
    one = space.parse("|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|")
    kernels = space.to_graph(one).attribute("kernel")
    assert np.count_nonzero(kernels == 1) == 15 + 2  # the cells' and the shortcuts'
    dead = space.to_graph(space.parse(DEAD))
    assert dead.ops.count("Conv") == 1 + 6
    assert dead.ops.count("Mul") == 15  # times zero, as the benchmark's own code has it


def test_equal_cells_have_one_id():
    space = SPACES["nasbench201"]
    direct = "|nor_conv_1x1~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|"
    around = "|nor_conv_1x1~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|"
    assert space.parse(direct).arch_id == space.parse(around).arch_id
    other = direct.replace("1x1", "3x3")
    assert space.parse(direct).arch_id != space.parse(other).arch_id
    # The benchmark tells these apart by how often zero is added,
    zeros = DEAD.replace("none~2", "skip_connect~2")
    assert CELLS.parse(zeros).arch_id != CELLS.parse(DEAD).arch_id
    assert space.parse(zeros).arch_id == space.parse(DEAD).arch_id
    # and does not tell these apart, of which one runs the convolution twice.
    once = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|avg_pool_3x3~1|skip_connect~2|"
    twice = "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|avg_pool_3x3~1|skip_connect~2|"
    assert CELLS.parse(once).arch_id == CELLS.parse(twice).arch_id
    flops = [space.to_graph(space.parse(text)).total("flops") for text in (once, twice)]
    assert flops[0] < flops[1]
    assert space.parse(once).arch_id != space.parse(twice).arch_id


def test_one_id_is_one_network():
    space = SPACES["nasbench201"]
    networks: dict[str, tuple] = {}
    for index in range(0, 15_625, 50):
        for cell in CELLS.equivalents(CELLS[index])[:3]:
            arch = space.parse(cell.text)
            graph = space.to_graph(arch)
            seen = (sorted(graph.ops), len(graph.edges), graph.total("flops"))
            assert networks.setdefault(arch.arch_id, seen) == seen
    assert len(networks) > 200


# --- ONNX --------------------------------------------------------------------------------------

RUNNABLE = [
    "alexnet:w_6=0.25,w_7=0.25",
    "vgg:d_4=1,d_5=1,w_1=0.25,w_2=0.25,w_3=0.25,w_4=0.25,w_5=0.25,w_6=0.25,w_7=0.25",
    "googlenet",
    "squeezenet1.0",
    "squeezenet1.1",
    "resnet18",
    "resnet:block=bottleneck",
    "mobilenetv2",
    "mobilenetv3_large",
    "mobilenetv3_small",
    "mnasnet:se_2=true",
    "efficientnet_b0",
    f"nasbench201:{CELLS[0].text}",
    f"nasbench201:{DEAD}",
]


def onnx_shapes(model):
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    graph = inferred.graph
    return {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }


@pytest.mark.parametrize("text", RUNNABLE)
def test_onnx_model_has_the_shapes_of_the_network_and_runs(text):
    import onnxruntime

    union = nnlqp()
    space, arch = union.unwrap(union.parse(text))
    builder, output = space._built(arch, None)
    model = space.to_onnx(arch, seed=3, batch_size=2)
    found = onnx_shapes(model)
    names = {k: "output" if k == output else f"x{k}" for k in range(len(builder.operators))}
    for k, operator in enumerate(builder.operators):
        if names[k] in found:  # what is dead is not written
            assert found[names[k]] == (2, *operator.shape[1:]), operator
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (given,) = session.get_inputs()
    image = np.random.default_rng(0).standard_normal(given.shape, dtype=np.float32)
    (scores,) = session.run(None, {given.name: image})
    assert scores.shape == (2, 10 if "nasbench" in text else 1000)
    assert np.isfinite(scores).all()
    # A dead cell's network sees nothing of its input; every other one tells the images apart.
    assert (scores[0] == scores[1]).all() == (DEAD in text)


@pytest.mark.parametrize("text", RUNNABLE)
def test_onnx_model_reads_back_as_the_same_graph(text):
    from nasplug.search_spaces.importers.onnx_graph import onnx_graph

    union = nnlqp()
    arch = union.parse(text)
    graph, read = union.to_graph(arch), onnx_graph(union.to_onnx(arch, batch_size=3))
    assert read.ops == graph.ops
    assert read.edges == graph.edges
    assert np.array_equal(read.attributes, graph.attributes)


def test_onnx_parameters_are_those_of_the_graph():
    space = SPACES["mobilenetv2"]
    model = space.to_onnx(space.standard)
    floats = [t for t in model.graph.initializer if not t.name.endswith(("_low", "_high"))]
    assert sum(int(np.prod(t.dims)) for t in floats) == space.to_graph(space.standard).total(
        "params"
    )


def test_onnx_weights_follow_the_seed():
    space = SPACES["squeezenet"]
    same = [space.to_onnx(space.standard, seed=5).SerializeToString() for _ in range(2)]
    other = space.to_onnx(space.standard, seed=6).SerializeToString()
    assert same[0] == same[1] != other


def test_onnx_weights_are_he_normal():
    from onnx import numpy_helper

    space = SPACES["resnet"]
    tensors = [numpy_helper.to_array(t) for t in space.to_onnx(space.standard).graph.initializer]
    for weights in tensors:
        if weights.ndim == 4 and weights.size > 50_000:
            fan_in = np.prod(weights.shape[1:])
            assert weights.std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
            assert abs(weights.mean()) < 0.02 * weights.std()


def test_hard_sigmoid_has_the_slope_of_the_networks():
    space = SPACES["mobilenetv3"]
    nodes = [n for n in space.to_onnx(space.standard).graph.node if n.op_type == "HardSigmoid"]
    assert nodes
    for node in nodes:
        alpha = next(a.f for a in node.attribute if a.name == "alpha")
        assert alpha == pytest.approx(1 / 6)


def test_network_over_two_gigabytes_is_refused():
    space = SPACES["vgg"]
    widest = space.from_params({d.name: d.choices[-1] for d in space.family.decisions})
    assert space.to_graph(widest).total("params") > 2**29
    with pytest.raises(InputError, match=r"weights of vgg-\w+ take 2\.9 GB.*at most 2 GB"):
        space.to_onnx(widest)


def test_batch_of_no_images_is_refused():
    space = SPACES["squeezenet"]
    with pytest.raises(InputError, match="batch size 0 is not at least 1"):
        space.to_onnx(space.standard, batch_size=0)


# --- the builder -------------------------------------------------------------------------------


def test_window_larger_than_the_image_is_refused():
    net = NetworkBuilder(4)
    with pytest.raises(InputError, match="window of 7 pixels does not fit into a side of 4"):
        net.conv(net.input, 8, 7, padding=0)


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "padding", "ceil", "out"),
    [
        (112, 3, 2, 0, True, 56),
        (112, 3, 2, 0, False, 55),
        (7, 2, 2, 0, True, 4),
        (7, 2, 2, 0, False, 3),
        (3, 2, 2, 1, True, 2),  # a window that would start in the right padding is left out
        (7, 3, 1, 1, False, 7),
    ],
)
def test_sides_of_poolings(side, kernel, stride, padding, ceil, out):
    net = NetworkBuilder(side)
    assert net.side(net.max_pool(net.input, kernel, stride, padding, ceil)) == out


def test_channel_shuffle_interleaves_and_keeps_the_shape():
    import onnxruntime

    net = NetworkBuilder(2, channels=6)
    model = net.onnx_model(net.channel_shuffle(net.input, 2))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    image = np.arange(6, dtype=np.float32)[None, :, None, None] * np.ones((1, 1, 2, 2), np.float32)
    (found,) = session.run(None, {session.get_inputs()[0].name: image})
    assert found[0, :, 0, 0].tolist() == [0, 3, 1, 4, 2, 5]
    assert net.graph(len(net.operators) - 1).ops == (
        "Input",
        "Reshape",
        "Transpose",
        "Reshape",
        "Output",
    )


@pytest.mark.parametrize(
    "text",
    [
        # Nothing but edge 2 -> 3 leads to the output: the convolution is idle.
        "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|",
        "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|skip_connect~2|",
    ],
)
def test_a_cell_as_written_runs_what_has_no_influence(text):
    cells, exported = NB201(), SPACES["nasbench201"]
    cell = cells.parse(text)
    written = network_as_written(cell)
    # The benchmark counts the biases of the classifier with its multiply-accumulates.
    assert abs(written.total("flops") - cells.to_graph(cell).total("flops")) <= 10
    assert written.ops.count("Mul") == 15 * text.count("none")
    assert exported.to_graph(exported.parse(text)).total("flops") < written.total("flops")
    assert network_as_written(cell, "imagenet16-120").attribute("height")[0] == 16
