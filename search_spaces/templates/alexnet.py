"""AlexNet in the one-column form (Krizhevsky, arXiv 1404.5997).

The network has no normalisation; dropout stands before the first two linear layers.
"""

from torch import Tensor, nn

from nasplug.search_spaces.templates.layers import print_size

IMAGE = (3, 224, 224)
CLASSES = 1000
# Channels, kernel, stride and padding of each convolution, and whether a pooling follows.
CONVOLUTIONS = (
    (64, 11, 4, 2, True),
    (192, 5, 1, 2, True),
    (384, 3, 1, 1, False),
    (256, 3, 1, 1, False),
    (256, 3, 1, 1, True),
)
# Side of the last feature map, in pixels.
SIDE = 6
# Features of the two hidden linear layers.
HIDDEN = (4096, 4096)


def convolutions() -> nn.Sequential:
    """Make the convolutions, each with a ReLU."""
    layers: list[nn.Module] = []
    channels = IMAGE[0]
    for out_channels, kernel, stride, padding, is_pooled in CONVOLUTIONS:
        layers += [
            nn.Conv2d(channels, out_channels, kernel, stride, padding),
            nn.ReLU(),
        ]
        if is_pooled:
            layers.append(nn.MaxPool2d(3, stride=2))
        channels = out_channels
    return nn.Sequential(*layers)


class Network(nn.Module):
    """AlexNet."""

    def __init__(self, num_classes: int = CLASSES) -> None:
        super().__init__()
        self.features = convolutions()
        # The first linear layer reads all pixels, so that the image's size is fixed.
        pixels = SIDE**2 * CONVOLUTIONS[-1][0]
        first, second = HIDDEN
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(pixels, first),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Linear(second, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Score the classes of each image."""
        scores: Tensor = self.classifier(self.features(images).flatten(1))
        return scores


if __name__ == "__main__":
    print_size(Network(), IMAGE)
