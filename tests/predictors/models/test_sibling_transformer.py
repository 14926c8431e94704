"""Both models on both backends: equal numbers, equal graphs equal predictions."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nasplug.predictors.features.devices import HARDWARE_FEATURES
from nasplug.predictors.features.nodes import vocabulary_of
from nasplug.predictors.layers.backends import BACKENDS, choose_backend, layout
from nasplug.predictors.layers.batch import GraphBatch
from nasplug.predictors.models.nnformer import NNFormer, NNFormerConfig
from nasplug.predictors.models.sibling_transformer import (
    SiblingTransformer,
    SiblingTransformerConfig,
)
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.nb201 import NB201

NB = NB201()
GRAPHS = [NB.to_graph(NB[i]) for i in range(0, 15_625, 400)]
VOCABULARY = vocabulary_of(GRAPHS)
needs_dgl = pytest.mark.skipif(
    importlib.util.find_spec("dgl") is None, reason="dgl has no wheel for this Python"
)


def sibling(backend="torch", **options):
    torch.manual_seed(0)
    config = SiblingTransformerConfig(VOCABULARY, ("a", "b"), dim=16, num_layers=2, **options)
    return SiblingTransformer(config, backend).double().eval()


def nnformer(backend="torch", **options):
    torch.manual_seed(0)
    config = NNFormerConfig(VOCABULARY, dim=16, num_layers=2, **options)
    return NNFormer(config, backend).double().eval()


def run(model, graphs, *more):
    return model(model.collate(model.prepare(graphs)), *more)


@needs_dgl
@pytest.mark.parametrize(
    "build",
    [
        sibling,
        nnformer,
        lambda backend: nnformer(backend, sibling_mask="padded"),
        lambda backend: nnformer(backend, num_heads=8),
        lambda backend: sibling(backend, simplified=False),
    ],
)
def test_backends_agree_forward_and_gradient(build):
    results = []
    for backend in ("torch", "dgl"):
        model = build(backend)
        output = run(model, GRAPHS)
        output.pow(2).sum().backward()
        grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        results.append((output.detach(), grads))
    (first, first_grads), (second, second_grads) = results
    assert first.std() > 1e-4
    torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-12)
    assert first_grads.keys() == second_grads.keys()
    for name, grad in first_grads.items():
        torch.testing.assert_close(grad, second_grads[name], rtol=1e-8, atol=1e-10, msg=name)


@needs_dgl
def test_backends_agree_with_a_device():
    hardware, index = torch.randn(3, HARDWARE_FEATURES).double(), torch.tensor([0, -1, 1])
    outputs = []
    for backend in ("torch", "dgl"):
        model = sibling(backend, hardware=True, devices=("x@1", "y@1"))
        with torch.no_grad():
            model.head.own.normal_(generator=torch.Generator().manual_seed(1))
        outputs.append(run(model, GRAPHS, hardware, index).detach())
    assert outputs[0].shape == (len(GRAPHS), 3)
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("build", [sibling, nnformer])
def test_a_graph_alone_gets_what_it_gets_in_a_batch(build):
    model = build()
    together = run(model, GRAPHS).detach()
    for k in (0, 7, 20):
        torch.testing.assert_close(run(model, [GRAPHS[k]])[0].detach(), together[k])


@given(st.integers(0, 15_624), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_relabelled_graphs_get_the_same_prediction(index, seed):
    graph = NB.to_graph(NB[index])
    rng = np.random.default_rng(seed)
    waiting, order = set(range(1, 7)), [0]
    while waiting:
        free = [n for n in waiting if not any(b == n and a in waiting for a, b in graph.edges)]
        order.append(int(rng.choice(sorted(free))))
        waiting.remove(order[-1])
    other = graph.relabel([*order, 7])
    for model in (sibling(), sibling(simplified=False), nnformer()):
        first, second = run(model, [graph, other]).detach()
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-11)


def test_equal_functions_get_the_same_prediction():
    model = sibling()
    group = NB.equivalents(
        NB.parse("|none~0|+|none~0|skip_connect~1|+|nor_conv_3x3~0|none~1|none~2|")
    )
    assert len(group) > 3
    outputs = run(model, [NB.to_graph(arch) for arch in group]).detach()
    torch.testing.assert_close(outputs, outputs[:1].expand_as(outputs))


def test_every_relation_and_direction_matters():
    # If a relation's edges were ignored, changing them could not change the output.
    model = nnformer()
    batch = model.collate(model.prepare(GRAPHS))
    base = model(batch).detach()
    for r in range(len(batch.relations)):
        loops = torch.arange(len(batch.graph_of)).repeat(2, 1)
        relations = tuple(loops if k == r else e for k, e in enumerate(batch.relations))
        changed = GraphBatch(
            batch.ops,
            batch.features,
            batch.token,
            batch.graph_of,
            batch.sizes,
            relations,
            batch.edges,
        )
        assert (model(changed) - base).abs().max() > 1e-7
    reversed_edges = GraphBatch(
        batch.ops,
        batch.features,
        batch.token,
        batch.graph_of,
        batch.sizes,
        batch.relations,
        batch.edges.flip(0),
    )
    assert (model(reversed_edges) - base).abs().max() > 1e-7


def test_attention_is_the_formula():
    """Each node's output is the softmax-weighted mean over exactly the nodes of its relation."""
    batch = GraphBatch.collate(GRAPHS[:3], VOCABULARY)
    form = layout(batch, "torch")
    n = len(batch.graph_of)
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(n, 8, generator=g).double() for _ in range(3))
    heads = [form.enter(x).unflatten(-1, (4, 2)) for x in (q, k, v)]
    got = form.leave(form.attend(*heads, (0, 1, 2, 3)).flatten(-2))
    for head, relation in enumerate(batch.relations):
        columns = slice(2 * head, 2 * head + 2)
        for i in range(n):
            keys = relation[0][relation[1] == i]
            weights = (k[keys, columns] @ q[i, columns] / 2**0.5).softmax(0)
            torch.testing.assert_close(got[i, columns], weights @ v[keys, columns])


def test_published_size():
    config = NNFormerConfig(VOCABULARY)
    model = NNFormer(config)
    assert sum(p.numel() for p in model.parameters()) == 4_934_081
    assert sum(p.numel() for p in model.blocks.parameters()) == 4_922_880


def test_nnformer_drops_what_none_disconnects():
    model = nnformer()
    dead = NB.parse("|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|none~2|")
    assert model.prepare([NB.to_graph(dead)])[0].ops == ("input", "output")


def test_unknown_operation_is_named():
    with pytest.raises(InputError, match="'conv9x9'.*this predictor knows"):
        GraphBatch.collate([Graph(("input", "conv9x9"), ((0, 1),))], VOCABULARY)


def test_head_count_must_divide_the_width():
    with pytest.raises(InputError, match="multiple of num_heads"):
        nnformer(num_heads=5)


def test_choice_of_backend(monkeypatch):
    assert choose_backend("auto", mean_size=8) == "torch"
    assert choose_backend("torch", mean_size=1000) == "torch"
    with pytest.raises(InputError, match=f"unknown backend 'jax'.*{BACKENDS[0]}"):
        choose_backend("jax")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert choose_backend("auto", mean_size=1000) == "torch"
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    with pytest.raises(InputError, match="Python 3.10 and 3.11"):
        choose_backend("dgl")
    monkeypatch.setattr(sys, "version_info", (3, 11, 1))
    with pytest.raises(InputError, match="dgl==1.1.3"):
        choose_backend("dgl")
