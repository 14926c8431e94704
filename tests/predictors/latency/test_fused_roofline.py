"""The roofline of fused kernels."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nasplug import hardware, space
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency import fused_roofline
from nasplug.predictors.latency.fused_numbers import NUMBERS, START, resolution
from nasplug.predictors.latency.fused_roofline import FusedRoofline, Script
from nasplug.predictors.latency.gpu_ways import (
    GPU_SETTINGS,
    fusion_of,
    gpu_setting,
    node_of,
    rates_of,
)
from nasplug.search_spaces import ATTRIBUTES, Graph

NAMES = ("Titan X", "V100", "RTX 3090", "RTX 4090", "T4", "A100 40GB", "H100")
RUNTIMES = (
    *("eager", "eager graphs", "eager nhwc", "compiled", "compiled graphs"),
    *("tensorrt", "paddle tensorrt", "onnxruntime"),
)
PRECISIONS = ("", "fp32", "tf32", "fp16", "bf16", "int8", "int4", "w8a16")
LOGS = resolution() @ torch.tensor([value for value, _ in START.values()]).log()
VALUES = dict(zip(NUMBERS, LOGS.exp().tolist(), strict=True))
USUAL = FusedRoofline(VALUES)
RNG = np.random.default_rng(0)
GRAPHS = [
    s.to_graph(s.sample(RNG))
    for s in (space(f"nnlqp:{name}") for name in ("resnet", "mobilenetv2", "vgg"))
]


def ms(name, runtime="", precision="", batch=64, script=None, model=USUAL):
    column = Setting(hardware(name), batch, runtime, precision)
    scripts = [script or Script()] * len(GRAPHS)
    return np.exp(model.log_latency(GRAPHS, [column] * len(GRAPHS), scripts))


def test_a_gpu_that_was_left_out_is_predicted_from_others(monkeypatch):
    monkeypatch.setattr(fused_roofline, "STEPS", 80)
    slower = {
        name: value * (0.5 if name.startswith("efficiency") or name == "memory" else 1)
        for name, value in VALUES.items()
    }
    columns = [
        Setting(hardware(name), batch, runtime, precision)
        for name in NAMES
        for batch in (1, 64)
        for runtime, precision in (("", ""), ("", "fp16"), ("tensorrt", "fp32"))
    ]
    pairs = [(graph, column) for column in columns for graph in GRAPHS]
    graphs, columns = zip(*pairs, strict=True)
    truth = FusedRoofline(slower).log_latency(graphs, columns)
    left = np.array([column.hardware.name == "RTX 4090" for column in columns])
    known = np.flatnonzero(~left)
    learned = FusedRoofline.of(
        [graphs[k] for k in known],
        [columns[k] for k in known],
        np.exp(truth[known]),
        [Script("here")] * len(known),
    )
    before = np.abs(USUAL.log_latency(graphs, columns) - truth)[left].mean()
    after = np.abs(learned.log_latency(graphs, columns) - truth)[left].mean()
    assert after < 0.2 < before
    assert learned.devices["tensorrt"] == tuple(name for name in NAMES if name != "RTX 4090")
    again = FusedRoofline.restored(learned.tensors(), learned.described())
    np.testing.assert_allclose(
        again.log_latency(graphs, columns), learned.log_latency(graphs, columns)
    )
    assert again.devices == learned.devices


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_it_grows_with_the_batch(runtime, precision):
    for name in NAMES:
        times = [ms(name, runtime, precision, batch) for batch in (1, 2, 3, 16, 500)]
        assert (np.diff(times, axis=0) > 0).all()


def test_no_power_makes_a_larger_batch_faster():
    steep = FusedRoofline({**VALUES, "fill.power": 1.5})
    times = [ms("A100 40GB", "", "fp16", batch, model=steep) for batch in (1, 2, 4, 8)]
    assert (np.diff(times, axis=0) >= 0).all()


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", NAMES)
def test_narrower_numbers_are_never_slower(name, runtime):
    times = [ms(name, runtime, precision) for precision in ("fp32", "fp16", "int8")]
    assert (np.diff(times, axis=0) <= 0).all()


def test_engines_and_faster_gpus_take_less_time():
    assert (ms("RTX 3090", "tensorrt") < ms("RTX 3090")).all()
    assert (ms("RTX 4090") < ms("T4")).all()


def test_what_a_gpu_lacks_runs_as_something_else():
    assert rates_of(hardware("T4"), "bf16", "framework").ran == "fp16"
    assert rates_of(hardware("Titan X"), "bf16", "framework").ran == "fp32"
    assert rates_of(hardware("T4"), "int8", "framework").ran == "fp16"
    assert rates_of(hardware("T4"), "int8", "tensorrt").ran == "int8"
    a100 = rates_of(hardware("A100 40GB"), "fp32", "framework")
    assert (a100.tensor, a100.tensor_products) == (True, False)
    assert rates_of(hardware("RTX 3090"), "fp16", "framework").is_halved


def test_a_script_that_copies_images_takes_their_time_more():
    images = 64 * 4 * 3 * 224**2 / VALUES["copy"]
    copies = ms("T4", script=Script(copies=True))
    np.testing.assert_allclose(copies - ms("T4"), images, rtol=1e-3)


def test_kernels_alone_take_less_than_what_a_user_waits():
    for name in NAMES:
        assert (ms(name, batch=1, script=Script(kernels=True)) < ms(name, batch=1)).all()


def test_slow_hosts_of_a_source_count():
    slow = FusedRoofline(VALUES, {"theirs": (3.0, 1.0)})
    theirs = ms("RTX 4090", batch=1, script=Script("theirs"), model=slow)
    assert (theirs > ms("RTX 4090", batch=1, model=slow)).all()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_parts_are_the_whole(runtime):
    for graph in GRAPHS:
        column = Setting(hardware("RTX 4090"), 8, runtime, "int8")
        parts = USUAL.parts(graph, column)
        whole = np.exp(USUAL.log_latency([graph], [column])[0])
        assert parts.ms.sum() + parts.rest == pytest.approx(whole, rel=1e-4)
        assert len(parts.of_nodes) == len(graph.ops)
        assert len(parts.bounds) == len(parts.ms) > parts.of_nodes.max()


def test_each_runtime_has_a_setting_that_fuses_in_one_way():
    settings = [gpu_setting(Setting(hardware("T4"), 1, runtime)) for runtime in RUNTIMES]
    assert tuple(settings) == GPU_SETTINGS
    fusions = [fusion_of(setting) for setting in settings]
    assert fusions == ["none"] * 3 + ["chains"] * 2 + ["engine"] * 3


def test_kernels_that_are_recorded_as_a_graph_do_not_wait_for_the_host():
    assert (ms("RTX 4090", "eager graphs", batch=1) < ms("RTX 4090", "eager", batch=1)).all()


def test_a_finer_process_does_more_with_a_watt():
    strong = replace(hardware("RTX 4090"), power_w=100.0)
    coarse = replace(strong, microarchitecture="Pascal")
    columns = [Setting(device, 256, "tensorrt", "fp16") for device in (strong, coarse)]
    fine_ms, coarse_ms = USUAL.log_latency(GRAPHS[:1] * 2, columns)
    assert fine_ms < coarse_ms
    # A microarchitecture that nobody knows is of the usual process of its year.
    assert node_of(replace(strong, microarchitecture="Rubin", year=2026)) == node_of(strong)


def test_a_network_that_takes_no_time_has_a_finite_latency():
    empty = Graph(("Input", "Output"), ((0, 1),), np.zeros((2, len(ATTRIBUTES))))
    assert np.isfinite(USUAL.log_latency([empty], [Setting(hardware("T4"))])).all()
    assert USUAL.log_latency([], []).shape == (0,)
