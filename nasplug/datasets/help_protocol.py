"""HELP's protocol for latency on unseen devices: devices, pools and reference architectures.

The protocol follows the published code and README of Lee et al.: HELP, NeurIPS 2021. A predictor
learns on the meta-train devices, sees 10 architectures of the sample pool on a meta-test device,
and is scored by Spearman's rank correlation (average ranks for ties) over the query pool of that
device; the published figure is the plain mean over the meta-test devices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasplug.datasets.importers.help_networks import FBNET_DEVICES
from nasplug.datasets.importers.nb201 import NB201_DEVICES
from nasplug.search_spaces.errors import InputError, closest

__all__ = [
    "PROTOCOLS",
    "REFERENCE_ARCHS",
    "HelpProtocol",
    "protocol",
    "query_indices",
    "sample_indices",
    "trimmed",
]

REFERENCE_ARCHS: dict[str, tuple[int, ...]] = {
    "nb201": (11982, 431, 55, 9, 14451, 8636, 9881, 13479, 6196, 1462),
    "fbnet": (3328, 3790, 3313, 890, 3052, 2538, 1640, 2514, 457, 2100),
    "ofa": (1316, 1587, 1621, 1636, 1980, 2329, 2487, 3355, 3740, 4948),
}
"""Space -> indices of the ten architectures whose latencies describe a device to HELP.

The published code measures them on a meta-test device beside the 10 random samples: up to 20
measurements, where the paper counts 10."""


@dataclass(frozen=True)
class HelpProtocol:
    """HELP's devices, pools and settings for one space.

    Attributes:
        space: The space; the latencies are the data set `<space>-latency`.
        meta_train: Columns of the data set to learn from, `<device>@<batch>`.
        meta_validation: Columns that settings are chosen on.
        meta_test: Columns that are scored.
        sample_pool: Indices of the architectures that samples are drawn from, before the trimming.
        query_pool: Indices of the architectures that are scored, before the trimming.
        n_samples: Measurements of a meta-test device, reference architectures not counted.
        episodes: Training episodes.
        seed: The seed of the published scripts.
    """

    space: str
    meta_train: tuple[str, ...]
    meta_validation: tuple[str, ...]
    meta_test: tuple[str, ...]
    sample_pool: range
    query_pool: range
    n_samples: int
    episodes: int
    seed: int = 3

    @property
    def reference_archs(self) -> tuple[int, ...]:
        """The ten architectures of `REFERENCE_ARCHS`."""
        return REFERENCE_ARCHS[self.space]


def _columns(devices: Mapping[str, tuple[str, int]], stems: str) -> tuple[str, ...]:
    return tuple(f"{device}@{batch}" for device, batch in map(devices.__getitem__, stems.split()))


_CPUS_AND_PHONES = "silver_4114 silver_4210r samsung_a50 pixel3 essential_ph_1 samsung_s7"

PROTOCOLS: dict[str, HelpProtocol] = {
    "nb201": HelpProtocol(
        space="nb201",
        meta_train=_columns(NB201_DEVICES, f"1080ti_1 1080ti_32 1080ti_256 {_CPUS_AND_PHONES}"),
        meta_validation=_columns(NB201_DEVICES, "titanx_1 titanx_32 titanx_256 gold_6240"),
        meta_test=_columns(NB201_DEVICES, "titan_rtx_256 gold_6226 fpga pixel2 raspi4 eyeriss"),
        sample_pool=range(900),
        query_pool=range(900, 1900),
        n_samples=10,
        episodes=2000,
    ),
    "fbnet": HelpProtocol(
        space="fbnet",
        meta_train=_columns(FBNET_DEVICES, f"1080ti_1 1080ti_32 1080ti_64 {_CPUS_AND_PHONES}"),
        meta_validation=_columns(FBNET_DEVICES, "titanx_1 titanx_32 titanx_64 gold_6240"),
        meta_test=_columns(FBNET_DEVICES, "fpga raspi4 eyeriss"),
        sample_pool=range(4000),
        query_pool=range(4000, 5000),
        n_samples=10,
        episodes=4000,
    ),
}
"""Space -> protocol. Columns that a protocol does not name are in no published split."""


def protocol(space: str) -> HelpProtocol:
    """The protocol of a space.

    Raises:
        InputError: If HELP has no protocol for the space.
    """
    if space not in PROTOCOLS:
        raise InputError(
            f"HELP has no protocol for space {space!r}; known: {closest(space, PROTOCOLS)}"
        )
    return PROTOCOLS[space]


def trimmed(latency: ArrayLike, pool: range) -> NDArray[np.int64]:
    """Drop the fastest and the slowest tenth of a pool on one device.

    Of the n indices sorted by latency, positions int(0.1 n) to int(0.9 n) stay, as in the published
    code. That code reads latencies as float32, which makes values equal that differ by rounding
    noise (Eyeriss has 16 distinct latencies among the 800 queries of nb201, 26 in float64: score
    ranks in float32 too). It leaves open which of several equal latencies stand at the two ends;
    here the lower index counts as faster.

    Args:
        latency: The device's latency of every architecture, shape `(architectures,)`.
        pool: Indices of the architectures to choose from.

    Returns:
        The indices that stay, ascending.

    Raises:
        InputError: If the pool reaches beyond the latencies, or a latency in it is not finite.
    """
    with np.errstate(over="ignore"):
        values = np.asarray(latency, dtype=np.float64).astype(np.float32)
    indices = np.asarray(pool, dtype=np.int64)
    if values.ndim != 1 or (len(indices) and not 0 <= indices.min() <= indices.max() < len(values)):
        raise InputError(f"latencies of shape {values.shape} do not cover the pool {pool}")
    if not np.isfinite(values[indices]).all():
        raise InputError(f"some latencies of the pool {pool} are not finite")
    order = np.argsort(values[indices], kind="stable")
    n = len(indices)
    return np.sort(indices[order[int(n * 0.1) : int(n * 0.9)]])


def _latency(space: str, column: str) -> NDArray[np.float64]:
    from nasplug.datasets.store import load

    table = load(f"{protocol(space).space}-latency")
    columns = [name for name in table.columns if name != "arch"]
    if column not in columns:
        raise InputError(
            f"{space}-latency has no column {column!r}; it has {closest(column, columns)}"
        )
    latency: NDArray[np.float64] = table[column].to_numpy(np.float64)
    return latency


def sample_indices(space: str, column: str) -> NDArray[np.int64]:
    """Indices of the architectures to draw samples from: 720 of nb201, 3,200 of fbnet.

    Args:
        space: "nb201" or "fbnet".
        column: The device and batch size, such as "Titan RTX@256".

    Returns:
        Indices, ascending.

    Raises:
        InputError: If there is no such protocol or column, or its data cannot be had.
    """
    return trimmed(_latency(space, column), protocol(space).sample_pool)


def query_indices(space: str, column: str) -> NDArray[np.int64]:
    """Indices of the architectures to score predictions on: 800; see `sample_indices`."""
    return trimmed(_latency(space, column), protocol(space).query_pool)
