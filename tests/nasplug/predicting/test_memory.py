"""Memory of networks, by hand and beside what was measured."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from experiments import RESULTS
from nasplug import datasets
from nasplug.measurements.graphs import graph_of
from nasplug.predicting.allocated_memory import UNUSED, allocated_megabytes
from nasplug.predicting.memory import MemoryScorer, file_megabytes, memory_of
from nasplug.predictors.features.runtimes import Way
from nasplug.search_spaces import Graph, space
from nasplug.search_spaces.operators import Operator
from nasplug.search_spaces.pricing import network_graph

ENGINE = Way("tensorrt", "fp32")
EAGER = {torch.float32: Way("eager", "fp32"), torch.bfloat16: Way("eager", "bf16")}


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


class LiveTensors(TorchDispatchMode):
    """Count of the bytes of storages that live at the same time, weights left out."""

    def __init__(self, weights: torch.nn.Module) -> None:
        super().__init__()
        held = [*weights.parameters(), *weights.buffers()]
        # References, so that no other storage gets the place of a weight.
        self.left_out = [StorageWeakRef(tensor.untyped_storage()) for tensor in held]
        self.held: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def add(self, value: Any) -> None:
        left_out = {reference.cdata for reference in self.left_out}
        for tensor in value if isinstance(value, list | tuple) else [value]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                reference = StorageWeakRef(storage)
                if reference.cdata not in left_out:
                    self.held.setdefault(reference.cdata, (reference, storage.nbytes()))
        self.prune()
        self.peak = max(self.peak, sum(size for _, size in self.held.values()))

    def prune(self) -> None:
        self.held = {key: pair for key, pair in self.held.items() if not pair[0].expired()}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        self.prune()
        result = function(*args, **(kwargs or {}))
        self.add(result)
        return result


def language_model(name: str) -> tuple[Graph, Any, torch.nn.Module]:
    """The graph, module of the code, and network of the largest network of a space."""
    opened = space(name)
    arch = opened.parse("largest")
    names: dict[str, Any] = {"__name__": "language_model"}
    exec(compile(opened.to_code(arch), "code", "exec"), names)
    return opened.to_graph(arch), names, names["Network"]().eval()


def live_bytes(network: torch.nn.Module, tokens: torch.Tensor) -> int:
    live = LiveTensors(network)
    live.add(tokens)
    with torch.no_grad(), live:
        network(tokens)
    return live.peak


# Their peaks are in the attention, there with shared keys, in the words' scores, and in an MLP.
LANGUAGE_MODELS = {
    "gpt:embed=64,layers=3,heads=2|4,mlp=2|4,vocabulary=100,length=128": 0.005,
    "gpt:embed=64,layers=2,heads=4,kv_heads=2,vocabulary=100,length=128": 0.005,
    "gpt:embed=96,layers=4,heads=2,gated=0,vocabulary=2000,length=64": 0.0,
    "gpt:embed=128,layers=2,heads=1,mlp=8,vocabulary=300,length=128": 0.0,
}


@pytest.mark.parametrize(("name", "tolerance"), LANGUAGE_MODELS.items())
def test_the_peak_of_a_language_model_is_that_of_its_live_tensors(
    name: str, tolerance: float
) -> None:
    graph, _, network = language_model(name)
    length = space(name).choices.tokens
    measured = live_bytes(network, torch.zeros(3, length, dtype=torch.long))
    memory = memory_of(graph, 3, EAGER[torch.float32])
    # A fused attention also writes one number a head and token, half a percent of the tensors.
    assert memory.activations * 1e6 == pytest.approx(measured, rel=max(tolerance, 1e-9))
    weights = sum(4 * parameter.numel() for parameter in network.parameters())
    assert memory.weights * 1e6 == pytest.approx(weights, rel=1e-9)
    assert memory.caches == 0


def test_bf16_halves_all_but_the_tokens() -> None:
    graph, _, network = language_model(list(LANGUAGE_MODELS)[-1])
    network = network.to("meta").to(torch.bfloat16)
    measured = live_bytes(network, torch.zeros(2, 128, dtype=torch.long, device="meta"))
    memory = memory_of(graph, 2, EAGER[torch.bfloat16])
    assert memory.activations * 1e6 == pytest.approx(measured, rel=1e-9)


@pytest.mark.parametrize("way", [EAGER[torch.float32], Way("tensorrt", "fp16")])
@pytest.mark.parametrize(("kv_heads", "length"), [(0, 128), (2, 128), (2, 64)])
def test_a_step_holds_the_keys_and_values_of_all_layers(
    kv_heads: int, length: int, way: Way
) -> None:
    opened = space(
        f"gpt:embed=32,layers=3,heads=4,kv_heads={kv_heads},vocabulary=50,length={length}"
    )
    graph = opened.to_graph(opened.parse("largest"), "decode")
    each = 4 if way.precision == "fp32" else 2
    token = 2 * (kv_heads or 4) * 64 * each * 5
    memory = memory_of(graph, 5, way)
    assert memory.caches * 1e6 == pytest.approx(3 * token * (length - 1), rel=1e-9)
    # Beside them keys and values of a layer are joined with the new token.
    beside = memory.activations * 1e6 - 3 * token * (length - 1) - token * length
    assert 0 < beside < 5 * each * 64 * 40


def test_allocated_memory_is_within_three_percent_of_what_was_measured() -> None:
    for scale, most in (("s", 0.03), ("m", 0.04), ("l", 0.04)):
        opened = space(f"gpt:{scale}")
        rows = datasets.load(f"gpt-{scale}").iloc[::1000]
        found = [
            allocated_megabytes(opened.to_graph(opened.parse(text)), 8) for text in rows["arch"]
        ]
        off = np.abs(np.array(found) / rows["allocated_mb"].to_numpy() - 1)
        assert off.mean() < 0.015, scale
        assert off.max() < most, scale


def test_the_unused_bytes_are_those_that_the_experiment_learned() -> None:
    runs = json.loads((RESULTS / "language_memory.json").read_text(encoding="utf-8"))["runs"]
    learned = [run["unused_bytes"] for run in runs if run["seed"] == 0 and run["learned"]]
    assert set(learned) == {UNUSED}


def test_allocated_memory_of_small_tensors_is_exact() -> None:
    opened = space("gpt:embed=64,layers=1,heads=2,mlp=2,bias=1,vocabulary=100,length=128")
    graph = opened.to_graph(opened.parse("largest"))
    # Norms; then each matrix and bias, once in fp32 and once in bf16.
    counts = [64 * 384, 384, 128 * 64, 64, 64 * 128, 128, 64 * 128, 128, 128 * 64, 64, 64 * 100]
    sizes = [4 * 64] * 6 + [4 * 100 * 64, 2 * 128 * 8]
    sizes += [size * count for count in counts for size in (4, 2)]
    total = 8_519_680 + sum(-(-size // 512) * 512 for size in sizes)
    assert allocated_megabytes(graph, 2) * 1e6 == pytest.approx(total)
