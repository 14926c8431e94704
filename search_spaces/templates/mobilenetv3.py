"""MobileNetV3 (Howard et al., ICCV 2019)."""

from torch import Tensor, nn

from nasplug.search_spaces.templates.layers import ConvNorm, ExcitedResidual, print_size

IMAGE = (3, 224, 224)
CLASSES = 1000
# Channels of the first convolution; features of the hidden linear layer.
STEM = 16
FEATURES = 1280
# Channels, expanded channels, kernel, stride, squeezed channels (0 for no excitation) and
# activation of each block.
BLOCKS = (
    (16, 16, 3, 1, 0, "relu"),
    (24, 64, 3, 2, 0, "relu"),
    (40, 72, 5, 2, 24, "relu"),
    (80, 240, 3, 2, 0, "hard_swish"),
)
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "hard_swish": nn.Hardswish}


class Network(nn.Module):
    """MobileNetV3."""

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
            ConvNorm(channels, 6 * channels, activation=nn.Hardswish),
            nn.AdaptiveAvgPool2d(1),
        ]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(6 * channels, FEATURES),
            nn.Hardswish(),
            nn.Dropout(0.2),
            nn.Linear(FEATURES, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Score the classes of each image."""
        scores: Tensor = self.classifier(self.features(images).flatten(1))
        return scores


if __name__ == "__main__":
    print_size(Network(), IMAGE)
