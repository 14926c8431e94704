"""NAS-Bench-101 (Ying et al., ICML 2019).

The benchmark decides everything but the cell: a stem of 128 channels, and three stacks of
three equal cells with 128, 256 and 512 channels. A max pooling halves the side between two
stacks.
"""

import torch
from torch import Tensor, nn

from nasplug.search_spaces.templates.layers import ConvNorm, print_size

IMAGE = (3, 32, 32)
CLASSES = 10
# Vertices of the cell between input and output, from 1 on: the operation, and the vertices
# that it reads. Vertex 0 is the cell's input. Their order is the benchmark's, and decides
# which vertex gets a channel more where channels do not divide.
VERTICES = (
    ("conv3x3-bn-relu", (0,)),
    ("conv1x1-bn-relu", (0, 1)),
)
# Vertices that the output reads.
OUTPUT = (0, 2)
STEM = 128
STACKS = 3
CELLS_A_STACK = 3


def vertex_channels(channels: int) -> list[int]:
    """Share the channels of a cell among its vertices.

    The output joins the vertices that it reads, so that they share its channels; the first
    ones get one more where these do not divide. Any other vertex has as many channels as
    the widest that reads it.
    """
    joined = [v for v in OUTPUT if v > 0]
    widths = [0] * (len(VERTICES) + 1)
    for k, v in enumerate(joined):
        widths[v] = channels // len(joined) + (k < channels % len(joined))
    for v in range(len(VERTICES), 0, -1):
        if v not in joined:
            widths[v] = max(
                widths[reader]
                for reader, (_, sources) in enumerate(VERTICES, start=1)
                if v in sources
            )
    return widths


def operation(name: str, channels: int) -> nn.Module:
    """Make the operation of a vertex; it keeps the number of channels and the side."""
    if name == "maxpool3x3":
        return nn.MaxPool2d(3, stride=1, padding=1)
    kernel = 3 if name == "conv3x3-bn-relu" else 1
    return ConvNorm(channels, channels, kernel, activation=nn.ReLU)


class Cell(nn.Module):
    """The searched cell.

    A vertex adds up what it reads. What it reads from the cell's input is projected to its
    channels by a 1x1 convolution; of a wider vertex it reads the first channels.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.channels = vertex_channels(out_channels)
        self.operations = nn.ModuleDict()
        self.projections = nn.ModuleDict()
        for v, (name, sources) in enumerate(VERTICES, start=1):
            width = self.channels[v]
            self.operations[str(v)] = operation(name, width)
            if 0 in sources:
                self.projections[str(v)] = ConvNorm(
                    in_channels,
                    width,
                    activation=nn.ReLU,
                )
        if 0 in OUTPUT:
            projection = ConvNorm(in_channels, out_channels, activation=nn.ReLU)
            self.projections["output"] = projection

    def forward(self, x: Tensor) -> Tensor:
        """Compute the vertices one after another, then the output."""
        values = [x]
        for v, (_, sources) in enumerate(VERTICES, start=1):
            width = self.channels[v]
            terms = [values[source][:, :width] for source in sources if source > 0]
            if 0 in sources:
                terms.append(self.projections[str(v)](x))
            values.append(self.operations[str(v)](sum(terms[1:], terms[0])))
        joined = [values[v] for v in OUTPUT if v > 0]
        terms = [torch.cat(joined, dim=1)] if joined else []
        if 0 in OUTPUT:
            terms.append(self.projections["output"](x))
        return sum(terms[1:], terms[0])


class Network(nn.Module):
    """The benchmark's network of a cell."""

    def __init__(self, num_classes: int = CLASSES) -> None:
        super().__init__()
        channels = STEM
        layers: list[nn.Module] = [ConvNorm(IMAGE[0], STEM, 3, activation=nn.ReLU)]
        for stack in range(STACKS):
            if stack > 0:
                layers.append(nn.MaxPool2d(2, stride=2))
            for _ in range(CELLS_A_STACK):
                layers.append(Cell(channels, STEM * 2**stack))
                channels = STEM * 2**stack
        layers.append(nn.AdaptiveAvgPool2d(1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Score the classes of each image."""
        scores: Tensor = self.classifier(self.features(images).flatten(1))
        return scores


if __name__ == "__main__":
    print_size(Network(), IMAGE)
