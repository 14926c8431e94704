"""ONNX models of vision transformers with random weights, to be run and timed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nasplug.search_spaces.networks.onnx_model import check_batch, check_size, checked_model
from nasplug.search_spaces.networks.transformer_onnx import TransformerWriter
from nasplug.search_spaces.networks.vit_model import VisionTransformer

if TYPE_CHECKING:
    import onnx

__all__ = ["vision_transformer"]

# Standard deviation of the class token and of the positions.
_SPREAD = 0.02


def vision_transformer(
    model: VisionTransformer, seed: int = 0, batch_size: int = 1, name: str = "network"
) -> onnx.ModelProto:
    """Write a vision transformer as an ONNX model with its weights embedded.

    Args:
        model: The vision transformer.
        seed: Seed of the weights; see `TransformerWriter`.
        batch_size: Images a forward pass, to which the model's input is fixed.
        name: Name of the model's graph.

    Raises:
        InputError: If the batch size is not positive, or the weights exceed ONNX's limit of 2 GB.
    """
    check_batch(batch_size)
    check_size(model.params, name)
    return _Writer(model, seed, batch_size).written(name)


class _Writer(TransformerWriter):
    """Collector of the parts of one vision transformer."""

    epsilon = 1e-6

    def __init__(self, model: VisionTransformer, seed: int, batch_size: int) -> None:
        super().__init__(seed, batch_size, model.tokens, model.head_size)
        self.model = model

    def drawn(self, name: str, *shape: int) -> str:
        """Name a parameter whose first values are drawn."""
        values = self.rng.standard_normal(shape, dtype=np.float32)
        return self.constant(name, values * np.float32(_SPREAD))

    def embedding(self) -> str:
        """Append the patches and the class token, with their positions."""
        model, patch = self.model, self.model.patch
        self.inputs.append(self.described("images", (3, model.side, model.side)))
        fan_in = 3 * patch * patch
        weight = self.rng.standard_normal((model.embed, 3, patch, patch), dtype=np.float32)
        weight *= np.float32(fan_in**-0.5)
        weights = self.constant("patch_weight", weight)
        biases = self.constant("patch_bias", np.zeros(model.embed))
        window = [patch, patch]
        x = self.node("Conv", "images", weights, biases, kernel_shape=window, strides=window)
        x = self.node("Reshape", x, self.integers(self.batch, model.embed, model.patches))
        x = self.node("Transpose", x, perm=[0, 2, 1])
        token = self.drawn("class_token", 1, 1, model.embed)
        token = self.node("Expand", token, self.integers(self.batch, 1, model.embed))
        x = self.node("Concat", token, x, axis=1)
        return self.node("Add", x, self.drawn("positions", 1, model.tokens, model.embed))

    def attention(self, x: str, heads: int, layer: int) -> str:
        embed, self.head_size = self.model.embed, self.model.size(heads)
        width = heads * self.head_size
        qkv = self.linear(x, embed, 3 * width, f"qkv_{layer}", True)
        query, key, value = (
            self.heads_first(part, heads) for part in self.split(qkv, width, width, width)
        )
        key = self.node("Transpose", key, perm=[0, 1, 3, 2])
        scores = self.node("MatMul", self.scaled(query), key)
        mixed = self.node("MatMul", self.node("Softmax", scores, axis=-1), value)
        return self.linear(self.joined(mixed, heads), width, embed, f"joined_{layer}", True)

    def written(self, name: str) -> onnx.ModelProto:
        """Write the whole model."""
        from onnx import helper

        model, embed, x = self.model, self.model.embed, self.embedding()
        for layer, (heads, hidden) in enumerate(zip(model.heads, model.hidden, strict=True), 1):
            attended = self.attention(self.norm(x, f"norm_{layer}", embed), heads, layer)
            x = self.node("Add", x, attended)
            first = self.norm(x, f"mlp_norm_{layer}", embed)
            first = self.gelu(self.linear(first, embed, hidden, f"first_{layer}", True))
            x = self.node("Add", x, self.linear(first, hidden, embed, f"last_{layer}", True))
        x = self.norm(x, "norm", embed)
        # The first token is that of the class.
        x = self.node("Gather", x, self.constant("first", np.array(0, np.int64)), axis=1)
        self.linear(x, embed, model.classes, "classes", True, target="output")
        self.outputs.append(self.described("output", (model.classes,)))
        initializers = list(self.initializers.values())
        return checked_model(
            helper.make_graph(self.nodes, name, self.inputs, self.outputs, initializers)
        )
