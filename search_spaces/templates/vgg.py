"""VGG (Simonyan & Zisserman, ICLR 2015).

The network has no normalisation; dropout stands after the first two linear layers.
"""

from torch import Tensor, nn

from nasplug.search_spaces.templates.layers import print_size

IMAGE = (3, 224, 224)
CLASSES = 1000
# Channels of each stage, and the kernels of its convolutions.
STAGES = (
    (64, (3, 3)),
    (128, (3, 3)),
    (256, (3, 3, 3)),
    (512, (3, 3, 3)),
    (512, (3, 3, 3)),
)
# Side of the last feature map, in pixels.
SIDE = 7
# Features of the two hidden linear layers.
HIDDEN = (4096, 4096)


def convolutions() -> nn.Sequential:
    """Make the stages of convolutions, each with a ReLU; a pooling ends a stage."""
    layers: list[nn.Module] = []
    channels = IMAGE[0]
    for out_channels, kernels in STAGES:
        for kernel in kernels:
            conv = nn.Conv2d(channels, out_channels, kernel, padding=kernel // 2)
            layers += [conv, nn.ReLU()]
            channels = out_channels
        layers.append(nn.MaxPool2d(2, stride=2))
    return nn.Sequential(*layers)


class Network(nn.Module):
    """VGG."""

    def __init__(self, num_classes: int = CLASSES) -> None:
        super().__init__()
        self.features = convolutions()
        # The first linear layer reads all pixels, so that the image's size is fixed.
        pixels = SIDE**2 * STAGES[-1][0]
        first, second = HIDDEN
        self.classifier = nn.Sequential(
            nn.Linear(pixels, first),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(second, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Score the classes of each image."""
        scores: Tensor = self.classifier(self.features(images).flatten(1))
        return scores


if __name__ == "__main__":
    print_size(Network(), IMAGE)
