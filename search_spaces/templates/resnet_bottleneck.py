"""ResNet of bottlenecks (He et al., CVPR 2016).

The stride is in a bottleneck's middle, as torchvision has it.
"""

import torch
from torch import Tensor, nn

from nasplug.search_spaces.templates.layers import ConvNorm, print_size

IMAGE = (3, 224, 224)
CLASSES = 1000
# Channels and kernel of the first convolution.
STEM = (64, 7)
# Channels of a bottleneck's middle in each stage, and the kernels of its blocks.
STAGES = (
    (64, (3, 3, 3)),
    (128, (3, 3, 3, 3)),
    (256, (3, 3, 3, 3, 3, 3)),
    (512, (3, 3, 3)),
)


class Bottleneck(nn.Module):
    """Reduce the channels, convolve, expand to four times as many, with a skip connection.

    The skip is a 1x1 convolution where the block changes the shape. The last activation
    comes after the sum.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int,
        stride: int,
    ) -> None:
        super().__init__()
        self.out_channels = 4 * channels
        self.convolutions = nn.Sequential(
            ConvNorm(in_channels, channels, activation=nn.ReLU),
            ConvNorm(channels, channels, kernel, stride, activation=nn.ReLU),
            ConvNorm(channels, self.out_channels),
        )
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or in_channels != self.out_channels:
            self.skip = ConvNorm(in_channels, self.out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, and add the input."""
        return torch.relu(self.convolutions(x) + self.skip(x))


class Network(nn.Module):
    """ResNet."""

    def __init__(self, num_classes: int = CLASSES) -> None:
        super().__init__()
        channels, stem_kernel = STEM
        layers: list[nn.Module] = [
            ConvNorm(IMAGE[0], channels, stem_kernel, stride=2, activation=nn.ReLU),
            nn.MaxPool2d(3, stride=2, padding=1),
        ]
        for stage, (width, kernels) in enumerate(STAGES):
            for number, kernel in enumerate(kernels):
                # The first block of every stage but the first halves the side.
                stride = 2 if stage > 0 and number == 0 else 1
                block = Bottleneck(channels, width, kernel, stride)
                layers.append(block)
                channels = block.out_channels
        layers.append(nn.AdaptiveAvgPool2d(1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Score the classes of each image."""
        scores: Tensor = self.classifier(self.features(images).flatten(1))
        return scores


if __name__ == "__main__":
    print_size(Network(), IMAGE)
