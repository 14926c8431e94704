import json
import time

import numpy as np
import pytest

from experiments.timm import timm_graphs
from nasplug import datasets
from nasplug.datasets.importers.timm_networks import (
    TimmNetworks,
    networks_path,
    read_networks,
    write_networks,
)
from nasplug.search_spaces import ATTRIBUTES, Graph, InputError

GRAPH = Graph(("Input", "Output"), ((0, 1),), np.ones((2, len(ATTRIBUTES))))


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NASPLUG_CACHE", str(tmp_path))
    return tmp_path


def test_any_start_of_the_order_is_balanced():
    families = {f"a{k}": "a" for k in range(60)} | {f"b{k}": "b" for k in range(30)}
    families |= {f"c{k}": "c" for k in range(10)}
    keys = [(model, 224) for model in families]
    order = timm_graphs.balanced(keys, families)
    assert sorted(order) == sorted(keys)
    for start in (10, 20, 50):
        counts = [sum(families[model] == name for model, _ in order[:start]) for name in "abc"]
        assert np.allclose(counts, [0.6 * start, 0.3 * start, 0.1 * start], atol=1)


def test_one_size_a_model_below_the_giants(session_cache, mirror):
    one, every = timm_graphs.wanted("one"), timm_graphs.wanted("all")
    models = [model for model, _ in one]
    assert len(set(models)) == len(models)
    assert set(one) < set(every)
    table = datasets.load("timm-latency")
    rows = table[(table["device"] == "RTX 3090") & (table["mode"] == "amp nhwc pt240 cu124")]
    assert one[0] == (rows["model"].iloc[0], rows["image_size"].iloc[0])
    giants = rows[rows["gmacs"] >= 50]
    assert not set(zip(giants["model"], giants["image_size"], strict=True)) & set(every)


def test_what_fails_and_what_takes_too_long_is_noted(empty_cache, monkeypatch, capsys):
    end = time.process_time() + 60

    def build(model, size, device):
        while model == "slow" and time.process_time() < end:
            pass
        if model == "bad" or device == "meta":
            raise ValueError("no such thing")
        return GRAPH, 7

    monkeypatch.setattr(timm_graphs, "build", build)
    monkeypatch.setattr(timm_graphs, "version", lambda name: "1.0")
    keys = [("slow", 32), ("bad", 32), ("good", 32)]
    timm_graphs.build_all(keys, dict.fromkeys(("slow", "bad", "good"), "x"), seconds=0.2)
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert timm_graphs.paths(keys[0])[1].read_text() == "takes more than 0.2 s of processor time"
    assert timm_graphs.paths(keys[1])[1].read_text() == "ValueError: no such thing"
    whole, others = timm_graphs.pack_all({})
    assert others == []
    assert (whole.models, whole.image_sizes, whole.parameters) == (("good",), (32,), (7,))
    assert read_networks(networks_path()).graphs[0].ops == GRAPH.ops
    assert datasets.timm_families() == {"good": "x"}


def test_nothing_to_pack(empty_cache):
    with pytest.raises(InputError, match="holds no graph"):
        timm_graphs.pack_all({})


def test_rounding_of_the_table_is_no_disagreement():
    off = timm_graphs._beyond_rounding(np.array([0.104, 0.2, 1.1]), np.array([0.1, 0.1, 1.0]))
    assert np.allclose(off, [0, 0.95, 0.095])
    assert json.dumps(timm_graphs._summary(off))


def test_a_network_that_is_not_the_measured_one_is_left_out(empty_cache):
    networks = {"same": 11_690_000, "another": 15_410_000, "unknown": 7}
    for model, parameters in networks.items():
        one = TimmNetworks((model,), (224,), ("x",), (parameters,), (GRAPH,), "timm 1.0")
        write_networks(timm_graphs.paths((model, 224))[0], one)
    known = {("same", 224): (1.8, 11.69), ("another", 224): (2.7, 9.48)}
    whole, others = timm_graphs.pack_all(known)
    assert (whole.models, others) == (("same", "unknown"), ["another"])
    agreement = timm_graphs.agreement(whole, known)
    assert (agreement["networks"], agreement["compared"]) == (2, 1)
    assert agreement["module_parameters"]["agree_percent"] == 100
    assert [row["model"] for row in agreement["disagree"]] == ["same"]
