"""Calibrated whole networks: the data sheet bounds what measurements say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from nasplug import hardware
from nasplug.measurements.graphs import graph_of
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.calibrated_networks import CalibratedNetworks, processor_class
from nasplug.predictors.latency.departure_priors import departure_priors
from nasplug.search_spaces import Graph

NAMES = ("resnet18", "resnet50", "mobilenet_v2", "vgg16", "densenet121", "squeezenet1_1")
NETWORKS = [graph_of(f"torchvision:{name}@224") for name in NAMES]
PHONE = hardware("Pixel 4")
CPU, GPU = Setting(PHONE, 1, "tflite", unit="cpu"), Setting(PHONE, 1, "tflite", unit="gpu")
HALF = 0.7


def sheet(graphs: Sequence[Graph], settings: Sequence[Setting]) -> tuple[np.ndarray, np.ndarray]:
    logs = np.log([graph.total("flops") / 1e8 for graph in graphs])
    return logs, np.full(len(graphs), HALF)


def calibrated(factors: Sequence[float], settings: Sequence[Setting]) -> CalibratedNetworks:
    graphs = NETWORKS[: len(factors)]
    ms = np.exp(sheet(graphs, settings)[0]) * factors
    return CalibratedNetworks(departure_priors(), sheet, graphs, settings, ms)


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("RTX 3090", "", "gpu"),
        ("Jetson AGX Orin", "", "gpu"),
        ("Pixel 4", "", "cpu"),
        ("Pixel 4", "gpu", "other"),
        ("Xeon Gold 6226", "", "cpu"),
        ("Eyeriss", "", "other"),
    ],
)
def test_classes_of_processors(name: str, unit: str, expected: str) -> None:
    assert processor_class(Setting(hardware(name), 1, unit=unit)) == expected


def test_the_scale_carries_over_and_intervals_narrow() -> None:
    device = calibrated([1.6] * 5, [CPU] * 5)
    said = device.predict(NETWORKS, [CPU] * 6)
    ratios = np.log(said.mean[:, 0]) - sheet(NETWORKS, [CPU] * 6)[0]
    np.testing.assert_allclose(ratios[:5], np.log(1.6), atol=0.12)
    assert 0.2 < ratios[5] < 0.6
    widths = np.log(said.upper / said.lower)[:, 0] / 2
    assert (widths < HALF).all()
    assert widths[5] > widths[:5].mean()
    left = device.left_out()
    np.testing.assert_allclose(left.logs - left.data_sheet, np.log(1.6))
    assert left.factors[0] < left.factors[1]


def test_another_processor_of_the_device_keeps_its_data_sheet() -> None:
    device = calibrated([3.0] * 4, [CPU] * 4)
    said = device.predict(NETWORKS[:2], [GPU] * 2)
    np.testing.assert_allclose(np.log(said.mean[:, 0]), sheet(NETWORKS[:2], [GPU] * 2)[0])
    np.testing.assert_allclose(np.log(said.upper / said.lower)[:, 0] / 2, HALF, rtol=0.01)
    assert not device.like(NETWORKS[:2], [GPU] * 2).any()
    both = calibrated([3.0, 3.0, 3.0, 0.5, 0.5, 0.5], [CPU] * 3 + [GPU] * 3)
    said = both.predict(NETWORKS[:1] * 2, [CPU, GPU])
    assert said.mean[0, 0] > 2.2 * said.mean[1, 0]
    left = both.left_out()
    np.testing.assert_allclose(left.logs - left.data_sheet, np.log([3.0] * 3 + [0.5] * 3))


def test_what_was_measured_is_familiar() -> None:
    device = calibrated([1.0] * 3, [CPU] * 3)
    assert device.like(NETWORKS[:3], [CPU] * 3).all()
    transformer = graph_of("timm:vit_base_patch16_224@224")
    assert not device.like([transformer], [CPU]).any()
    assert len(device.predict([], [])) == 0


def test_nonsense_is_bounded() -> None:
    factors = np.array([1e4, 1e-3, 1.0, 50.0])
    device = calibrated(factors, [CPU] * 4)
    said = device.predict(NETWORKS, [CPU] * 6)
    ratios = np.log(said.mean[:, 0]) - sheet(NETWORKS, [CPU] * 6)[0]
    assert (ratios <= np.log(2 * factors.max()) + 1e-9).all()
    assert (ratios >= np.log(factors.min() / 2) - 1e-9).all()
    assert (np.log(said.upper / said.lower)[:, 0] / 2 <= HALF + 0.01).all()
