"""HW-GPT-Bench's language model (Sukthanker et al., NeurIPS 2024).

The form is what the benchmark's counts tell: a block is x + attention(norm(x)) + mlp(norm(x)),
the size of a head does not follow from the embedding, rotary positions turn a quarter of each
head, and the output layer has weights of its own.
"""

import torch
from torch import Tensor, nn

from nasplug.search_spaces.templates.layers import print_token_size

VOCABULARY = 50254
# Most tokens of a sequence.
LENGTH = 1024
EMBED = 192
# Query heads, and width of the MLP in units of EMBED, of each layer.
LAYERS = ((4, 2), (8, 3), (12, 4))
HEAD_SIZE = 64
# Heads of keys and values, which query heads share in equal groups; 0: one a query head.
KV_HEADS = 0
# Whether linear layers have a bias; norms always have one, the output layer has none.
BIAS = True
# Whether an MLP has three matrices and a SiLU gate, or two and a GELU.
GATED = True
ROTARY_BASE = 10000.0


class Rotary(nn.Module):
    """Rotary positions on the first quarter of each head (Su et al., 2021)."""

    cosines: Tensor
    sines: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.turned = HEAD_SIZE // 4
        frequencies = ROTARY_BASE ** (-torch.arange(0, self.turned, 2) / self.turned)
        angles = torch.outer(torch.arange(LENGTH), frequencies).repeat(1, 2)
        self.register_buffer("cosines", angles.cos(), persistent=False)
        self.register_buffer("sines", angles.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Turn queries or keys: (batch, heads, tokens, HEAD_SIZE)."""
        length = x.shape[2]
        part, others = x[..., : self.turned], x[..., self.turned :]
        # A pair that is turned has one number in each half of the part.
        first, second = part.chunk(2, dim=-1)
        crossed = torch.cat([-second, first], dim=-1)
        part = part * self.cosines[:length] + crossed * self.sines[:length]
        return torch.cat([part, others], dim=-1)


class Attention(nn.Module):
    """Causal attention of several heads.

    The heads need not add up to the width of the embedding: the last layer projects to it.
    """

    def __init__(self, heads: int, rotary: Rotary) -> None:
        super().__init__()
        kv_heads = KV_HEADS or heads
        self.widths = [HEAD_SIZE * n for n in (heads, kv_heads, kv_heads)]
        self.qkv = nn.Linear(EMBED, sum(self.widths), BIAS)
        self.rotary = rotary
        self.project = nn.Linear(HEAD_SIZE * heads, EMBED, BIAS)

    def forward(self, x: Tensor) -> Tensor:
        """Let each token attend to itself and to those before it."""
        query, key, value = (
            part.unflatten(-1, (-1, HEAD_SIZE)).transpose(1, 2)
            for part in self.qkv(x).split(self.widths, dim=-1)
        )
        mixed = nn.functional.scaled_dot_product_attention(
            self.rotary(query),
            self.rotary(key),
            value,
            is_causal=True,
            enable_gqa=KV_HEADS > 0,
        )
        projected: Tensor = self.project(mixed.transpose(1, 2).flatten(2))
        return projected


class MLP(nn.Module):
    """Two layers with a GELU, or with a SiLU whose output a third layer scales."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(EMBED, hidden, BIAS)
        self.raised = nn.Linear(EMBED, hidden, BIAS) if GATED else None
        self.last = nn.Linear(hidden, EMBED, BIAS)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each token by itself."""
        if self.raised is None:
            y = nn.functional.gelu(self.first(x))
        else:
            # The benchmark's counts tell the three matrices. The SiLU is assumed.
            y = nn.functional.silu(self.first(x)) * self.raised(x)
        transformed: Tensor = self.last(y)
        return transformed


class Block(nn.Module):
    """Attention and MLP side by side, both added to what they read."""

    def __init__(self, heads: int, ratio: int, rotary: Rotary) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(EMBED)
        self.attention = Attention(heads, rotary)
        self.norm_2 = nn.LayerNorm(EMBED)
        self.mlp = MLP(ratio * EMBED)

    def forward(self, x: Tensor) -> Tensor:
        """Transform a batch of sequences."""
        y: Tensor = x + self.attention(self.norm_1(x)) + self.mlp(self.norm_2(x))
        return y


class Network(nn.Module):
    """Decoder-only transformer of blocks with parallel residuals."""

    def __init__(self, vocabulary: int = VOCABULARY) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, EMBED)
        rotary = Rotary()
        self.blocks = nn.Sequential(
            *(Block(heads, ratio, rotary) for heads, ratio in LAYERS),
        )
        self.norm = nn.LayerNorm(EMBED)
        self.words = nn.Linear(EMBED, vocabulary, bias=False)
        self.apply(self.initialise)

    @staticmethod
    def initialise(layer: nn.Module) -> None:
        """Draw the first weights of a layer, as those of GPT-2."""
        if isinstance(layer, nn.Linear | nn.Embedding):
            nn.init.normal_(layer.weight, std=0.02)
        if isinstance(layer, nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Score the next word after each token: (batch, tokens, words)."""
        scores: Tensor = self.words(self.norm(self.blocks(self.embedding(tokens))))
        return scores


if __name__ == "__main__":
    print_token_size(Network(), LENGTH)
