"""Features of networks: where their time goes by the data sheet."""

from __future__ import annotations

import numpy as np

from nasplug import hardware
from nasplug.measurements.graphs import graph_of
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.network_features import FEATURES, network_features
from nasplug.search_spaces import Graph

RESNET, MOBILE = (graph_of(f"torchvision:{name}@224") for name in ("resnet18", "mobilenet_v2"))
GPU = Setting(hardware("RTX 3090"), 1)


def of(graph: Graph, setting: Setting) -> dict[str, float]:
    return dict(zip(FEATURES, network_features([graph], [setting])[0].tolist(), strict=True))


def test_shares_say_what_a_network_is_made_of() -> None:
    resnet, mobile = (of(graph, Setting(hardware("Pixel 4"), 1)) for graph in (RESNET, MOBILE))
    assert resnet["share of dense"] > 0.8 > mobile["share of dense"]
    assert mobile["share of depthwise"] > 0.1 > resnet["share of depthwise"]
    for told in (resnet, mobile):
        kinds = ("dense", "pointwise", "depthwise", "product", "elementwise")
        assert abs(sum(told[f"share of {kind}"] for kind in kinds) - 1) < 1e-9


def test_a_batch_takes_longer_and_hides_launches() -> None:
    one, many = of(RESNET, GPU), of(RESNET, Setting(GPU.hardware, 64))
    assert many["log time"] > one["log time"] + 1
    assert many["share of launches"] < one["share of launches"]
    engine = of(RESNET, Setting(GPU.hardware, 1, "tensorrt", "fp16"))
    assert engine["log kernels"] < one["log kernels"]
    assert engine["log time"] < one["log time"]


def test_any_device_and_no_network() -> None:
    assert network_features([], []).shape == (0, len(FEATURES))
    for name in ("Eyeriss", "Raspberry Pi 4", "Jetson AGX Orin"):
        assert np.isfinite(network_features([MOBILE], [Setting(hardware(name), 1)])).all()
