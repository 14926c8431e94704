"""Times of the kernels of networks on NPUs and GPUs of systems on a chip; see npu_roofline.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.fused_operators import (
    KERNEL_COLUMNS,
    KERNEL_KINDS,
    graph_kernels,
)
from nasplug.predictors.latency.npu_residuals import peak_rate
from nasplug.search_spaces import Graph

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["COMMON", "START", "Terms", "precision_of"]

UNITS = ("gpu", "npu")
PRECISIONS = ("fp32", "fp16", "int8", "w8a16")
# Bytes of a weight and of an activation.
_BYTES = {"fp32": (4, 4), "fp16": (2, 2), "int8": (1, 1), "w8a16": (1, 2)}
_COMPUTING = KERNEL_KINDS[:6]
# Peak and bandwidth that rates are powers of ratios to: a middling chip of each class.
_USUAL_PEAK = {"gpu": 1.0, "npu": 30.0}
_USUAL_YEAR = 2020
_USUAL_BANDWIDTH = {"gpu": 30.0, "npu": 50.0}
# Name of a number -> where its fit starts (times in ms), and how far it may go, in log units.
START: dict[str, tuple[float, float]] = {
    **{f"gpu.efficiency.{k}": (0.2, 0.7) for k in _COMPUTING},
    **{f"npu.efficiency.{k}": (0.2, 0.7) for k in _COMPUTING},
    "npu.efficiency.depthwise": (0.01, 1.0),
    "npu.efficiency.grouped": (0.05, 1.0),
    "npu.efficiency.attention": (0.05, 1.0),
    **{f"{u}.peak": (0.8, 0.2) for u in UNITS},
    **{f"{u}.bandwidth": (0.8, 0.2) for u in UNITS},
    **{f"{u}.fill": (1e3, 1.0) for u in UNITS},
    **{f"{u}.depth": (20.0, 1.0) for u in UNITS},
    **{f"{u}.width": (8.0, 1.0) for u in UNITS},
    **{f"{u}.cache": (1.0, 1.0) for u in UNITS},
    **{f"gpu.traffic.{k}": (1.5, 0.5) for k in KERNEL_KINDS},
    **{f"npu.traffic.{k}": (1.0, 0.7) for k in KERNEL_KINDS},
    **{f"gpu.launch.{k}": (0.03, 0.5) for k in KERNEL_KINDS},
    **{f"npu.launch.{k}": (0.005, 0.7) for k in KERNEL_KINDS},
    "gpu.fixed": (0.3, 0.7),
    "npu.fixed": (0.1, 0.7),
    **{f"{u}.speed": (0.7, 0.4) for u in UNITS},
    **{f"{u}.{p}": (1.0, 0.4) for u in UNITS for p in PRECISIONS},
    **{f"{u}.overlap": (2.0, 0.4) for u in UNITS},
    **{f"{u}.year": (1.1, 0.1) for u in UNITS},
}
SMALLEST_MS = 1e-6
# Factors of a whole network.
COMMON = ("source", "family", "family precision", "chip", "precision")


def precision_of(setting: Setting) -> str:
    """One of `PRECISIONS`; half precision where nothing is said."""
    return setting.precision if setting.precision in PRECISIONS else "fp16"


class _Chip(NamedTuple):
    """A setting in numbers; rates a ms."""

    peak: float
    usual_peak: float
    bandwidth: float
    usual_bandwidth: float
    units: float
    cache: float
    images: float
    weight_bytes: float
    activation_bytes: float
    years: float
    unit: int
    precision: int


def _chip(setting: Setting) -> _Chip:
    processor, precision = setting.processor, precision_of(setting)
    unit = "gpu" if processor.kind == "gpu" else "npu"
    weight_bytes, activation_bytes = _BYTES[precision]
    return _Chip(
        peak_rate(setting),
        _USUAL_PEAK[unit],
        processor.memory_bandwidth_gbs,
        _USUAL_BANDWIDTH[unit],
        processor.units,
        1e6 * processor.on_chip_memory_mb,
        setting.batch_size,
        weight_bytes,
        activation_bytes,
        setting.hardware.year - _USUAL_YEAR,
        UNITS.index(unit),
        PRECISIONS.index(precision),
    )


class Terms:
    """The parts of the model that are known before its numbers are."""

    def __init__(self, graphs: Sequence[Graph], settings: Sequence[Setting]) -> None:
        rows = [graph_kernels(graph, "engine", flash=False) for graph in graphs]
        self.networks = len(rows)
        self.owner = torch.from_numpy(np.repeat(np.arange(len(rows)), list(map(len, rows))))
        table = torch.from_numpy(np.concatenate([*rows, np.zeros((0, len(KERNEL_COLUMNS)))]))
        kernel = dict(zip(KERNEL_COLUMNS, table.float().unbind(1), strict=True))
        distinct = {id(setting): _chip(setting) for setting in settings}
        chips = torch.tensor([distinct[id(s)] for s in settings], dtype=torch.float32)
        columns: Any = chips.reshape(len(rows), len(_Chip._fields)).unbind(1)
        self.chips: Any = _Chip(*columns)
        by_kernel: Any = [column[self.owner] for column in columns]
        chip: Any = _Chip(*by_kernel)
        self.unit, self.precision = columns[-2].long(), columns[-1].long()
        self.kind, self.count = kernel["kind"].long(), kernel["count"]
        self.place = chip.unit.long() * len(KERNEL_KINDS) + self.kind
        self.operations = 2e-9 * kernel["macs"] * chip.images
        self.filling = chip.units / (kernel["outputs"] * chip.images).clamp(min=1)
        by_matrix = (self.kind < len(_COMPUTING)) & (self.kind != KERNEL_KINDS.index("depthwise"))
        self.depth = by_matrix / kernel["depth"].clamp(min=1)
        self.width = by_matrix / kernel["width"].clamp(min=1)
        moved = kernel["weights"] * chip.weight_bytes
        self.moved = moved + kernel["activations"] * chip.images * chip.activation_bytes
        self.cached = chip.cache / (chip.cache + self.moved).clamp(min=1)

    def log_ms(self, numbers: Mapping[str, Tensor], factors: Mapping[str, Tensor]) -> Tensor:
        """Logarithm of ms of each network, `(networks,)`."""
        time = torch.zeros(self.networks).index_add(
            0, self.owner, self.kernels_ms(numbers, factors) * self.count
        )
        fixed = self.fixed_ms(numbers, factors)
        common = torch.stack([factors[name] for name in COMMON]).sum(0)
        aged = self.chips.years * self._by_unit(numbers, "year").log()
        logs: Tensor = (time + fixed).clamp(min=SMALLEST_MS).log() + common - aged
        return logs

    def fixed_ms(self, numbers: Mapping[str, Tensor], factors: Mapping[str, Tensor]) -> Tensor:
        """Time of the driver for a network, `(networks,)`."""
        return self._by_unit(numbers, "fixed") * factors["launch"].exp()

    def kernels_ms(self, numbers: Mapping[str, Tensor], factors: Mapping[str, Tensor]) -> Tensor:
        """Time of each kernel, without what is particular to the chip, `(kernels,)`."""
        arithmetic, traffic, launch = self.times(numbers, factors)
        q = self._by_unit(numbers, "overlap")[self.owner]
        # The larger one as a factor: powers of small numbers would vanish.
        larger, smaller = torch.maximum(arithmetic, traffic), torch.minimum(arithmetic, traffic)
        kernel = larger * (1 + (smaller / larger) ** q) ** (1 / q)
        return kernel + launch

    def times(
        self, numbers: Mapping[str, Tensor], factors: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Time of each kernel's arithmetic, traffic and launch, each `(kernels,)`."""
        one = torch.tensor(1.0)

        def by_kind(name: str) -> Tensor:
            names = [f"{u}.{name}.{k}" for u in UNITS for k in KERNEL_KINDS]
            return torch.stack([numbers.get(key, one) for key in names])[self.place]

        def by_unit(name: str) -> Tensor:
            return self._by_unit(numbers, name)[self.owner]

        chips = self.chips
        compute = (chips.peak / chips.usual_peak) ** self._by_unit(numbers, "peak")
        memory = (chips.bandwidth / chips.usual_bandwidth) ** self._by_unit(numbers, "bandwidth")
        words = [f"{u}.{p}" for u in UNITS for p in PRECISIONS]
        precision = torch.stack([numbers[word] for word in words])
        slower = precision[self.unit * len(PRECISIONS) + self.precision]
        slower = slower * factors["rate"].exp()
        speed = (compute * memory) ** (0.5 * self._by_unit(numbers, "speed"))
        rate = (compute * chips.usual_peak / slower)[self.owner]
        arithmetic = self.operations / rate / by_kind("efficiency")
        arithmetic = arithmetic * (1 + by_unit("fill") * self.filling)
        arithmetic = arithmetic * (1 + by_unit("depth") * self.depth)
        arithmetic = arithmetic * (1 + by_unit("width") * self.width)
        bandwidth = (1e6 * memory * chips.usual_bandwidth / factors["rate"].exp())[self.owner]
        traffic = self.moved * by_kind("traffic") / bandwidth
        traffic = traffic / (1 + by_unit("cache") * self.cached)
        launch = by_kind("launch") * (factors["launch"].exp() / speed)[self.owner]
        particular = factors["kind"][self.owner, self.kind].exp()
        # Above 0, since a power of 0 has no derivative.
        arithmetic, traffic = (
            (part * particular).clamp(min=1e-9) for part in (arithmetic, traffic)
        )
        return arithmetic, traffic, launch * particular

    def _by_unit(self, numbers: Mapping[str, Tensor], name: str) -> Tensor:
        return torch.stack([numbers[f"{u}.{name}"] for u in UNITS])[self.unit]
