"""Once-for-All MobileNetV3 (Cai et al., ICLR 2020) of width 1.2.

The weights of the published supernet are not part of this file.
"""

from torch import Tensor, nn

from nasplug.search_spaces.templates.layers import ConvNorm, ExcitedResidual, print_size

IMAGE = (3, 224, 224)
CLASSES = 1000
# Channels of the first convolution, of the last one, and of the 1x1 convolution that
# follows the pooling.
STEM = 24
HEAD = 1152
FEATURES = 1536
# Channels, expanded channels, kernel, stride, squeezed channels (0 for no excitation) and
# activation of each block.
BLOCKS = (
    (24, 24, 3, 1, 0, "relu"),
    (32, 144, 7, 2, 0, "relu"),
    (48, 192, 7, 2, 48, "relu"),
    (96, 288, 7, 2, 0, "hard_swish"),
)
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "hard_swish": nn.Hardswish}


class Network(nn.Module):
    """One network of the supernet."""

    def __init__(self, num_classes: int = CLASSES) -> None:
        super().__init__()
        channels = STEM
        layers: list[nn.Module] = [
            ConvNorm(IMAGE[0], channels, 3, stride=2, activation=nn.Hardswish),
        ]
        for out_channels, hidden, kernel, stride, squeezed, activation in BLOCKS:
            layers.append(
                ExcitedResidual(
                    channels,
                    out_channels,
                    hidden,
                    kernel,
                    stride,
                    squeezed,
                    activation=ACTIVATIONS[activation],
                    squeezed_activation=nn.ReLU,
                    gate=nn.Hardsigmoid,
                )
            )
            channels = out_channels
        layers += [
            ConvNorm(channels, HEAD, activation=nn.Hardswish),
            nn.AdaptiveAvgPool2d(1),
            # Neither bias nor normalisation.
            nn.Conv2d(HEAD, FEATURES, 1, bias=False),
            nn.Hardswish(),
        ]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(0.1),
            nn.Linear(FEATURES, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Score the classes of each image."""
        scores: Tensor = self.classifier(self.features(images).flatten(1))
        return scores


if __name__ == "__main__":
    print_size(Network(), IMAGE)
