"""Sizes of vision transformers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["CHANNELS", "VisionTransformer"]

CHANNELS = 3


@dataclass(frozen=True)
class VisionTransformer:
    """Vision transformer with a class token and learned positions (Dosovitskiy et al., 2021).

    Attributes:
        embed: Numbers that a patch is embedded in.
        heads: Heads of each layer.
        hidden: Numbers inside the MLP of each layer.
        patch: Side of a patch, in pixels.
        side: Side of the image, in pixels.
        head_size: Numbers of a head; `embed` over the heads if it is 0.
        classes: Classes of the output.
    """

    embed: int
    heads: tuple[int, ...]
    hidden: tuple[int, ...]
    patch: int
    side: int
    head_size: int = 64
    classes: int = 1_000

    @property
    def patches(self) -> int:
        """Number of patches."""
        return (self.side // self.patch) ** 2

    @property
    def tokens(self) -> int:
        """Number of tokens: the patches and the class token."""
        return self.patches + 1

    def size(self, heads: int) -> int:
        """Numbers of a head in a layer of so many heads."""
        return self.head_size or self.embed // heads

    @property
    def params(self) -> int:
        """Number of parameters."""
        e = self.embed
        count = CHANNELS * self.patch**2 * e + e + e + self.tokens * e
        for heads, hidden in zip(self.heads, self.hidden, strict=True):
            attended = heads * self.size(heads)
            count += 4 * e + 3 * attended * (e + 1) + (attended + 1) * e
            count += hidden * (e + 1) + (hidden + 1) * e
        return count + 2 * e + (e + 1) * self.classes

    @property
    def macs(self) -> int:
        """Multiply-accumulates of an image, those of the two products of attention included."""
        e, n = self.embed, self.tokens
        count = self.patches * CHANNELS * self.patch**2 * e + e * self.classes
        for heads, hidden in zip(self.heads, self.hidden, strict=True):
            attended = heads * self.size(heads)
            count += n * (4 * attended * e + 2 * hidden * e) + 2 * n * n * attended
        return count

    def constants(self) -> dict[str, Any]:
        """Constants of the template of its code, by name."""
        return {
            "IMAGE": (CHANNELS, self.side, self.side),
            "CLASSES": self.classes,
            "PATCH": self.patch,
            "EMBED": self.embed,
            "LAYERS": tuple(zip(self.heads, self.hidden, strict=True)),
            "HEAD_SIZE": self.head_size,
        }
