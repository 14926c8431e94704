"""Latency on GPUs: the roofline with the residuals of like networks on like GPUs."""

from dataclasses import replace

import numpy as np
import pytest

from nasplug import hardware, space
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency import fused_roofline
from nasplug.predictors.latency.fused_roofline import Script
from nasplug.predictors.latency.gpu_features import gpu_features, network_features
from nasplug.predictors.latency.gpu_latency import GpuLatency, Measured
from nasplug.predictors.latency.residual_process import Described, ResidualProcess

CHIPS = ("Titan X", "V100", "RTX 3090", "T4", "A100 40GB", "RTX 4090")
RNG = np.random.default_rng(0)
GRAPHS = [
    s.to_graph(s.sample(RNG))
    for s in (space(f"nnlqp:{name}") for name in ("resnet", "mobilenetv2", "vgg", "googlenet"))
    for _ in range(3)
]
SCRIPT = Script("here")


@pytest.fixture(scope="module")
def rows():
    columns = [
        Setting(hardware(name), 16, runtime, "fp16")
        for name in CHIPS
        for runtime in ("eager", "tensorrt")
    ]
    pairs = [(graph, column) for column in columns for graph in GRAPHS]
    graphs, columns = (list(part) for part in zip(*pairs, strict=True))
    # Each network has a factor of its own, the same on all GPUs.
    factors = np.tile(np.exp(RNG.normal(0, 0.3, len(GRAPHS))), len(columns) // len(GRAPHS))
    flops = np.array([graph.total("flops") for graph in graphs])
    peaks = np.array([column.hardware.peak_tflops["fp32"] for column in columns])
    ms = 0.5 + factors * flops * 16 / (1e9 * peaks)
    return Measured(graphs, columns, ms, [SCRIPT] * len(ms), [c.hardware.name for c in columns])


def some(rows, wanted):
    places = np.flatnonzero(wanted)
    return Measured(*([part[k] for k in places] for part in rows[:2]), rows.ms[places],
                    *([part[k] for k in places] for part in rows[3:]))  # fmt: skip


@pytest.fixture(scope="module")
def split(rows):
    left = np.array([chip == "RTX 4090" for chip in rows.chips])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused_roofline, "STEPS", 60)
        known = some(rows, ~left)
        none = Measured([], [], np.zeros(0), [], [])
        return GpuLatency.of(known, none, known, ("here",)), some(rows, left)


def test_a_network_that_is_known_elsewhere_has_its_residual_on_a_new_gpu(split):
    model, left = replace(split[0], share=1.0), split[1]
    truth = np.log(left.ms)
    plain = model.roofline.log_latency(left.graphs, left.columns, left.scripts) - truth
    whole = model.log_latency(left.graphs, left.columns, left.scripts) - truth
    assert np.std(whole) < 0.85 * np.std(plain)


def test_what_is_stored_predicts_the_same(split):
    model, left = split
    again = GpuLatency.restored(model.tensors(), **model.described())
    np.testing.assert_allclose(
        again.log_latency(left.graphs, left.columns),
        model.log_latency(left.graphs, left.columns),
        atol=1e-5,
    )
    assert again.groups == ("here",)
    assert again.devices.keys() == {"eager", "tensorrt"}


def test_parts_are_the_whole_and_a_share_of_none_is_the_roofline(split):
    model, left = split
    graph, column = left.graphs[0], left.columns[0]
    parts = model.parts(graph, column)
    whole = np.exp(model.log_latency([graph], [column])[0])
    assert parts.ms.sum() + parts.rest == pytest.approx(whole, rel=1e-4)
    alone = replace(model, share=0.0)
    assert alone.log_latency([graph], [column]) == model.roofline.log_latency([graph], [column])
    assert GpuLatency(model.roofline).log_latency([], []).shape == (0,)


def test_features_are_finite_and_tell_networks_and_gpus_apart():
    column = Setting(hardware("T4"), 8, "eager", "fp16")
    features = np.array([network_features(graph, column) for graph in GRAPHS])
    devices = np.array([gpu_features(hardware(name)) for name in CHIPS])
    for table in (features, devices):
        assert np.isfinite(table).all()
        assert len(np.unique(table.round(6), axis=0)) == len(table)


def test_a_chip_keeps_what_is_its_own():
    networks = RNG.normal(size=(40, 3))
    devices = np.repeat(RNG.normal(size=(4, 2)) * 5, 10, axis=0)
    chips = np.repeat(np.arange(4), 10)
    codes = np.stack([0 * chips, 0 * chips, 0 * chips, chips], 1)
    residuals = np.where(chips == 0, 0.5, 0.0)
    process = ResidualProcess.of(Described(networks, devices, codes), residuals)
    elsewhere = Described(networks, devices + 30, np.full_like(codes, -1))
    assert np.abs(process(elsewhere)).max() < 0.25
