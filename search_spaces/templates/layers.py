"""Definitions that several templates share; an exported file holds those that it needs."""

import importlib.util
import json
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


class ConvNorm(nn.Sequential):
    """Convolution and batch normalisation, then an activation if one is named.

    The normalisation shifts the channels, so that the convolution needs no bias.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: type[nn.Module] | None = None,
    ) -> None:
        padding = kernel // 2
        layers = [
            nn.Conv2d(
                in_channels,
                out_channels,
                kernel,
                stride,
                padding,
                groups=groups,
                bias=False,
            ),
            nn.BatchNorm2d(out_channels),
        ]
        if activation is not None:
            layers.append(activation())
        super().__init__(*layers)


class SqueezeExcitation(nn.Module):
    """Scaling of the channels by a gate on their means (Hu et al., CVPR 2018)."""

    def __init__(
        self,
        channels: int,
        squeezed: int,
        activation: type[nn.Module],
        gate: type[nn.Module],
    ) -> None:
        super().__init__()
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            activation(),
            nn.Conv2d(squeezed, channels, 1),
            gate(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of each image."""
        scaled: Tensor = x * self.scale(x)
        return scaled


class InvertedResidual(nn.Module):
    """Expand the channels, convolve each by itself, project (Sandler et al., CVPR 2018).

    A block does not expand if `hidden` are the channels that it reads. The projection has
    no activation. The input is added where its shape allows.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        kernel: int,
        stride: int,
        activation: type[nn.Module],
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if hidden != in_channels:
            layers.append(ConvNorm(in_channels, hidden, activation=activation))
        layers += [
            ConvNorm(hidden, hidden, kernel, stride, hidden, activation),
            ConvNorm(hidden, out_channels),
        ]
        self.layers = nn.Sequential(*layers)
        self.has_skip = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Convolve a batch of feature maps."""
        y: Tensor = self.layers(x)
        return y + x if self.has_skip else y


class ExcitedResidual(nn.Module):
    """Inverted residual with squeeze and excitation after the depthwise convolution.

    A block does not expand if `hidden` are the channels that it reads, and has no
    excitation if `squeezed` is 0. The projection has no activation. The input is added
    where its shape allows.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        kernel: int,
        stride: int,
        squeezed: int,
        activation: type[nn.Module],
        squeezed_activation: type[nn.Module],
        gate: type[nn.Module],
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if hidden != in_channels:
            layers.append(ConvNorm(in_channels, hidden, activation=activation))
        layers.append(ConvNorm(hidden, hidden, kernel, stride, hidden, activation))
        if squeezed:
            layers.append(
                SqueezeExcitation(hidden, squeezed, squeezed_activation, gate),
            )
        layers.append(ConvNorm(hidden, out_channels))
        self.layers = nn.Sequential(*layers)
        self.has_skip = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Convolve a batch of feature maps."""
        y: Tensor = self.layers(x)
        return y + x if self.has_skip else y


def print_size(network: nn.Module, image: tuple[int, int, int]) -> None:
    """Print the output's shape, the parameters, and the costs of one image."""
    macs = folded = 0

    def add(layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        if isinstance(layer, nn.Conv2d | nn.Linear):
            macs += output.numel() * layer.weight[0].numel()

    for layer in network.modules():
        layer.register_forward_hook(add)
        for first, second in pairwise(layer.children()):
            # On a device only the shift is left of such a normalisation, as a bias.
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                folded += second.num_features
    with torch.no_grad():
        output = network.eval()(torch.zeros(1, *image))
    trained = sum(p.numel() for p in network.parameters())
    print(f"output: {tuple(output.shape)}")
    print(f"parameters: {trained:,}")
    print(f"parameters, batch normalisations folded: {trained - folded:,}")
    print(f"multiply-accumulates: {macs:,}")


def print_token_size(network: nn.Module, length: int) -> None:
    """Print the output's shape, the parameters, and the costs of one sequence of tokens."""
    print_costs(network, torch.zeros(1, length, dtype=torch.long))


def print_image_size(network: nn.Module, image: tuple[int, int, int]) -> None:
    """Print the output's shape, the parameters, and the costs of one image, with attention."""
    print_costs(network, torch.zeros(1, *image))


def print_costs(network: nn.Module, inputs: Tensor) -> None:
    """Print the output's shape, the parameters, and the costs of a forward pass."""
    # Shapes are enough to count; half of the operations of a product are multiplications.
    network, inputs = network.to("meta"), inputs.to("meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        output = network(inputs)
    print(f"output: {tuple(output.shape)}")
    print(f"parameters: {sum(p.numel() for p in network.parameters()):,}")
    print(f"multiply-accumulates: {counter.get_total_flops() // 2:,}")


def load(path: Path) -> Any:
    """Load a file that defines `Network`."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def module_of(argument: str, space_name: str, task: str) -> Any:
    """Load a file, or the code of an architecture or of a trial's parameters in JSON."""
    if argument.endswith(".py"):
        return load(Path(argument))
    import nasplug

    space = nasplug.space(space_name)
    if argument.startswith("{"):
        arch = space.from_params(json.loads(argument))
    else:
        arch = space.parse(argument)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.py"
        path.write_text(space.to_code(arch, task), encoding="utf-8")
        return load(path)
