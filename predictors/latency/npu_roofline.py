"""Latency of whole networks on NPUs, and on GPUs of phones and boards, from their data sheets.

A kernel of kind k (fused_operators.py) in precision p, on a unit of class u (GPU or NPU) that runs
it by runtime r, takes

    arithmetic = operations / (peak · e_uk) · (1 + c · units / outputs) · (1 + d / depth)
                 · (1 + w / width)
    traffic    = bytes · t_uk / (1 + g · cache / (cache + bytes)) / bandwidth
    kernel     = ((arithmetic^q + traffic^q)^(1/q) · f_up · s_r + launch_uk · l_r / speed)

and a network takes the sum of its kernels and a fixed time of the driver. Peaks of data sheets are
not reached in proportion: rates are powers below 1 of them. NPUs multiply dense matrices well, and
depthwise convolutions, softmax, normalisation and transposes poorly; a first layer with three
channels leaves most of an array idle (d). What a runtime, a source or a chip does differently is a
factor, shrunk towards 1; those of chips that were measured are kept. The form is that of
fused_roofline.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.fused_operators import (
    KERNEL_COLUMNS,
    KERNEL_KINDS,
    fused_kernels,
)
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["NpuRoofline"]

UNITS = ("gpu", "npu")
PRECISIONS = ("fp32", "fp16", "int8", "w8a16")
# Bytes of a weight and of an activation.
_BYTES = {"fp32": (4, 4), "fp16": (2, 2), "int8": (1, 1), "w8a16": (1, 2)}
_COMPUTING = KERNEL_KINDS[:6]
# Peak and bandwidth that rates are powers of ratios to: a middling chip of each class.
_USUAL_PEAK = {"gpu": 1.0, "npu": 30.0}
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
}
STEPS, RATE = 150, 0.08
HUBER = 0.2
PRIOR = 1e-5
# Spread of the factors of runtimes, sources, chips, precisions of chips, and tables.
RUNTIME_SPREAD, SOURCE_SPREAD = 0.3, 0.2
FAMILY_SPREAD, CHIP_SPREAD, CHIP_PRECISION_SPREAD, TABLE_SPREAD = 0.6, 0.15, 0.1, 0.1
KIND_SPREAD = 0.7
SMALLEST_MS = 1e-6


@dataclass(frozen=True, eq=False)
class NpuRoofline:
    """Learned numbers of the roofline of kernels on NPUs and on GPUs of systems on a chip.

    Attributes:
        numbers: Name -> number, those of `START`.
        effects: Kind of what is particular -> name -> logarithm of its factor: `"launch"` and
            `"rate"` of runtimes, `"source"` of who measured, `"chip"` and `"precision"` of chips.
    """

    numbers: Mapping[str, float]
    effects: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        graphs: Sequence[Graph],
        settings: Sequence[Setting],
        ms: Array,
        sources: Sequence[str],
        strength: float = PRIOR,
    ) -> NpuRoofline:
        """Learn from measurements.

        Args:
            graphs: The network of each measurement.
            settings: The device, its unit, the runtime and the precision of each.
            ms: Latencies, all above 0.
            sources: Who measured each, with which version; `""` for the newest one of a runtime.
            strength: How strongly all numbers are held where they start.
        """
        terms = _Terms(graphs, settings)
        target = torch.tensor(np.log(ms), dtype=torch.float32)
        keys = _effect_keys(settings, sources)
        tables = list(zip(*keys.values(), strict=True))
        keys["table"] = [" ".join(table) for table in tables]
        sizes = Counter(keys["table"])
        # A large table says more than a small one, but not in proportion.
        weight = torch.tensor([sizes[key] ** -0.5 for key in keys["table"]])
        weight = weight / weight.sum()
        names = {kind: sorted(set(values) - {""}) for kind, values in keys.items()}
        places = {kind: _places(values, names[kind]) for kind, values in keys.items()}
        start = torch.tensor([START[name][0] for name in START]).log()
        spread = torch.tensor([START[name][1] for name in START])
        logs = torch.zeros(len(START), requires_grad=True)
        effects = {kind: torch.zeros(len(names[kind]), requires_grad=True) for kind in names}
        kinds = torch.zeros(len(names["rate"]), len(KERNEL_KINDS), requires_grad=True)
        optimizer = torch.optim.Adam([logs, kinds, *effects.values()], lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
        for _ in range(STEPS):
            numbers = dict(zip(START, (start + logs * spread).exp(), strict=True))
            factors = {
                kind: _SPREADS[kind] * _with_zero(effects[kind])[places[kind]] for kind in names
            }
            factors["kind"] = KIND_SPREAD * kinds[places["rate"]]
            predicted = terms.log_ms(numbers, factors) + factors["table"]
            errors = torch.nn.functional.huber_loss(
                predicted, target, reduction="none", delta=HUBER
            )
            prior = (logs**2).sum() + (kinds**2).sum() + sum((values**2).sum() for values in effects.values())
            optimizer.zero_grad()
            ((weight * errors).sum() + strength * prior).backward()
            optimizer.step()
            schedule.step()
        values = (start + logs.detach() * spread).exp()
        kept = {
            kind: dict(zip(names[kind], (_SPREADS[kind] * v.detach()).tolist(), strict=True))
            for kind, v in effects.items()
            if kind != "table"
        }
        kept |= {
            f"kind {name}": dict(zip(KERNEL_KINDS, (KIND_SPREAD * row).tolist(), strict=True))
            for name, row in zip(names["rate"], kinds.detach(), strict=True)
        }
        return cls(dict(zip(START, values.tolist(), strict=True)), kept)

    @torch.no_grad()
    def log_latency(
        self, graphs: Sequence[Graph], settings: Sequence[Setting], sources: Sequence[str] = ()
    ) -> Array:
        """Natural logarithm of the latency of each network on its setting in ms, `(networks,)`.

        Args:
            graphs: Whole networks.
            settings: The device, its unit, the runtime and the precision of each.
            sources: Who measures each; the usual one where there is none.
        """
        terms = _Terms(graphs, settings)
        return terms.log_ms(self._numbers(), self._factors(settings, sources)).double().numpy()

    def _numbers(self) -> dict[str, Tensor]:
        return {name: torch.tensor(value) for name, value in self.numbers.items()}

    def _factors(self, settings: Sequence[Setting], sources: Sequence[str]) -> dict[str, Tensor]:
        keys = _effect_keys(settings, list(sources) or [""] * len(settings))
        factors = {
            kind: torch.tensor([self.effects.get(kind, {}).get(key, 0.0) for key in values])
            for kind, values in keys.items()
        }
        kinds = [self.effects.get(f"kind {name}", {}) for name in keys["rate"]]
        factors["kind"] = torch.tensor([[row.get(k, 0.0) for k in KERNEL_KINDS] for row in kinds])
        return factors


_COMMON = ("source", "family", "family precision", "chip", "precision")
_SPREADS = {
    "launch": RUNTIME_SPREAD,
    "rate": RUNTIME_SPREAD,
    "source": SOURCE_SPREAD,
    "family": FAMILY_SPREAD,
    "family precision": 0.3,
    "chip": CHIP_SPREAD,
    "precision": CHIP_PRECISION_SPREAD,
    "table": TABLE_SPREAD,
}


def _effect_keys(settings: Sequence[Setting], sources: Sequence[str]) -> dict[str, list[str]]:
    """Names of what may be particular to each measurement, by kind."""
    chips = [setting.hardware.name for setting in settings]
    precisions = [_precision(setting) for setting in settings]
    families = [_family(setting) for setting in settings]
    runtimes = [f"{s.processor.kind} {s.runtime}" for s in settings]
    return {
        "launch": runtimes,
        "rate": runtimes,
        "source": [
            source and f"{source} {s.runtime} {p}"
            for source, s, p in zip(sources, settings, precisions, strict=True)
        ],
        "family": families,
        "family precision": [f"{family} {p}" for family, p in zip(families, precisions, strict=True)],
        "chip": chips,
        "precision": [f"{chip} {p}" for chip, p in zip(chips, precisions, strict=True)],
    }


def _family(setting: Setting) -> str:
    """Maker's line of processors, such as `"Hexagon"` or `"Mali"`."""
    return re.split(r"[ \d]", setting.processor.microarchitecture)[0]


def _places(values: Sequence[str], names: Sequence[str]) -> Tensor:
    places = {name: k for k, name in enumerate(names)}
    return torch.tensor([places.get(value, len(names)) for value in values])


def _with_zero(values: Tensor) -> Tensor:
    return torch.cat([values, torch.zeros(1)])


def _precision(setting: Setting) -> str:
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
    unit: int
    precision: int


def _chip(setting: Setting) -> _Chip:
    processor, precision = setting.processor, _precision(setting)
    unit = "gpu" if processor.kind == "gpu" else "npu"
    peaks = processor.peak_tflops
    peak = peaks.get("int8" if precision == "w8a16" else precision, 0.0)
    peak = max(peak, peaks["fp32"])
    weight_bytes, activation_bytes = _BYTES[precision]
    return _Chip(
        peak,
        _USUAL_PEAK[unit],
        processor.memory_bandwidth_gbs,
        _USUAL_BANDWIDTH[unit],
        processor.units,
        1e6 * processor.on_chip_memory_mb,
        setting.batch_size,
        weight_bytes,
        activation_bytes,
        UNITS.index(unit),
        PRECISIONS.index(precision),
    )


class _Terms:
    """The parts of the model that are known before its numbers are."""

    def __init__(self, graphs: Sequence[Graph], settings: Sequence[Setting]) -> None:
        kernels = {id(graph): graph for graph in graphs}
        priced = {key: fused_kernels(graph, "engine", flash=False) for key, graph in kernels.items()}
        rows = [priced[id(graph)] for graph in graphs]
        self.networks = len(rows)
        self.owner = torch.from_numpy(np.repeat(np.arange(len(rows)), list(map(len, rows))))
        table = torch.from_numpy(np.concatenate([*rows, np.zeros((0, len(KERNEL_COLUMNS)))]))
        kernel = dict(zip(KERNEL_COLUMNS, table.float().unbind(1), strict=True))
        chips = torch.tensor([_chip(s) for s in settings], dtype=torch.float32)
        self.chips: Any = _Chip(*chips.reshape(len(rows), len(_Chip._fields)).unbind(1))
        chip: Any = _Chip(*(column[self.owner] for column in self.chips))
        self.unit, self.precision = self.chips.unit.long(), self.chips.precision.long()
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
        fixed = self._by_unit(numbers, "fixed") * factors["launch"].exp()
        common = sum(factors[name] for name in _COMMON)
        return (time + fixed).clamp(min=SMALLEST_MS).log() + common

    def kernels_ms(self, numbers: Mapping[str, Tensor], factors: Mapping[str, Tensor]) -> Tensor:
        """Time of each kernel, without what is particular to the chip, `(kernels,)`."""
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
        # Above 0, since a power of 0 has no derivative.
        arithmetic, traffic = arithmetic.clamp(min=1e-9), traffic.clamp(min=1e-9)
        q = by_unit("overlap")
        # The larger one as a factor: powers of small numbers would vanish.
        larger, smaller = torch.maximum(arithmetic, traffic), torch.minimum(arithmetic, traffic)
        kernel = larger * (1 + (smaller / larger) ** q) ** (1 / q)
        launch = by_kind("launch") * (factors["launch"].exp() / speed)[self.owner]
        return (kernel + launch) * factors["kind"][self.owner, self.kind].exp()

    def _by_unit(self, numbers: Mapping[str, Tensor], name: str) -> Tensor:
        return torch.stack([numbers[f"{u}.{name}"] for u in UNITS])[self.unit]
