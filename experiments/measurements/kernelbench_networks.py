"""Problems of KernelBench whose graphs follow from their names, arguments and sizes of inputs.

KernelBench times modules as they come, in training mode: networks with batch norms compute other
operators than their graphs have, and are not here. An item of the batch is the first axis of the
first input, as the table of measurements counts it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nasplug.measurements.importers.rows import Rows
from nasplug.search_spaces import InputError

__all__ = ["kernelbench_network"]

Tensor = torch.Tensor


class _Function(nn.Module):
    """Module of a function."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def _gelu_by_hand(x: Tensor) -> Tensor:
    inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))
    return 0.5 * x * (1.0 + torch.tanh(inner))


def _softsign(x: Tensor) -> Tensor:
    return x / (1 + torch.abs(x))


class _RMSNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / torch.sqrt(torch.mean(x**2, dim=1, keepdim=True) + 1e-5)


def _mlp(inputs: int, hidden: list[int], outputs: int) -> nn.Module:
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def _lenet(classes: int) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, classes)),
    )


def _alexnet(classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs, kernel, stride, padding, is_pooled in (
        (3, 96, 11, 4, 2, True),
        (96, 256, 5, 1, 2, True),
        (256, 384, 3, 1, 1, False),
        (384, 384, 3, 1, 1, False),
        (384, 256, 3, 1, 1, True),
    ):
        layers += [nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU()]
        layers += [nn.MaxPool2d(3, 2)] if is_pooled else []
    head = (nn.Flatten(), nn.Linear(9216, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU())
    return nn.Sequential(*layers, *head, nn.Linear(4096, classes))


def _vgg(stages: tuple[int, ...], classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    inputs = 3
    for count, width in zip(stages, (64, 128, 256, 512, 512), strict=True):
        for _ in range(count):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
        layers.append(nn.MaxPool2d(2))
    head = (nn.Flatten(), nn.Linear(25088, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU())
    return nn.Sequential(*layers, *head, nn.Linear(4096, classes))


class _Inception(nn.Module):
    """Module of GoogLeNet, without activations."""

    def __init__(self, inputs: int, *widths: int) -> None:
        super().__init__()
        single, before_three, three, before_five, five, pooled = widths
        self.branches = nn.ModuleList(
            [
                nn.Conv2d(inputs, single, 1),
                nn.Sequential(
                    nn.Conv2d(inputs, before_three, 1), nn.Conv2d(before_three, three, 3, padding=1)
                ),
                nn.Sequential(
                    nn.Conv2d(inputs, before_five, 1), nn.Conv2d(before_five, five, 5, padding=2)
                ),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(inputs, pooled, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def _googlenet(classes: int) -> nn.Module:
    pool = partial(nn.MaxPool2d, 3, 2, 1)
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU(), pool()),
        *(nn.Conv2d(64, 64, 1), nn.ReLU(), nn.Conv2d(64, 192, 3, padding=1), nn.ReLU(), pool()),
        *(_Inception(192, 64, 96, 128, 16, 32, 32), _Inception(256, 128, 128, 192, 32, 96, 64)),
        pool(),
        *(_Inception(480, 192, 96, 208, 16, 48, 64), _Inception(512, 160, 112, 224, 24, 64, 64)),
        *(_Inception(512, 128, 128, 256, 24, 64, 64), _Inception(512, 112, 144, 288, 32, 64, 64)),
        *(_Inception(528, 256, 160, 320, 32, 128, 128), pool()),
        *(
            _Inception(832, 256, 160, 320, 32, 128, 128),
            _Inception(832, 384, 192, 384, 48, 128, 128),
        ),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, classes)),
    )


def _fire(inputs: int, squeezed: int, single: int, three: int) -> nn.Module:
    from torchvision.models.squeezenet import Fire

    return Fire(inputs, squeezed, single, three)


def _squeezenet(classes: int) -> nn.Module:
    from torchvision.models import squeezenet1_0

    return squeezenet1_0(weights=None, num_classes=classes)


class _CausalAttention(nn.Module):
    """Attention written out, with a mask; with ReLU in place of softmax, nothing follows it."""

    def __init__(self, width: int, heads: int, length: int, is_relu: bool = False) -> None:
        super().__init__()
        self.heads, self.is_relu = heads, is_relu
        self.joint = nn.Linear(width, 3 * width)
        self.out = nn.Identity() if is_relu else nn.Linear(width, width)
        self.register_buffer("mask", torch.ones(1, 1, length, length, dtype=torch.bool).tril())

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        shape = (batch, length, self.heads, width // self.heads)
        query, key, value = (
            part.view(shape).transpose(1, 2) for part in self.joint(x).split(width, dim=2)
        )
        scores = (query @ key.transpose(-2, -1)) * (1.0 / math.sqrt(key.shape[-1]))
        scores = scores.masked_fill(~self.mask[:, :, :length, :length], float("-inf"))
        scores = torch.relu(scores) if self.is_relu else torch.softmax(scores, dim=-1)
        joined = (scores @ value).transpose(1, 2).contiguous().view(batch, length, width)
        return self.out(joined)


class _GPTBlock(nn.Module):
    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attention = _CausalAttention(width, heads, length)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norms[0](x))
        return x + self.narrow(_gelu_by_hand(self.wide(self.norms[1](x))))


def _conv(dimensions: int, is_transposed: bool = False) -> Callable[..., nn.Module]:
    name = f"Conv{'Transpose' if is_transposed else ''}{dimensions}d"

    def make(inputs: int, outputs: int, kernel: Any, *rest: Any) -> nn.Module:
        kernel = tuple(kernel) if isinstance(kernel, list) else kernel
        if rest:
            raise InputError("its further arguments have no names here")
        return getattr(nn, name)(inputs, outputs, kernel, bias=False)

    return make


def _reduced(function: Callable[..., Any], axis: int, keeps: bool) -> nn.Module:
    def reduce(x: Tensor) -> Tensor:
        result = function(x, dim=axis, keepdim=True) if keeps else function(x, dim=axis)
        return result if isinstance(result, Tensor) else result[0]

    return _Function(reduce)


_SIDES = ("square", "asymmetric")
_SHAPES = ("", *(f"__{image}_input__{window}_kernel" for image in _SIDES for window in _SIDES))
_MATRICES = dict.fromkeys(
    (
        *("Square_matrix_multiplication_", "Standard_matrix_multiplication_"),
        *("Batched_matrix_multiplication", "Matrix_vector_multiplication_"),
        *("Matmul_with_large_K_dimension_", "Matmul_with_small_K_dimension_"),
        *("Matmul_with_irregular_shapes_", "Tall_skinny_matrix_multiplication_"),
        *("3D_tensor_matrix_multiplication", "Matmul_for_symmetric_matrices"),
    ),
    lambda: _Function(torch.matmul),
)
_ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "ReLU": nn.ReLU,
    "LeakyReLU": nn.LeakyReLU,
    "Sigmoid": nn.Sigmoid,
    "Tanh": nn.Tanh,
    "Softmax": lambda: nn.Softmax(1),
    "LogSoftmax": lambda: nn.LogSoftmax(1),
    "Swish": lambda: _Function(lambda x: x * torch.sigmoid(x)),
    "GELU_": nn.GELU,
    "SELU_": nn.SELU,
    "HardSigmoid": nn.Hardsigmoid,
    "Softplus": nn.Softplus,
    "Softsign": lambda: _Function(_softsign),
    "ELU": nn.ELU,
    "HardTanh": nn.Hardtanh,
    "MinGPTNewGelu": lambda: _Function(_gelu_by_hand),
}
_OTHERS: dict[str, Callable[..., nn.Module]] = {
    "GroupNorm_": lambda features, groups: nn.GroupNorm(groups, features),
    "RMSNorm_": lambda features: _RMSNorm(),
    "LayerNorm": nn.LayerNorm,
    **{
        f"{kind}_Pooling_{dimensions}D": getattr(nn, f"{name}Pool{dimensions}d")
        for kind, name in (("Max", "Max"), ("Average", "Avg"))
        for dimensions in (1, 2, 3)
    },
    "Sum_reduction_over_a_dimension": lambda axis: _reduced(torch.sum, axis, True),
    "Mean_reduction_over_a_dimension": lambda axis: _reduced(torch.mean, axis, False),
    "Max_reduction_over_a_dimension": lambda axis: _reduced(torch.max, axis, False),
    "Min_reduction_over_a_dimension": lambda axis: _reduced(torch.min, axis, False),
    "Argmax_over_a_dimension": lambda axis: _reduced(torch.argmax, axis, False),
    "Argmin_over_a_dimension": lambda axis: _reduced(torch.argmin, axis, False),
    "cumsum": lambda axis: _reduced(torch.cumsum, axis, False),
    **{
        f"conv_{kind}_{dimensions}D{shapes}": _conv(dimensions, kind == "transposed")
        for kind in ("standard", "transposed")
        for dimensions in (1, 2, 3)
        for shapes in _SHAPES
    },
    "conv_pointwise_2D": lambda inputs, outputs: nn.Conv2d(inputs, outputs, 1, bias=False),
}
_NETWORKS: dict[str, Callable[..., nn.Module]] = {
    **dict.fromkeys(("MLP", "ShallowWideMLP", "DeepNarrowMLP"), _mlp),
    "LeNet5": _lenet,
    "AlexNet": _alexnet,
    "GoogleNetInceptionModule": _Inception,
    "GoogleNetInceptionV1": _googlenet,
    "VGG16": partial(_vgg, (2, 2, 3, 3, 3)),
    "VGG19": partial(_vgg, (2, 2, 4, 4, 4)),
    "SqueezeNetFireModule": _fire,
    "SqueezeNet": _squeezenet,
    "MinGPTCausalAttention": lambda width, heads, _, __, length: _CausalAttention(
        width, heads, length
    ),
    "MiniGPTBlock": lambda width, heads, _, __, length: _GPTBlock(width, heads, length),
    "ReLUSelfAttention": lambda width, heads, length: _CausalAttention(width, heads, length, True),
}
_PROBLEMS = _MATRICES | _ACTIVATIONS | _OTHERS | _NETWORKS


@cache
def _stated(folder: Path) -> dict[str, tuple[list[Any], str]]:
    """Arguments of the constructor and sizes of the inputs of each problem, by its source."""
    frame = Rows.read(folder / "gpu_operators.csv.gz").frame
    frame = frame[frame["network_source"].str.startswith("KernelBench:")]
    frame = frame.drop_duplicates("network_source")
    columns = (frame[name] for name in ("network_source", "attributes", "input_shape"))
    return {
        source: (json.loads(attributes)["init"], shape)
        for source, attributes, shape in zip(*columns, strict=True)
    }


def kernelbench_network(name: str, suite: str, folder: Path) -> tuple[nn.Module, Any, str]:
    """Module of a problem, an example of its inputs for one item, and its name.

    Args:
        name: Such as "level3/5_AlexNet".
        suite: "v0" or "v0.1", which differ in the sizes.
        folder: Folder with the file gpu_operators.csv.gz.

    Raises:
        InputError: If the problem is none of those here.
    """
    problem = name.partition("_")[2]
    if problem not in _PROBLEMS or name.startswith("level2/"):
        raise InputError("its graph does not follow from its name")
    arguments, shape = _stated(folder)[f"KernelBench:{name}.py@{suite}"]
    shapes = [[int(side) for side in part.split("x")] for part in shape.split(";")]
    shapes[0][0] = 1
    if problem == "Batched_matrix_multiplication":
        shapes[1][0] = 1
    examples = tuple(torch.zeros(*sides) for sides in shapes)
    module = _PROBLEMS[problem](*arguments)
    return module, examples, f"kernelbench {problem.split('_')[0].lower()}"
