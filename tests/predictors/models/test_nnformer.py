"""The published networks against dense, one-graph-at-a-time readings of their formulas."""

import importlib.util

import numpy as np
import pytest
import torch
from torch.nn.functional import layer_norm, normalize

from nasplug.predictors.features.nodes import vocabulary_of
from nasplug.predictors.models.narformer_v2 import (
    NARFormerV2,
    NARFormerV2Config,
    NARFormerV2Latency,
    NARFormerV2LatencyConfig,
)
from nasplug.predictors.models.nnformer import NNFormer, NNFormerConfig
from nasplug.predictors.models.nnformer_latency import NNFormerLatency, NNFormerLatencyConfig
from nasplug.predictors.models.nnlp import NNLP, NNLPConfig
from nasplug.predictors.training.relabeling import relabeled
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.nb201 import NB201
from nasplug.search_spaces.simplify import prune

NB = NB201()
GRAPHS = [NB.to_graph(NB[i]) for i in range(0, 15_625, 500)]
VOCABULARY = vocabulary_of(GRAPHS)
needs_dgl = pytest.mark.skipif(
    importlib.util.find_spec("dgl") is None, reason="dgl has no wheel for this Python"
)


def make(network, config, backend="torch", **options):
    torch.manual_seed(0)
    model = network(config(VOCABULARY, dim=16, num_layers=2, **options), backend)
    with torch.no_grad():
        for name, value in model.named_parameters():
            # Scales that start at 1e-4 would hide what they scale.
            if name.endswith(("scale", "scales")):
                value.uniform_(0.5, 1.5)
    return model.double().eval()


BUILDERS = {
    "nnformer": lambda backend="torch", **o: make(NNFormer, NNFormerConfig, backend, **o),
    "nnformer-latency": lambda backend="torch", **o: make(
        NNFormerLatency, NNFormerLatencyConfig, backend, **o
    ),
    "narformer-v2": lambda backend="torch", **o: make(NARFormerV2, NARFormerV2Config, backend, **o),
    "narformer-v2-latency": lambda backend="torch", **o: make(
        NARFormerV2Latency, NARFormerV2LatencyConfig, backend, **o
    ),
    "nnlp": lambda backend="torch", **o: make(NNLP, NNLPConfig, backend, **o),
}


def run(model, graphs):
    return model(model.collate(model.prepare(graphs)))


@needs_dgl
@pytest.mark.parametrize("name", BUILDERS)
def test_backends_agree_forward_and_gradient(name):
    results = []
    for backend in ("torch", "dgl"):
        model = BUILDERS[name](backend)
        output = run(model, GRAPHS)
        output.pow(2).sum().backward()
        results.append((output.detach(), {n: p.grad for n, p in model.named_parameters()}))
    (first, first_grads), (second, second_grads) = results
    assert first.std() > 1e-5
    torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-12)
    for key, grad in first_grads.items():
        assert grad is not None, key
        torch.testing.assert_close(grad, second_grads[key], rtol=1e-8, atol=1e-10, msg=key)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_graph_alone_gets_what_it_gets_in_a_batch(name):
    model = BUILDERS[name]()
    together = run(model, GRAPHS).detach()
    for k in (0, 9, 21):
        torch.testing.assert_close(run(model, [GRAPHS[k]])[0].detach(), together[k])


@pytest.mark.parametrize("name", BUILDERS)
def test_node_order_matters_only_where_positions_are_coded(name):
    model = BUILDERS[name]()
    rng = np.random.default_rng(0)
    copies = [relabeled(graph, rng) for graph in GRAPHS]
    assert all(a.ops != b.ops or a.edges != b.edges for a, b in zip(GRAPHS, copies, strict=True))
    gap = (run(model, GRAPHS) - run(model, copies)).abs().max().item()
    if name == "narformer-v2":
        # Published: the tokens hold the position of a node in the list.
        assert gap > 1e-4
    else:
        assert gap < 1e-10


def adjacency(graph):
    return torch.from_numpy(graph.adjacency).double()


def code_of(model, graph):
    batch = model.collate([graph])
    return batch.codes.double(), batch.static.double()


def asma(part, x, masks):
    """Attention of one graph: `(nodes, dim)` states, one 0/1 mask a head (row attends)."""
    heads, dim = part.num_heads, x.shape[-1]
    q, k, v = part.qkv(x).chunk(3, dim=-1)
    outputs = []
    for head in range(heads):
        at = slice(head * dim // heads, (head + 1) * dim // heads)
        scores = q[:, at] @ k[:, at].T / (dim / heads) ** 0.5
        scores = scores.masked_fill(masks[head] == 0, -torch.inf)
        outputs.append(scores.softmax(-1) @ v[:, at])
    return part.out(torch.cat(outputs, dim=-1))


def bgiffn(part, x, a):
    forward, backward = part.gather(x).chunk(2, dim=-1)
    return part.lower(torch.relu(part.lift(x) + torch.cat([a @ forward, a.T @ backward], -1)))


def four_masks(a):
    eye = torch.eye(len(a), dtype=a.dtype)
    return [eye + m for m in (a, a.T, a.T @ a, a @ a.T)]


@pytest.mark.parametrize("sibling_mask", ["nodes", "padded"])
@pytest.mark.parametrize("readout", ["class", "nodes"])
def test_nnformer_is_the_formula(sibling_mask, readout):
    model = BUILDERS["nnformer"](sibling_mask=sibling_mask, readout=readout)
    for graph, got in zip(GRAPHS, run(model, GRAPHS), strict=True):
        pruned = prune(graph)
        n = len(pruned)
        a = torch.zeros(n + 2, n + 2).double()
        a[1:-1, 1:-1] = adjacency(pruned)
        tokens = torch.ones_like(a)
        tokens[1:-1, 1:-1] = 0
        if sibling_mask == "nodes":
            masks = [m + tokens for m in four_masks(a)]
        else:
            masks = four_masks(torch.maximum(a, tokens))
        ids = [VOCABULARY.index(op) for op in pruned.ops]
        # A one-hot times a matrix is a row of it.
        x = torch.cat(
            [
                model.class_token[None],
                model.embed_op.weight.T[ids],
                model.embed_depth.weight.T[[n]],
            ]
        )
        x = model.norm_in(x)
        for block in model.blocks:
            x = x + asma(block.attention, block.norm_attention(x), masks)
            x = x + bgiffn(block.ffn, block.norm_ffn(x), a)
        x = model.norm_out(x)
        read = x[0] if readout == "class" else x[1:-1].mean(0)
        torch.testing.assert_close(got, model.head(read) + 0.5)


def test_nnformer_latency_is_the_formula():
    model = BUILDERS["nnformer-latency"](images=8)
    for graph, got in zip(GRAPHS, run(model, GRAPHS), strict=True):
        a = adjacency(graph)
        codes, static = code_of(model, graph)
        x = model.embed(codes)
        for block in model.blocks:
            first, second = block.scales
            x = x + first * asma(block.attention, block.norm_attention(x), four_masks(a))
            x = x + second * bgiffn(block.ffn, block.norm_ffn(x), a)
        x = model.norm(x)
        up, down = model.readout[0], model.readout[3]
        summed = (0.01 * (down(torch.relu(up(x))) + x)).sum(0)
        z = torch.relu(model.head.lift[0](static[0]))
        hidden = torch.relu(model.head.layers[0](torch.cat([summed, z])))
        torch.testing.assert_close(got, torch.log1p(model.head.layers[3](hidden).exp()))


def grouped(part, x):
    groups = []
    for weight, bias, inner in zip(
        part.weight, part.bias, x.chunk(len(part.weight), dim=-1), strict=True
    ):
        groups.append(
            layer_norm(inner @ weight + bias, bias.shape, part.norm.weight, part.norm.bias)
        )
    return torch.cat(groups, dim=-1)


def narformer_layer(layer, x, a):
    x = x * torch.sigmoid(layer.gate(a.sum(1, keepdim=True)))
    s = torch.sigmoid(layer.score(x))
    t = s @ s.T / x.shape[-1] ** 0.5 * a
    t = t / (t.sum(1, keepdim=True) + 1e-6)
    out = (t @ x) @ layer.around.weight.T + layer.around.bias + x @ layer.root.weight.T
    x = torch.relu(out / out.norm(dim=1, keepdim=True))
    hidden = torch.relu(grouped(layer.ffn[0], layer.norm(x)))
    return x + layer.scale * grouped(layer.ffn[3], hidden)


def positive_head(head, graph, static):
    joined = torch.cat([graph, static if head.lift is None else torch.relu(head.lift[0](static))])
    for k in (0, 3):
        joined = torch.relu(head.layers[k](joined))
    return torch.log1p(head.layers[6](joined).exp())


def test_narformer_v2_is_the_formula():
    model = BUILDERS["narformer-v2"]()
    for graph, got in zip(GRAPHS, run(model, GRAPHS), strict=True):
        a = adjacency(graph) + adjacency(graph).T
        x, static = code_of(model, graph)
        pooled = []
        for layer in model.layers:
            x = narformer_layer(layer, x, a)
            pooled.append(x.mean(0))
        weights = model.weigh(torch.cat(pooled))
        mixed = sum(w * g for w, g in zip(weights, pooled, strict=True))
        torch.testing.assert_close(got, positive_head(model.head, mixed, static[0]))


def test_narformer_v2_latency_is_the_formula():
    model = BUILDERS["narformer-v2-latency"]()
    for graph, got in zip(GRAPHS, run(model, GRAPHS), strict=True):
        a = adjacency(graph) + adjacency(graph).T
        x, static = code_of(model, graph)
        for layer in model.layers:
            x = narformer_layer(layer, x, a)
        torch.testing.assert_close(got, positive_head(model.head, x.sum(0), static[0]))


@pytest.mark.parametrize("lift_static", [True, False])
def test_nnlp_is_the_formula(lift_static):
    model = BUILDERS["nnlp"](lift_static=lift_static)
    for graph, got in zip(GRAPHS, run(model, GRAPHS), strict=True):
        a = adjacency(graph) + adjacency(graph).T
        x, static = code_of(model, graph)
        for layer in model.layers:
            mean = a @ x / a.sum(1, keepdim=True)
            x = torch.relu(normalize(layer.around(mean) + layer.root(x), dim=1))
        torch.testing.assert_close(got, positive_head(model.head, x.sum(0), static[0]))


def test_published_sizes():
    def linear(width_in, width_out):
        return width_in * width_out + width_out

    def count(model):
        return sum(p.numel() for p in model.parameters())

    assert count(NNFormer(NNFormerConfig(VOCABULARY))) == 4_934_081

    attention, feed_forward = 4 * linear(512, 512), 2 * linear(512, 2048) + linear(2048, 512)
    block = attention + feed_forward + 2 * 2 * 512 + 2 * 512
    readout = 2 * 512 + linear(512, 1024) + linear(1024, 512)
    head = linear(40, 512) + linear(1024, 512) + linear(512, 1)
    expected = linear(192, 512) + 2 * block + readout + head
    assert count(NNFormerLatency(NNFormerLatencyConfig(VOCABULARY))) == expected == 10_104_321

    def layer(width):
        mix = linear(1, width) + linear(width, width) + linear(width, 512) + width * 512
        grouped_maps = 2 * 512 * 2048 // 8 + 2048 + 512 + 2 * 256 + 2 * 64
        return mix + grouped_maps + 2 * 512 + 512

    weigh = linear(6 * 512, 768) + linear(768, 6)
    head = 2 * linear(512, 512) + linear(512, 1)
    expected = layer(128) + 5 * layer(512) + weigh + head
    assert count(NARFormerV2(NARFormerV2Config(VOCABULARY))) == expected == 8_582_535
    head = linear(40, 512) + linear(1024, 512) + linear(512, 512) + linear(512, 1)
    expected = layer(152) + layer(512) + head
    latency = NARFormerV2Latency(NARFormerV2LatencyConfig(VOCABULARY))
    assert count(latency) == expected == 2_310_921

    sage = 2 * (44 * 512 + 512 * 512) + 2 * 512
    head = linear(4, 512) + linear(1024, 512) + linear(512, 512) + linear(512, 1)
    assert count(NNLP(NNLPConfig(VOCABULARY))) == sage + head == 1_360_897


def test_dropout_reaches_attention_weights_on_both_backends():
    for backend in ("torch", *(["dgl"] if importlib.util.find_spec("dgl") else [])):
        model = BUILDERS["nnformer"](backend, dropout=0.0).train()
        calm = run(model, GRAPHS)
        torch.testing.assert_close(calm, run(model, GRAPHS))
        for block in model.blocks:
            block.attention.attention_dropout = 0.5
        assert (run(model, GRAPHS) - calm).abs().max() > 1e-6
        torch.testing.assert_close(run(model.eval(), GRAPHS), calm)


def test_a_node_without_edges_is_finite():
    lonely = Graph(("input", "none", "output"), ((0, 2),))
    for build in BUILDERS.values():
        model = build()
        output = run(model, [lonely, GRAPHS[0]])
        output.sum().backward()
        assert output.isfinite().all()
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("name", ["nnformer", "nnformer-latency", "narformer-v2-latency", "nnlp"])
def test_too_many_operation_types_are_refused(name):
    network = type(BUILDERS[name]())
    config = type(BUILDERS[name]().config)
    with pytest.raises(InputError, match="33 operation types|at most 32"):
        network(config(tuple(f"op{k}" for k in range(33))))


@pytest.mark.parametrize("name", BUILDERS)
def test_an_unknown_operation_is_named(name):
    with pytest.raises(InputError, match="'conv9x9'"):
        run(BUILDERS[name](), [Graph(("input", "conv9x9"), ((0, 1),))])


def test_choices_and_widths_are_checked():
    with pytest.raises(InputError, match="readout is 'mean'"):
        BUILDERS["nnformer"](readout="mean")
    with pytest.raises(InputError, match="not multiples of groups 5"):
        BUILDERS["narformer-v2"](groups=5)
