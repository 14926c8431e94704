"""Small networks of other tasks than classification, with random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Network", "others"]


@dataclass(frozen=True)
class Network:
    """A network by its name.

    Attributes:
        name: Name, with the package that builds it.
        build: Function that makes the module.
        example: Function that makes the arguments of its forward pass: a tuple, or keyword
            arguments.
    """

    name: str
    build: Callable[[], nn.Module]
    example: Callable[[], tuple[Any, ...] | dict[str, Any]]


def others() -> Iterator[Network]:
    """Yield networks of other tasks: segmentation, detection, recurrent, audio, points."""
    image: Callable[[], tuple[Any, ...]] = lambda: (torch.zeros(1, 3, 96, 128),)  # noqa: E731
    words: Callable[[], tuple[Any, ...]] = lambda: (  # noqa: E731
        torch.zeros(1, 20, dtype=torch.int64),
    )
    sound: Callable[[], tuple[Any, ...]] = lambda: (torch.zeros(1, 1, 4_000),)  # noqa: E731
    yield Network("others:unet", _UNet, image)
    yield Network("others:pyramid-detector", _Detector, image)
    yield Network("others:dilated-segmenter", _Dilated, image)
    yield Network("others:lstm-tagger", lambda: _Tagger(nn.LSTM), words)
    yield Network("others:gru-tagger", lambda: _Tagger(nn.GRU), words)
    yield Network("others:rnn-tagger", lambda: _Tagger(nn.RNN), words)
    yield Network("others:separator", _Separator, sound)
    yield Network("others:spotter", _Spotter, lambda: (torch.zeros(1, 1, 40, 101),))
    yield Network("others:translator", _Translator, lambda: (
        torch.zeros(1, 12, 64), torch.zeros(1, 9, 64),
    ))  # fmt: skip
    yield Network("others:points", _Points, lambda: (torch.zeros(1, 3, 256),))
    yield Network("others:video", _Video, lambda: (torch.zeros(1, 3, 8, 32, 32),))
    yield Network("others:generator", _Generator, lambda: (torch.zeros(1, 32),))


def _block(channels_in: int, channels_out: int, stride: int = 1, dilation: int = 1) -> nn.Module:
    convolution = nn.Conv2d(
        channels_in, channels_out, 3, stride, dilation, dilation=dilation, bias=False
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU())


class _UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([_block(3, 16), _block(16, 32, 2), _block(32, 64, 2)])
        self.up = nn.ModuleList(
            [nn.ConvTranspose2d(64, 32, 2, 2), nn.ConvTranspose2d(32, 16, 2, 2)]
        )
        self.join = nn.ModuleList([_block(64, 32), _block(32, 16)])
        self.head = nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        for up, join, skip in zip(self.up, self.join, skips[-2::-1], strict=True):
            x = join(torch.cat([up(x), skip], 1))
        result: Tensor = self.head(x)
        return result


class _Detector(nn.Module):
    """Two levels of a feature pyramid, with shared heads for classes and boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep = _block(3, 24, 2), _block(24, 48, 2)
        self.lateral = nn.ModuleList([nn.Conv2d(24, 32, 1), nn.Conv2d(48, 32, 1)])
        self.classes, self.boxes = nn.Conv2d(32, 9 * 4, 3, 1, 1), nn.Conv2d(32, 9 * 4, 3, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.stem(x)
        coarse = self.lateral[1](self.deep(fine))
        fine = self.lateral[0](fine) + nn.functional.interpolate(coarse, scale_factor=2.0)
        found = []
        for head in (self.classes, self.boxes):
            maps = [head(level).permute(0, 2, 3, 1).flatten(1, 2) for level in (fine, coarse)]
            found.append(torch.cat(maps, 1))
        return found[0].sigmoid(), found[1]


class _Dilated(nn.Module):
    """Dilated branches and an image-wide one, as segmentation heads have them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_block(3, 16, 2), _block(16, 32, 2))
        self.branches = nn.ModuleList([_block(32, 16, dilation=rate) for rate in (1, 2, 4)])
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(32, 16, 1), nn.ReLU())
        self.head = nn.Conv2d(64, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        size, x = x.shape[-2:], self.stem(x)
        parts = [branch(x) for branch in self.branches]
        parts.append(self.whole(x).expand(-1, -1, *x.shape[-2:]))
        scores = self.head(torch.cat(parts, 1))
        return nn.functional.interpolate(scores, size, mode="bilinear", align_corners=False)


class _Tagger(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.words = nn.Embedding(500, 32)
        self.memory = kind(32, 48, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(96, 7)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.memory(self.words(x))[0])
        return result


class _Separator(nn.Module):
    """Encoder, dilated masks and decoder on raw sound."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv1d(1, 64, 16, 8)
        self.masks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv1d(64, 96, 1), nn.PReLU(), nn.GroupNorm(1, 96),
                    nn.Conv1d(96, 96, 3, padding=rate, dilation=rate, groups=96),
                    nn.Conv1d(96, 64, 1),
                )
                for rate in (1, 2, 4)
            )
        )  # fmt: skip
        self.decoder = nn.ConvTranspose1d(64, 1, 16, 8)

    def forward(self, x: Tensor) -> Tensor:
        coded = self.encoder(x)
        result: Tensor = self.decoder(coded * self.masks(coded).sigmoid())
        return result


class _Spotter(nn.Module):
    """Keyword spotting with depthwise separable convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 64, (10, 4), (2, 2), (5, 1))
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(64, 64, 3, 1, 1, groups=64, bias=False), nn.BatchNorm2d(64),
                    nn.ReLU(), nn.Conv2d(64, 64, 1, bias=False), nn.BatchNorm2d(64), nn.Hardswish(),
                )
                for _ in range(3)
            )
        )  # fmt: skip
        self.head = nn.Linear(64, 12)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return result.softmax(-1)


class _Translator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Transformer(64, 4, 2, 2, 128, batch_first=True)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        result: Tensor = self.body(source, target)
        return result


class _Points(nn.Module):
    """PointNet: the same layers on each point, and their maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Conv1d(3, 64, 1), nn.ReLU(), nn.Conv1d(64, 128, 1), nn.ReLU())
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.each(x).amax(-1))
        return result


class _Video(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(3, 16, 3, 1, 1), nn.BatchNorm3d(16), nn.ReLU(), nn.MaxPool3d(2),
            nn.Conv3d(16, 32, (3, 1, 1), 1, (1, 0, 0)), nn.ReLU(), nn.AdaptiveAvgPool3d(1),
        )  # fmt: skip
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.body(x).flatten(1))
        return result


class _Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(32, 64 * 4 * 4)
        self.body = nn.Sequential(
            nn.BatchNorm2d(64), nn.LeakyReLU(0.2), nn.Upsample(scale_factor=2), _block(64, 32),
            nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.InstanceNorm2d(16, affine=True), nn.GELU(),
            nn.Conv2d(16, 12, 3, 1, 1), nn.PixelShuffle(2), nn.Tanh(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.body(self.first(x).reshape(-1, 64, 4, 4))
        return result
