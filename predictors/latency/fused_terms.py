"""Terms of the roofline of fused kernels: what kernels and GPUs say before any number is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.fused_numbers import (
    COMPUTING,
    ENGINES,
    NUMBERS,
    PLACES,
    UNITS,
    number_place,
)
from nasplug.predictors.latency.fused_operators import (
    KERNEL_COLUMNS,
    KERNEL_KINDS,
    graph_kernels,
)
from nasplug.predictors.latency.gpu_ways import (
    GPU_SETTINGS,
    boost_of,
    fusion_of,
    gpu_precision,
    gpu_setting,
    node_of,
    rates_of,
)
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Script", "Terms", "kernels_of", "soft_maximum"]

_KINDS = {name: place for place, name in enumerate(KERNEL_KINDS)}
# Year whose hosts are the usual ones; those since the last year are no faster.
_YEAR, _LAST_YEAR = 2020, 2022
_USUAL_NODE = 8.0
# Cycles a ms.
_USUAL_CLOCK = 1.5e6
# Units for addresses stand beside those for floats since then.
_SEPARATE_YEAR = 2017
_HALF_SCORES = 0.5
SMALLEST_MS = 1e-9
_EFFICIENCY = [[f"efficiency.{u}.{k}" for k in COMPUTING] + [""] for u in UNITS]
_TRAFFIC_NAMES = [[f"traffic.{s}.{k}" for k in KERNEL_KINDS] for s in GPU_SETTINGS]
_COMPUTE = [
    [f"compute.{s}.{k}" if k in ("depthwise", "grouped") else f"compute.{s}" for k in KERNEL_KINDS]
    for s in GPU_SETTINGS
]


@dataclass(frozen=True)
class Script:
    """Whoever measured, and how.

    Attributes:
        name: Repository, with the version where that changes times; empty for a user's machine.
        copies: Whether each batch is copied to the GPU while it measures.
        kernels: Whether it sums the times of kernels, without what is between them.
        casts: Whether weights are kept in fp32 and cast as they are read.
        flash: Whether attention is one kernel.
        causal: Whether attention leaves out the scores of what comes later.
    """

    name: str = ""
    copies: bool = False
    kernels: bool = False
    casts: bool = False
    flash: bool = True
    causal: bool = False


def kernels_of(graph: Graph, column: Setting, flash: bool = True) -> Array:
    """Kernels of a network in a setting, see `fused_kernels`."""
    return graph_kernels(graph, fusion_of(gpu_setting(column)), flash)


class _Chip(NamedTuple):
    """A column in numbers; rates a ms."""

    convolutions: float
    products: float
    plain: float
    bandwidth: float
    units: float
    clock: float
    cache: float
    images: float
    number_bytes: float
    weight_bytes: float
    tensor: float
    tensor_products: float
    slower: float  # logarithm is that many times that of "halved"
    emulated: float
    narrow: float  # place in _NARROW
    winograd: float
    watt: float
    boost: float  # logarithm
    old: float  # whether sums and addresses share the units
    amd: float
    setting: float
    years: float  # before `_YEAR`, since newer GPUs stand in newer computers
    node: float  # logarithm of its process, of `_USUAL_NODE`, since finer ones do more with a watt
    kernels: float
    casts: float
    causal: float


_NARROW = ("", "efficiency.tf32", "efficiency.int8")


def _chip(column: Setting, script: Script) -> _Chip:
    hardware, setting = column.hardware, gpu_setting(column)
    rates = rates_of(hardware, gpu_precision(column), setting)
    plain = hardware.peak_tflops["fp32"]
    narrow = {"tf32": 1, "int8": 2, "fp8": 2}.get(rates.ran, 0)
    return _Chip(
        1e9 * rates.convolutions,
        1e9 * rates.products,
        1e9 * plain,
        1e6 * hardware.memory_bandwidth_gbs,
        hardware.units,
        1e6 * hardware.clock_ghz,
        1e6 * hardware.on_chip_memory_mb,
        column.batch_size,
        rates.number_bytes,
        rates.weight_bytes,
        rates.tensor,
        rates.tensor_products,
        rates.is_halved and setting not in ENGINES,
        rates.is_emulated,
        narrow,
        rates.ran in ("fp32", "fp16") and not rates.tensor,
        1e9 * max(hardware.power_w, 1.0),
        float(np.log(boost_of(hardware))),
        hardware.year < _SEPARATE_YEAR,
        hardware.vendor == "AMD",
        GPU_SETTINGS.index(setting),
        _YEAR - min(hardware.year, _LAST_YEAR),
        float(np.log(node_of(hardware) / _USUAL_NODE)),
        script.kernels,
        script.casts,
        script.causal,
    )


class Terms:
    """Kernels of networks on columns in numbers, a row a kernel.

    Kernels of one kind on one column share most factors, so that these are found once a group.

    Args:
        rows: The kernels of each network, see `fused_kernels`.
        columns: The column of each network.
        scripts: By whom each is measured.
        copied: Bytes that are copied to the GPU for each.
    """

    def __init__(
        self,
        rows: Sequence[Array],
        columns: Sequence[Setting],
        scripts: Sequence[Script],
        copied: Sequence[float],
    ) -> None:
        self.networks = len(rows)
        owner = np.repeat(np.arange(len(rows)), list(map(len, rows)))
        self.owner = torch.from_numpy(owner)
        empty = np.zeros((0, len(KERNEL_COLUMNS)), dtype=np.float32)
        table = torch.from_numpy(np.concatenate([*rows, empty]).astype(np.float32))
        kernel = dict(zip(KERNEL_COLUMNS, table.unbind(1), strict=True))
        places: dict[tuple[int, Script], int] = {}
        known: list[_Chip] = []
        for column, script in zip(columns, scripts, strict=True):
            if places.setdefault((id(column), script), len(known)) == len(known):
                known.append(_chip(column, script))
        pairs = zip(columns, scripts, strict=True)
        at = torch.tensor([places[id(c), s] for c, s in pairs], dtype=torch.long)
        chips = torch.tensor(known, dtype=torch.float32).reshape(-1, len(_Chip._fields))
        network: Any = _Chip(*chips[at].unbind(1))  # type: ignore[arg-type]
        self._of_groups(kernel, at[self.owner], chips)
        self._of_kernels(kernel, network)
        self._of_networks(network, copied)

    def _of_groups(self, kernel: Mapping[str, Tensor], at: Tensor, chips: Tensor) -> None:
        """Group kernels by column, kind and alignment, and look up the factors of each group."""
        kind, aligned = kernel["kind"].long(), kernel["aligned"] > 0
        key = (at * len(KERNEL_KINDS) + kind) * 2 + aligned
        keys, self.group = torch.unique(key, return_inverse=True)
        aligned, kind = keys % 2 > 0, keys // 2 % len(KERNEL_KINDS)
        chip: Any = _Chip(*chips[keys // 2 // len(KERNEL_KINDS)].unbind(1))  # type: ignore[arg-type]
        kinds = {name: kind == place for name, place in _KINDS.items()}
        convolution = kinds["convolution"] | kinds["pointwise"] | kinds["grouped"]
        product = kinds["product"] | kinds["attention"] | kinds["batched"]
        slow = convolution | product
        # Channels of attention and of products of activations are heads.
        wide = slow & ~kinds["attention"] & ~kinds["batched"]
        peak = torch.where(product, chip.products, chip.plain)
        peak = torch.where(convolution, chip.convolutions, peak)
        tensor = (convolution & (chip.tensor > 0)) | (product & (chip.tensor_products > 0))
        unit, setting = tensor.long(), chip.setting.long()
        causal = kinds["attention"] & (chip.causal > 0)
        self.operations = 2 * torch.where(causal, _HALF_SCORES, 1.0) / peak
        self.units, self.bandwidth, self.cache = chip.units, chip.bandwidth, chip.cache
        self.rate = (peak / (chip.units * chip.clock) / 128).clamp(min=0.5).log()
        self.watts, self.node, self.boost = peak / chip.watt, chip.node, chip.boost
        self.cycle = _USUAL_CLOCK / chip.clock
        self.slow, self.wide = slow.float(), wide.float()
        self.layout = kinds["layout"]
        casts = chip.casts > 0
        passes = kinds["elementwise"] | kinds["normalisation"] | kinds["layout"] | kinds["other"]
        # Names of the factors of each group: the last place is that of a 1.
        one = len(NUMBERS)
        at_most = kind.clamp(max=len(COMPUTING))
        nothing = torch.zeros_like(kind)

        def when(is_true: Tensor, name: str) -> Tensor:
            return torch.where(is_true, PLACES[name], one)

        self.slower = torch.stack(
            [
                self._look(_COMPUTE, setting, kind),
                when(convolution & tensor & ~aligned, "unaligned"),
                when(kinds["product"] & tensor & ~aligned, "unaligned.product"),
                when(tensor & (chip.slower > 0), "halved"),
                when(slow & (chip.emulated > 0), "emulated"),
            ]
        )
        narrow = torch.tensor([PLACES.get(n, one) for n in _NARROW])
        self.faster = torch.stack(
            [
                self._look(_EFFICIENCY, unit, at_most),
                narrow[torch.where(tensor, chip.narrow, 0).long()],
            ]
        )
        self.places = {
            "fill": self._look([[f"fill.{k}" for k in COMPUTING] + [""]], nothing, at_most),
            "traffic": self._look(_TRAFFIC_NAMES, setting, kind),
            "cast.weights": when(casts, "cast.weights"),
            "cast.activations": when(casts & passes, "cast.activations"),
            "cast.launch": when(casts & slow, "cast.launch"),
            "memory.old": when(chip.old > 0, "memory.old"),
            "memory.amd": when(chip.amd > 0, "memory.amd"),
            "old": when(~tensor & (chip.old > 0), "old"),
            **{
                name: self._look([[f"{name}.{u}" for u in UNITS]], nothing, unit)
                for name in ("depth", "width", "watt", "lanes")
            },
        }
        launches = torch.tensor([number_place("launch", s) for s in GPU_SETTINGS])
        engine = setting >= GPU_SETTINGS.index("tensorrt")
        self.places |= {
            "launch": torch.where(chip.kernels > 0, PLACES["launch.kernels"], launches[setting]),
            "group": torch.where(engine, PLACES["group.tensorrt"], PLACES["group"]),
        }
        self.has_winograd = (chip.winograd > 0) & kinds["convolution"]

    def _of_kernels(self, kernel: Mapping[str, Tensor], network: Any) -> None:
        """Sizes of each kernel, for the whole batch."""
        images = network.images[self.owner]
        width = kernel["width"].clamp(min=1)
        outputs = (kernel["outputs"] * images).clamp(min=1)
        self.count, self.groups = kernel["count"], kernel["groups"]
        self.macs, self.outputs = kernel["macs"] * images, 1 / outputs
        self.depth, self.width = 1 / kernel["depth"].clamp(min=1), 1 / width
        self.rows = width * kernel["groups"].clamp(min=1) / outputs
        self.weights = kernel["weights"] * network.weight_bytes[self.owner]
        self.moved = kernel["activations"] * images * network.number_bytes[self.owner]
        direct = (kernel["window"] == 3) & (kernel["stride"] == 1) & self.has_winograd[self.group]
        self.winograd = torch.nonzero(direct)[:, 0]
        self.inputs = kernel["depth"][self.winograd].clamp(min=9) / 9
        self.pixels = (kernel["outputs"] / width)[self.winograd]

    def _of_networks(self, network: Any, copied: Sequence[float]) -> None:
        setting = network.setting.long()
        self.kernels, self.years = network.kernels > 0, network.years
        self.amd = network.amd > 0
        hosts = torch.tensor([number_place("host", s) for s in GPU_SETTINGS])[setting]
        floors = torch.tensor([number_place("floor", s) for s in GPU_SETTINGS])[setting]
        self.places["host"] = hosts
        self.places["floor"] = torch.where(self.kernels, PLACES["floor.kernels"], floors)
        self.copied = torch.tensor(copied, dtype=torch.float32) * network.images
        self.copied = self.copied * network.number_bytes

    @staticmethod
    def _look(names: Sequence[Sequence[str]], row: Tensor, column: Tensor) -> Tensor:
        places = [[PLACES.get(name, len(NUMBERS)) for name in line] for line in names]
        return torch.tensor(places)[row, column]

    def kernel_ms(self, numbers: Tensor, hosts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Time of the arithmetic, the traffic and the start of each kernel, `(kernels,)` each.

        `numbers` are the values of `NUMBERS`, and a 1; `hosts` are those of `log_ms`.
        """

        def of(name: str) -> Tensor:
            return numbers[self.places[name]]

        def one(name: str) -> Tensor:
            return numbers[PLACES[name]]

        slower = self.operations * numbers[self.slower].prod(0) / numbers[self.faster].prod(0)
        watts = self.watts * (self.node * one("watt.node")).exp() / of("watt")
        power = one("watt.power")
        slower = slower * (1 + watts**power) ** (1 / power)
        slower = slower * (self.rate * of("lanes").clamp(max=0.7)).exp() * of("old")
        slower = slower * (-self.boost * one("boost").clamp(max=1)).exp()
        # At most 1, so that a higher peak never takes more time.
        fill = self.units * of("fill") * (self.rate * one("fill.rate").clamp(max=1)).exp()
        bandwidth = self.bandwidth * one("memory") * of("memory.old") * of("memory.amd")
        carried = of("traffic") / bandwidth
        shared = torch.stack(
            [
                *(slower, fill, self.wide * one("rows"), self.slow * of("depth")),
                *(self.wide * of("width"), of("cast.activations"), of("cast.weights")),
                *(self.cache, carried, one("transfer") / bandwidth),
                *(of("launch") * of("cast.launch") * self.cycle, of("group")),
            ],
            1,
        )
        (
            slower,
            fill,
            rows,
            depth,
            width,
            cast,
            cast_weights,
            cache,
            carried,
            least,
            start,
            group,
        ) = shared.index_select(0, self.group).unbind(1)
        # At most 1, so that a larger batch never takes less time.
        power = one("fill.power").clamp(max=1)
        waiting = (1 + fill * self.outputs + rows * self.rows) ** power
        if len(self.winograd):
            channels = self.inputs / (self.inputs + one("winograd.channels"))
            channels = channels / (1 + one("winograd.channels") * self.width[self.winograd])
            small = self.pixels / (self.pixels + one("winograd.pixels"))
            faster = 1 + (one("winograd") - 1).clamp(min=0) * channels * small
            # What units wait for is no faster, or more pixels could take less time.
            waiting = waiting.index_add(0, self.winograd, 1 / faster - 1)
        waiting = waiting * (1 + depth * self.depth) * (1 + width * self.width)
        # Above 0, since a power of 0 has no derivative.
        arithmetic = (self.macs * slower * waiting).clamp(min=1e-9)
        moved = self.moved * cast + self.weights * cast_weights
        cached = one("cache") * cache / (cache + moved).clamp(min=1)
        traffic = moved / (1 + cached) * carried + least
        # Where kernels are timed alone, a profiler may add to each.
        profiled = torch.where(self.kernels, hosts, 1.0)[self.owner]
        return arithmetic, traffic, start * profiled + self.groups * group

    def log_ms(self, numbers: Tensor, hosts: Tensor, floors: Tensor) -> Tensor:
        """Logarithm of ms of each network, `(networks,)`, at factors of each one's host and floor.

        `numbers` are the values of `NUMBERS`, and a 1.
        """
        arithmetic, traffic, launch = self.kernel_ms(numbers, hosts)
        kernel = soft_maximum(arithmetic, traffic, numbers[PLACES["overlap.kernel"]]) + launch
        count = self.counted(numbers)
        empty = torch.zeros(self.networks)
        time = empty.index_add(0, self.owner, kernel * count).clamp(min=SMALLEST_MS)
        started = empty.index_add(0, self.owner, count).clamp(min=SMALLEST_MS)
        newer = (numbers[PLACES["host.year"]] * self.years).exp()
        newer = newer * torch.where(self.amd, numbers[PLACES["host.amd"]], 1.0)
        host = started * numbers[self.places["host"]] * hosts * newer
        whole = soft_maximum(time, host, numbers[PLACES["overlap.host"]])
        whole = torch.where(self.kernels, time, whole)
        whole = whole + numbers[self.places["floor"]] * floors
        copied: Tensor = self.copied / numbers[PLACES["copy"]]
        logs: Tensor = (whole + copied).clamp(min=SMALLEST_MS).log()
        return logs

    def counted(self, numbers: Tensor) -> Tensor:
        """Number of runs of each kernel; of changes of layout only a share is run."""
        share = torch.where(self.layout, numbers[PLACES["layout"]], 1.0)
        counted: Tensor = self.count * share[self.group]
        return counted


def soft_maximum(a: Tensor, b: Tensor, power: Tensor) -> Tensor:
    """A smooth maximum of positive numbers."""
    # The larger one as a factor: powers of small numbers would vanish.
    larger, smaller = torch.maximum(a, b), torch.minimum(a, b)
    result: Tensor = larger * (1 + (smaller / larger) ** power) ** (1 / power)
    return result
