"""The LeDG-Former-style network: parts, backends, batches, training, stored weights."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nasplug import datasets
from nasplug.devices.hardware import hardware
from nasplug.predictors.accuracy.transformer_ensemble import AccuracyConfig, AccuracyPredictor
from nasplug.predictors.checkpoint import load_checkpoint
from nasplug.predictors.features import language
from nasplug.predictors.features.devices import HARDWARE_FEATURES, hardware_features
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.cell_latency import LatencyConfig, LatencyPredictor
from nasplug.predictors.layers.dynamic import DYNAMIC_MODES
from nasplug.predictors.models.ledgformer import (
    LeDGFormer,
    LeDGFormerConfig,
    platform_features,
)
from nasplug.predictors.published.factories import ledgformer
from nasplug.predictors.training.config import TrainingConfig
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.nb201 import NB201

NB = NB201()
GRAPHS = [NB.to_graph(NB[i]) for i in range(0, 15_625, 400)]
DEVICES = ("RTX 3090", "Pixel 3", "Raspberry Pi 4")
needs_dgl = pytest.mark.skipif(
    importlib.util.find_spec("dgl") is None, reason="dgl has no wheel for this Python"
)


def build(backend="torch", **options):
    torch.manual_seed(0)
    fields = {"dim": 16, "num_layers": 2, **options}
    model = LeDGFormer(LeDGFormerConfig(("a", "b"), ("x", "y"), **fields), backend)
    return model.double().eval()


def run(model, graphs, *more):
    return model(model.collate(model.prepare(graphs)), *more)


def described(names=DEVICES):
    rows = [platform_features(hardware(name), 1) for name in names]
    return torch.from_numpy(np.stack(rows)).double()


@needs_dgl
@pytest.mark.parametrize("mode", DYNAMIC_MODES)
def test_backends_agree_forward_and_gradient(mode):
    results = []
    for backend in ("torch", "dgl"):
        model = build(backend, dynamic=mode)
        output = run(model, GRAPHS)
        output.pow(2).sum().backward()
        results.append([output.detach(), *(p.grad for p in model.parameters())])
    assert results[0][0].std() > 1e-4
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("mode", DYNAMIC_MODES)
def test_a_graph_alone_gets_what_it_gets_in_a_batch(mode):
    model = build(dynamic=mode)
    together = run(model, GRAPHS).detach()
    for k in (0, 7, 20):
        torch.testing.assert_close(run(model, [GRAPHS[k]])[0].detach(), together[k])


def test_a_selected_batch_is_a_collated_one():
    model = build()
    prepared = model.prepare(GRAPHS)
    chosen = [5, 2, 2, 30]
    first = model(model.collate(prepared).select(chosen))
    second = model(model.collate([prepared[k] for k in chosen]).to("cpu"))
    torch.testing.assert_close(first, second)


@given(st.integers(0, 15_624), st.integers(0, 2**32 - 1), st.sampled_from(DYNAMIC_MODES))
@settings(max_examples=25)
def test_relabelled_graphs_get_the_same_prediction(index, seed, mode):
    graph = NB.to_graph(NB[index])
    rng = np.random.default_rng(seed)
    waiting, order = set(range(1, 7)), [0]
    while waiting:
        free = [n for n in waiting if not any(b == n and a in waiting for a, b in graph.edges)]
        order.append(int(rng.choice(sorted(free))))
        waiting.remove(order[-1])
    first, second = run(build(dynamic=mode, simplified=False), [graph, graph.relabel([*order, 7])])
    torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("part", ["text", "numbers", "learned"])
def test_nodes_by_one_part_alone(part):
    options = {"text": False, "numbers": False, "learned": False, part: True}
    model = build(**options)
    model.config = replace(model.config, vocabulary=("a", "b"))
    graphs = [Graph(("a", "b"), ((0, 1),)), Graph(("b", "b"), ((0, 1),))]
    if part == "numbers":
        graphs[1].attributes[0, 0] = 3.0
    if part == "text":
        graphs = [Graph(("Conv", "Add"), ((0, 1),)), Graph(("Gemm", "Add"), ((0, 1),))]
    first, second = run(model, graphs)
    assert (first - second).abs().max() > 1e-6


def test_an_operation_that_was_never_seen_has_a_text():
    assert (
        run(build(), [Graph(("input", "HardSwish", "output"), ((0, 1), (1, 2)))]).isfinite().all()
    )
    with pytest.raises(InputError, match="unknown operation 'input'"):
        run(build(learned=True), GRAPHS[:1])


def test_nothing_to_read_is_refused():
    with pytest.raises(InputError, match="nodes have no features"):
        build(text=False, numbers=False)
    with pytest.raises(InputError, match="unknown language model 'bert'"):
        build(language_model="bert")
    with pytest.raises(InputError, match="unknown dynamic mode 'x'"):
        build(dynamic="x")


def test_devices_by_their_parts():
    index = torch.full((3,), -1)
    for text, numbers in ((True, True), (True, False), (False, True)):
        model = build(hardware=True, devices=("d@1",), platform_text=text, platform_numbers=numbers)
        rows = described()
        base = run(model, GRAPHS[:2], rows, index).detach()
        assert base.shape == (2, 3)
        for part, used in ((slice(HARDWARE_FEATURES, None), text), (slice(0, 3), numbers)):
            other = rows.clone()
            other[:, part] += 1.0
            changed = run(model, GRAPHS[:2], other, index).detach()
            assert torch.equal(changed, base) != used


def test_batch_size_is_a_number_in_any_case():
    model = build(hardware=True, devices=(), platform_numbers=False)
    gpu = hardware("RTX 3090")
    rows = torch.from_numpy(np.stack([platform_features(gpu, b) for b in (1, 256)])).double()
    one, many = run(model, GRAPHS[:1], rows, torch.tensor([-1, -1]))[0]
    assert one != many


def test_platform_features_are_numbers_then_text():
    gpu = hardware("RTX 3090")
    row = platform_features(gpu, 32)
    np.testing.assert_array_equal(row[:HARDWARE_FEATURES], hardware_features(gpu, 32))
    vector = language.embed_texts([language.hardware_text(gpu)])[0]
    np.testing.assert_array_equal(row[HARDWARE_FEATURES:], vector)


def test_stored_weights_give_the_same_numbers_without_a_language_model(monkeypatch, tmp_path):
    model = build()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    monkeypatch.setattr(language, "load_wordllama", lambda: None)
    language._cache("wordllama").clear()
    torch.manual_seed(9)
    other = LeDGFormer(model.config, "torch").double().eval()
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    torch.testing.assert_close(run(other, GRAPHS), run(model, GRAPHS))


@pytest.mark.parametrize("options", [{}, {"platform_text": False, "dynamic": "gate"}])
def test_latency_predictor_with_this_network(options, tmp_path):
    rng = np.random.default_rng(0)
    columns = [Setting(hardware(name)) for name in DEVICES[:2]]
    graphs = [NB.to_graph(NB[int(k)]) for k in rng.permutation(15_625)[:80]]
    cost = np.array([graph.total("flops") for graph in graphs])
    truth = (1 + cost / cost.max())[:, None] * np.array([1.0, 20.0])
    training = TrainingConfig(epochs=2, batch_size=32, rank_weight=0.0)
    config = LatencyConfig(
        members=1, dim=16, num_layers=1, training=training, network="ledg", options=options
    )
    predictor = LatencyPredictor(config)
    predictor.fit(graphs, truth, columns, progress=False)
    predictor.set_zero_shot({"other": np.linspace(-0.1, 0.1, 101)})
    predictor.save(tmp_path / "p")
    loaded = LatencyPredictor.from_checkpoint(load_checkpoint(tmp_path / "p"))
    everywhere = [Setting(hardware(name)) for name in DEVICES]
    np.testing.assert_allclose(
        loaded.log_latency(graphs, everywhere), predictor.log_latency(graphs, everywhere), rtol=1e-6
    )
    own = hardware("RTX 3090")
    assert not loaded.predict(graphs, own).zero_shot
    with pytest.raises(InputError, match="was not measured"):
        # another text is another device
        loaded.predict(graphs, replace(own, microarchitecture="Turing"))


def test_factory_of_an_accuracy_predictor(tmp_path):
    predictor = ledgformer(
        "accuracy", ("a",), members=1, dim=16, epochs=2, dynamic="gate", text=False, learned=True
    )
    assert predictor.config.training.epochs == 2
    rng = np.random.default_rng(0)
    graphs = [NB.to_graph(NB[int(k)]) for k in rng.permutation(15_625)[:80]]
    predictor.fit(graphs, np.array([graph.total("flops") for graph in graphs]), progress=False)
    predictor.save(tmp_path / "p")
    loaded = AccuracyPredictor.from_checkpoint(load_checkpoint(tmp_path / "p"))
    np.testing.assert_allclose(loaded.predict(graphs).mean, predictor.predict(graphs).mean)


def test_factory_of_a_latency_predictor():
    predictor = ledgformer("latency", platform_text=False, learning_rate=1e-3)
    assert predictor.config.options == {"platform_text": False}
    assert predictor.config.training.learning_rate == 1e-3
    for wrong, message in (
        ({"kind": "energy"}, "unknown kind 'energy'"),
        ({"depth": 3}, "unknown option 'depth'; known: .*dynamic"),
        ({"kind": "latency", "targets": ("x",)}, "the single target latency"),
    ):
        with pytest.raises(InputError, match=message):
            ledgformer(**wrong)


def test_unknown_network_is_refused():
    with pytest.raises(InputError, match="unknown network 'x'; known: sibling, ledg"):
        AccuracyPredictor(AccuracyConfig(network="x"))
    with pytest.raises(InputError, match="unknown network 'x'; known: sibling, ledg"):
        LatencyPredictor(LatencyConfig(network="x"))


def test_learns_to_rank_real_cells(nb201_cache):
    from scipy.stats import kendalltau, norm, rankdata

    table = datasets.load("nb201-accuracy")["cifar10_val"].to_numpy()
    order = np.random.default_rng(0).permutation(15_625)[:600]
    torch.manual_seed(0)
    model = LeDGFormer(LeDGFormerConfig((), ("accuracy",), dim=32, num_layers=2), "torch")
    batch = model.collate(model.prepare([NB.to_graph(NB[int(k)]) for k in order]))
    scores = norm.ppf((rankdata(table[order[:100]]) - 0.5) / 100)
    goal = torch.tensor(scores, dtype=torch.float32)
    train = batch.select(range(100))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        loss = (model(train)[:, 0] - goal).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        found = model.eval()(batch.select(range(100, 600)))[:, 0].numpy()
    assert kendalltau(found, table[order[100:]])[0] > 0.3
