"""Each dynamic mode against the dense formula, and on both backends."""

import importlib.util

import pytest
import torch

from nasplug.predictors.features.nodes import vocabulary_of
from nasplug.predictors.layers.backends import layout
from nasplug.predictors.layers.batch import GraphBatch
from nasplug.predictors.layers.dynamic import DYNAMIC_MODES, DynamicAttention, DynamicBlock
from nasplug.predictors.layers.relations import RELATIONS
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.nb201 import NB201

NB = NB201()
# Of different sizes, so that there is padding.
GRAPHS = [
    NB.to_graph(NB[7]),
    Graph(("input", "output"), ((0, 1),)),
    Graph(("input", "none", "nor_conv_3x3", "output"), ((0, 1), (0, 2), (1, 3), (2, 3))),
]
VOCABULARY = vocabulary_of([*GRAPHS, NB.to_graph(NB[1])])
WIDTH, HEADS = 12, 4
needs_dgl = pytest.mark.skipif(
    importlib.util.find_spec("dgl") is None, reason="dgl has no wheel for this Python"
)


def attention(mode, **options):
    torch.manual_seed(0)
    module = DynamicAttention(WIDTH, HEADS, mode, **options).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.6)
    return module


def states(batch):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(len(batch.graph_of), WIDTH, generator=generator).double()


def masks(batch):
    """Relations as dense matrices over all nodes of the batch, row = attends."""
    n = len(batch.graph_of)
    result = torch.zeros(len(RELATIONS), n, n, dtype=torch.bool)
    for r, (key, query) in enumerate(batch.relations):
        result[r, query, key] = True
    return result


def formula(module, x, batch):
    """The module's output, graph by graph and head by head, from its docstring."""
    relation = masks(batch)
    out = torch.zeros_like(x)
    for g in range(len(batch)):
        nodes = (batch.graph_of == g).nonzero()[:, 0]
        q, k, v = module.qkv(x[nodes]).reshape(len(nodes), 3, HEADS, -1).unbind(1)
        own = relation[:, nodes][:, :, nodes]
        heads = []
        for h, r in enumerate(module.head_relation):
            score = q[:, h] @ k[:, h].T / (WIDTH // HEADS) ** 0.5
            m = own[r].double()
            if module.mode == "static":
                weight = score.masked_fill(m == 0, -torch.inf).softmax(-1)
            elif module.mode == "gate":
                gate = m * torch.sigmoid(score)
                weight = gate / gate.sum(-1, keepdim=True)
            elif module.mode == "mixture":
                alpha = torch.sigmoid(module.balance[h])
                static = m / m.sum(-1, keepdim=True)
                weight = alpha * static + (1 - alpha) * score.softmax(-1)
            else:
                biases = module.relation_bias[h]
                used = own[list(module.relations)].double()
                shift = sum(b * u for b, u in zip(biases, used, strict=True))
                weight = (score + shift).softmax(-1)
                if module.mode == "sparse":
                    weight = (weight - 0.5 / len(nodes)).clamp(min=0)
                    weight = weight / weight.sum(-1, keepdim=True)
            heads.append(weight @ v[:, h])
        out[nodes] = module.out(torch.cat(heads, dim=-1))
    return out


@pytest.mark.parametrize("backend", ["torch", pytest.param("dgl", marks=needs_dgl)])
@pytest.mark.parametrize("relations", [RELATIONS, RELATIONS[:2], RELATIONS[1:]])
@pytest.mark.parametrize("mode", DYNAMIC_MODES)
def test_attention_is_the_formula(mode, relations, backend):
    batch = GraphBatch.collate(GRAPHS, VOCABULARY)
    module = attention(mode, relations=relations)
    x = states(batch)
    form = layout(batch, backend)
    got = form.leave(module(form.enter(x), form))
    torch.testing.assert_close(got, formula(module, x, batch))


@needs_dgl
@pytest.mark.parametrize("mode", DYNAMIC_MODES)
def test_backends_agree_forward_and_gradient(mode):
    batch = GraphBatch.collate(GRAPHS, VOCABULARY)
    results = []
    for backend in ("torch", "dgl"):
        torch.manual_seed(0)
        block = DynamicBlock(WIDTH, HEADS, mode, ffn_ratio=2.0).double()
        x = states(batch).requires_grad_()
        form = layout(batch, backend)
        output = form.leave(block(form.enter(x), form))
        output.pow(2).sum().backward()
        results.append([output.detach(), x.grad, *(p.grad for p in block.parameters())])
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-12)


@needs_dgl
def test_pairs_of_both_backends():
    batch = GraphBatch.collate(GRAPHS, VOCABULARY)
    padded, dgl = layout(batch, "torch"), layout(batch, "dgl")
    real = torch.zeros(len(batch), int(batch.sizes.max()), dtype=torch.bool)
    for g, size in enumerate(batch.sizes):
        real[g, :size] = True
    inside = real[:, :, None] & real[:, None]
    assert torch.equal(padded.pair_relations()[inside], dgl.pair_relations())


@pytest.mark.parametrize("mode", [m for m in DYNAMIC_MODES if m != "static"])
def test_adjacency_depends_on_the_states_and_sums_to_one(mode):
    batch = GraphBatch.collate(GRAPHS, VOCABULARY)
    module, form = attention(mode), layout(batch, "torch")
    found = []
    for scale in (1.0, 2.0):
        x = form.enter(states(batch) * scale)
        q, k, _ = module.qkv(x).unflatten(-1, (3, HEADS, -1)).unbind(-3)
        found.append(module.adjacency(q, k, form))
    first, second = found
    assert (first - second).abs().max() > 1e-3
    rows = form.leave(first.sum(2))
    torch.testing.assert_close(rows, torch.ones_like(rows))


def test_support_of_the_modes():
    batch = GraphBatch.collate(GRAPHS[:1], VOCABULARY)
    form = layout(batch, "torch")
    q, k, _ = attention("gate").qkv(form.enter(states(batch))).unflatten(-1, (3, 4, -1)).unbind(-3)
    gate = attention("gate").adjacency(q, k, form)[0].permute(2, 0, 1)
    assert torch.equal(gate > 0, masks(batch))
    assert (attention("mixture").adjacency(q, k, form) > 0).all()
    assert (attention("bias").adjacency(q, k, form) > 0).all()
    share = (attention("sparse").adjacency(q, k, form) > 0).double().mean()
    assert 0.1 < share < 0.9


def test_heads_without_siblings_use_edges_alone():
    assert attention("bias").head_relation == (0, 1, 2, 3)
    assert attention("bias", relations=RELATIONS[:2]).head_relation == (0, 1, 0, 1)
    assert attention("bias", relations=RELATIONS[:2]).relation_bias.shape == (4, 2)


def test_unknown_mode_is_refused():
    with pytest.raises(InputError, match="unknown dynamic mode 'magic'; known: static, gate"):
        DynamicAttention(8, 4, "magic")
