"""Names of networks that other packages build."""

from __future__ import annotations

import pytest

from nasplug import InputError
from nasplug.measurements.graphs import graph_of
from nasplug.predicting.known_networks import is_known_name, known_accuracy, known_network


def test_a_name_without_a_size_means_the_usual_one() -> None:
    assert is_known_name("torchvision:resnet18")
    plain, sized = known_network("torchvision:resnet18"), known_network("torchvision:resnet18@224")
    assert plain.arch_id == sized.arch_id == plain.key == "torchvision:resnet18@224"
    assert graph_of("torchvision:resnet18@224").total("params") > 1e7
    operator = known_network("op:linear{M=8,K=64,N=32}")
    assert graph_of(operator.arch_id).ops == ("Input", "Gemm", "Output")


def test_architectures_are_no_names() -> None:
    for text in ("resnet:block=basic", "|nor_conv_1x1~0|", "00000000", "timm", "model.onnx"):
        assert not is_known_name(text)


def test_an_unknown_name_is_told_with_near_ones() -> None:
    with pytest.raises(InputError, match="no network 'torchvision:resnet19' is known; known is"):
        known_network("torchvision:resnet19")
    with pytest.raises(InputError, match="give its ONNX file instead"):
        known_network("ultralytics:qqqqqqqqqqqqqqqqqqqqqqqqqqqqq")


def test_names_of_weights_stand_for_their_network() -> None:
    assert known_network("timm:resnet50.a1_in1k@288").arch_id == "timm:resnet50@288"
    assert known_network("timm:resnet50.tv_in1k").arch_id == "timm:resnet50@224"
    with pytest.raises(InputError, match="no network 'timm:resnet5@224' is known"):
        known_network("timm:resnet5.a1_in1k@224")


def test_unknown_sizes_and_beginnings_get_what_is_known() -> None:
    with pytest.raises(InputError, match="known is timm:resnet50@160, timm:resnet50@176, "):
        known_network("timm:resnet50@223")
    with pytest.raises(InputError, match="known is timm:vit_base_") as caught:
        known_network("timm:vit_base")
    assert "gcvit" not in str(caught.value)


def test_accuracies_of_trained_networks_are_known() -> None:
    assert known_accuracy("timm:resnet50.tv_in1k") == pytest.approx(76.156)
    best = known_accuracy("timm:resnet50")
    assert best is not None
    assert best > 80
    for text in ("torchvision:resnet50", "timm:resnet50.no_in1k", "timm:no", "model.onnx", ""):
        assert known_accuracy(text) is None
