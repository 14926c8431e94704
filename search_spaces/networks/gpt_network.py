"""Graphs of decoder-only language models, of whole prompts and of one step with a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasplug.search_spaces.networks.gpt_model import LanguageModel, Tokens
from nasplug.search_spaces.networks.transformer_network import TransformerBuilder

if TYPE_CHECKING:
    import onnx

__all__ = ["LanguageModelBuilder"]


class LanguageModelBuilder(TransformerBuilder):
    """Builder of the operators of a language model, for one sequence.

    Args:
        model: The model.
        tokens: Tokens that a call reads.
    """

    def __init__(self, model: LanguageModel, tokens: Tokens) -> None:
        super().__init__()
        self.model, self.tokens = model, tokens

    def _norm(self, x: int) -> int:
        """Add a LayerNorm, whose scale and shift are there with and without other biases."""
        embed = self.model.embed
        return self._add("LayerNormalization", (x,), (1, self.tokens.new, embed), 2 * embed)

    def _attention(self, x: int, heads: int) -> int:
        """Add causal attention with rotary positions on a part of each head."""
        model, new, length = self.model, self.tokens.new, self.tokens.length
        size, shared = model.head_size, model.key_heads(heads)
        qkv = self._linear(x, (heads + 2 * shared) * size, model.has_bias)
        # In the order that a graph has them in, depth first.
        query = self._turned(qkv, heads)
        key = self._with_cache(self._turned(qkv, shared), shared)
        scores = self._add("MatMul", (query, key), (1, heads, new, length))
        weights = self._add("Softmax", (scores,), (1, heads, new, length))
        value = self._with_cache(self._add("Slice", (qkv,), (1, shared, new, size)), shared)
        mixed = self._add("MatMul", (weights, value), (1, heads, new, size))
        joined = self._add("Transpose", (mixed,), (1, new, size * heads))
        return self._linear(joined, model.embed, model.has_bias)

    def _turned(self, qkv: int, heads: int) -> int:
        """Add queries or keys, of which positions turn a part."""
        new, size = self.tokens.new, self.model.head_size
        whole = self._add("Slice", (qkv,), (1, heads, new, size))
        part = self._add("Mul", (whole,), (1, heads, new, self.model.turned))
        return self._add("Concat", (part, whole), (1, heads, new, size))

    def _with_cache(self, fresh: int, heads: int) -> int:
        """Add a cache as an input of the network, and join the new token to it; none if empty."""
        if not self.tokens.cached:
            return fresh
        size = self.model.head_size
        cache = self._add("Input", (), (1, heads, self.tokens.cached, size))
        return self._add("Concat", (cache, fresh), (1, heads, self.tokens.length, size))

    def _mlp(self, x: int, ratio: int) -> int:
        """Add an MLP: gated, of three matrices, or plain, of two."""
        model = self.model
        width = ratio * model.embed
        shape = (1, self.tokens.new, width)
        first = self._linear(x, width, model.has_bias)
        if model.is_gated:
            gate = self._add("Silu", (first,), shape)
            raised = self._linear(x, width, model.has_bias)
            first = self._add("Mul", (gate, raised), shape)
        else:
            first = self._add("Gelu", (first,), shape)
        return self._linear(first, model.embed, model.has_bias)

    def build(self) -> int:
        """Add the whole network, and return the position of its output."""
        model, new = self.model, self.tokens.new
        whole = (1, new, model.embed)
        tokens = self._add("Input", (), (1, new))
        x = self._add("Gather", (tokens,), whole, model.vocabulary * model.embed)
        for heads, ratio in zip(model.heads, model.ratios, strict=True):
            attended = self._attention(self._norm(x), heads)
            raised = self._mlp(self._norm(x), ratio)
            x = self._add("Add", (self._add("Add", (x, attended), whole), raised), whole)
        return self._linear(self._norm(x), model.vocabulary, False)

    def onnx_model(
        self, output: int, seed: int = 0, batch_size: int = 1, name: str = "network"
    ) -> onnx.ModelProto:
        """Write a runnable ONNX model with random weights; see `gpt_onnx.language_model`."""
        from nasplug.search_spaces.networks.gpt_onnx import language_model

        return language_model(self.model, self.tokens, seed, batch_size, name)
