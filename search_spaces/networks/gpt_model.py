"""Decoder-only language models: their sizes, and the tokens that a call reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["LanguageModel", "Tokens"]


@dataclass(frozen=True)
class LanguageModel:
    """Decoder-only transformer with parallel residuals, as HW-GPT-Bench measured it.

    A block is x + attention(norm(x)) + mlp(norm(x)). Rotary positions turn a quarter of each head,
    and the output layer has weights of its own.

    Attributes:
        embed: Numbers that a token is embedded in.
        heads: Query heads of each layer.
        ratios: Width of each layer's MLP, in units of `embed`.
        has_bias: Whether linear layers have a bias; norms always have one.
        kv_heads: Heads of keys and values in each layer, which query heads share in equal groups;
            0 for one a query head.
        is_gated: Whether MLPs have three matrices and a SiLU gate; otherwise two and a GELU.
        vocabulary: Words of the embedding and of the output layer.
        head_size: Numbers of a head.
    """

    embed: int
    heads: tuple[int, ...]
    ratios: tuple[int, ...]
    has_bias: bool
    kv_heads: int = 0
    is_gated: bool = True
    vocabulary: int = 50_254
    head_size: int = 64

    def key_heads(self, heads: int) -> int:
        """Heads of keys and values in a layer of so many query heads."""
        return self.kv_heads or heads

    @property
    def turned(self) -> int:
        """Numbers of each head that rotary positions turn."""
        return self.head_size // 4

    @property
    def params(self) -> int:
        """Number of parameters."""
        e, width, bias = self.embed, self.head_size, int(self.has_bias)
        matrices = 3 if self.is_gated else 2
        count = 2 * self.vocabulary * e + 2 * e
        for heads, ratio in zip(self.heads, self.ratios, strict=True):
            projected = (heads + 2 * self.key_heads(heads)) * width
            count += e * projected + heads * width * e + matrices * ratio * e * e + 4 * e
            count += bias * (projected + e + (matrices - 1) * ratio * e + e)
        return count

    def constants(self, tokens: Tokens) -> dict[str, Any]:
        """Constants of the template of its code, by name."""
        return {
            "VOCABULARY": self.vocabulary,
            "LENGTH": tokens.length,
            "EMBED": self.embed,
            "LAYERS": tuple(zip(self.heads, self.ratios, strict=True)),
            "HEAD_SIZE": self.head_size,
            "KV_HEADS": self.kv_heads,
            "BIAS": self.has_bias,
            "GATED": self.is_gated,
        }


@dataclass(frozen=True)
class Tokens:
    """Tokens that one call of a language model reads.

    Attributes:
        length: Tokens that attention sees: those of the prompt, or those of the cache with the new
            one.
        is_step: Whether the call reads one new token and a cache, not a whole prompt.
        classes: Words of the vocabulary.
    """

    length: int
    is_step: bool
    classes: int

    @property
    def new(self) -> int:
        """Tokens that the call reads itself."""
        return 1 if self.is_step else self.length

    @property
    def cached(self) -> int:
        """Tokens whose keys and values are in the cache."""
        return self.length - self.new
