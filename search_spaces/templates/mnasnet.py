"""MnasNet (Tan et al., CVPR 2019)."""

from torch import Tensor, nn

from nasplug.search_spaces.templates.layers import ConvNorm, ExcitedResidual, print_size

IMAGE = (3, 224, 224)
CLASSES = 1000
# Channels of the first convolution, kernel of the depthwise one after it, and channels of
# their projection; channels of the last convolution.
STEM = (32, 3, 16)
HEAD = 1280
# Channels, expansion, kernel and stride of each block, and whether it has an excitation.
BLOCKS = (
    (24, 3, 3, 2, False),
    (24, 3, 3, 1, False),
    (40, 3, 5, 2, True),
)


class Network(nn.Module):
    """MnasNet."""

    def __init__(self, num_classes: int = CLASSES) -> None:
        super().__init__()
        stem, stem_kernel, channels = STEM
        layers: list[nn.Module] = [
            ConvNorm(IMAGE[0], stem, 3, stride=2, activation=nn.ReLU),
            ConvNorm(stem, stem, stem_kernel, groups=stem, activation=nn.ReLU),
            ConvNorm(stem, channels),
        ]
        for out_channels, expansion, kernel, stride, is_excited in BLOCKS:
            layers.append(
                ExcitedResidual(
                    channels,
                    out_channels,
                    hidden=channels * expansion,
                    kernel=kernel,
                    stride=stride,
                    # A quarter of the channels that the block reads.
                    squeezed=max(1, channels // 4) if is_excited else 0,
                    activation=nn.ReLU,
                    squeezed_activation=nn.ReLU,
                    gate=nn.Sigmoid,
                )
            )
            channels = out_channels
        layers += [
            ConvNorm(channels, HEAD, activation=nn.ReLU),
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
