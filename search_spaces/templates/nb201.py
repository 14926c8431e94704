"""NAS-Bench-201 (Dong & Yang, ICLR 2020).

The benchmark decides everything but the cell: a stem of 16 channels, three stages of five
equal cells with 16, 32 and 64 channels, and a residual block of stride 2 before the second
and the third stage.
"""

from torch import Tensor, nn

from nasplug.search_spaces.templates.layers import print_size

IMAGE = (3, 32, 32)
CLASSES = 10
# Nodes 1, 2 and 3 of the cell. Each adds up its operations on earlier nodes, here the
# operation and the node that it reads. Node 0 is the cell's input, node 3 its output.
CELL = (
    (("nor_conv_3x3", 0),),
    (("none", 0), ("nor_conv_3x3", 1)),
    (("skip_connect", 0), ("none", 1), ("skip_connect", 2)),
)
CHANNELS = (16, 32, 64)
CELLS_A_STAGE = 5


class ReluConvNorm(nn.Sequential):
    """ReLU, convolution, batch normalisation: the benchmark's activation comes first."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
    ) -> None:
        padding = kernel // 2
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False),
            nn.BatchNorm2d(out_channels),
        )


class Zero(nn.Module):
    """The operation `none`: the benchmark multiplies by 0."""

    def forward(self, x: Tensor) -> Tensor:
        """Multiply by 0."""
        return x * 0


def operation(name: str, channels: int) -> nn.Module:
    """Make an operation of a cell; all keep the number of channels and the image's side."""
    if name.startswith("nor_conv"):
        return ReluConvNorm(channels, channels, kernel=int(name[-1]))
    if name == "avg_pool_3x3":
        # Pixels beyond the border do not count.
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return nn.Identity() if name == "skip_connect" else Zero()


class Cell(nn.Module):
    """The searched cell."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.operations = nn.ModuleList(
            [operation(name, channels) for node in CELL for name, _ in node],
        )

    def forward(self, x: Tensor) -> Tensor:
        """Compute the nodes one after another."""
        nodes, operations = [x], iter(self.operations)
        for node in CELL:
            terms = [next(operations)(nodes[source]) for _, source in node]
            nodes.append(sum(terms[1:], terms[0]))
        return nodes[-1]


class Reduction(nn.Module):
    """Residual block that halves the side, and doubles the channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            ReluConvNorm(in_channels, out_channels, kernel=3, stride=2),
            ReluConvNorm(out_channels, out_channels, kernel=3),
        )
        # The benchmark's shortcut has no normalisation.
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, stride=2),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, and add the averaged input."""
        y: Tensor = self.shortcut(x) + self.convolutions(x)
        return y


class Network(nn.Module):
    """The benchmark's network of a cell."""

    def __init__(self, num_classes: int = CLASSES) -> None:
        super().__init__()
        channels = CHANNELS[0]
        # No activation: the cells begin with theirs.
        layers: list[nn.Module] = [
            nn.Conv2d(IMAGE[0], channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        ]
        for stage_channels in CHANNELS:
            if stage_channels != channels:
                layers.append(Reduction(channels, stage_channels))
                channels = stage_channels
            layers += [Cell(channels) for _ in range(CELLS_A_STAGE)]
        layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Score the classes of each image."""
        scores: Tensor = self.classifier(self.features(images).flatten(1))
        return scores


if __name__ == "__main__":
    print_size(Network(), IMAGE)
