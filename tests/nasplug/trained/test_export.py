"""ONNX files of timm's networks; they need the package timm."""

import pytest

import nasplug
from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers import onnx_graph
from nasplug.trained.export import WEIGHTS

SPACE = nasplug.space("timm")


def test_files_have_the_costs_of_the_graph(monkeypatch):
    pytest.importorskip("timm")
    # Nothing is downloaded in tests.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    arch = SPACE.parse("mobilenetv3_small_050.lamb_in1k")
    model = SPACE.to_onnx(arch, batch_size=2)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said[WEIGHTS].startswith(("trained, ", "random, seed 0; the trained ones cannot be had"))
    graph = onnx_graph(model)
    assert graph.total("macs") == SPACE.to_graph(arch).total("macs")


def test_without_timm_there_is_a_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(InputError, match="install it with pip install timm"):
        SPACE.to_onnx(SPACE.parse("mobilenetv3_small_050.lamb_in1k"))
