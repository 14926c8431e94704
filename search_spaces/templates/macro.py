"""NAS-Bench-Macro (Su et al., CVPR 2021).

The benchmark decides everything but the operation of each block: a stem of 32 channels, and
three stages of two, three and three blocks. The first block of a stage halves the side and
doubles the channels.
"""

from torch import Tensor, nn

from nasplug.search_spaces.templates.layers import (
    ConvNorm,
    InvertedResidual,
    print_size,
)

IMAGE = (3, 32, 32)
CLASSES = 10
# Operations of the blocks of each stage.
STAGES = (
    ("mb6_k5", "mb6_k5"),
    ("mb6_k5", "identity", "mb3_k3"),
    ("identity", "mb6_k5", "mb3_k3"),
)
# Expansion and kernel.
OPERATIONS = {"mb3_k3": (3, 3), "mb6_k5": (6, 5)}
STEM = 32
HEAD = 1280


def block(name: str, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Make a block of a stage."""
    if name == "identity":
        if stride == 1:
            return nn.Identity()
        # An identity into a stage is a 1x1 convolution without activation.
        return ConvNorm(in_channels, out_channels, 1, stride)
    expansion, kernel = OPERATIONS[name]
    hidden = expansion * in_channels
    return InvertedResidual(in_channels, out_channels, hidden, kernel, stride, nn.ReLU)


class Network(nn.Module):
    """The benchmark's network of eight operations."""

    def __init__(self, num_classes: int = CLASSES) -> None:
        super().__init__()
        channels = STEM
        layers: list[nn.Module] = [ConvNorm(IMAGE[0], STEM, 3, activation=nn.ReLU)]
        for first, *others in STAGES:
            layers.append(block(first, channels, 2 * channels, stride=2))
            channels *= 2
            layers += [block(name, channels, channels, stride=1) for name in others]
        layers += [
            ConvNorm(channels, HEAD, activation=nn.ReLU),
            nn.AdaptiveAvgPool2d(1),
        ]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(HEAD, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Score the classes of each image."""
        scores: Tensor = self.classifier(self.features(images).flatten(1))
        return scores


if __name__ == "__main__":
    print_size(Network(), IMAGE)
