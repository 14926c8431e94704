"""ONNX models of a builder's networks: weights, batches, and what cannot be written."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import onnxruntime
import optuna
import pytest
import torch
from networks_by_trial import EXAMPLE, build
from torch import nn

import nasplug
from nasplug.search_spaces import InputError
from nasplug.search_spaces.builders import exporting
from nasplug.search_spaces.importers.onnx_graph import onnx_graph
from nasplug.search_spaces.networks import onnx_model
from nasplug.search_spaces.networks.builder import NetworkBuilder


def outputs(model: onnx.ModelProto, *values: Any) -> list[Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [value.name for value in session.get_inputs()]
    return list(session.run(None, dict(zip(names, values, strict=True))))


def sizes(model: onnx.ModelProto) -> dict[str, list[int]]:
    return {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in model.graph.input
    }


def test_a_module_is_written_with_the_weights_of_a_seed() -> None:
    space = nasplug.space(build, EXAMPLE)
    arch = space.parse("width=16,depth=2,kernel0=3,kernel1=5")
    torch.manual_seed(3)
    first = torch.rand(1)
    torch.manual_seed(3)
    model = space.to_onnx(arch, seed=7, batch_size=2)
    assert torch.rand(1) == first
    assert sizes(model) == {"x": [2, 3, 16, 16]}
    read, graph = onnx_graph(model), space.to_graph(arch)
    assert (read.ops, read.total("flops")) == (graph.ops, graph.total("flops"))
    torch.manual_seed(7)
    module = build(optuna.trial.FixedTrial(space.to_params(arch))).eval()
    images = torch.rand(2, 3, 16, 16)
    (values,) = outputs(model, images.numpy())
    assert np.allclose(values, module(images).detach().numpy(), atol=1e-5)
    content = model.SerializeToString()
    assert space.to_onnx(arch, 7, 2).SerializeToString() == content
    assert space.to_onnx(arch, 8, 2).SerializeToString() != content
    with ThreadPoolExecutor(2) as pool:
        again = list(pool.map(lambda _: space.to_onnx(arch, 7, 2), range(2)))
    assert {other.SerializeToString() for other in again} == {content}
    part = space.fix(width=16)
    assert part.to_onnx(part.parse(arch.text), 7, 2).SerializeToString() == content


class _Masked(nn.Module):
    """Several inputs, of which one is a vector of settings, and attention with a fast path."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(10, width)
        self.layer = nn.TransformerEncoderLayer(width, 2, width, batch_first=True)

    def forward(self, words: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        return self.layer(self.words(words) + image[:, None]).mean(1)


def test_several_inputs_have_their_names() -> None:
    example = {"words": torch.ones(4, 5, dtype=torch.int64), "image": torch.zeros(4, 8)}
    space = nasplug.space(lambda trial: _Masked(2 * trial.suggest_int("half", 4, 4)), example)
    model = space.to_onnx(space.parse("half=4"), batch_size=3)
    assert sizes(model) == {"words": [3, 5], "image": [3, 8]}
    values = outputs(model, np.ones((3, 5), np.int64), np.zeros((3, 8), np.float32))
    assert values[0].shape == (3, 8)


def _onnx_model(width: int, reshapes: bool = False) -> onnx.ModelProto:
    net = NetworkBuilder(8)
    x = net.relu(net.conv(net.input, width, 3, 1))
    model = net.onnx_model(net.linear(net.flatten(net.global_pool(x)), 10))
    if reshapes:
        (flatten,) = [node for node in model.graph.node if node.op_type == "Flatten"]
        flatten.op_type = "Reshape"
        del flatten.attribute[:]
        flatten.input.append("one_row")
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(np.array([1, -1], np.int64), "one_row")
        )
    return model


def test_an_onnx_model_keeps_its_weights_in_another_batch() -> None:
    space = nasplug.space(lambda trial: _onnx_model(trial.suggest_int("width", 4, 5)))
    arch = space.parse("width=4")
    images = np.random.default_rng(0).random((3, 3, 8, 8), np.float32)
    (many,) = outputs(space.to_onnx(arch, batch_size=3), images)
    (one,) = outputs(space.to_onnx(arch), images[:1])
    assert many.shape == (3, 10)
    assert np.allclose(many[:1], one, atol=1e-5)

    def open_batch(trial: Any) -> onnx.ModelProto:
        model = _onnx_model(trial.suggest_int("width", 4, 5))
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
        model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "n"
        return model

    space = nasplug.space(open_batch)
    assert outputs(space.to_onnx(space.parse("width=4"), batch_size=3), images)[0].shape == (3, 10)


class _OneRow(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(192, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x.reshape(1, 192))


def test_what_cannot_be_written_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> onnx.ModelProto:
        raise RuntimeError("not by this one")

    # The other exporter takes seconds to load.
    monkeypatch.setattr(exporting, "_by_program", fails)
    example = torch.zeros(1, 3, 8, 8)
    cases = [
        (lambda trial: _OneRow(trial.suggest_int("w", 4, 5)), example, "cannot be written as an"),
        (
            lambda trial: nn.Conv2d(3, trial.suggest_int("w", 4, 5), 3, device="meta"),
            example,
            "weights on the device meta",
        ),
        (
            lambda trial: _onnx_model(trial.suggest_int("w", 4, 5), reshapes=True),
            None,
            "fixed batch size 1, not 2",
        ),
    ]
    for builder, shown, reason in cases:
        space = nasplug.space(builder, shown)
        with pytest.raises(InputError, match=reason):
            space.to_onnx(space.parse("w=4"), batch_size=2)
    with pytest.raises(InputError, match="not at least 1"):
        space.to_onnx(space.parse("w=4"), batch_size=0)
    monkeypatch.setattr(onnx_model, "_LARGEST_BYTES", 100)
    with pytest.raises(InputError, match="at most 2 GB"):
        space.to_onnx(space.parse("w=4"))
