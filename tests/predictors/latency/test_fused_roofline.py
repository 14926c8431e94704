"""The roofline of fused kernels."""

import numpy as np
import pytest

from nasplug import hardware, space
from nasplug.predictors.features.settings import RUNTIMES, Setting, parse_runtime
from nasplug.predictors.latency import fused_roofline
from nasplug.predictors.latency.fused_roofline import PARTS, START, FusedRoofline, fusion_of
from nasplug.search_spaces import ATTRIBUTES, Graph

NAMES = ("Titan X", "V100", "RTX 3090", "RTX 4090", "T4", "A100 40GB")
NUMBERS = {name: value for name, (value, _) in START.items()}
USUAL = FusedRoofline(NUMBERS, {}, ("copies",))
RNG = np.random.default_rng(0)
GRAPHS = [
    s.to_graph(s.sample(RNG))
    for s in (space(f"nnlqp:{name}") for name in ("resnet", "mobilenetv2", "vgg"))
]


def ms(name, runtime="", batch=64, source=""):
    columns = [Setting(hardware(name), batch, parse_runtime(runtime or "float32"))] * len(GRAPHS)
    return np.exp(USUAL.log_latency(GRAPHS, columns, [source] * len(GRAPHS)))


@pytest.mark.parametrize("parts", [PARTS, ()])
def test_a_gpu_that_was_left_out_is_predicted_from_others(monkeypatch, parts):
    monkeypatch.setattr(fused_roofline, "STEPS", 80)
    slow = {
        name: value * (0.5 if name.startswith("efficiency") or name == "memory" else 1)
        for name, value in NUMBERS.items()
    }
    pairs = [
        (graph, Setting(hardware(name), batch, runtime))
        for name in NAMES
        for batch in (1, 64)
        for runtime in ("", "amp", "tensorrt")
        for graph in GRAPHS
    ]
    graphs, columns = zip(*pairs, strict=True)
    truth = FusedRoofline(slow, {}, (), parts).log_latency(graphs, columns)
    left = np.array([column.hardware.name == "RTX 4090" for column in columns])
    known = np.flatnonzero(~left)
    learned = FusedRoofline.of(
        [graphs[k] for k in known],
        [columns[k] for k in known],
        np.exp(truth[known]),
        ["here"] * len(known),
        parts=parts,
    )
    before = np.abs(USUAL.log_latency(graphs, columns) - truth)[left].mean()
    after = np.abs(learned.log_latency(graphs, columns) - truth)[left].mean()
    assert after < 0.2 < before


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_it_grows_with_the_batch(runtime):
    for name in NAMES:
        times = [ms(name, runtime, batch) for batch in (1, 2, 3, 16, 500)]
        assert (np.diff(times, axis=0) > 0).all()


def test_no_power_makes_a_larger_batch_faster():
    steep = FusedRoofline({**NUMBERS, "fill.power": 1.5}, {})
    columns = [Setting(hardware("A100 40GB"), batch, "amp") for batch in (1, 2, 4, 8)]
    for graph in GRAPHS:
        assert (np.diff(steep.log_latency([graph] * 4, columns)) >= 0).all()


def test_half_precision_engines_and_faster_gpus_take_less_time():
    assert (ms("RTX 3090", "amp") < ms("RTX 3090")).all()
    assert (ms("RTX 3090", "tensorrt") < ms("RTX 3090")).all()
    assert (ms("RTX 4090") < ms("T4")).all()


def test_a_script_that_copies_images_takes_their_time_more():
    images = 64 * 4 * 3 * 224**2 / NUMBERS["copy"]
    np.testing.assert_allclose(ms("T4", source="copies") - ms("T4"), images, rtol=1e-3)


def test_slow_hosts_of_a_source_count():
    slow = FusedRoofline(NUMBERS, {"theirs": 3.0})
    columns = [Setting(hardware("RTX 4090"))] * len(GRAPHS)
    usual = slow.log_latency(GRAPHS, columns)
    assert (slow.log_latency(GRAPHS, columns, ["theirs"] * len(GRAPHS)) > usual).all()


def test_each_setting_fuses_in_one_way():
    assert fusion_of("framework") == fusion_of("channels last") == "none"
    assert (fusion_of("compiled"), fusion_of("tensorrt")) == ("chains", "engine")


def test_a_network_that_takes_no_time_has_a_finite_latency():
    empty = Graph(("Input", "Output"), ((0, 1),), np.zeros((2, len(ATTRIBUTES))))
    assert np.isfinite(USUAL.log_latency([empty], [Setting(hardware("T4"))])).all()
    assert USUAL.log_latency([], []).shape == (0,)
