"""Features of the language models of HW-GPT-Bench, read from their graphs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces import Graph, InputError
from nasplug.search_spaces.networks.gpt import SCALES

__all__ = ["SCALE_NAMES", "LanguageModels", "features_of", "read_models"]

Array = NDArray[np.float64]
# Width, bias, and heads and MLP ratio of each layer.
Decisions = tuple[int, bool, Sequence[int], Sequence[int]]

SCALE_NAMES = tuple(SCALES)
"""Scales that have features."""

_SCALE_OF_WIDTH = {width: name for name, choices in SCALES.items() for width in choices.embed}
# Products of a layer: queries, keys and values; heads; gate, MLP in, MLP out.
_PRODUCTS = 5
_WAVES = 4


@dataclass(frozen=True, eq=False)
class LanguageModels:
    """Decisions of language models, a row each; layers that a network lacks have 0.

    Attributes:
        scales: Names of the scales.
        embed: Width of the embedding.
        layers: Number of layers.
        bias: Whether linear layers have a bias.
        heads: Heads of each layer, `(n, most layers)`.
        ratios: Width of each MLP in units of the embedding, `(n, most layers)`.
    """

    scales: NDArray[Any]
    embed: NDArray[np.int64]
    layers: NDArray[np.int64]
    bias: NDArray[np.bool_]
    heads: NDArray[np.int64]
    ratios: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Iterable[Decisions]) -> LanguageModels:
        """Make them of width, bias, heads and ratios of each network."""
        listed = list(rows)
        most = max(choices.layers[-1] for choices in SCALES.values())
        heads, ratios = (np.zeros((len(listed), most), np.int64) for _ in range(2))
        for row, (_, _, own_heads, own_ratios) in enumerate(listed):
            heads[row, : len(own_heads)], ratios[row, : len(own_heads)] = own_heads, own_ratios
        embed = np.array([row[0] for row in listed], np.int64)
        return cls(
            np.array([_SCALE_OF_WIDTH[int(width)] for width in embed], np.str_),
            embed,
            np.array([len(row[2]) for row in listed], np.int64),
            np.array([row[1] for row in listed], np.bool_),
            heads,
            ratios,
        )

    @classmethod
    def joined(cls, parts: Sequence[LanguageModels]) -> LanguageModels:
        """All networks of some parts, in their order."""
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def take(self, rows: NDArray[np.intp]) -> LanguageModels:
        """The networks at some positions."""
        return LanguageModels(*(getattr(self, field.name)[rows] for field in fields(self)))

    @property
    def width_index(self) -> NDArray[np.intp]:
        """Position of each network's width among those of its scale."""
        index = {w: k for choices in SCALES.values() for k, w in enumerate(choices.embed)}
        return np.array([index[int(width)] for width in self.embed], np.intp)


def read_models(graphs: Sequence[Graph]) -> LanguageModels:
    """Read the decisions of graphs that the spaces of HW-GPT-Bench's scales make.

    Raises:
        InputError: If a graph is of another network.
    """
    read = [_read(graph) for graph in graphs]
    if None in read:
        raise InputError(
            "a network is of none of the scales gpt:s, gpt:m and gpt:l, of which alone "
            "perplexities are known"
        )
    return LanguageModels.of(row for row in read if row is not None)


def _read(graph: Graph) -> Decisions | None:
    """Width, bias, heads and ratios of a network; None for one of another form."""
    products = np.array([k for k, op in enumerate(graph.ops) if op == "Gemm"], np.intp)
    if len(products) % _PRODUCTS != 1 or len(products) == 1:
        return None
    sizes = [graph.attribute(name)[products] for name in ("in_channels", "out_channels", "params")]
    embed = int(sizes[0][-1])
    choices = SCALES.get(_SCALE_OF_WIDTH.get(embed, ""))
    inputs, outputs, params = (size[:-1].reshape(-1, _PRODUCTS) for size in sizes)
    if choices is None or len(inputs) not in choices.layers:
        return None
    heads, ratios = inputs[:, 1] / choices.head_size, outputs[:, 2] / embed
    right = (
        (outputs[:, 0] == 3 * inputs[:, 1])
        & (outputs[:, 2] == outputs[:, 3])
        & (outputs[:, 2] == inputs[:, 4])
        & np.isin(heads, choices.heads)
        & np.isin(ratios, choices.mlp)
    )
    if not right.all():
        return None
    has_bias = bool(params[0, 0] > inputs[0, 0] * outputs[0, 0])
    return embed, has_bias, heads.astype(int).tolist(), ratios.astype(int).tolist()


def features_of(models: LanguageModels) -> tuple[Array, NDArray[np.intp]]:
    """Features of networks of one scale.

    Returns:
        Features `(n, features)`, and the group of each feature: weights of a group have one
        variance. The first group is the width.
    """
    choices = SCALES[str(models.scales[0])]
    depth = choices.layers[-1]
    exists = np.arange(depth) < models.layers[:, None]
    heads = _levels(models.heads[:, :depth], choices.heads, exists)
    ratios = _levels(models.ratios[:, :depth], choices.mlp, exists)
    width = (models.embed[:, None] == np.array(choices.embed)).astype(float)
    size = (models.layers[:, None] == np.array(choices.layers)) - 1 / len(choices.layers)
    bias = np.where(models.bias, 1.0, -1.0)[:, None]
    places = np.arange(depth)
    waves = [np.cos(np.pi * k * places / (depth - 1)) for k in range(1, _WAVES + 1)]
    course = np.stack([*waves, np.exp(-places)], axis=1) / np.sqrt(depth)
    sums = [numbers[0].sum(1, keepdims=True) / np.sqrt(depth) for numbers in (heads, ratios)]
    mids = [numbers[1].sum(1, keepdims=True) / np.sqrt(depth) for numbers in (heads, ratios)]
    first, second = sums
    products = [first**2 - 1, second**2 - 1, first * second, bias * first, bias * second]
    groups = [
        np.hstack([size, bias]),
        np.hstack(sums),
        np.hstack([heads[0] @ course, ratios[0] @ course]),
        np.hstack([heads[0], ratios[0]]),
        np.hstack([*products, size * first, size * second, bias * size]),
        np.hstack(mids),
    ]
    blocks = [width]
    for block in groups:
        blocks += [block, _for_each(width, block)]
    blocks.append(_for_each(width, np.hstack([heads[1], ratios[1]])))
    numbers = [np.full(block.shape[1], k, np.intp) for k, block in enumerate(blocks)]
    return np.hstack(blocks), np.concatenate(numbers)


def _levels(
    numbers: NDArray[np.int64], choices: Sequence[int], exists: NDArray[np.bool_]
) -> tuple[Array, Array]:
    """Standardised numbers of layers, and whether each is the middle choice; 0 without a layer."""
    values = np.array(choices, float)
    linear = np.where(exists, (numbers - values.mean()) / values.std(), 0.0)
    middle = np.where(exists, (numbers == choices[1]) - 1 / len(choices), 0.0)
    return linear, middle


def _for_each(width: Array, block: Array) -> Array:
    """The features once for each width."""
    return np.hstack([width[:, [k]] * block for k in range(width.shape[1])])
