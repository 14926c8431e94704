"""Whole networks of NAS-Bench-101 cells."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nasplug.search_spaces.nb101.cells import OPS
from nasplug.search_spaces.nb101.space import NB101

NB = NB101()
indices = st.integers(0, 423_623)
# The cell that the benchmark's documentation shows.
INCEPTION = (
    "0111100000000100000010000001000001000000010000000:"
    "input,conv3x3-bn-relu,conv1x1-bn-relu,maxpool3x3,conv3x3-bn-relu,conv3x3-bn-relu,output"
)


@settings(max_examples=15)
@given(indices)
def test_network_does_what_the_cell_says(index: int) -> None:
    arch = NB[index]
    cell, graph, network = NB.cell(arch), NB.to_graph(arch), NB.to_network(arch)
    # The benchmark's FLOPs count the classifier's bias as well.
    assert network.total("flops") == graph.total("flops") - 10
    projections = sum(cell.has(0, v) for v in range(1, cell.vertices))
    operations = sum(label < 2 for label in cell.labels)
    assert network.ops.count("Conv") == 1 + 9 * (projections + operations)
    assert network.ops.count("Relu") == network.ops.count("Conv")
    assert network.ops.count("MaxPool") == 2 + 9 * cell.labels.count(2)
    joined = sum(cell.has(v, cell.vertices - 1) for v in range(1, cell.vertices - 1))
    assert network.ops.count("Concat") == (9 if joined > 1 else 0)
    # A scale and a shift a channel before they are folded, a bias after.
    norms = sum(network.attributes[k, 4] for k, op in enumerate(network.ops) if op == "Conv")
    assert network.total("params") + norms == graph.total("params")


def test_network_runs_and_reads_back_as_the_same_graph() -> None:
    import onnxruntime

    from nasplug.search_spaces.importers.onnx_graph import onnx_graph

    # Three vertices share 128 channels and one feeds another, so that one channel is cut.
    matrix = [[0, 1, 1, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [0] * 5]
    arch = NB.from_matrix(matrix, ["input", OPS[1], OPS[2], OPS[1], "output"])
    network, model = NB.to_network(arch), NB.to_onnx(arch, batch_size=2)
    assert "Slice" in network.ops
    read = onnx_graph(model)
    assert (read.ops, read.edges) == (network.ops, network.edges)
    assert np.array_equal(read.attributes, network.attributes)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    image = np.random.default_rng(0).standard_normal((2, 3, 32, 32), dtype=np.float32)
    (scores,) = session.run(None, {session.get_inputs()[0].name: image})
    assert scores.shape == (2, 10)
    assert np.isfinite(scores).all()
    assert not np.array_equal(scores[0], scores[1])


def test_network_latency_scores_cells() -> None:
    from nasplug import load_predictor

    predictor = load_predictor("network-latency").for_space(NB)
    small, large = NB[0], NB.parse(INCEPTION)
    latency = predictor.predict([small, large.text], "Titan RTX").mean[:, 0]
    assert 0 < latency[0] < latency[1] < 100
