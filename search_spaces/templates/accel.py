"""Accel-NASBench (Ahmad et al., DAC 2024).

The benchmark decides the channels and strides of the seven blocks. The publication does not
name the activations; ReLU is assumed, with a sigmoid as the gate of the excitation.
"""

from torch import Tensor, nn

from nasplug.search_spaces.templates.layers import ConvNorm, ExcitedResidual, print_size

IMAGE = (3, 224, 224)
CLASSES = 1000
# Expansion, kernel and number of layers of each block, and whether it has excitations.
BLOCKS = (
    (1, 3, 1, True),
    (6, 3, 2, True),
    (6, 5, 2, True),
    (6, 3, 3, True),
    (6, 5, 3, True),
    (6, 5, 4, True),
    (6, 3, 1, True),
)
# Of the benchmark: channels of each block, and the stride of its first layer.
CHANNELS = (16, 24, 40, 80, 112, 192, 320)
STRIDES = (1, 2, 2, 2, 1, 2, 1)
STEM = 32
HEAD = 1280


class Network(nn.Module):
    """One network of the benchmark."""

    def __init__(self, num_classes: int = CLASSES) -> None:
        super().__init__()
        channels = STEM
        layers: list[nn.Module] = [
            ConvNorm(IMAGE[0], channels, 3, stride=2, activation=nn.ReLU),
        ]
        shapes = zip(BLOCKS, CHANNELS, STRIDES, strict=True)
        for block, out_channels, first_stride in shapes:
            expansion, kernel, depth, is_excited = block
            for layer in range(depth):
                layers.append(
                    ExcitedResidual(
                        channels,
                        out_channels,
                        hidden=channels * expansion,
                        kernel=kernel,
                        stride=first_stride if layer == 0 else 1,
                        # A quarter of the channels that the layer reads.
                        squeezed=channels // 4 if is_excited else 0,
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
        self.classifier = nn.Linear(HEAD, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Score the classes of each image."""
        scores: Tensor = self.classifier(self.features(images).flatten(1))
        return scores


if __name__ == "__main__":
    print_size(Network(), IMAGE)
