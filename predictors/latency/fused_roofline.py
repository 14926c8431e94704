"""Latency of whole networks on GPUs that were never measured, from their data sheets.

A kernel of kind k (fused_operators.py), on units u of a GPU (ordinary or tensor cores), in setting
s, takes

    arithmetic = operations / (peak_u · e_uk) · (1 + c_uk · units / outputs)^f
                 · (1 + d / depth) · (1 + w / width)
    traffic    = (bytes · t_sk / (1 + g · cache / (cache + bytes)) + b) / (bandwidth · m)
    kernel     = (arithmetic^q + traffic^q)^(1/q) + launch_s + groups · group_s

and a network

    network    = ((Σ kernel)^r + (kernels · host_s)^r)^(1/r) + bytes of the images / copy

Few outputs do not fill the units, short sums and narrow outputs do not fill a tile, and channels
that are not multiples of eight do not suit tensor cores. Convolutions of floats on ordinary units
are Winograd's, beyond the peak. A host hands over one kernel after the other, and a script that
copies each batch to the GPU while it measures is named as such. All numbers are positive and
learned together, from whole networks, each held near its start, which is a plain guess; what is
particular to one GPU in one table is a factor that is learned and not kept. The form is that of the
roofline model (Williams et al., CACM 2009).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.fused_operators import (
    FUSIONS,
    KERNEL_COLUMNS,
    KERNEL_KINDS,
    fused_kernels,
)
from nasplug.predictors.latency.gpu_roofline import GPU_SETTINGS, gpu_setting
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph
from nasplug.search_spaces.costs import FLOAT_BYTES

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PARTS", "FusedRoofline", "fusion_of"]

# What can be left out of the model, to see what it is worth.
PARTS = (
    *("norms", "fusion", "attention", "winograd", "tiles", "aligned", "groups"),
    *("traffic", "copy", "hosts", "effects"),
)
# Kinds that multiply, and those of them whose efficiency is highest.
_COMPUTING = KERNEL_KINDS[:6]
_EFFICIENT = ("convolution", "pointwise")
# Units that compute convolutions and products.
UNITS = ("plain", "tensor")
# Name of a number -> where its fit starts (times in ms), and how far it may go, in log units.
START: dict[str, tuple[float, float]] = {
    **{f"efficiency.{u}.{k}": (0.3, 1.0) for u in UNITS for k in _COMPUTING},
    **{f"efficiency.{u}.{k}": (0.6, 0.6) for u in UNITS for k in _EFFICIENT},
    "winograd": (1.6, 0.5),
    **{f"fill.{k}": (2000.0, 1.5) for k in _COMPUTING},
    **{"fill.tensor": (4.0, 1.0), "fill.power": (0.9, 0.3)},
    "memory": (0.8, 0.1),
    **{"depth": (20.0, 1.5), "width": (8.0, 1.5), "unaligned": (1.3, 0.5)},
    **{f"traffic.{s}.{k}": (1.0, 0.4) for s in GPU_SETTINGS for k in KERNEL_KINDS},
    **{"transfer": (2e5, 1.5), "cache": (2.0, 0.5), "layout": (0.5, 1.0)},
    **{f"launch.{s}": (3e-3, 0.7) for s in GPU_SETTINGS[:2]},
    **{f"launch.{s}": (1.5e-3, 0.7) for s in GPU_SETTINGS[2:]},
    **{f"group.{s}": (1e-4, 2.0) for s in GPU_SETTINGS[:3]},
    # Engines of old start a kernel for each group.
    "group.tensorrt": (3e-3, 1.5),
    **{f"host.{s}": (1e-2, 0.7) for s in GPU_SETTINGS[:2]},
    **{f"host.{s}": (1.5e-3, 0.7) for s in GPU_SETTINGS[2:]},
    "copy": (4e6, 0.7),
    **{"overlap.kernel": (2.0, 0.5), "overlap.host": (3.0, 0.5)},
}
# Part that only numbers make -> these numbers without it.
_NEUTRAL: dict[str, dict[str, float]] = {
    "winograd": {"winograd": 1.0},
    "tiles": {"depth": 1e-6, "width": 1e-6},
    "aligned": {"unaligned": 1.0},
    "groups": {f"group.{s}": 1e-12 for s in GPU_SETTINGS},
    "traffic": {f"traffic.{s}.{k}": 1.0 for s in GPU_SETTINGS for k in KERNEL_KINDS},
    "copy": {"copy": 1e12},
}
STEPS, RATE = 200, 0.08
# Relative errors beyond this count linearly.
HUBER = 0.2
# How strongly all numbers are held where they start, against the mean error.
PRIOR = 1e-5
# How far a host is from the usual one, and one GPU in one source from its data sheet.
HOST_SPREAD, EFFECT_SPREAD = 0.5, 0.1
SMALLEST_MS = 1e-9


def fusion_of(setting: str) -> str:
    """One of `FUSIONS`: what one of `GPU_SETTINGS` puts into one kernel."""
    return {"compiled": FUSIONS[1], "tensorrt": FUSIONS[2]}.get(setting, FUSIONS[0])


@dataclass(frozen=True, eq=False)
class FusedRoofline:
    """Learned numbers of the roofline of fused kernels.

    Attributes:
        numbers: Name -> number, those of `START`.
        hosts: Source -> factor on the time that its hosts take for a kernel.
        copying: Sources that copy each batch to the GPU while they measure.
        parts: What is modelled, of `PARTS`.
    """

    numbers: Mapping[str, float]
    hosts: Mapping[str, float]
    copying: Collection[str] = ()
    parts: Collection[str] = PARTS

    @classmethod
    def of(
        cls,
        graphs: Sequence[Graph],
        columns: Sequence[Setting],
        ms: Array,
        sources: Sequence[str],
        copying: Collection[str] = (),
        parts: Collection[str] = PARTS,
        strength: float = PRIOR,
    ) -> FusedRoofline:
        """Learn from measurements.

        Args:
            graphs: The network of each measurement.
            columns: The GPU, batch size and runtime of each.
            ms: Latencies, all above 0.
            sources: Who measured each, with which version.
            copying: Sources that copy each batch to the GPU while they measure.
            parts: What is modelled, of `PARTS`.
            strength: How strongly all numbers are held where they start.
        """
        terms = _Terms(graphs, columns, [source in copying for source in sources], parts)
        target = torch.tensor(np.log(ms), dtype=torch.float32)
        names = list(dict.fromkeys(sources))
        source = torch.tensor([names.index(name) for name in sources])
        tables = [(s, c.hardware.name, c.runtime) for s, c in zip(sources, columns, strict=True)]
        sizes = Counter(tables)
        table = torch.tensor([list(sizes).index(key) for key in tables])
        # A large table says more than a small one, but not in proportion.
        weight = torch.tensor([sizes[key] ** -0.5 for key in tables])
        weight = weight / weight.sum()
        fixed = {k: v for part in _NEUTRAL if part not in parts for k, v in _NEUTRAL[part].items()}
        free = [name for name in START if name not in fixed]
        start = torch.tensor([START[name][0] for name in free]).log()
        spread = torch.tensor([START[name][1] for name in free])
        logs = torch.zeros(len(free), requires_grad=True)
        hosts = torch.zeros(len(names), requires_grad="hosts" in parts)
        effects = torch.zeros(len(sizes), requires_grad="effects" in parts)
        learned = [values for values in (logs, hosts, effects) if values.requires_grad]
        optimizer = torch.optim.Adam(learned, lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
        constants = {name: torch.tensor(value) for name, value in fixed.items()}
        for _ in range(STEPS):
            values = (start + logs * spread).exp()
            numbers = {**constants, **dict(zip(free, values, strict=True))}
            predicted = terms.log_ms(numbers, (HOST_SPREAD * hosts[source]).exp())
            errors = torch.nn.functional.huber_loss(
                predicted + EFFECT_SPREAD * effects[table], target, reduction="none", delta=HUBER
            )
            prior = (logs**2).sum() + (hosts**2).sum() + (effects**2).sum()
            optimizer.zero_grad()
            ((weight * errors).sum() + strength * prior).backward()
            optimizer.step()
            schedule.step()
        values = (start + logs.detach() * spread).exp()
        numbers_kept = {**fixed, **dict(zip(free, values.tolist(), strict=True))}
        factors = dict(zip(names, (HOST_SPREAD * hosts.detach()).exp().tolist(), strict=True))
        return cls(numbers_kept, factors, tuple(copying), tuple(parts))

    @torch.no_grad()
    def log_latency(
        self, graphs: Sequence[Graph], columns: Sequence[Setting], sources: Sequence[str] = ()
    ) -> Array:
        """Natural logarithm of the latency of each network on its column in ms, `(networks,)`.

        Args:
            graphs: Whole networks.
            columns: The GPU, batch size and runtime of each.
            sources: By whose script and on whose hosts each is measured; the usual host, without a
                copy of the images, where there is none.
        """
        names = list(sources) or [""] * len(graphs)
        terms = _Terms(graphs, columns, [name in self.copying for name in names], self.parts)
        numbers = {name: torch.tensor(value) for name, value in self.numbers.items()}
        hosts = torch.tensor([self.hosts.get(name, 1.0) for name in names])
        return terms.log_ms(numbers, hosts).double().numpy()


class _Chip(NamedTuple):
    """A column in numbers; rates a ms."""

    matrix: float
    products: float
    plain: float
    bandwidth: float
    units: float
    cache: float
    images: float
    number_bytes: float
    tensor: bool
    winograd: bool
    setting: int


def _chip(column: Setting) -> _Chip:
    hardware, setting = column.hardware, gpu_setting(column)
    peaks, plain = hardware.peak_tflops, hardware.peak_tflops["fp32"]
    half = column.is_half
    matrix = max(peaks.get("fp16" if half else "tf32", plain), plain)
    # Half precision on ordinary units is at most twice as fast.
    tensor = matrix > 2 * plain
    return _Chip(
        1e9 * matrix,
        # A framework computes products of floats in full precision, an engine does not.
        1e9 * (matrix if half or setting == "tensorrt" else plain),
        1e9 * plain,
        1e6 * hardware.memory_bandwidth_gbs,
        hardware.units,
        1e6 * hardware.on_chip_memory_mb,
        column.batch_size,
        FLOAT_BYTES / (1 + half),
        tensor,
        not half and not tensor,
        GPU_SETTINGS.index(setting),
    )


class _Terms:
    """The parts of the model that are known before its numbers are."""

    def __init__(
        self,
        graphs: Sequence[Graph],
        columns: Sequence[Setting],
        copying: Sequence[bool],
        parts: Collection[str],
    ) -> None:
        kernels: dict[tuple[int, str], Array] = {}
        rows = []
        for graph, column in zip(graphs, columns, strict=True):
            fusion = fusion_of(gpu_setting(column))
            key = (id(graph), fusion)
            if key not in kernels:
                kernels[key] = _kernels(graph, fusion, parts)
            rows.append(kernels[key])
        self.networks = len(rows)
        owner = np.repeat(np.arange(len(rows)), list(map(len, rows)))
        self.owner = torch.from_numpy(owner)
        table = torch.from_numpy(np.concatenate([*rows, np.zeros((0, len(KERNEL_COLUMNS)))]))
        kernel = dict(zip(KERNEL_COLUMNS, table.float().unbind(1), strict=True))
        chips = torch.tensor([_chip(column) for column in columns], dtype=torch.float32)
        chips = chips.reshape(len(rows), len(_Chip._fields))
        self.setting = chips[:, -1].long()
        chip: Any = _Chip(*chips[self.owner].unbind(1))  # type: ignore[arg-type]
        self.kind, self.count = kernel["kind"].long(), kernel["count"]
        kinds = {name: self.kind == place for place, name in enumerate(KERNEL_KINDS)}
        self.setting_of = chips[self.owner, -1].long()
        convolution = kinds["convolution"] | kinds["pointwise"] | kinds["grouped"]
        product = kinds["product"] | kinds["attention"]
        peak = torch.where(product, chip.products, chip.plain)
        peak = torch.where(convolution, chip.matrix, peak)
        self.unit = (peak > 2 * chip.plain).long()
        self.arithmetic = 2 * kernel["macs"] * chip.images / peak
        self.filling = chip.units / (kernel["outputs"] * chip.images).clamp(min=1)
        by_matrix = convolution | product
        self.groups = kernel["groups"]
        self.depth = by_matrix / kernel["depth"].clamp(min=1)
        # Attention's channels are heads.
        channelled = by_matrix & ~kinds["attention"]
        self.width = channelled / kernel["width"].clamp(min=1)
        self.unaligned = channelled & (self.unit > 0) & (kernel["aligned"] == 0)
        self.winograd = kinds["convolution"] & (chip.winograd > 0)
        moved = kernel["weights"] + kernel["activations"] * chip.images
        self.moved = moved * chip.number_bytes
        self.cached = chip.cache / (chip.cache + self.moved).clamp(min=1)
        self.bandwidth, self.layout = chip.bandwidth, kinds["layout"]
        images = torch.tensor([_input_elements(graph) for graph in graphs], dtype=torch.float32)
        networks: Any = _Chip(*chips.unbind(1))  # type: ignore[arg-type]
        self.copied: Tensor = (
            torch.tensor(copying) * images * networks.images * networks.number_bytes
        )

    def log_ms(self, numbers: Mapping[str, Tensor], hosts: Tensor) -> Tensor:
        """Logarithm of ms of each network, `(networks,)`, at a factor of each one's host."""

        one = torch.tensor(1.0)

        def of(names: Sequence[str], place: Tensor) -> Tensor:
            # A kind that does not multiply has no efficiency.
            return torch.stack([numbers.get(name, one) for name in names])[place]

        kinds = len(KERNEL_KINDS)
        names = [f"efficiency.{u}.{k}" for u in UNITS for k in KERNEL_KINDS]
        share = of(names, self.unit * kinds + self.kind)
        fill = of([f"fill.{k}" for k in KERNEL_KINDS], self.kind)
        fill = torch.where(self.unit > 0, fill * numbers["fill.tensor"], fill)
        # At most 1, so that a larger batch never takes less time.
        waiting = (1 + fill * self.filling) ** numbers["fill.power"].clamp(max=1)
        waiting = waiting * (1 + numbers["depth"] * self.depth)
        waiting = waiting * (1 + numbers["width"] * self.width)
        waiting = torch.where(self.unaligned, waiting * numbers["unaligned"], waiting)
        waiting = torch.where(self.winograd, waiting / numbers["winograd"], waiting)
        # Above 0, since a power of 0 has no derivative.
        arithmetic = (self.arithmetic / share * waiting).clamp(min=1e-9)
        ways = [f"traffic.{s}.{k}" for s in GPU_SETTINGS for k in KERNEL_KINDS]
        moved = self.moved * of(ways, self.setting_of * kinds + self.kind)
        moved = moved / (1 + numbers["cache"] * self.cached) + numbers["transfer"]
        traffic = moved / (self.bandwidth * numbers["memory"])
        q, r = numbers["overlap.kernel"], numbers["overlap.host"]
        # The larger one as a factor: powers of small numbers would vanish.
        larger, smaller = torch.maximum(arithmetic, traffic), torch.minimum(arithmetic, traffic)
        kernel = larger * (1 + (smaller / larger) ** q) ** (1 / q)
        kernel = kernel + self.groups * of([f"group.{s}" for s in GPU_SETTINGS], self.setting_of)
        kernel = kernel + of([f"launch.{s}" for s in GPU_SETTINGS], self.setting_of)
        count = torch.where(self.layout, self.count * numbers["layout"], self.count)
        empty = torch.zeros(self.networks)
        time = empty.index_add(0, self.owner, kernel * count).clamp(min=SMALLEST_MS)
        started = empty.index_add(0, self.owner, count).clamp(min=SMALLEST_MS)
        host = started * of([f"host.{s}" for s in GPU_SETTINGS], self.setting) * hosts
        larger, smaller = torch.maximum(time, host), torch.minimum(time, host)
        whole = larger * (1 + (smaller / larger) ** r) ** (1 / r)
        return (whole + self.copied / numbers["copy"]).clamp(min=SMALLEST_MS).log()


def _kernels(graph: Graph, fusion: str, parts: Collection[str]) -> Array:
    return fused_kernels(
        graph,
        fusion,
        folded="norms" not in parts,
        flash="attention" in parts,
        fuse="fusion" in parts,
    )


def _input_elements(graph: Graph) -> float:
    inputs = [k for k, op in enumerate(graph.ops) if op == "Input"]
    sides = graph.attribute("height") * graph.attribute("width")
    return float((graph.attribute("out_channels") * sides)[inputs].sum())
