"""Graphs of references: sizes and costs of operators, counts of language models."""

import random
from pathlib import Path

import pandas as pd
import pytest

from nasplug import InputError
from nasplug.datasets.measurements import shipped_measurements
from nasplug.measurements.graphs import graph_of, has_graph
from nasplug.measurements.references import gpt_reference, network_reference, sizes

ROWS = Path(__file__).parents[2] / "data" / "measurements"
# Kernels that are no operators of a graph.
WITHOUT = ("llm.emb", "llm.attn_rope", "rnn", "lstm", "gru")


def costs(reference):
    graph = graph_of(reference)
    return graph.ops[:-1], graph.total("macs"), graph.total("params")


@pytest.mark.parametrize(
    ("reference", "ops", "macs", "params"),
    [
        ("op:linear{M=8,K=64,N=32,bias=1}", ("Input", "Gemm"), 64 * 32, 64 * 32 + 32),
        ("op:gemm{M=8,N=32,K=64}", ("Input", "Gemm"), 64 * 32, 64 * 32),
        # A vendor's columns: C[M, N], where N is the batch.
        ("op:gemm{M=100,N=8,K=64,transA=N,transB=T}", ("Input", "Gemm"), 6400, 6400),
        ("op:bmm{B=4,M=5,K=7,N=3}", ("Input", "Input", "MatMul"), 5 * 7 * 3, 0),
        (
            "op:conv2d{N=2,Cin=8,Cout=16,K=3,H=10,stride=1,pad=1,bias=0}",
            ("Input", "Conv"),
            16 * 8 * 9 * 100,
            16 * 8 * 9,
        ),
        (
            "op:conv2d{W=700,H=161,Cin=1,N=4,Cout=32,Kh=5,Kw=20,padh=0,padw=0,sh=2,sw=2}",
            ("Input", "Conv"),
            32 * 5 * 20 * 79 * 341,
            32 * 5 * 20,
        ),
        ("op:softmax{rows=4,cols=9}", ("Input", "Softmax"), 0, 0),
        ("op:layernorm{rows=4,cols=9}", ("Input", "LayerNormalization"), 0, 18),
        ("op:add{rows=4,cols=9}", ("Input", "Input", "Add"), 0, 0),
        ("op:add_scalar{rows=4,cols=9}", ("Input", "Add"), 0, 0),
    ],
)
def test_operators(reference, ops, macs, params):
    assert costs(reference) == (ops, macs, params)


def test_attention():
    graph = graph_of("op:attention.prefill{B=2,S=16,heads=8,kv_heads=2,head_dim=32,causal=1}")
    assert graph.total("macs") == 2 * 8 * 16 * 16 * 32
    assert [op for op in graph.ops if op not in ("Input", "Output")] == [
        "MatMul",
        "Softmax",
        "MatMul",
    ]


def test_layers_of_a_sharded_model():
    text = "tokens=64,tp=2,n_embd=4096,n_expanded=11008,n_head=32,n_kv_head=32,gated=1"
    assert graph_of(f"op:llm.attn_pre_proj{{{text}}}").total("macs") == 4096 * 3 * 4096 / 2
    assert graph_of(f"op:llm.mlp_up_proj{{{text}}}").total("macs") == 4096 * 11008


def test_operators_of_the_table():
    references = [r for r in shipped_measurements().values["graph"] if r.startswith("op:")]
    for reference in random.Random(0).sample(references, 300):
        if reference[3:].startswith(WITHOUT):
            with pytest.raises(InputError, match="none that a graph has"):
                graph_of(reference)
        else:
            graph = graph_of(reference)
            assert graph.attribute("bytes").max() > 0


def test_language_models_have_the_counts_of_their_source():
    table = pd.read_csv(ROWS / "hwgpt_30000.csv", dtype={"heads": str, "mlp": str})
    batches = {"s": 8, "m": 4, "l": 1}
    for row in table.itertuples():
        graph = graph_of(gpt_reference(row.embed, row.heads, row.mlp, row.bias))
        # The source leaves the products inside of attention out.
        pairs = zip(graph.ops, graph.attribute("macs"), strict=True)
        macs = sum(macs for op, macs in pairs if op != "MatMul")
        assert macs * batches[row.scale] == row.macs
        assert graph.total("params") == row.params


def test_networks_of_packages():
    graph = graph_of("timm:resnet50@224")
    assert graph.total("params") == 25_557_032
    assert has_graph("timm:resnet50@224")
    assert not has_graph("timm:resnet50")


@pytest.mark.parametrize("reference", ["op:gelu{rows=1,cols=8}", "op:add_scalar{rows=1,cols=8}"])
def test_operators_with_a_graph(reference):
    assert has_graph(reference)
    assert len(graph_of(reference)) >= 3
    assert not has_graph(reference.replace("op:", "op:un"))


def test_cells():
    arch = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|"
    assert len(graph_of(f"nb201:{arch}")) > 3


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("timm:no_such@224", "no graph of the network 'timm:no_such@224' is known"),
        ("op:conv3d{N=1}", "'conv3d' is none that a graph has"),
        ("gpt:embed=1", "no reference of a language model"),
        ("gpt:embed=192,bias=0,heads=cc,mlp=4", "no reference of a language model"),
    ],
)
def test_references_without_a_graph(reference, text):
    with pytest.raises(InputError, match=text):
        graph_of(reference)


@pytest.mark.parametrize(
    ("source", "shape", "reference"),
    [
        ("torchvision:resnet50", "3x224x224", "torchvision:resnet50@224"),
        ("timm:x", "3x512x1024", "timm:x@512x1024"),
        ("transformers:bert", "1x384", "transformers:bert@384"),
        ("transformers:bert", "", "transformers:bert"),
        ("unknown", "3x224x224", ""),
        ("qai_hub_models:act", "3x4x4", ""),
        ("ncnn:benchmark/models/alexnet.param", "3x227x227", "ncnn:alexnet"),
    ],
)
def test_network_references(source, shape, reference):
    assert network_reference(source, shape) == reference


def test_sizes_leave_the_batch_out():
    assert sizes("12x3x224x224") == "3x224x224"
    assert sizes("1 x 3 x 8 x 8", has_batch=False) == "1x3x8x8"
    assert sizes("80x3000 (30 seconds audio)") == "80x3000 (30 seconds audio)"
