"""ONNX models of decoder-only language models with random weights, to be run and timed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from nasplug.search_spaces.networks.gpt_model import LanguageModel, Tokens
from nasplug.search_spaces.networks.onnx_model import check_batch, check_size, checked_model
from nasplug.search_spaces.networks.transformer_onnx import TransformerWriter

if TYPE_CHECKING:
    import onnx

__all__ = ["language_model"]

_ROTARY_BASE = 10_000.0


def language_model(
    model: LanguageModel, tokens: Tokens, seed: int = 0, batch_size: int = 1, name: str = "network"
) -> onnx.ModelProto:
    """Write a language model as an ONNX model with its weights embedded.

    Weights are normal with a variance of one over the inputs, biases zero, norms the identity. The
    first input holds the tokens, `(batch, new tokens)`, whole numbers below the vocabulary; for a
    step each layer's cache follows, `(batch, heads, cached tokens, head size)`, keys before values.
    The first output holds a score a word, `(batch, new tokens, vocabulary)`; for a step each
    layer's cache with the new token follows.

    Args:
        model: The language model.
        tokens: Tokens that a call reads.
        seed: Seed of the weights.
        batch_size: Sequences a forward pass, to which the model's inputs are fixed.
        name: Name of the model's graph.

    Raises:
        InputError: If the batch size is not positive, or the weights exceed ONNX's limit of 2 GB.
    """
    check_batch(batch_size)
    check_size(model.params, name)
    return _Writer(model, tokens, seed, batch_size).written(name)


class _Writer(TransformerWriter):
    """Collector of the parts of one language model."""

    def __init__(self, model: LanguageModel, tokens: Tokens, seed: int, batch_size: int) -> None:
        super().__init__(seed, batch_size, tokens.new, model.head_size)
        self.model, self.length, self.cached = model, tokens.length, tokens.cached
        self.is_step = tokens.is_step

    def turn(self, x: str) -> str:
        """Turn a part of each head by the positions of its tokens."""
        turned = self.model.turned
        positions = np.arange(self.cached, self.length)
        angles = np.outer(positions, _ROTARY_BASE ** (-np.arange(0, turned, 2) / turned))
        angles = np.concatenate([angles, angles], axis=1)
        part, others = self.split(x, turned, self.model.head_size - turned)
        first, second = self.split(part, turned // 2, turned // 2)
        crossed = self.node("Concat", self.node("Neg", second), first, axis=-1)
        along = self.node("Mul", part, self.constant("cosines", np.cos(angles)))
        across = self.node("Mul", crossed, self.constant("sines", np.sin(angles)))
        return self.node("Concat", self.node("Add", along, across), others, axis=-1)

    def with_cache(self, x: str, heads: int, name: str) -> str:
        """Join new keys or values to a layer's cache, which is an input and an output."""
        size = self.model.head_size
        self.outputs.append(self.described(name, (heads, self.length, size)))
        if not self.cached:
            return self.node("Identity", x, target=name)
        self.inputs.append(self.described(f"{name}_cache", (heads, self.cached, size)))
        return self.node("Concat", f"{name}_cache", x, target=name, axis=2)

    def attention(self, x: str, heads: int, layer: int) -> str:
        model, tokens, batch = self.model, self.tokens, self.batch
        size, shared = model.head_size, model.key_heads(heads)
        widths = (heads * size, shared * size, shared * size)
        qkv = self.linear(x, model.embed, sum(widths), f"qkv_{layer}", model.has_bias)
        query, key, value = (
            self.heads_first(part, n)
            for part, n in zip(self.split(qkv, *widths), (heads, shared, shared), strict=True)
        )
        query, key = self.turn(query), self.turn(key)
        if self.is_step:
            key = self.with_cache(key, shared, f"keys_{layer}")
            value = self.with_cache(value, shared, f"values_{layer}")
        if shared != heads:
            # Groups of query heads are an axis of their own, along which keys are the same.
            grouped = self.integers(batch, shared, heads // shared, tokens, size)
            query = self.node("Reshape", query, grouped)
            alone = self.integers(batch, shared, 1, self.length, size)
            key, value = (self.node("Reshape", k, alone) for k in (key, value))
        query = self.scaled(query)
        perm = [0, 1, 3, 2] if shared == heads else [0, 1, 2, 4, 3]
        scores = self.node("MatMul", query, self.node("Transpose", key, perm=perm))
        if not self.is_step:
            mask = np.triu(np.full((tokens, tokens), -np.inf), k=1)
            scores = self.node("Add", scores, self.constant("mask", mask))
        mixed = self.node("MatMul", self.node("Softmax", scores, axis=-1), value)
        if shared != heads:
            mixed = self.node("Reshape", mixed, self.integers(batch, heads, tokens, size))
        joined = self.joined(mixed, heads)
        return self.linear(joined, heads * size, model.embed, f"joined_{layer}", model.has_bias)

    def mlp(self, x: str, ratio: int, layer: int) -> str:
        model = self.model
        embed, width, has_bias = model.embed, ratio * model.embed, model.has_bias
        first = self.linear(x, embed, width, f"first_{layer}", has_bias)
        if model.is_gated:
            raised = self.linear(x, embed, width, f"raised_{layer}", has_bias)
            gate = self.node("Mul", first, self.node("Sigmoid", first))
            first = self.node("Mul", gate, raised)
        else:
            first = self.gelu(first)
        return self.linear(first, width, embed, f"last_{layer}", has_bias)

    def written(self, name: str) -> onnx.ModelProto:
        """Write the whole model."""
        from onnx import helper

        model, new = self.model, self.tokens
        self.inputs.append(self.described("tokens", (new,), is_whole=True))
        self.outputs.append(self.described("output", (new, model.vocabulary)))
        table = self.rng.standard_normal((model.vocabulary, model.embed), dtype=np.float32)
        x = self.node("Gather", self.constant("embedding", table), "tokens", axis=0)
        for layer, (heads, ratio) in enumerate(zip(model.heads, model.ratios, strict=True), 1):
            attended = self.attention(self.norm(x, f"norm_{layer}", model.embed), heads, layer)
            raised = self.mlp(self.norm(x, f"mlp_norm_{layer}", model.embed), ratio, layer)
            x = self.node("Add", self.node("Add", x, attended), raised)
        x = self.norm(x, "norm", model.embed)
        weight = self.rng.standard_normal((model.embed, model.vocabulary), dtype=np.float32)
        weight *= np.float32(1 / math.sqrt(model.embed))
        self.node("MatMul", x, self.constant("words", weight), target="output")
        initializers = list(self.initializers.values())
        return checked_model(
            helper.make_graph(self.nodes, name, self.inputs, self.outputs, initializers)
        )
