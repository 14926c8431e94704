"""The families' standard networks have the published sizes, and all networks run."""

import numpy as np
import pytest

from nasplug.search_spaces import Graph
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
