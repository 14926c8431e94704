"""Memory of networks, by hand and beside what was measured."""

from __future__ import annotations

import json

import numpy as np
import pytest

from experiments import RESULTS
from nasplug.measurements.graphs import graph_of
from nasplug.predicting.memory import MemoryScorer, file_megabytes, memory_of
from nasplug.predictors.features.runtimes import Way
from nasplug.search_spaces import Graph
from nasplug.search_spaces.operators import Operator
from nasplug.search_spaces.pricing import network_graph

ENGINE = Way("tensorrt", "fp32")


def network(*nodes: tuple[str, tuple[int, ...], tuple[int, ...], tuple[int, ...]]) -> Graph:
    """A network of operators: type, shape of the output, inputs, shape of the weights."""
    operators = [
        Operator(op, inputs, shape, weights=weights) for op, shape, inputs, weights in nodes
    ]
    return network_graph(operators, [len(operators) - 1])


def test_a_chain_holds_two_tensors_at_a_time() -> None:
    graph = network(
        ("Input", (1, 1, 10, 10), (), ()),
        ("Conv", (1, 50, 10, 10), (0,), (50, 1, 1, 1)),
        ("Conv", (1, 20, 10, 10), (1,), (20, 50, 1, 1)),
        ("Conv", (1, 5, 10, 10), (2,), (5, 20, 1, 1)),
    )
    # An engine frees the image after its reader; the caller of a framework keeps it.
    assert memory_of(graph, 1, ENGINE).activations * 1e6 == 4 * 100 * (50 + 20)
    assert memory_of(graph, 8).activations * 1e6 == 8 * 4 * 100 * (1 + 50 + 20)
    assert memory_of(graph).weights * 1e6 == 4 * (50 + 1000 + 100)


def test_a_tensor_lives_until_its_last_reader() -> None:
    graph = network(
        ("Input", (1, 1, 10, 10), (), ()),
        ("Conv", (1, 50, 10, 10), (0,), (50, 1, 1, 1)),
        ("Conv", (1, 90, 10, 10), (1,), (90, 50, 1, 1)),
        ("Conv", (1, 50, 10, 10), (2,), (50, 90, 1, 1)),
        ("Add", (1, 50, 10, 10), (1, 3), ()),
    )
    assert memory_of(graph, 1, ENGINE).activations * 1e6 == 4 * 100 * (50 + 90 + 50)


def test_activations_overwrite_their_inputs() -> None:
    def with_activation(op: str) -> Graph:
        return network(
            ("Input", (1, 1, 10, 10), (), ()),
            ("Conv", (1, 50, 10, 10), (0,), (50, 1, 1, 1)),
            (op, (1, 50, 10, 10), (1,), ()),
        )

    relu, gelu = with_activation("Relu"), with_activation("Gelu")
    assert memory_of(relu).activations * 1e6 == 4 * 100 * 51
    assert memory_of(gelu).activations * 1e6 == 4 * 100 * 101
    assert memory_of(gelu, 1, ENGINE).activations * 1e6 == 4 * 100 * 51


@pytest.mark.parametrize(
    ("precision", "weights", "activations"),
    [("fp16", 2, 2), ("int8", 1, 1), ("w8a16", 1, 2), ("int4", 0.5, 2), ("tf32", 4, 4)],
)
def test_precisions_have_their_bytes(precision: str, weights: float, activations: float) -> None:
    graph = graph_of("timm:resnet18@224")
    whole = memory_of(graph, 8, ENGINE)
    asked = memory_of(graph, 8, Way("tensorrt", precision))
    assert asked.weights == pytest.approx(whole.weights * weights / 4)
    assert asked.activations == pytest.approx(whole.activations * activations / 4)
    size = file_megabytes(graph.total("params"), Way("", precision))
    assert size == pytest.approx(weights * 11_689_512 / 1e6)


def test_scores_of_attention_are_not_written() -> None:
    memory = memory_of(graph_of("timm:vit_tiny_patch16_224@224"), 1, ENGINE)
    graph = graph_of("timm:vit_tiny_patch16_224@224")
    scores = max(
        float(np.prod(row[4:7]))
        for op, row in zip(graph.ops, graph.attributes, strict=True)
        if op == "Softmax"
    )
    assert memory.activations * 1e6 < 4 * (2 * scores + 197 * 192 * 8)


def test_memory_is_within_a_tenth_of_what_was_measured() -> None:
    rows = json.loads((RESULTS / "peak_memory.json").read_text(encoding="utf-8"))["rows"]
    assert len({row["network"] for row in rows}) == 20
    for row in rows:
        memory = memory_of(graph_of(f"timm:{row['network']}@{row['side']}"), row["batch"])
        assert memory.total == pytest.approx(row["computed_mb"], rel=1e-9)
        assert memory.total == pytest.approx(row["measured_mb"], rel=0.1)


def test_a_scorer_gives_totals() -> None:
    graphs = [graph_of("timm:resnet18@224"), graph_of("timm:resnet50@224")]
    predicted = MemoryScorer(ENGINE).predict(graphs, batch_size=2)
    totals = [memory_of(graph, 2, ENGINE).total for graph in graphs]
    np.testing.assert_allclose(predicted.mean[:, 0], totals)
    assert (predicted.targets, predicted.units) == (("memory",), ("MB",))
