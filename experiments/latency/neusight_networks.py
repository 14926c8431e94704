"""Transformers that NeuSight timed, built from their configurations, as PyTorch runs them eagerly."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from nasplug.search_spaces import Graph
from nasplug.search_spaces.operators import Operator
from nasplug.search_spaces.pricing import network_graph

__all__ = ["NETWORKS", "neusight_graph"]


class _Sizes(NamedTuple):
    layers: int
    width: int
    heads: int
    inner: int
    words: int
    length: int
    activation: str
    encoder: bool = False


NETWORKS = {
    "bert_large": _Sizes(24, 1024, 16, 4096, 30_522, 512, "gelu", True),
    "gpt2_large": _Sizes(36, 1280, 20, 5120, 50_257, 1024, "tanh"),
    "gpt3_xl": _Sizes(24, 3072, 24, 12_288, 50_257, 2048, "tanh"),
    "gpt3_27": _Sizes(32, 2560, 32, 10_240, 50_257, 2048, "tanh"),
    "opt_13": _Sizes(24, 2048, 32, 8192, 50_272, 2048, "relu"),
}
# Kernels of the approximation of GELU by tanh that is written out.
_WRITTEN_OUT = ("Pow", "Mul", "Add", "Mul", "Tanh", "Add", "Mul", "Mul")


class _Model:
    def __init__(self, sizes: _Sizes) -> None:
        self.sizes = sizes
        self.operators: list[Operator] = []

    def add(self, op: str, inputs: tuple[int, ...], shape: tuple[int, ...], params: int = 0) -> int:
        self.operators.append(Operator(op, inputs, shape, other_params=params))
        return len(self.operators) - 1

    def shape(self, width: int) -> tuple[int, ...]:
        return (1, self.sizes.length, width)

    def norm(self, x: int) -> int:
        width = self.sizes.width
        return self.add("LayerNormalization", (x,), self.shape(width), 2 * width)

    def linear(self, x: int, outputs: int, bias: bool = True) -> int:
        weights = (outputs, self.operators[x].shape[-1])
        self.operators.append(
            Operator("Gemm", (x,), self.shape(outputs), weights=weights, bias=bias)
        )
        return len(self.operators) - 1

    def attention(self, x: int) -> int:
        length, width, heads = self.sizes.length, self.sizes.width, self.sizes.heads
        split, square = (1, heads, length, width // heads), (1, heads, length, length)
        if self.sizes.activation == "tanh":
            parts = [self.linear(x, 3 * width)] * 3
        else:
            parts = [self.linear(x, width) for _ in range(3)]
        query, key, value = (self.add("Transpose", (part,), split) for part in parts)
        scores = self.add("MatMul", (query, key), square)
        scores = self.add("Mul", (scores,), square)
        # A mask of what comes later, or of what is padding.
        scores = self.add("Add", (scores,), square)
        scores = self.add("Softmax", (scores,), square)
        mixed = self.add("MatMul", (scores, value), split)
        joined = self.add("Transpose", (mixed,), self.shape(width))
        return self.linear(joined, width)

    def mlp(self, x: int) -> int:
        sizes = self.sizes
        x = self.linear(x, sizes.inner)
        ops = {"tanh": _WRITTEN_OUT, "gelu": ("Gelu",), "relu": ("Relu",)}[sizes.activation]
        for op in ops:
            x = self.add(op, (x,), self.shape(sizes.inner))
        return self.linear(x, sizes.width)


@cache
def neusight_graph(name: str) -> Graph:
    """Graph of one of `NETWORKS` for one sequence."""
    sizes = NETWORKS[name]
    model = _Model(sizes)
    whole = model.shape(sizes.width)
    x = model.add("Input", (), (1, sizes.length))
    x = model.add("Gather", (x,), whole, sizes.words * sizes.width)
    x = model.add("Add", (x,), whole)
    for _ in range(sizes.layers):
        if sizes.encoder:
            x = model.norm(model.add("Add", (x, model.attention(x)), whole))
            x = model.norm(model.add("Add", (x, model.mlp(x)), whole))
        else:
            x = model.add("Add", (x, model.attention(model.norm(x))), whole)
            x = model.add("Add", (x, model.mlp(model.norm(x))), whole)
    if sizes.encoder:
        x = model.norm(model.add("Gelu", (model.linear(x, sizes.width),), whole))
    else:
        x = model.norm(x)
    words = model.linear(x, sizes.words, sizes.encoder)
    return network_graph(model.operators, [words])
