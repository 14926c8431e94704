"""GoogLeNet (Szegedy et al., CVPR 2015), with batch normalisation, without auxiliary heads.

The third branch of torchvision's network has a 3x3 window where the paper has 5x5.
"""

import torch
from torch import Tensor, nn

from nasplug.search_spaces.templates.layers import ConvNorm, print_size

IMAGE = (3, 224, 224)
CLASSES = 1000
# Channels and kernel of the first and of the second convolution.
STEM = ((64, 7), (192, 3))
# Modules of each stage: channels of the four branches, those of a branch with two
# convolutions as a pair, then the windows of the second and the third branch.
STAGES = (
    (
        (64, (96, 128), (16, 32), 32, 3, 3),
        (128, (128, 192), (32, 96), 64, 3, 3),
    ),
    (
        (192, (96, 208), (16, 48), 64, 3, 3),
        (160, (112, 224), (24, 64), 64, 3, 3),
        (128, (128, 256), (24, 64), 64, 3, 3),
        (112, (144, 288), (32, 64), 64, 3, 3),
        (256, (160, 320), (32, 128), 128, 3, 3),
    ),
    (
        (256, (160, 320), (32, 128), 128, 3, 3),
        (384, (192, 384), (48, 128), 128, 3, 3),
    ),
)


class Inception(nn.Module):
    """Four branches side by side, joined along their channels."""

    def __init__(
        self,
        in_channels: int,
        direct: int,
        middle: tuple[int, int],
        wide: tuple[int, int],
        pooled: int,
        middle_kernel: int,
        wide_kernel: int,
    ) -> None:
        super().__init__()
        self.out_channels = direct + middle[1] + wide[1] + pooled
        self.branches = nn.ModuleList(
            [
                ConvNorm(in_channels, direct, activation=nn.ReLU),
                nn.Sequential(
                    ConvNorm(in_channels, middle[0], activation=nn.ReLU),
                    ConvNorm(*middle, middle_kernel, activation=nn.ReLU),
                ),
                nn.Sequential(
                    ConvNorm(in_channels, wide[0], activation=nn.ReLU),
                    ConvNorm(*wide, wide_kernel, activation=nn.ReLU),
                ),
                nn.Sequential(
                    nn.MaxPool2d(3, stride=1, padding=1),
                    ConvNorm(in_channels, pooled, activation=nn.ReLU),
                ),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Join what the branches make of a batch."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class Network(nn.Module):
    """GoogLeNet."""

    def __init__(self, num_classes: int = CLASSES) -> None:
        super().__init__()
        (first, first_kernel), (channels, kernel) = STEM
        layers: list[nn.Module] = [
            ConvNorm(IMAGE[0], first, first_kernel, stride=2, activation=nn.ReLU),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            ConvNorm(first, first, activation=nn.ReLU),
            ConvNorm(first, channels, kernel, activation=nn.ReLU),
        ]
        # Before each stage; a last window that is not full counts.
        pooling_windows = (3, 3, 2)
        for window, modules in zip(pooling_windows, STAGES, strict=True):
            layers.append(nn.MaxPool2d(window, stride=2, ceil_mode=True))
            for branches in modules:
                module = Inception(channels, *branches)
                layers.append(module)
                channels = module.out_channels
        layers.append(nn.AdaptiveAvgPool2d(1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(0.2),
            nn.Linear(channels, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Score the classes of each image."""
        scores: Tensor = self.classifier(self.features(images).flatten(1))
        return scores


if __name__ == "__main__":
    print_size(Network(), IMAGE)
