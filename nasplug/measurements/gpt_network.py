"""Graphs of the language models of HW-GPT-Bench, from the digits of their references."""

from __future__ import annotations

import re

from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.operators import Operator
from nasplug.search_spaces.pricing import network_graph

__all__ = ["gpt_graph"]

_REFERENCE = re.compile(
    r"gpt:embed=(?P<embed>\d+),bias=(?P<bias>[01]),heads=(?P<heads>[0-9a-z]+),mlp=(?P<mlp>\d+)"
)
_WORDS, _LENGTH, _HEAD = 50_254, 1_024, 64


class _Model:
    """Language model under construction, for one sequence."""

    def __init__(self, embed: int, has_bias: bool) -> None:
        self.embed, self.has_bias = embed, has_bias
        self.operators: list[Operator] = []

    def add(self, op: str, inputs: tuple[int, ...], shape: tuple[int, ...], params: int = 0) -> int:
        self.operators.append(Operator(op, inputs, shape, other_params=params))
        return len(self.operators) - 1

    def norm(self, x: int) -> int:
        """Add a LayerNorm, whose scale and shift are there with and without other biases."""
        return self.add("LayerNormalization", (x,), (1, _LENGTH, self.embed), 2 * self.embed)

    def linear(self, x: int, outputs: int, has_bias: bool) -> int:
        features = self.operators[x].shape[-1]
        shape = (1, _LENGTH, outputs)
        weights = (outputs, features)
        self.operators.append(Operator("Gemm", (x,), shape, weights=weights, bias=has_bias))
        return len(self.operators) - 1

    def attention(self, x: int, heads: int) -> int:
        """Add causal attention with rotary positions on a quarter of each head."""
        qkv = self.linear(x, 3 * _HEAD * heads, self.has_bias)
        split = (1, heads, _LENGTH, _HEAD)
        query, key, value = (self.add("Slice", (qkv,), split) for _ in range(3))
        turned = (1, heads, _LENGTH, _HEAD // 4)
        parts = [self.add("Mul", (k,), turned) for k in (query, key)]
        query, key = (
            self.add("Concat", (part, k), split)
            for part, k in zip(parts, (query, key), strict=True)
        )
        scores = self.add("MatMul", (query, key), (1, heads, _LENGTH, _LENGTH))
        weights = self.add("Softmax", (scores,), (1, heads, _LENGTH, _LENGTH))
        mixed = self.add("MatMul", (weights, value), split)
        joined = self.add("Transpose", (mixed,), (1, _LENGTH, _HEAD * heads))
        return self.linear(joined, self.embed, self.has_bias)

    def mlp(self, x: int, ratio: int) -> int:
        """Add a gated MLP of three matrices."""
        width = ratio * self.embed
        gate = self.linear(x, width, self.has_bias)
        raised = self.linear(x, width, self.has_bias)
        shape = (1, _LENGTH, width)
        gated = self.add("Mul", (self.add("Silu", (gate,), shape), raised), shape)
        return self.linear(gated, self.embed, self.has_bias)


def gpt_graph(reference: str) -> Graph:
    """Make the graph of a language model of HW-GPT-Bench for one sequence of 1,024 tokens.

    Blocks have a parallel residual: x + attention(norm(x)) + mlp(norm(x)). Parameters are those
    that the source counts, and multiply-accumulates too, without the products inside of attention.

    Raises:
        InputError: If the reference is none of such a model.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None or len(match["heads"]) != len(match["mlp"]):
        raise InputError(f"{reference[:80]!r} is no reference of a language model")
    model = _Model(int(match["embed"]), match["bias"] == "1")
    whole = (1, _LENGTH, model.embed)
    tokens = model.add("Input", (), (1, _LENGTH))
    x = model.add("Gather", (tokens,), whole, _WORDS * model.embed)
    for heads, ratio in zip(match["heads"], match["mlp"], strict=True):
        attended = model.attention(model.norm(x), int(heads, 36))
        raised = model.mlp(model.norm(x), int(ratio))
        x = model.add("Add", (model.add("Add", (x, attended), whole), raised), whole)
    words = model.linear(model.norm(x), _WORDS, False)
    return network_graph(model.operators, [words])
