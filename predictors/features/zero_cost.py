"""Responses of networks with random weights: the effect of a cell on signals, without labels.

Each cell is stacked four times into a small network with random weights and fed random images.
What comes out tells trainable cells from others: zero-cost proxies (Mellor et al. 2021, "Neural
architecture search without training"; Abdelfattah et al. 2021, "Zero-cost proxies for lightweight
NAS") are measures of this kind. Here they are targets of self-supervised pretraining.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.simplify import simplify

__all__ = ["RESPONSES", "responses"]

CHANNELS, SIDE, IMAGES, CELLS = 16, 8, 16, 4
# Measured behind these cells.
STAGES = (0, 1, 3)
_STAGE_RESPONSES = (
    "image_similarity",
    "rank_of_pooled_images",
    "rank_of_channels",
    "roughness",
    "variance",
    "kurtosis",
    "share_of_pooled_variance",
)
RESPONSES = (
    *(f"{name}_{stage + 1}" for stage in STAGES for name in _STAGE_RESPONSES),
    "log_determinant_of_codes",
    "code_agreement",
    "input_similarity",
    "gradient_share_at_centre",
    "receptive_radius",
    "centre_gradient",
    "gradient_similarity",
    "gradient_score",
    "input_gradient",
    "mean_weight_gradient",
    "total_weight_gradient",
    "spread_of_weight_gradients",
    "synaptic_flow",
)
_CONVOLUTION = re.compile(r"conv_?(\d+)x\d+")
_POOL = re.compile(r"(avg|max)_?pool_?(\d+)x\d+")
_IDENTITIES = ("input", "output", "skip_connect")


def responses(graphs: Sequence[Graph], seed: int = 0) -> Array:
    """Responses of one random network a graph, shape `(graphs, len(RESPONSES))`.

    All graphs share images and weights, so that what differs is the graph.

    Args:
        graphs: Graphs of convolutions, pools and identities, sums at their nodes; they are
            simplified first.
        seed: Of images and weights.

    Raises:
        InputError: If an operation is none of these.
    """
    network = _RandomNetwork(seed)
    rows = np.array([network.respond(simplify(graph)) for graph in graphs], dtype=np.float64)
    return np.nan_to_num(rows.reshape(len(graphs), len(RESPONSES)))


class _RandomNetwork:
    """Images and weights that are drawn when they are first needed, in a fixed order a cell."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(2, IMAGES, CHANNELS, SIDE, SIDE, generator=generator)
        # Smooth and rough parts, as in natural images.
        images = functional.avg_pool2d(noise[0], 3, 1, 1) * 2 + 0.5 * noise[1]
        mean, std = images.mean((0, 2, 3), keepdim=True), images.std((0, 2, 3), keepdim=True)
        self._images = (images - mean) / std
        self._direction = torch.randn(CHANNELS, generator=generator)
        self._weights: dict[tuple[int, int, int], Tensor] = {}

    def _weight(self, cell: int, node: int, kernel: int) -> Tensor:
        key = (cell, node, kernel)
        if key not in self._weights:
            # Seeded by place, so that it does not matter which graph comes first.
            seed = ((self._seed * 101 + cell) * 10_007 + node) * 101 + kernel
            generator = torch.Generator().manual_seed(seed)
            shape = (CHANNELS, CHANNELS, kernel, kernel)
            scale = math.sqrt(2 / (CHANNELS * kernel * kernel))
            weight = torch.randn(shape, generator=generator) * scale
            self._weights[key] = weight.requires_grad_()
        return self._weights[key]

    def respond(self, graph: Graph) -> list[float]:
        if not graph.edges:
            return [0.0] * len(RESPONSES)
        images = self._images.clone().requires_grad_()
        signs: list[Tensor] = []
        weights: list[Tensor] = []
        measures: list[float] = []
        x = images
        for cell in range(CELLS):
            x = self._cell(graph, cell, x, signs, weights)
            if cell in STAGES:
                measures += _signal(x.detach())
        measures += _codes(signs)
        flat, start = x.detach().flatten(1), self._images.flatten(1)
        measures.append(float(functional.cosine_similarity(flat, start).mean()))
        return measures + self._gradients(x, images, weights)

    def _cell(
        self, graph: Graph, cell: int, x: Tensor, signs: list[Tensor], weights: list[Tensor]
    ) -> Tensor:
        sources: list[list[int]] = [[] for _ in graph.ops]
        for a, b in graph.edges:
            sources[b].append(a)
        out = [x]
        for node in range(1, len(graph)):
            if not sources[node]:
                out.append(torch.zeros_like(x))
                continue
            total = torch.stack([out[a] for a in sources[node]]).sum(0)
            kind, kernel = _operation(graph.ops[node])
            if kind == "conv":
                signs.append((total.detach() > 0).flatten(1))
                weight = self._weight(cell, node, kernel)
                weights.append(weight)
                total = functional.conv2d(torch.relu(total), weight, padding=kernel // 2)
                total = functional.batch_norm(total, None, None, training=True)
            elif kind == "avg":
                pads = kernel // 2
                total = functional.avg_pool2d(total, kernel, 1, pads, count_include_pad=False)
            elif kind == "max":
                total = functional.max_pool2d(total, kernel, 1, kernel // 2)
            out.append(total)
        return out[-1]

    def _gradients(self, x: Tensor, images: Tensor, weights: list[Tensor]) -> list[float]:
        scale = x.detach().std().clamp(min=1e-6)
        centre = (x[:, :, SIDE // 2, SIDE // 2] * self._direction).sum() / scale
        (back,) = torch.autograd.grad(centre, images, retain_graph=True)
        energy = (back**2).mean((0, 1))
        share = energy / energy.sum().clamp(min=1e-12)
        away = torch.arange(SIDE) - SIDE // 2
        distance = (away**2)[:, None] + (away**2)[None]
        measures = [
            float(share[SIDE // 2, SIDE // 2]),
            float((share * distance).sum()),
            _log(float((back**2).sum()), 1e-9),
        ]
        score = (torch.relu(x).mean((2, 3)) * self._direction).sum() / scale
        to_images, *to_weights = torch.autograd.grad(score, [images, *weights])
        flat = to_images.flatten(1)
        likeness = functional.normalize(flat, dim=1)
        likeness = likeness @ likeness.T
        values = torch.linalg.eigvalsh(likeness).clamp(min=0) + 1e-3
        measures += [
            _off_diagonal(likeness),
            float(-(values.log() + 1 / values).sum()) / 100,
            _log(float((flat**2).sum()), 1e-9),
        ]
        if not weights:
            return [*measures, -5.0, -5.0, 0.0, -5.0]
        norms = torch.stack([g.norm() for g in to_weights])
        pairs = zip(to_weights, weights, strict=True)
        flow = sum(float((gradient * weight.detach()).abs().sum()) for gradient, weight in pairs)
        spread = float(norms.std(unbiased=False)) / (float(norms.mean()) + 1e-9)
        return [
            *measures,
            _log(float(norms.mean()), 1e-6),
            _log(float(norms.sum()), 1e-6),
            _log(spread, 1e-3),
            _log(flow, 1e-6),
        ]


@cache
def _operation(op: str) -> tuple[str, int]:
    """Kind (`conv`, `avg`, `max`, `identity`) and kernel of an operation type."""
    if op in _IDENTITIES:
        return "identity", 1
    if match := _POOL.search(op):
        return match[1], int(match[2])
    if match := _CONVOLUTION.search(op):
        return "conv", int(match[1])
    raise InputError(
        f"operation {op!r} cannot be part of a random network; known: convolutions, pools and "
        f"{', '.join(_IDENTITIES)}"
    )


def _signal(x: Tensor) -> list[float]:
    variance = max(float(x.var()), 1e-9)
    likeness = functional.normalize(x.flatten(1), dim=1)
    pooled = x.mean((2, 3))
    pooled = pooled - pooled.mean(0)
    steps = float(((x[..., 1:] - x[..., :-1]) ** 2).mean())
    fourth = float(((x - x.mean()) ** 4).mean())
    return [
        _off_diagonal(likeness @ likeness.T),
        _effective_rank(pooled),
        _effective_rank(x.transpose(0, 1).flatten(1)),
        _log(steps / variance, 1e-3),
        math.log(variance),
        _log(fourth / variance**2, 1e-3),
        _log(float(pooled.var()) / variance, 1e-4),
    ]


def _codes(signs: list[Tensor]) -> list[float]:
    """NASWOT's log-determinant of how often two images agree in which units are on."""
    if not signs:
        return [-50.0, 1.0]
    code = torch.cat(signs, 1).float()
    agree = (code @ code.T + (1 - code) @ (1 - code).T) / code.shape[1]
    log_determinant = torch.linalg.slogdet(agree + 1e-3 * torch.eye(IMAGES))[1]
    return [float(log_determinant), float(agree.mean())]


def _effective_rank(matrix: Tensor) -> float:
    """Entropy of the normalised singular values."""
    values = torch.linalg.svdvals(matrix)
    values = values / values.sum().clamp(min=1e-9)
    return float(-(values * (values + 1e-9).log()).sum())


def _off_diagonal(likeness: Tensor) -> float:
    n = len(likeness)
    return float((likeness.sum() - n) / (n * (n - 1)))


def _log(value: float, floor: float) -> float:
    return math.log(value + floor)
