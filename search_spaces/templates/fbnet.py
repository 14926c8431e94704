"""FBNet (Wu et al., CVPR 2019), as HW-NAS-Bench (Li et al., ICLR 2021) builds it.

The space decides everything but the operation of each layer: 22 layers in seven stages,
whose first layer has the stride.
"""

from torch import Tensor, nn

from nasplug.search_spaces.templates.layers import ConvNorm, print_size

IMAGE = (3, 32, 32)
CLASSES = 100
# Channels, stride and operations of each stage.
STAGES = (
    (16, 1, ("k3_e6",)),
    (24, 1, ("k3_e6", "k3_e1_g2", "skip", "k5_e3")),
    (32, 2, ("skip", "k3_e6", "k3_e6", "k3_e6")),
    (64, 2, ("k3_e6", "k3_e6", "k3_e6", "k3_e6")),
    (112, 1, ("k3_e6", "k3_e6", "k3_e6", "k3_e6")),
    (184, 2, ("k3_e6", "k3_e6", "k3_e6", "k3_e6")),
    (352, 1, ("k3_e6",)),
)
# Stride of the first convolution; channels of the last one.
STEM_STRIDE = 1
HEAD = 1504
STEM = 16
# Kernel, expansion, groups of the 1x1 convolutions.
OPERATIONS = {
    "k3_e1": (3, 1, 1),
    "k3_e1_g2": (3, 1, 2),
    "k3_e3": (3, 3, 1),
    "k3_e6": (3, 6, 1),
    "k5_e1": (5, 1, 1),
    "k5_e1_g2": (5, 1, 2),
    "k5_e3": (5, 3, 1),
    "k5_e6": (5, 6, 1),
}


class Shuffle(nn.Module):
    """Interleaving of the channels of groups, so that groups exchange what they hold."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Interleave the channels."""
        split: Tensor = x.unflatten(1, (self.groups, -1))
        return split.transpose(1, 2).flatten(1, 2)


class Bottleneck(nn.Module):
    """Inverted bottleneck, whose 1x1 convolutions may have groups.

    Unlike in MobileNetV2 there is a first convolution at expansion 1, too.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel: int,
        expansion: int,
        groups: int,
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = [
            ConvNorm(in_channels, hidden, groups=groups, activation=nn.ReLU),
        ]
        if groups > 1:
            layers.append(Shuffle(groups))
        layers += [
            ConvNorm(hidden, hidden, kernel, stride, hidden, nn.ReLU),
            ConvNorm(hidden, out_channels, groups=groups),
        ]
        self.layers = nn.Sequential(*layers)
        self.has_skip = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Convolve a batch of feature maps."""
        y: Tensor = self.layers(x)
        return y + x if self.has_skip else y


def layer(name: str, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Make a layer of a stage."""
    if name != "skip":
        return Bottleneck(in_channels, out_channels, stride, *OPERATIONS[name])
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    # A skip that changes the shape is a 1x1 convolution.
    return ConvNorm(in_channels, out_channels, 1, stride, activation=nn.ReLU)


class Network(nn.Module):
    """One network of the space."""

    def __init__(self, num_classes: int = CLASSES) -> None:
        super().__init__()
        channels = STEM
        layers: list[nn.Module] = [
            ConvNorm(IMAGE[0], STEM, 3, STEM_STRIDE, activation=nn.ReLU),
        ]
        for out_channels, first_stride, names in STAGES:
            for number, name in enumerate(names):
                stride = first_stride if number == 0 else 1
                layers.append(layer(name, channels, out_channels, stride))
                channels = out_channels
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
