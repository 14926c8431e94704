"""Kernels of a network as runtimes start them."""

import numpy as np
import pytest

from nasplug import space
from nasplug.predictors.latency.fused_operators import (
    FUSIONS,
    KERNEL_COLUMNS,
    KERNEL_KINDS,
    fused_kernels,
)
from nasplug.search_spaces import ATTRIBUTES, Graph


def chain(*ops):
    """A network of operators one after the other, each of 16 channels of 8 x 8 pixels."""
    attributes = np.zeros((len(ops), len(ATTRIBUTES)))
    pixels, channels = 64, 16
    for row, op in zip(attributes, ops, strict=True):
        macs, params = (pixels * 9 * channels**2, 9 * channels**2) if op == "Conv" else (0, 0)
        moved = 4 * (2 * pixels * channels + params)
        row[:] = (3 * (op == "Conv"), 1, 1, channels, channels, 8, 8, macs, params, moved)
    return Graph(ops, tuple((k, k + 1) for k in range(len(ops) - 1)), attributes)


def total(kernels, column):
    place = KERNEL_COLUMNS.index(column)
    count = kernels[:, -1]
    return float(count.sum() if column == "count" else (kernels[:, place] * count).sum())


def kinds(kernels):
    return sorted(KERNEL_KINDS[int(k)] for k in kernels[:, 0])


def test_an_engine_gives_activations_to_convolutions_and_a_compiler_joins_what_follows():
    graph = chain("Input", "Conv", "Relu", "Mul", "Output")
    # A framework normalises after the convolution, too.
    assert [total(fused_kernels(graph, fusion), "count") for fusion in FUSIONS] == [4, 2, 1]
    assert kinds(fused_kernels(graph, "chains")) == ["convolution", "elementwise"]
    assert kinds(fused_kernels(graph, "engine")) == ["convolution"]


def test_what_is_fused_is_neither_written_nor_read():
    graph = chain("Input", "Conv", "Relu", "Output")
    moved = [total(fused_kernels(graph, fusion), "activations") for fusion in FUSIONS]
    assert moved == [6 * 1024, 4 * 1024, 2 * 1024]


def test_an_output_that_another_reads_is_still_written():
    graph = chain("Input", "Conv", "Relu", "Mul", "Output")
    both = Graph(graph.ops, ((0, 1), (1, 2), (1, 3), (2, 3), (3, 4)), graph.attributes)
    assert kinds(fused_kernels(both, "engine")) == ["convolution", "elementwise"]


def test_networks_with_norms_of_their_own_get_no_others():
    graph = chain("Input", "Conv", "LayerNormalization", "Relu", "Output")
    assert kinds(fused_kernels(graph, "none")) == ["convolution", "elementwise", "normalisation"]


def test_folded_and_unfused_kernels():
    graph = chain("Input", "Conv", "Relu", "Output")
    assert total(fused_kernels(graph, "none", folded=True), "count") == 2
    assert total(fused_kernels(graph, "engine", fuse=False), "count") == 2


def test_attention_is_one_kernel_that_keeps_its_scores():
    ops = ("Input", "MatMul", "Mul", "Softmax", "MatMul", "Output")
    graph = chain(*ops)
    attributes = graph.attributes.copy()
    attributes[[1, 4], ATTRIBUTES.index("flops")] = 1000
    graph = Graph(graph.ops, graph.edges, attributes)
    kernels = fused_kernels(graph, "none")
    assert kinds(kernels) == ["attention"]
    assert total(kernels, "macs") == 2000
    assert total(fused_kernels(graph, "none", flash=False), "count") == 4


@pytest.mark.parametrize("name", ["resnet", "mobilenetv2", "googlenet"])
def test_fusion_keeps_the_work_and_lessens_kernels_and_traffic(name):
    source = space(f"nnlqp:{name}")
    graph = source.to_graph(source.sample(np.random.default_rng(0)))
    plain, chains, engine = (fused_kernels(graph, fusion) for fusion in FUSIONS)
    assert total(plain, "macs") == total(engine, "macs") == graph.total("flops")
    for column in ("count", "activations"):
        assert total(plain, column) >= total(chains, column) >= total(engine, column) > 0


def test_an_empty_network_has_no_kernels():
    empty = Graph(("Input", "Output"), ((0, 1),), np.zeros((2, len(ATTRIBUTES))))
    assert fused_kernels(empty, "none").shape == (0, len(KERNEL_COLUMNS))
