"""The space macro, against the files of Blox."""

import json
from pathlib import Path

import numpy as np
import pytest

from nasplug.search_spaces import InputError, space


def test_macro_networks_are_the_benchmarks(mirror: Path):
    (file,) = mirror.glob("xiusu/NAS-Bench-Macro/*/data/nas-bench-macro_cifar10.json")
    data = json.loads(file.read_text())
    macro = space("macro")
    groups: dict[str, set[float]] = {}
    for arch in macro:
        graph = macro.to_graph(arch)
        entry = data[arch.text]
        convs = np.array([op == "Conv" for op in graph.ops])
        # Every convolution has a norm of two numbers a channel, of which folding leaves one.
        folded = graph.attribute("out_channels")[convs].sum()
        assert graph.total("params") + folded == entry["params"]
        assert graph.total("flops") == entry["flops"]
        groups.setdefault(arch.arch_id, set()).add(entry["mean_acc"])
    assert len(groups) == 3_969
    # The benchmark, too, gives one accuracy to all encodings of a network.
    assert all(len(accuracies) == 1 for accuracies in groups.values())


def test_macro_encoding():
    macro = space("macro")
    assert macro.to_params(macro.parse("02012100"))["block_2"] == "mb6_k5"
    assert macro.parse("00012100").arch_id != macro.parse("02012100").arch_id
    assert macro.parse("00010200").arch_id == macro.parse("00001200").arch_id
    # An identity into a stage is a convolution.
    assert macro.parse("00010200").arch_id != macro.parse("00100200").arch_id
    assert macro.to_graph(macro.parse("00000000")).ops.count("Conv") == 1 + 3 + 1
    for text in ("0201210", "02012103", "020121000", "٠٠٠٠٠٠٠٠"):
        with pytest.raises(InputError, match="eight digits"):
            macro.parse(text)
