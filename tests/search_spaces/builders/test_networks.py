"""Networks of builders: how they are made, read and told apart."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nasplug
from nasplug.search_spaces import InputError
from nasplug.search_spaces.builders.networks import describe_example, example_of, network_of
from nasplug.search_spaces.networks.builder import NetworkBuilder


def onnx_model(width: int, size: int = 16) -> Any:
    net = NetworkBuilder(size)
    x = net.relu(net.conv(net.input, width, 3, 1))
    return net.onnx_model(net.linear(net.flatten(net.global_pool(x)), 10))


def test_builders_of_onnx_models_and_files(tmp_path: Path) -> None:
    def model(trial: Any) -> Any:
        return onnx_model(trial.suggest_categorical("width", (8, 16)))

    def file(trial: Any) -> Path:
        path = tmp_path / f"{trial.suggest_categorical('width', (8, 16))}.onnx"
        path.write_bytes(onnx_model(trial.params["width"]).SerializeToString())
        return path

    spaces = [nasplug.space(builder, label="onnx") for builder in (model, file)]
    assert spaces[0].tasks == ("default",)
    for first, second in zip(*spaces, strict=True):  # type: ignore[call-overload]
        assert first == second
        assert spaces[0].to_graph(first).total("params") > 100


def test_one_onnx_file_for_all_trials_is_refused(tmp_path: Path) -> None:
    def missing(trial: Any) -> str:
        return str(tmp_path / f"{trial.suggest_int('width', 1, 3)}.onnx")

    with pytest.raises(InputError, match=r"\.onnx"):
        nasplug.space(missing)


class _Config:
    """A configuration as the package transformers has them."""

    model_type = "tiny"

    def __init__(self, width: int) -> None:
        self.width = width


def test_configurations_of_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(trial: Any) -> _Config:
        return _Config(trial.suggest_categorical("width", (8, 16)))

    class Model(nn.Module):
        def __init__(self, config: _Config) -> None:
            super().__init__()
            self.embedding = nn.Embedding(100, config.width)
            self.dummy_inputs = {"input_ids": torch.tensor([[1, 2, 3]])}

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            return self.embedding(input_ids)

    monkeypatch.setattr(_Config, "__module__", "transformers.models.tiny")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match="built by the package transformers"):
        nasplug.space(build)
    automatic = types.SimpleNamespace(from_config=Model)
    package = types.SimpleNamespace(AutoModel=automatic)
    monkeypatch.setitem(sys.modules, "transformers", package)
    space = nasplug.space(build)
    assert [space.to_graph(arch).total("params") for arch in space] == [800, 1600]  # type: ignore[attr-defined]


def test_a_builder_that_needs_values_runs_on_the_processor() -> None:
    def build(trial: Any) -> nn.Module:
        depth = trial.suggest_int("depth", 1, 4)
        shares = [share.item() for share in torch.linspace(0, 0.2, depth)]
        width = trial.suggest_categorical("width", (4, 8))
        layers = [nn.Conv2d(3 if k == 0 else width, width, 3) for k, _ in enumerate(shares)]
        return nn.Sequential(*layers)

    space = nasplug.space(build, "1x3x16x16")
    assert len(space) == 8  # type: ignore[arg-type]


def test_networks_are_made_without_memory() -> None:
    devices = set()

    def build(trial: Any) -> nn.Module:
        model = nn.Linear(10**6, trial.suggest_int("width", 10**5, 10**5 + 1))
        devices.add(model.weight.device.type)
        return model

    space = nasplug.space(build, torch.zeros(1, 10**6))
    assert devices == {"meta"}
    assert max(space.to_graph(arch).total("params") for arch in space) > 1e11  # type: ignore[attr-defined]


class DropPath(nn.Module):
    """Paths that are left out in training alone, as timm's."""

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3)), nn.Conv2d(3, 4, 3), True),
        (nn.ReLU(), nn.ReLU(inplace=True), True),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.1)), nn.Conv2d(3, 4, 3), False),
        (nn.Sequential(nn.Conv2d(3, 4, 3), DropPath(0.1)), nn.Conv2d(3, 4, 3), False),
        (nn.Sequential(nn.Conv2d(3, 4, 3), DropPath(0.0)), nn.Conv2d(3, 4, 3), True),
        (nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2, 2), False),
        (nn.AdaptiveAvgPool2d(1), nn.AvgPool2d(16), False),
    ],
)
def test_what_makes_networks_the_same(one: nn.Module, other: nn.Module, same: bool) -> None:
    example = torch.zeros(1, 3, 16, 16)
    digests = [network_of(module, example, "test")[1] for module in (one, other)]
    assert (digests[0] == digests[1]) == same


def test_a_batch_of_examples_is_read_as_one_image() -> None:
    module = nn.Conv2d(3, 4, 3)
    one = network_of(module, torch.zeros(1, 3, 16, 16), "test")
    many = network_of(nn.Conv2d(3, 4, 3), torch.zeros(8, 3, 16, 16), "test")
    assert np.array_equal(one[0].attributes, many[0].attributes)
    assert one[1] == many[1]


def test_descriptions_of_examples() -> None:
    assert example_of("1x3x32x32").shape == (1, 3, 32, 32)
    assert example_of((2, 4)).shape == (2, 4)
    assert example_of("1x4:int64").dtype == torch.int64
    assert [part.shape for part in example_of("1x4+1x2x3")] == [(1, 4), (1, 2, 3)]
    with pytest.raises(InputError, match="is not the shape"):
        example_of("1x4:text")
    assert describe_example(None) == "default"
    assert describe_example(torch.zeros(1, 4, dtype=torch.int64)) == "1x4:int64"
    pair = (torch.zeros(1, 2), {"mask": torch.zeros(1, 3)})
    assert describe_example(pair) == "1x2+mask=1x3"


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning", "ignore:.*is deprecated")
def test_wrapped_modules_and_programs_are_read() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=2, dilation=2))
    example = torch.zeros(1, 3, 16, 16)
    plain = network_of(module, example, "test")
    assert network_of(torch.nn.DataParallel(module), example, "test")[1] == plain[1]
    program = torch.export.export(module.eval(), (example,))
    assert network_of(program, None, "test")[0].digest == plain[0].digest
    assert "forward" not in vars(module)


def test_a_module_with_a_forward_of_its_own() -> None:
    module = nn.Conv2d(3, 4, 3)
    own = vars(module)["forward"] = lambda x: torch.relu(nn.Conv2d.forward(module, x))
    graph, _ = network_of(module, torch.zeros(1, 3, 8, 8), "test")
    assert "Relu" in graph.ops
    assert vars(module)["forward"] is own
