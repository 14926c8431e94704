"""EfficientNet (Tan & Le, ICML 2019).

The published training also drops whole blocks at random (stochastic depth), which is left out.
"""

from torch import Tensor, nn

from nasplug.search_spaces.templates.layers import ConvNorm, ExcitedResidual, print_size

IMAGE = (3, 224, 224)
CLASSES = 1000
# Channels and kernel of the first convolution; channels of the last one.
STEM = (32, 3)
HEAD = 1280
# Channels, expansion, kernel and stride of each block.
BLOCKS = (
    (16, 1, 3, 1),
    (24, 6, 3, 2),
    (24, 6, 3, 1),
    (40, 6, 5, 2),
)


class Network(nn.Module):
    """EfficientNet."""

    def __init__(self, num_classes: int = CLASSES) -> None:
        super().__init__()
        channels, stem_kernel = STEM
        layers: list[nn.Module] = [
            ConvNorm(IMAGE[0], channels, stem_kernel, stride=2, activation=nn.SiLU),
        ]
        for out_channels, expansion, kernel, stride in BLOCKS:
            layers.append(
                ExcitedResidual(
                    channels,
                    out_channels,
                    hidden=channels * expansion,
                    kernel=kernel,
                    stride=stride,
                    # A quarter of the channels that the block reads.
                    squeezed=max(1, channels // 4),
                    activation=nn.SiLU,
                    squeezed_activation=nn.SiLU,
                    gate=nn.Sigmoid,
                )
            )
            channels = out_channels
        layers += [
            ConvNorm(channels, HEAD, activation=nn.SiLU),
            nn.AdaptiveAvgPool2d(1),
        ]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(HEAD, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Score the classes of each image."""
        scores: Tensor = self.classifier(self.features(images).flatten(1))
        return scores


if __name__ == "__main__":
    print_size(Network(), IMAGE)
