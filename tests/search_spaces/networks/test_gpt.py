"""The spaces of language models: choices, texts, graphs, and ONNX models that run."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nasplug
from nasplug.predicting.zoo import load_shipped
from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers.onnx_graph import onnx_graph
from nasplug.search_spaces.networks.gpt import GPTSpace, gpt_graph
from nasplug.testing import check_space

TINY = {
    "embed": (16, 32),
    "layers": (1, 2),
    "heads": (2, 4),
    "kv_heads": (0, 2),
    "gated": (False, True),
    "vocabulary": 50,
    "context": 12,
    "head_size": 8,
}
BATCHES = {"s": 8, "m": 4, "l": 1}


def published(mirror: Path, rows: int | None = None) -> pd.DataFrame:
    """Networks of HW-GPT-Bench with the counts of their source; so many of each scale."""
    file = mirror.parent / "derived" / "hwgpt_30000.csv.gz"
    if not file.is_file():
        pytest.skip("the table of HW-GPT-Bench is not beside the mirror")
    columns = ["scale", "embed", "heads", "mlp", "bias", "params", "macs"]
    table = pd.read_csv(file, usecols=columns)
    return table if rows is None else table.groupby("scale").sample(rows, random_state=0)


def check_counts(table: pd.DataFrame) -> None:
    spaces = {scale: nasplug.space(f"gpt:{scale}") for scale in BATCHES}
    for row in table.itertuples():
        heads, mlp = row.heads.split(), row.mlp.split()
        params = {"embed": row.embed, "layers": len(heads), "bias": bool(row.bias)}
        params |= {f"heads_{k}": int(value) for k, value in enumerate(heads, 1)}
        params |= {f"mlp_{k}": int(value) for k, value in enumerate(mlp, 1)}
        space = spaces[row.scale]
        arch = space.from_params(params)
        graph = space.to_graph(arch)
        # The source leaves the products inside of attention out.
        pairs = zip(graph.ops, graph.attribute("macs"), strict=True)
        macs = sum(macs for op, macs in pairs if op != "MatMul")
        assert macs * BATCHES[row.scale] == row.macs, arch.text
        assert graph.total("params") == row.params, arch.text
        assert space.choices.model(params).params == row.params


def test_counts_are_those_of_the_benchmark(mirror: Path):
    check_counts(published(mirror, rows=100))


@pytest.mark.slow
def test_counts_of_all_networks_are_those_of_the_benchmark(mirror: Path):
    table = published(mirror)
    assert len(table) == 30_000
    check_counts(table)


def test_own_choices_keep_the_contract():
    check_space(GPTSpace(**TINY))


@pytest.mark.parametrize("scale", BATCHES)
def test_scales(scale):
    space = nasplug.space(f"gpt:{scale}")
    arch = space.sample(np.random.default_rng(0))
    assert space.parse(arch.text) == space.parse(f"gpt:{arch.text}") == arch
    assert space.from_params(space.to_params(arch)) == arch
    mutant = space.mutate(arch, np.random.default_rng(1))
    assert mutant in space.neighbors(arch)
    layers = len(arch.text.rpartition("=")[2])
    described = {
        "sample_embed_dim": space.to_params(arch)["embed"],
        "sample_n_layer": layers,
        "sample_bias": space.to_params(arch)["bias"],
        # The benchmark's lists are as long as the deepest network's.
        "sample_n_head": [space.to_params(arch)[f"heads_{k}"] for k in range(1, layers + 1)] + [4],
        "sample_mlp_ratio": [space.to_params(arch)[f"mlp_{k}"] for k in range(1, layers + 1)] + [2],
    }
    assert space.parse(json.dumps(described)) == arch
    graphs = space.to_graph(arch), gpt_graph(arch.text)
    assert graphs[0].ops == graphs[1].ops
    assert np.array_equal(graphs[0].attributes, graphs[1].attributes)


def test_layers_that_are_missing_do_not_count():
    space = nasplug.space("gpt:s")
    params = space.to_params(space.parse("smallest"))
    assert params["layers"] == 10
    other = space.from_params({**params, "heads_11": 4, "mlp_12": 2})
    assert other == space.from_params(params)
    assert (
        other.arch_id == space.from_params({k: params[k] for k in params if "_12" not in k}).arch_id
    )
    deeper = space.from_params({**params, "layers": 11, "heads_11": 4})
    assert deeper != space.from_params({**params, "layers": 11, "heads_11": 8})


def test_a_step_reads_one_token_and_the_cache():
    space = nasplug.space("gpt:s,length=256")
    arch = space.parse("smallest")
    whole, step = (space.to_graph(arch, task) for task in ("prefill", "decode"))
    assert whole.total("params") == step.total("params")
    counts = [
        sum(m for op, m in zip(g.ops, g.attribute("macs"), strict=True) if op != "MatMul")
        for g in (whole, step)
    ]
    assert counts[0] == 256 * counts[1]
    # Keys and values of 255 tokens, four heads of 64 numbers and ten layers.
    caches = step.attribute("out_channels") * step.attribute("height") * step.attribute("width")
    is_cache = np.array(step.ops) == "Input"
    assert caches[is_cache][1:].sum() == 2 * 255 * 4 * 64 * 10
    assert nasplug.space("gpt:s,length=1024") is nasplug.space("gpt:s")


def test_a_part_of_a_scale_has_its_networks_and_perplexities():
    whole, part = nasplug.space("gpt:s"), nasplug.space("gpt:s,layers=11..12,embed=768|384,bias=1")
    assert part.name == "gpt:s,embed=384|768,layers=11|12,bias=1"
    assert nasplug.space(part.name) is part
    assert nasplug.space("gpt:s,embed=768|384|192,gated=1") is whole
    rng = np.random.default_rng(0)
    for _ in range(20):
        arch = part.sample(rng)
        same = whole.parse(arch.text)
        assert "embed=192" not in arch.text
        assert "bias=1" in arch.text
        assert part.to_graph(arch).total("params") == whole.to_graph(same).total("params")
    with pytest.raises(InputError):
        part.parse(whole.standards["smallest"].text)
    of_part, of_whole = (load_shipped(space, "perplexity") for space in (part, whole))
    assert of_part.predict([arch]).mean == of_whole.predict([same]).mean


@pytest.mark.parametrize(
    "text",
    [
        "embed=16,bias=1,kv_heads=0,gated=1,heads=24,mlp=23",
        "embed=32,bias=0,kv_heads=2,gated=0,heads=42,mlp=42",
    ],
)
def test_onnx_models_run_and_steps_continue_a_prompt(text):
    runtime = pytest.importorskip("onnxruntime")
    tokens = np.array([[3, 1, 4, 1], [2, 7, 1, 8]])

    def run(length: int, task: str, **values):
        space = GPTSpace(**TINY, length=length)
        model = space.to_onnx(space.parse(text), seed=1, batch_size=2, task=task)
        session = runtime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        read = onnx_graph(model)
        graph = space.to_graph(space.parse(text), task)
        constants = 3 * len(read)
        assert 0 <= read.total("params") - graph.total("params") <= constants
        assert read.total("macs") == graph.total("macs")
        return dict(zip(names, session.run(None, values), strict=True))

    whole = run(4, "prefill", tokens=tokens)["output"]
    assert whole.shape == (2, 4, 50)
    cache: dict = {}
    for k in range(4):
        outputs = run(k + 1, "decode", tokens=tokens[:, k : k + 1], **cache)
        cache = {f"{name}_cache": v for name, v in outputs.items() if name != "output"}
        np.testing.assert_allclose(outputs["output"][:, 0], whole[:, k], atol=1e-4)


def test_large_models_are_not_written():
    space = nasplug.space("gpt:l")
    with pytest.raises(InputError, match="an ONNX file holds at most 2 GB"):
        space.to_onnx(space.parse("largest"))


def test_numbers_beyond_a_digit_are_joined_by_dashes():
    space = nasplug.space("gpt:embed=64,layers=1..2,heads=12|40,mlp=4")
    arch = space.parse("embed=64,bias=1,heads=12-40,mlp=44")
    assert arch.text == "embed=64,bias=1,heads=12-40,mlp=44"
    single = space.from_params({**space.to_params(arch), "layers": 1, "heads_1": 40})
    assert space.parse(single.text) == single


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpt:xl", "unknown scale 'xl' of language models; known: l, s, m"),
        ("gpt:heads=4|6,kv_heads=4", "4 heads of keys and values do not divide 6 query heads"),
        ("gpt:s,length=2048", "2,048 tokens is beyond the context of 1,024"),
        ("gpt:s,embed=384|512", r"which has embed=192\|384\|768 alone; choose among these, or"),
        ("gpt:s,kv_heads=2", "which has kv_heads=0 alone"),
        ("gpt:context=64,length=65", "65 tokens is beyond the context of 64"),
        ("gpt:layer=3", "unknown choice 'layer' of a language model; known: layers"),
        ("gpt:layers=2.5", "no whole number and no range as 4..6"),
        ("gpt:layers=6..4", "give the smaller number first"),
        ("gpt:layers=1,layers=2", "layers is given twice"),
        ("gpt:bias=2", "it may be 0 and 1 alone"),
        ("gpt:embed=0", "embed 0 is not a whole number of at least 1"),
        ("gpt:length=1|2", "give one number"),
        ("gpt:head_size=12", "no multiple of 8"),
    ],
)
def test_impossible_choices_are_refused(name, words):
    with pytest.raises(InputError, match=words):
        nasplug.space(name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("embed=192,bias=0,heads=cc,mlp=44", "'layers' is 2, not one of 10, 11, 12"),
        ("embed=192,bias=0,heads=cc,mlp=4", "heads of 2 layers and the MLPs of 1"),
        ("embed=192,bias=0,heads=4-x,mlp=44", "not a language model"),
        ("embed=192,bias=0,heads=cccccccccc,mlp=5444444444", "'mlp_1' is 5"),
        ('{"sample_n_layer": 10}', "not a language model"),
        ("", "an empty string is not a language model"),
    ],
)
def test_impossible_networks_are_refused(text, words):
    with pytest.raises(InputError, match=words):
        nasplug.space("gpt:s").parse(text)


def test_choices_of_python():
    with pytest.raises(InputError, match="unknown choice 'depth'"):
        GPTSpace(depth=(1, 2))
    with pytest.raises(InputError, match="give a list of values"):
        GPTSpace(layers="12")
    space = GPTSpace(layers=[2, 1, 2], embed=(64,))
    assert space.name == "gpt:embed=64,layers=1|2"
    assert nasplug.space(space.name).distributions() == space.distributions()
