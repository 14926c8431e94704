"""Networks with trained weights and their measured accuracies, in a file that the package ships."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nasplug.datasets.archives import joined_lines, lines_of, shipped_arrays, write_arrays

__all__ = ["TrainedNetworks", "shipped_trained_networks", "write_trained_networks"]

FORMAT_VERSION = 1
_FILE = "trained_networks.npz"


@dataclass(frozen=True, eq=False)
class TrainedNetworks:
    """Networks with trained weights, each at a size of its images.

    Attributes:
        names: Names that `timm.create_model` takes, such as `"resnet50.a1_in1k"`.
        sides: Side of the images, in pixels, `(n,)`.
        top1: Share of ImageNet's validation images that are classified rightly, in %, `(n,)`.
        top5: Share of these images whose class is among the five likeliest, in %, `(n,)`.
    """

    names: tuple[str, ...]
    sides: NDArray[np.int64]
    top1: NDArray[np.float64]
    top5: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.names)


def write_trained_networks(
    path: Path,
    names: Sequence[str],
    sides: NDArray[np.int64],
    top1: NDArray[np.float64],
    top5: NDArray[np.float64],
) -> None:
    """Write a file of trained networks; for the arguments see `TrainedNetworks`."""
    write_arrays(
        path,
        {
            "version": np.array(FORMAT_VERSION),
            "names": joined_lines(names),
            "sides": sides.astype(np.int32),
            # In thousandths, as the source has them.
            "top1": np.round(1000 * top1).astype(np.int32),
            "top5": np.round(1000 * top5).astype(np.int32),
        },
    )


@cache
def shipped_trained_networks() -> TrainedNetworks:
    """Read the trained networks that come with the package.

    Raises:
        InputError: If the file is missing, damaged, or of another version.

    Example:
        >>> from nasplug.datasets.trained_networks import shipped_trained_networks
        >>> trained = shipped_trained_networks()
        >>> trained.names[0], int(trained.sides[0]), float(trained.top1[0])
        ('eva02_large_patch14_448.mim_m38m_ft_in22k_in1k', 448, 90.056)
    """
    path = Path(__file__).with_name(_FILE)
    with shipped_arrays(path, FORMAT_VERSION, "the trained networks are missing") as arrays:
        return TrainedNetworks(
            lines_of(arrays["names"]),
            arrays["sides"].astype(np.int64),
            arrays["top1"] / 1000,
            arrays["top5"] / 1000,
        )
