"""Vision transformer (Dosovitskiy et al., ICLR 2021; Touvron et al., ICML 2021).

The form is that of timm: a class token, learned positions, and blocks that normalise before
attention and before the MLP.
"""

import torch
from torch import Tensor, nn

from nasplug.search_spaces.templates.layers import print_image_size

IMAGE = (3, 224, 224)
CLASSES = 1000
# Side of a patch, in pixels, and numbers that it is embedded in.
PATCH = 16
EMBED = 384
# Heads, and numbers inside the MLP, of each layer.
LAYERS = ((6, 1536), (6, 1536), (6, 1536))
# Numbers of a head; 0: EMBED over the heads.
HEAD_SIZE = 64


class Attention(nn.Module):
    """Attention of several heads, which need not add up to the width of the embedding."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.size = HEAD_SIZE or EMBED // heads
        self.qkv = nn.Linear(EMBED, 3 * heads * self.size)
        self.project = nn.Linear(heads * self.size, EMBED)

    def forward(self, x: Tensor) -> Tensor:
        """Let each token attend to all tokens."""
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, self.size)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.project(
            mixed.transpose(1, 2).reshape(batch, tokens, self.heads * self.size),
        )
        return projected


class Block(nn.Module):
    """Attention and then an MLP, each added to what it reads."""

    def __init__(self, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(EMBED, eps=1e-6)
        self.attention = Attention(heads)
        self.norm_2 = nn.LayerNorm(EMBED, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(EMBED, hidden),
            nn.GELU(),
            nn.Linear(hidden, EMBED),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform a batch of images, tokens by tokens."""
        x = x + self.attention(self.norm_1(x))
        y: Tensor = x + self.mlp(self.norm_2(x))
        return y


class Network(nn.Module):
    """Vision transformer that classifies by its class token."""

    def __init__(self, num_classes: int = CLASSES) -> None:
        super().__init__()
        channels, height, width = IMAGE
        patches = (height // PATCH) * (width // PATCH)
        self.patches = nn.Conv2d(channels, EMBED, PATCH, stride=PATCH)
        self.class_token = nn.Parameter(torch.zeros(1, 1, EMBED))
        self.positions = nn.Parameter(torch.zeros(1, patches + 1, EMBED))
        self.blocks = nn.Sequential(*(Block(heads, hidden) for heads, hidden in LAYERS))
        self.norm = nn.LayerNorm(EMBED, eps=1e-6)
        self.classifier = nn.Linear(EMBED, num_classes)
        self.apply(self.initialise)
        nn.init.trunc_normal_(self.class_token, std=0.02)
        nn.init.trunc_normal_(self.positions, std=0.02)

    @staticmethod
    def initialise(layer: nn.Module) -> None:
        """Draw the first weights of a layer, as those of DeiT."""
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Score the classes of each image."""
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1)
        x = self.norm(self.blocks(x + self.positions))
        scores: Tensor = self.classifier(x[:, 0])
        return scores


if __name__ == "__main__":
    print_image_size(Network(), IMAGE)
