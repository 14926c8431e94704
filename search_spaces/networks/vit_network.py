"""Graphs of vision transformers, as those of timm's modules are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasplug.search_spaces.networks.transformer_network import TransformerBuilder
from nasplug.search_spaces.networks.vit_model import CHANNELS, VisionTransformer
from nasplug.search_spaces.operators import Operator

if TYPE_CHECKING:
    import onnx

__all__ = ["VisionTransformerBuilder"]


class VisionTransformerBuilder(TransformerBuilder):
    """Builder of the operators of a vision transformer, for one image.

    The operators are those that the reader of PyTorch modules finds in timm's `VisionTransformer`.

    Args:
        model: The model.
    """

    def __init__(self, model: VisionTransformer) -> None:
        super().__init__()
        self.model = model

    def _like(self, op: str, *inputs: int, params: int = 0) -> int:
        """Add an operator whose output has the shape of its first input."""
        return self._add(op, inputs, self.operators[inputs[0]].shape, params)

    def _embedding(self) -> int:
        """Add the patches and the class token, with their positions."""
        model = self.model
        embed, side, patch = model.embed, model.side // model.patch, model.patch
        image = self._add("Input", (), (1, CHANNELS, model.side, model.side))
        weights = (embed, CHANNELS, patch, patch)
        shape, window = (1, embed, side, side), (patch, patch)
        self.operators.append(
            Operator("Conv", (image,), shape, weights, True, kernel=window, stride=window)
        )
        x = self._add("Reshape", (len(self.operators) - 1,), (1, embed, model.patches))
        x = self._add("Transpose", (x,), (1, model.patches, embed))
        x = self._add("Concat", (x,), (1, model.tokens, embed), embed)
        return self._like("Add", x, params=model.tokens * embed)

    def _attention(self, x: int, heads: int) -> int:
        tokens, size = self.model.tokens, self.model.size(heads)
        qkv = self._linear(x, 3 * heads * size)
        qkv = self._add("Reshape", (qkv,), (1, tokens, 3, heads, size))
        # Queries, keys and values come first, with an axis of their own for the image.
        qkv = self._add("Transpose", (qkv,), (1, 1, 3, heads, tokens, size))
        part, whole = (1, 1, heads, tokens, size), (1, heads, tokens, size)
        query = self._add("Reshape", (self._add("Slice", (qkv,), part),), whole)
        key = self._add("Transpose", (self._add("Slice", (qkv,), part),), (1, heads, size, tokens))
        scores = self._add("MatMul", (query, key), (1, heads, tokens, tokens))
        weights = self._like("Softmax", scores)
        value = self._add("Reshape", (self._add("Slice", (qkv,), part),), whole)
        mixed = self._add("MatMul", (weights, value), whole)
        mixed = self._add("Transpose", (mixed,), (1, tokens, heads, size))
        joined = self._add("Reshape", (mixed,), (1, tokens, heads * size))
        return self._linear(joined, self.model.embed)

    def build(self) -> int:
        """Add the whole network, and return the position of its output."""
        model, x = self.model, self._embedding()
        norm = 2 * model.embed
        for heads, hidden in zip(model.heads, model.hidden, strict=True):
            attended = self._attention(self._like("LayerNormalization", x, params=norm), heads)
            x = self._like("Add", x, attended)
            first = self._linear(self._like("LayerNormalization", x, params=norm), hidden)
            x = self._like("Add", x, self._linear(self._like("Gelu", first), model.embed))
        x = self._like("LayerNormalization", x, params=norm)
        x = self._add("Slice", (x,), (1, 1, model.embed))
        return self._linear(self._add("Reshape", (x,), (1, model.embed)), model.classes)

    def onnx_model(
        self, output: int, seed: int = 0, batch_size: int = 1, name: str = "network"
    ) -> onnx.ModelProto:
        """Write a runnable ONNX model with random weights; see `vit_onnx.vision_transformer`."""
        from nasplug.search_spaces.networks.vit_onnx import vision_transformer

        return vision_transformer(self.model, seed, batch_size, name)
