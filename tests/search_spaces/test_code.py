"""Code of networks: counted as their graphs, formatted, and trained for two steps."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nasplug
from nasplug.search_spaces import Architecture, Graph, InputError, SearchSpace
from nasplug.search_spaces.code import filled
from nasplug.search_spaces.importers import torch_graph
from nasplug.search_spaces.networks.nasbench201 import network_as_written

SPACES = (
    *("nb201", "nb101", "fbnet", "ofa", "accel", "macro"),
    *(f"nnlqp:{name}" for name in nasplug.space("nnlqp").parts),
)
# Small networks of spaces whose parameters have no smallest values.
SMALL = {
    "nb201": "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|",
    "nb101": "0110001100010000:input,maxpool3x3,conv1x1-bn-relu,output",
    "fbnet": "|".join(["k3_e1_g2", "k3_e1"] + 19 * ["skip"] + ["k3_e1"]),
    "macro": "01020100",
    "nnlqp:nasbench201": "|nor_conv_1x1~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
}
TINY = (
    "gpt:embed=16|32,layers=1..2,heads=2|4,kv_heads=0|2,gated=0|1,"
    "vocabulary=50,context=12,head_size=8"
)

TINY_VIT = (
    "vit:embed=16|24,depth=1..3,heads=2|3,ratio=2|2.5,patch=4|6|8,resolution=16|24,"
    "head_size=8,per_layer=1"
)


@cache
def small(name: str) -> Architecture:
    """A small network of a space."""
    space = nasplug.space(name)
    if name in SMALL:
        return space.parse(SMALL[name])
    domains = space.distributions().items()
    return space.from_params(
        {n: getattr(d, "choices", [getattr(d, "low", 0)])[0] for n, d in domains}
    )


def run(code: str, name: str = "network") -> Any:
    """Run the code of a network, and return its names."""
    names: dict[str, Any] = {"__name__": name}
    exec(compile(code, name, "exec"), names)
    return SimpleNamespace(**names)


def network_of(space: SearchSpace, arch: Architecture, task: str) -> Graph:
    """The graph of all that the code of a network computes."""
    if space.name == "nb201":
        return network_as_written(arch, task)
    return space.to_network(arch, task)


def folded(network: nn.Module) -> int:
    """Number of parameters that go when batch normalisations are folded into convolutions."""
    pairs = [pair for layer in network.modules() for pair in pairwise(layer.children())]
    return sum(
        norm.num_features
        for conv, norm in pairs
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    )


def macs_of(network: nn.Module, images: torch.Tensor) -> int:
    """Multiply-accumulates of convolutions and linear layers."""
    counts: list[int] = []

    def add(layer: nn.Module, _: Any, output: torch.Tensor) -> None:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            counts.append(output.numel() * layer.weight[0].numel())

    for layer in network.modules():
        layer.register_forward_hook(add)
    network(images)
    return sum(counts)


def check_counts(space: SearchSpace, arch: Architecture, task: str, is_read: bool) -> None:
    """Compare the code of a network with its graph, also as the reader of modules reads it."""
    name, code = space.name, space.to_code(arch, task)
    module = run(code)
    # Neither weights nor images are needed to count.
    with torch.device("meta"):
        network, images = module.Network().eval(), torch.zeros(1, *module.IMAGE)
        macs = macs_of(network, images)
        read = torch_graph(module.Network().eval(), images) if is_read else None
    graph, trained = network_of(space, arch, task), sum(p.numel() for p in network.parameters())
    assert macs == graph.total("flops")
    left = trained - folded(network) - graph.total("params")
    # The last normalisation of a NAS-Bench-201 network goes too where one convolution precedes it.
    assert left == 0 or (name == "nnlqp:nasbench201" and left == 2 * 64)
    if read is not None:
        assert (read.total("flops"), read.total("params")) == (macs, trained)
        assert Counter(read.ops) == Counter(graph.ops)
    # The parameters of the benchmarks' cells are those that are trained.
    params = space.to_graph(arch, task).total("params")
    assert params == (trained if name in ("nb201", "nb101") else graph.total("params"))
    assert f"Parameters: {params:,.0f}" in code
    assert f"Multiply-accumulates: {macs:,} for an image of 3x" in code
    assert arch.text in code
    assert arch.arch_id in code


@pytest.mark.parametrize("name", SPACES)
def test_code_has_the_counts_of_the_graph(name: str) -> None:
    space = nasplug.space(name)
    check_counts(space, small(name), space.tasks[0], is_read=True)
    rng = np.random.default_rng(SPACES.index(name))
    for task in (*space.tasks, space.tasks[0]):
        check_counts(space, space.sample(rng), task, is_read=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
def test_code_of_many_networks_is_read_as_their_graphs(name: str) -> None:
    space, rng = nasplug.space(name), np.random.default_rng(0)
    archs = [space.sample(rng) for _ in range(30)]
    for k, arch in enumerate([*archs, *space.standards.values()]):
        check_counts(space, arch, space.tasks[k % len(space.tasks)], is_read=True)


@pytest.mark.parametrize("name", SPACES)
def test_networks_train(name: str) -> None:
    space = nasplug.space(name)
    module = run(space.to_code(small(name)))
    torch.manual_seed(0)
    network = module.Network(num_classes=3)
    images, labels = torch.rand(2, *module.IMAGE), torch.tensor([0, 2])
    before = [p.detach().clone() for p in network.parameters()]
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    for _ in range(2):
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert torch.isfinite(loss)
    changed = [not torch.equal(p, q) for p, q in zip(before, network.parameters(), strict=True)]
    assert all(torch.isfinite(p).all() for p in network.parameters())
    assert sum(changed) > len(changed) / 2


def test_code_is_formatted_and_needs_torch_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number, name in enumerate((*SPACES, "gpt:s", TINY, TINY_VIT)):
        space = nasplug.space(name)
        for k, arch in enumerate((small(name), *(space.sample(rng) for _ in range(3)))):
            code = space.to_code(arch)
            (tmp_path / f"network_{number}_{k}.py").write_text(code, encoding="utf-8")
            imported = {
                str(getattr(node, "module", None) or node.names[0].name).split(".")[0]
                for node in ast.walk(ast.parse(code))
                if isinstance(node, ast.Import | ast.ImportFrom)
            }
            assert imported <= {"itertools", "torch"}
    program = filled("train", {"NETWORK": "network_0_0.py", "SPACE": "macro"})
    (tmp_path / "train.py").write_text(program, encoding="utf-8")
    program = filled("train_tokens", {"NETWORK": "network_0_0.py", "SPACE": "gpt:s"})
    (tmp_path / "train_tokens.py").write_text(program, encoding="utf-8")
    # Unused imports and unknown names are mistakes of the filling.
    for words in (["format", "--check"], ["check", "--select", "F,I"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--isolated", "--no-cache", str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_a_module_that_is_run_prints_its_size(capsys: pytest.CaptureFixture[str]) -> None:
    space = nasplug.space("macro")
    arch = small("macro")
    run(space.to_code(arch), "__main__")
    graph = space.to_graph(arch)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "output: (1, 10)"
    assert lines[2].endswith(f"folded: {graph.total('params'):,.0f}")
    assert lines[3] == f"multiply-accumulates: {graph.total('flops'):,.0f}"


def test_language_models_have_the_counts_of_their_graphs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("gpt:s", 2), ("gpt:m,length=64", 1), (TINY, 4)):
        space = nasplug.space(name)
        for arch in (space.sample(rng) for _ in range(count)):
            code, graph = space.to_code(arch), space.to_graph(arch)
            params, macs = graph.total("params"), graph.total("flops")
            # Weights would take seconds to draw.
            with torch.device("meta"):
                run(code, "__main__")
            shape, *counts = capsys.readouterr().out.splitlines()
            length, words = space.choices.tokens, space.choices.vocabulary
            assert shape == f"output: (1, {length}, {words})"
            assert counts == [f"parameters: {params:,.0f}", f"multiply-accumulates: {macs:,.0f}"]
            assert f"\nParameters: {params:,.0f}\n" in code
            assert f"accumulates: {macs:,.0f} for a sequence of {length:,} tokens\n" in code
            assert space.to_code(arch, "decode") == code


def test_vision_transformers_have_the_counts_of_their_graphs_and_train(
    capsys: pytest.CaptureFixture[str],
) -> None:
    space = nasplug.space(TINY_VIT)
    arch = space.parse("depth=2,heads=2-3,ratio=2-2.5,patch=6")
    code, graph = space.to_code(arch), space.to_graph(arch)
    run(code, "__main__")
    params, macs = graph.total("params"), graph.total("flops")
    assert capsys.readouterr().out.splitlines() == [
        "output: (1, 1000)",
        f"parameters: {params:,.0f}",
        f"multiply-accumulates: {macs:,.0f}",
    ]
    assert f"\nParameters: {params:,.0f}\n" in code
    assert f"accumulates: {macs:,.0f} for an image of 3x24x24\n" in code
    module = run(code)
    read = torch_graph(module.Network().eval(), torch.zeros(1, *module.IMAGE))
    assert (read.ops, read.edges) == (graph.ops, graph.edges)
    assert np.array_equal(read.attributes, graph.attributes)
    torch.manual_seed(0)
    network = module.Network(num_classes=3)
    images, labels = torch.rand(2, *module.IMAGE), torch.tensor([0, 2])
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    losses = []
    for _ in range(3):
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[0]


# Names of a layer's weights in the ONNX models, and in the module.
WEIGHTS = {
    "norm_{}_scale": "norm_1.weight",
    "norm_{}_shift": "norm_1.bias",
    "mlp_norm_{}_scale": "norm_2.weight",
    "mlp_norm_{}_shift": "norm_2.bias",
    "qkv_{}_": "attention.qkv.",
    "joined_{}_": "attention.project.",
    "first_{}_": "mlp.first.",
    "raised_{}_": "mlp.raised.",
    "last_{}_": "mlp.last.",
}


def module_names(layers: int) -> dict[str, str]:
    """Names of the weights of a module, by their names in an ONNX model."""
    whole = {"embedding": "embedding.weight", "words": "words.weight"}
    whole |= {"norm_scale": "norm.weight", "norm_shift": "norm.bias"}
    for layer in range(layers):
        for name, place in WEIGHTS.items():
            kinds = ("weight", "bias") if name.endswith("_") else ("",)
            for kind in kinds:
                whole[name.format(layer + 1) + kind] = f"blocks.{layer}.{place}{kind}"
    return whole


@pytest.mark.parametrize(
    "text",
    [
        "embed=16,bias=1,kv_heads=0,gated=1,heads=24,mlp=23",
        "embed=32,bias=0,kv_heads=2,gated=0,heads=42,mlp=42",
    ],
)
def test_language_models_score_as_their_onnx_models(text: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    space = nasplug.space(TINY)
    arch = space.parse(text)
    network = run(space.to_code(arch)).Network()
    model = space.to_onnx(arch, batch_size=2)
    torch.manual_seed(0)
    weights = {name: p.data.normal_(std=0.5) for name, p in network.named_parameters()}
    written = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, place in module_names(layers=2).items():
        assert (name in written) == (place in weights)
        if name in written:
            # An ONNX model multiplies from the other side.
            is_linear = weights[place].dim() == 2 and name != "embedding"
            values = weights[place].T if is_linear else weights[place]
            assert list(values.shape) == list(written[name].dims)
            written[name].raw_data = values.contiguous().numpy().tobytes()
            del weights[place]
    assert not weights
    tokens = torch.randint(50, (2, 12))
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (expected,) = session.run(["output"], {"tokens": tokens.numpy()})
    with torch.no_grad():
        scores = network(tokens)
        earlier = network(tokens[:, :7])
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-4)
    torch.testing.assert_close(scores[:, :7], earlier, atol=1e-4, rtol=0)


def test_language_models_train_by_the_program_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    space = nasplug.space(TINY)
    (tmp_path / "net.py").write_text(space.to_code(space.standard), encoding="utf-8")
    random = torch.randint(50, (200,), generator=torch.Generator().manual_seed(0))
    names: dict[str, Any] = {"__name__": "train", "__file__": str(tmp_path / "train.py")}
    constants = {"NETWORK": "net.py", "SPACE": TINY, "STEPS": 2}
    exec(compile(filled("train_tokens", constants), "train", "exec"), names)
    names["data"] = lambda: (random[:150], random[150:], 50)
    perplexities = []
    for argument in ([], [space.standard.text], [json.dumps(space.to_params(space.standard))]):
        monkeypatch.setattr(sys, "argv", ["train.py", *argument])
        names["main"]()
        perplexities.append(json.loads(capsys.readouterr().out)["perplexity"])
    # Equal seeds train equal networks; random tokens cannot be foretold.
    assert perplexities == [perplexities[0]] * 3
    assert 40 < perplexities[0] < 80
    training, validation, words = run(filled("train_tokens", {})).data()
    assert len(training) > len(validation) > 129
    assert max(training.max(), validation.max()) < words


def test_parts_and_unions_write_the_code_of_their_networks() -> None:
    arch, part = small("nb201"), nasplug.space("nb201").fix(op_0_1="nor_conv_3x3")
    assert part.to_code(arch, "cifar100") == nasplug.space("nb201").to_code(arch, "cifar100")
    union = nasplug.space("nnlqp")
    inner = nasplug.space("nnlqp:resnet").standards["resnet50"]
    written = union.to_code(union.parse("resnet50"), "default")
    assert written == nasplug.space("nnlqp:resnet").to_code(inner)
    assert "class Bottleneck(nn.Module):" in written


def test_a_space_without_code_says_where_it_is() -> None:
    space = nasplug.space(lambda trial: nn.Linear(4, trial.suggest_int("width", 1, 3)), "1x4")
    arch = space.parse("width=2")
    assert not space.writes_code
    with pytest.raises(InputError, match="a function that builds them is itself the code"):
        space.to_code(arch)
