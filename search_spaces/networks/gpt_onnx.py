"""ONNX models of decoder-only language models with random weights, to be run and timed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.networks.gpt_model import LanguageModel, Tokens
from nasplug.search_spaces.networks.onnx_model import check_batch, check_size, checked_model

if TYPE_CHECKING:
    import onnx

__all__ = ["language_model"]

_EPSILON = 1e-5
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


class _Writer:
    """Collector of the nodes, weights, inputs and outputs of one model."""

    def __init__(self, model: LanguageModel, tokens: Tokens, seed: int, batch_size: int) -> None:
        self.model, self.tokens, self.batch = model, tokens, batch_size
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def node(self, op: str, *sources: str, target: str = "", outputs: int = 1, **how: Any) -> str:
        """Append a node; its outputs are numbered if there are several. Returns its name."""
        from onnx import helper

        name = target or f"x{len(self.nodes)}"
        targets = [name] if outputs == 1 else [f"{name}.{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(op, list(sources), targets, name=name, **how))
        return name

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Name a constant; one of a name that is there already is not written again."""
        from onnx import numpy_helper

        if name not in self.initializers:
            typed = values if values.dtype == np.int64 else values.astype(np.float32)
            self.initializers[name] = numpy_helper.from_array(typed, name)
        return name

    def integers(self, *values: int) -> str:
        return self.constant("sizes_" + "_".join(map(str, values)), np.array(values, np.int64))

    def described(self, name: str, shape: tuple[int, ...], is_whole: bool = False) -> Any:
        """Describe an input or output of the model."""
        from onnx import TensorProto, helper

        kind = TensorProto.INT64 if is_whole else TensorProto.FLOAT
        return helper.make_tensor_value_info(name, kind, [self.batch, *shape])

    def norm(self, x: str, name: str) -> str:
        embed = self.model.embed
        scale = self.constant(f"{name}_scale", np.ones(embed))
        shift = self.constant(f"{name}_shift", np.zeros(embed))
        return self.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=_EPSILON)

    def linear(self, x: str, features: int, outputs: int, name: str, has_bias: bool) -> str:
        weight = self.rng.standard_normal((features, outputs), dtype=np.float32)
        weight *= np.float32(1 / math.sqrt(features))
        x = self.node("MatMul", x, self.constant(f"{name}_weight", weight))
        if has_bias:
            x = self.node("Add", x, self.constant(f"{name}_bias", np.zeros(outputs)))
        return x

    def split(self, x: str, *sizes: int) -> list[str]:
        """Split the last axis."""
        name = self.node("Split", x, self.integers(*sizes), outputs=len(sizes), axis=-1)
        return [f"{name}.{k}" for k in range(len(sizes))]

    def heads_first(self, x: str, heads: int) -> str:
        """View features as heads: `(batch, heads, new tokens, head size)`."""
        sizes = (self.batch, self.tokens.new, heads, self.model.head_size)
        return self.node(
            "Transpose", self.node("Reshape", x, self.integers(*sizes)), perm=[0, 2, 1, 3]
        )

    def turn(self, x: str) -> str:
        """Turn a part of each head by the positions of its tokens."""
        turned = self.model.turned
        positions = np.arange(self.tokens.cached, self.tokens.length)
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
        self.outputs.append(self.described(name, (heads, self.tokens.length, size)))
        if not self.tokens.cached:
            return self.node("Identity", x, target=name)
        self.inputs.append(self.described(f"{name}_cache", (heads, self.tokens.cached, size)))
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
        if tokens.is_step:
            key = self.with_cache(key, shared, f"keys_{layer}")
            value = self.with_cache(value, shared, f"values_{layer}")
        if shared != heads:
            # Groups of query heads are an axis of their own, along which keys are the same.
            grouped = self.integers(batch, shared, heads // shared, tokens.new, size)
            query = self.node("Reshape", query, grouped)
            alone = self.integers(batch, shared, 1, tokens.length, size)
            key, value = (self.node("Reshape", k, alone) for k in (key, value))
        query = self.node("Mul", query, self.constant("scale", np.array(size**-0.5)))
        perm = [0, 1, 3, 2] if shared == heads else [0, 1, 2, 4, 3]
        scores = self.node("MatMul", query, self.node("Transpose", key, perm=perm))
        if not tokens.is_step:
            mask = np.triu(np.full((tokens.new, tokens.new), -np.inf), k=1)
            scores = self.node("Add", scores, self.constant("mask", mask))
        mixed = self.node("MatMul", self.node("Softmax", scores, axis=-1), value)
        if shared != heads:
            mixed = self.node("Reshape", mixed, self.integers(batch, heads, tokens.new, size))
        mixed = self.node("Transpose", mixed, perm=[0, 2, 1, 3])
        joined = self.node("Reshape", mixed, self.integers(batch, tokens.new, heads * size))
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
            # ONNX has no GELU before opset 20.
            root = self.constant("root", np.array(math.sqrt(0.5)))
            erf = self.node("Erf", self.node("Mul", first, root))
            one = self.node("Add", erf, self.constant("one", np.array(1.0)))
            half = self.node("Mul", first, self.constant("half", np.array(0.5)))
            first = self.node("Mul", half, one)
        return self.linear(first, width, embed, f"last_{layer}", has_bias)

    def written(self, name: str) -> onnx.ModelProto:
        """Write the whole model."""
        from onnx import helper

        model, new = self.model, self.tokens.new
        self.inputs.append(self.described("tokens", (new,), is_whole=True))
        self.outputs.append(self.described("output", (new, model.vocabulary)))
        table = self.rng.standard_normal((model.vocabulary, model.embed), dtype=np.float32)
        x = self.node("Gather", self.constant("embedding", table), "tokens", axis=0)
        for layer, (heads, ratio) in enumerate(zip(model.heads, model.ratios, strict=True), 1):
            attended = self.attention(self.norm(x, f"norm_{layer}"), heads, layer)
            raised = self.mlp(self.norm(x, f"mlp_norm_{layer}"), ratio, layer)
            x = self.node("Add", self.node("Add", x, attended), raised)
        x = self.norm(x, "norm")
        weight = self.rng.standard_normal((model.embed, model.vocabulary), dtype=np.float32)
        weight *= np.float32(1 / math.sqrt(model.embed))
        self.node("MatMul", x, self.constant("words", weight), target="output")
        initializers = list(self.initializers.values())
        return checked_model(
            helper.make_graph(self.nodes, name, self.inputs, self.outputs, initializers)
        )
