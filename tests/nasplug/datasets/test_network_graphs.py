"""Graphs of networks in their file: what is written, what the package ships, and damage."""

import numpy as np
import pytest

from nasplug import InputError, datasets
from nasplug.datasets.archives import read_arrays, write_arrays
from nasplug.datasets.network_graphs import (
    KnownNetwork,
    network_graphs_file,
    read_network_graphs,
    shipped_network_graphs,
    write_network_graphs,
)
from nasplug.search_spaces import ATTRIBUTES, Graph

MEGABYTE = 1_000_000
# Published parameters in millions, and billions of multiply-accumulates.
PUBLISHED = {
    "torchvision:resnet18@224": (11.690, 1.814),
    "torchvision:resnet50@224": (25.557, 4.089),
    "torchvision:mobilenet_v2@224": (3.505, 0.301),
    "torchvision:vgg16@224": (138.358, 15.470),
    "torchvision:densenet121@224": (7.979, 2.834),
    "torchvision:vit_b_16@224": (86.568, 17.564),
    "torchvision:squeezenet1_1@224": (1.236, 0.349),
    "timm:efficientnet_b0@224": (5.289, 0.39),
    "timm:convnext_tiny@224": (28.589, 4.456),
    "timm:swin_tiny_patch4_window7_224@224": (28.288, 4.49),
    "timm:mobilenetv1_100(channel_multiplier=0.25)@128": (0.470, 0.0136),
    "pytorchcv:mobilenet_w1@224": (4.232, 0.573),
    "transformers:bert-large-uncased": (334.094, 123.5),
    "transformers:neusight/gpt2_large@1024": (774.030, 887.3),
    "ultralytics:yolov8n@640": (3.158, 4.37),
    "ultralytics:yolov10n@640": (2.311, 3.38),
    "ncnn:resnet50": (25.557, 3.858),
}


def network(reference, nodes, seed=0):
    rng = np.random.default_rng(seed)
    attributes = rng.integers(4, size=(nodes, len(ATTRIBUTES))) * 10.0 ** rng.integers(
        9, size=(nodes, 1)
    )
    edges = {(k, k + 1) for k in range(nodes - 1)}
    edges |= {(int(a), nodes - 1) for a in rng.integers(nodes - 1, size=nodes // 3)}
    ops = ("Input", *rng.choice(["Conv", "Relu", "Add"], nodes - 2).tolist(), "Output")
    return KnownNetwork(reference, "family", 7, Graph(ops, tuple(sorted(edges)), attributes))


def assert_equal(one, other):
    assert (one.ops, one.edges, one.types, one.weight_types) == (
        *(other.ops, other.edges, other.types, other.weight_types),
    )
    assert np.array_equal(one.attributes, other.attributes)
    assert np.array_equal(one.weight_bytes, other.weight_bytes)


def test_networks_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "graphs.npz"
    known = [network(f"p:{k}@8", 3 + 40 * k, k) for k in range(5)]
    write_network_graphs(path, known[::-1], "package 1.0")
    stored = read_network_graphs(path)
    assert stored.references == tuple(one.reference for one in known)
    assert stored.made_with == "package 1.0"
    assert "p:3@8" in stored
    assert "p:3" not in stored
    for one in known:
        found = stored.known(one.reference)
        assert (found.reference, found.family, found.parameters) == (one.reference, "family", 7)
        assert_equal(found.graph, one.graph)


def test_element_types_and_bytes_of_weights_stay(tmp_path):
    plain = network("p:a", 4).graph
    bytes_read = 4 * plain.attribute("params")
    bytes_read[1] = 3
    graph = Graph(
        plain.ops,
        plain.edges,
        plain.attributes,
        ("int8", "float16", "float32", "float32"),
        ("", "int8", "", "float32"),
        bytes_read,
    )
    write_network_graphs(tmp_path / "g.npz", [KnownNetwork("p:a", "", 0, graph)], "")
    assert_equal(read_network_graphs(tmp_path / "g.npz").graph("p:a"), graph)


def test_equal_graphs_are_written_once(tmp_path):
    graph = network("p:a", 300).graph
    for count in (1, 9):
        same = [KnownNetwork(f"p:{k}", "", 0, graph) for k in range(count)]
        write_network_graphs(tmp_path / f"{count}.npz", same, "")
    one, nine = ((tmp_path / f"{count}.npz").stat().st_size for count in (1, 9))
    assert nine < one + 200
    assert_equal(read_network_graphs(tmp_path / "9.npz").graph("p:8"), graph)


def test_equal_networks_make_equal_files(tmp_path):
    for name in ("a", "b"):
        write_network_graphs(tmp_path / name, [network("p:a", 9)], "")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("change", ["cut", "altered", "version", "missing"])
def test_damage_is_told(tmp_path, change):
    path = tmp_path / "graphs.npz"
    if change != "missing":
        write_network_graphs(path, [network("p:a", 9)], "")
    if change == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif change == "altered":
        arrays, _ = read_arrays(path)
        checksum = np.zeros(32, np.uint8)
        np.savez(path, checksum=checksum, **arrays)
    elif change == "version":
        arrays, _ = read_arrays(path)
        write_arrays(path, arrays | {"version": np.array(99)})
    with pytest.raises(InputError, match="install nasplug again"):
        read_network_graphs(path)


@pytest.mark.parametrize("reference", PUBLISHED)
def test_shipped_graphs_have_the_published_costs(reference):
    millions, gmacs = PUBLISHED[reference]
    known = shipped_network_graphs().known(reference)
    assert known.graph.total("macs") / 1e9 == pytest.approx(gmacs, rel=0.02)
    # ncnn's file has norms in the convolutions; others have all parameters.
    assert known.parameters / 1e6 == pytest.approx(millions, rel=0.003)
    assert known.graph.total("params") == pytest.approx(known.parameters, rel=0.02)


def test_the_shipped_file_is_small_and_whole():
    assert network_graphs_file().stat().st_size < 3 * MEGABYTE
    networks = shipped_network_graphs()
    assert len(networks) > 2000
    for reference in networks.references[:: len(networks) // 40]:
        graph = networks.graph(reference)
        assert graph.total("bytes") > 0
        assert len(graph.edges) >= len(graph) - 1
        assert {"Input", "Output"} <= set(graph.ops)


def test_networks_of_timm_by_model_and_size():
    graphs, families = datasets.timm_graphs(), datasets.timm_families()
    assert families["resnet18"] == "resnet"
    assert {model for model, _ in graphs} == set(families)
    small, large = graphs["resnet18", 160], graphs["resnet18", 224]
    assert small.total("params") == large.total("params")
    assert small.total("macs") < 0.6 * large.total("macs")
