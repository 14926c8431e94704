"""The space accel, against the files of Accel-NASBench."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from nasplug.search_spaces import InputError, space


def accel_results(mirror: Path, step: int) -> list[dict]:
    (file,) = mirror.glob("afzalxo/Accel-NASBench/*/anb_dataset/anb_dataset_jsons.tar.gz")
    with tarfile.open(file) as archive:
        members = sorted((m for m in archive if m.isfile()), key=lambda m: m.name)
        return [json.loads(archive.extractfile(m).read()) for m in members[::step]]


def test_accel_networks_are_the_benchmarks(mirror: Path):
    accel = space("accel")
    results = accel_results(mirror, step=11)
    excited = 0
    for result in results:
        arch = accel.parse(json.dumps(result["architecture"]))
        assert accel.parse(arch.text) == arch
        assert accel.to_params(arch) == result["architecture"]
        graph = accel.to_graph(arch)
        size = graph.attribute("height") * graph.attribute("width")
        channels = graph.attribute("out_channels")
        ops = np.array(graph.ops)
        normed = (ops == "Conv") & (size > 1)
        pooled = {b: size[a] for a, b in graph.edges if graph.ops[b] == "GlobalAveragePool"}
        excited += len(pooled) > 1
        params = graph.total("params") + channels[normed].sum()
        assert params / 1e6 == pytest.approx(result["model_info"]["params"], abs=1e-9)
        # The benchmark's counter adds four for each normalised number, and pooling's sums.
        macs = graph.total("flops") + 4 * (channels * size)[normed].sum()
        macs += sum((pixels + 1) * channels[b] for b, pixels in pooled.items())
        assert macs / 1e6 == pytest.approx(result["model_info"]["macs"], abs=1e-9)
    assert len(results) > 450
    assert excited > 100


def test_accel_encoding():
    accel = space("accel")
    text = "e=6,4,6,6,6,1,1;k=3,5,3,5,5,3,3;l=1,2,3,3,2,2,2;se=0,0,0,1,0,0,0"
    params = accel.to_params(accel.parse(text))
    assert (params["block1_e"], params["block1_k"], params["block3_se"]) == (4, 5, True)
    assert accel.parse(text).text == text
    for bad, words in (
        (text.replace("l=1,2,3,3,2,2,2", "l=4,2,3,3,2,2,2"), "'block0_l' is 4, not one of 1, 2, 3"),
        (text.replace("se=0,", "se=2,"), "'block0_se' is 2, not one of false, true"),
        (text[:-2], "seven numbers each"),
        (text.replace("e=6", "e=-6", 1), "seven numbers each"),
        ('{"block0_e": 6}', "'block0_k' is None"),
    ):
        with pytest.raises(InputError, match=words):
            accel.parse(bad)
    assert accel.parse(text.replace("2,2,2;", "2,4,2;"))  # the one block with a fourth layer
