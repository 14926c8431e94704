"""SqueezeNet (Iandola et al., arXiv 1602.07360).

The network has no normalisation, and no linear layer: its last convolution has a channel a
class.
"""

import torch
from torch import Tensor, nn

from nasplug.search_spaces.templates.layers import print_size

IMAGE = (3, 224, 224)
CLASSES = 1000
# Channels and kernel of the first convolution.
STEM = (96, 7)
# Fire modules: squeezed channels, channels of each expanding branch, and the window of the
# second branch; then the modules, from 1 on, before which a pooling comes.
FIRES = (
    (16, 64, 3),
    (16, 64, 3),
    (32, 128, 3),
    (32, 128, 3),
    (48, 192, 3),
    (48, 192, 3),
    (64, 256, 3),
    (64, 256, 3),
)
POOLED = (1, 4, 8)


class Fire(nn.Module):
    """Squeeze the channels, then expand them in two branches."""

    def __init__(
        self,
        in_channels: int,
        squeezed: int,
        expanded: int,
        kernel: int,
    ) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(in_channels, squeezed, 1), nn.ReLU())
        padding = kernel // 2
        self.small = nn.Sequential(nn.Conv2d(squeezed, expanded, 1), nn.ReLU())
        self.large = nn.Sequential(
            nn.Conv2d(squeezed, expanded, kernel, padding=padding),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Join both branches."""
        x = self.squeeze(x)
        return torch.cat([self.small(x), self.large(x)], dim=1)


class Network(nn.Module):
    """SqueezeNet."""

    def __init__(self, num_classes: int = CLASSES) -> None:
        super().__init__()
        channels, kernel = STEM
        # The first convolution has no padding.
        layers: list[nn.Module] = [
            nn.Conv2d(IMAGE[0], channels, kernel, stride=2),
            nn.ReLU(),
        ]
        for number, (squeezed, expanded, window) in enumerate(FIRES, start=1):
            if number in POOLED:
                layers.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
            layers.append(Fire(channels, squeezed, expanded, window))
            channels = 2 * expanded
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Conv2d(channels, num_classes, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Score the classes of each image."""
        scores: Tensor = self.classifier(self.features(images))
        return scores


if __name__ == "__main__":
    print_size(Network(), IMAGE)
