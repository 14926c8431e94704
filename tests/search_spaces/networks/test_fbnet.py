"""The space fbnet: encodings, sizes, and the networks of the paper."""

import json
from pathlib import Path

import numpy as np
import pytest

from nasplug.search_spaces import InputError, space

FBNET_0 = [7, 8, 1, 8, 4, 8, 8, 8, 7, 4, 1, 4, 7, 3, 2, 7, 3, 2, 4, 2, 4, 5]


def test_fbnet_encodings():
    fbnet = space("fbnet")
    arch = fbnet.parse(json.dumps(FBNET_0))
    assert arch.text.startswith("k5_e6|skip|k3_e1_g2|skip|")
    assert fbnet.parse(arch.text) == fbnet.parse(json.dumps(arch.text.split("|"))) == arch
    for bad, words in (
        (json.dumps(FBNET_0[:-1]), "write 22 of"),
        (json.dumps([*FBNET_0[:-1], 9]), "operation 9 in"),
        (json.dumps([*FBNET_0[:-1], True]), "operation True in"),
        (json.dumps([*FBNET_0[:-1], [1]]), r"operation \[1\] in"),
        (arch.text.replace("k5_e6", "k9_e6", 1), "operation 'k9_e6'"),
    ):
        with pytest.raises(InputError, match=words):
            fbnet.parse(bad)


def test_fbnet_skips_within_a_stage_do_not_count():
    fbnet = space("fbnet")
    ops = fbnet.parse(json.dumps(FBNET_0)).text.split("|")
    moved = [ops[0], ops[3], ops[2], ops[1], ops[4], *ops[5:]]
    assert ops[1] == ops[3] == "skip"
    moved[1:4] = ["skip", "skip", ops[2]]
    # The first of a stage is a convolution: two skips behind it may come in any order.
    assert fbnet.parse("|".join(moved)).arch_id == fbnet.parse("|".join(ops)).arch_id
    moved[1:4] = [ops[2], "skip", "skip"]
    assert fbnet.parse("|".join(moved)).arch_id != fbnet.parse("|".join(ops)).arch_id


def test_fbnet_macro_architecture():
    fbnet = space("fbnet")
    skips = fbnet.parse("|".join(["skip"] * 22))
    graph = fbnet.to_graph(skips)
    convs = [k for k, op in enumerate(graph.ops) if op == "Conv"]
    assert graph.attribute("out_channels")[convs].tolist() == [
        *(16, 24, 32, 64, 112, 184, 352, 1504),
    ]
    assert graph.attribute("height")[convs].tolist() == [32, 32, 16, 8, 8, 4, 4, 4]
    large = fbnet.to_graph(skips, "imagenet")
    assert large.attribute("height")[convs].tolist() == [112, 56, 28, 14, 14, 7, 7, 7]
    assert large.attribute("out_channels")[convs[-1]] == 1984
    assert large.attribute("out_channels")[-2] == 1000
    grouped = fbnet.to_graph(fbnet.parse("|".join(["k3_e1_g2"] + ["skip"] * 21)))
    assert grouped.ops[:9] == (
        *("Input", "Conv", "Relu", "Conv", "Relu", "Reshape", "Transpose", "Reshape", "Conv"),
    )
    assert grouped.attribute("groups")[[3, 8]].tolist() == [2, 16]


def test_fbnet_sizes_agree_with_the_cost_model_of_the_fpga(mirror: Path):
    torch = pytest.importorskip("torch")
    (folder,) = mirror.glob("HayeonLee/HELP/*/data/fbnet")
    archs = torch.load(folder / "arch.pt", weights_only=True)[:200]
    latency = torch.load(folder / "latency" / "fpga.pt", weights_only=True)[:200]
    fbnet = space("fbnet")
    flops = [fbnet.to_graph(fbnet.parse(json.dumps(one))).total("flops") for one in archs]
    assert rank_correlation(flops, latency) > 0.97


def rank_correlation(a: list[float], b: list[float]) -> float:
    def ranks(values):
        return np.argsort(np.argsort(values))

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])
