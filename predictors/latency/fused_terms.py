"""Terms of the roofline of fused kernels: what kernels and GPUs say before any number is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch

from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.fused_operators import (
    KERNEL_COLUMNS,
    KERNEL_KINDS,
    fused_kernels,
)
from nasplug.predictors.latency.gpu_ways import (
    GPU_SETTINGS,
    fusion_of,
    gpu_precision,
    gpu_setting,
    rates_of,
)
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["NUMBERS", "START", "Script", "Terms", "kernels_of"]

COMPUTING = KERNEL_KINDS[:7]
_EFFICIENT = ("convolution", "pointwise", "product")
# Units that compute convolutions and products.
UNITS = ("plain", "tensor")
_COMPILED = ("compiled", "compiled graphs")
_ENGINES = GPU_SETTINGS[4:]
# Setting -> the one whose numbers its own are factors on.
_LIKE = {
    **{"channels last": "framework", "compiled": "channels last", "compiled graphs": "compiled"},
    **{"paddle tensorrt": "tensorrt", "onnxruntime": "tensorrt"},
}
_TRAFFIC = {s: 0.4 for s in GPU_SETTINGS} | {s: 0.2 for s in ("compiled graphs", *_ENGINES[1:])}
# Name of a number -> where its fit starts (times in ms), and how far it may go, in log units.
START: dict[str, tuple[float, float]] = {
    **{f"efficiency.{u}.{k}": (0.3, 1.0) for u in UNITS for k in COMPUTING},
    **{f"efficiency.{u}.{k}": (0.6, 0.6) for u in UNITS for k in _EFFICIENT},
    **{"efficiency.tf32": (0.9, 0.3), "efficiency.int8": (0.7, 0.3)},
    **{"emulated": (1.5, 0.5), "halved": (1.4, 0.3)},
    **{"winograd": (2.2, 0.4), "winograd.channels": (32.0, 1.0), "winograd.pixels": (256.0, 1.5)},
    **{f"fill.{k}": (2000.0, 1.5) for k in COMPUTING},
    **{"fill.rate": (0.6, 0.4), "fill.power": (0.9, 0.3)},
    **{"depth.plain": (20.0, 1.5), "depth.tensor": (40.0, 1.5)},
    **{"width.plain": (8.0, 1.5), "width.tensor": (16.0, 1.5), "rows": (8.0, 1.5)},
    **{"unaligned": (1.3, 0.5), "watt.plain": (0.15, 0.5), "watt.tensor": (0.7, 0.5)},
    **{f"compute.{s}": (1.0, 0.2) for s in GPU_SETTINGS[1:]},
    **{f"compute.{s}.{k}": (1.0, 0.4) for s in GPU_SETTINGS[1:] for k in ("depthwise", "grouped")},
    "memory": (0.8, 0.1),
    **{f"traffic.{s}.{k}": (1.0, _TRAFFIC[s]) for s in GPU_SETTINGS for k in KERNEL_KINDS},
    **{"transfer": (2e5, 1.5), "cache": (2.0, 0.5), "layout": (0.5, 1.0)},
    **{"cast.weights": (3.0, 0.4), "cast.activations": (1.4, 0.3)},
    **{"launch.kernels": (2e-3, 0.7), "launch.framework": (3e-3, 0.7)},
    **{"launch.compiled": (2e-3, 0.7), "launch.tensorrt": (1.5e-3, 0.7)},
    **{"launch.compiled graphs": (0.7, 0.4), "launch.onnxruntime": (1.5, 0.4)},
    "group": (1e-4, 2.0),
    # Engines of old start a kernel for each group.
    "group.tensorrt": (3e-3, 1.5),
    **{"host.framework": (1e-2, 0.7), "host.compiled": (3e-3, 0.7)},
    **{"host.compiled graphs": (0.2, 0.5), "host.tensorrt": (1.5e-3, 0.7)},
    **{"host.onnxruntime": (3.0, 0.5), "host.paddle tensorrt": (1.0, 0.3)},
    **{"floor.framework": (2e-2, 1.0), "floor.kernels": (1e-3, 1.0), "copy": (4e6, 0.7)},
    **{"floor.compiled": (2e-2, 1.0), "floor.tensorrt": (2e-2, 1.0)},
    **{"floor.paddle tensorrt": (5.0, 1.0), "floor.onnxruntime": (1.0, 0.5)},
    **{"overlap.kernel": (2.0, 0.5), "overlap.host": (3.0, 0.5)},
}
NUMBERS = tuple(START)
_PLACES = {name: place for place, name in enumerate(NUMBERS)}
_KINDS = {name: place for place, name in enumerate(KERNEL_KINDS)}
# Year of the sheets that `watt` holds for, and years in which it doubles.
_WATT_YEAR, _WATT_YEARS = 2018, 4.0
_HALF_SCORES = 0.5
SMALLEST_MS = 1e-9


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


def resolution() -> Tensor:
    """Matrix that adds to the logarithm of each number those of the ones it is a factor on."""
    matrix = np.eye(len(NUMBERS))
    for name in NUMBERS:
        head, _, after = name.partition(".")
        setting, _, kind = after.partition(".")
        like = _LIKE.get(setting)
        while like is not None:
            parent = ".".join((head, like, kind) if kind else (head, like))
            # What was set anew for a setting is no factor.
            if parent in _PLACES and not _is_own(name):
                matrix[_PLACES[name], _PLACES[parent]] = 1.0
            like = _LIKE.get(like)
            if _is_own(parent):
                break
    return torch.tensor(matrix, dtype=torch.float32)


def _is_own(name: str) -> bool:
    head, _, setting = name.partition(".")
    return head in ("launch", "host", "floor") and setting in ("framework", "compiled", "tensorrt")


def number_place(head: str, setting: str) -> int:
    """Place of the number of a setting, or of the setting that it is like."""
    while f"{head}.{setting}" not in _PLACES:
        setting = _LIKE[setting]
    return _PLACES[f"{head}.{setting}"]


_CACHE: WeakKeyDictionary[Graph, dict[tuple[str, bool], Array]] = WeakKeyDictionary()


def kernels_of(graph: Graph, column: Setting, flash: bool = True) -> Array:
    """Kernels of a network in a setting, see `fused_kernels`; computed once a graph."""
    fusion = fusion_of(gpu_setting(column))
    known = _CACHE.setdefault(graph, {})
    if (fusion, flash) not in known:
        known[fusion, flash] = fused_kernels(graph, fusion, flash=flash).astype(np.float32)
    return known[fusion, flash]


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
    watt: float  # 1e12 operations a second and watt that are usual for its year
    setting: float
    kernels: float
    casts: float
    causal: float


_NARROW = ("", "efficiency.tf32", "efficiency.int8")


def _chip(column: Setting, script: Script) -> _Chip:
    hardware, setting = column.hardware, gpu_setting(column)
    rates = rates_of(hardware, gpu_precision(column), setting)
    plain = hardware.peak_tflops["fp32"]
    narrow = {"tf32": 1, "int8": 2, "fp8": 2}.get(rates.ran, 0)
    years = (hardware.year - _WATT_YEAR) / _WATT_YEARS
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
        rates.is_halved and setting not in _ENGINES,
        rates.is_emulated,
        narrow,
        rates.ran in ("fp32", "fp16") and not rates.tensor,
        max(hardware.power_w, 1.0) * 2.0**years * 1e9,
        GPU_SETTINGS.index(setting),
        script.kernels,
        script.casts,
        script.causal,
    )


class Terms:
    """What is known of the kernels of networks on columns, a row a kernel.

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
        known: dict[tuple[int, Script], _Chip] = {}
        for column, script in zip(columns, scripts, strict=True):
            if (id(column), script) not in known:
                known[id(column), script] = _chip(column, script)
        pairs = zip(columns, scripts, strict=True)
        table = torch.tensor([known[id(c), s] for c, s in pairs], dtype=torch.float32)
        table = table.reshape(len(rows), len(_Chip._fields))
        chip: Any = _Chip(*table[self.owner].unbind(1))  # type: ignore[arg-type]
        network: Any = _Chip(*table.unbind(1))  # type: ignore[arg-type]
        self._of_kernels(kernel, chip)
        self._of_networks(network, copied)

    def _of_kernels(self, kernel: Mapping[str, Tensor], chip: Any) -> None:
        self.kind, self.count = kernel["kind"].long(), kernel["count"]
        kinds = {name: self.kind == place for name, place in _KINDS.items()}
        convolution = kinds["convolution"] | kinds["pointwise"] | kinds["grouped"]
        product = kinds["product"] | kinds["attention"] | kinds["batched"]
        peak = torch.where(product, chip.products, chip.plain)
        peak = torch.where(convolution, chip.convolutions, peak)
        self.unit = (
            (convolution & (chip.tensor > 0)) | (product & (chip.tensor_products > 0))
        ).long()
        causal = kinds["attention"] & (chip.causal > 0)
        macs = torch.where(causal, _HALF_SCORES * kernel["macs"], kernel["macs"])
        slow = convolution | product
        self.arithmetic = 2 * macs * chip.images / peak
        outputs = (kernel["outputs"] * chip.images).clamp(min=1)
        self.filling = chip.units / outputs
        self.rate = (peak / (chip.units * chip.clock) / 128).clamp(min=0.5).log()
        self.groups = kernel["groups"]
        self.depth = slow / kernel["depth"].clamp(min=1)
        # Channels of attention and of products of activations are heads.
        wide = slow & ~kinds["attention"] & ~kinds["batched"]
        self.width = wide / kernel["width"].clamp(min=1)
        self.rows = wide * kernel["width"].clamp(min=1) * kernel["groups"].clamp(min=1) / outputs
        tensor = self.unit > 0
        self.unaligned = wide & tensor & (kernel["aligned"] == 0)
        self.watts = peak / chip.watt
        direct = (kernel["window"] == 3) & (kernel["stride"] == 1) & kinds["convolution"]
        self.winograd = direct & (chip.winograd > 0)
        self.inputs = kernel["depth"].clamp(min=1) / 9
        self.pixels = outputs / kernel["width"].clamp(min=1)
        self.halved = tensor & (chip.slower > 0)
        self.emulated = slow & (chip.emulated > 0)
        self.narrow = torch.where(tensor, chip.narrow, 0).long()
        self.weights = kernel["weights"] * chip.weight_bytes
        self.moved = kernel["activations"] * chip.images * chip.number_bytes
        cast = chip.casts > 0
        self.cast_weights = cast
        passes = kinds["elementwise"] | kinds["normalisation"] | kinds["layout"] | kinds["other"]
        self.cast_activations = cast & passes
        self.cache, self.bandwidth, self.layout = chip.cache, chip.bandwidth, kinds["layout"]
        setting = chip.setting.long()
        computing = len(COMPUTING)
        kind = self.kind.clamp(max=computing)
        self.places = {
            "efficiency": self._look(
                [[f"efficiency.{u}.{k}" for k in COMPUTING] + [""] for u in UNITS], self.unit, kind
            ),
            "fill": self._look([[f"fill.{k}" for k in COMPUTING] + [""]], 0 * kind, kind),
            "traffic": self._look(
                [[f"traffic.{s}.{k}" for k in KERNEL_KINDS] for s in GPU_SETTINGS],
                setting,
                self.kind,
            ),
            "compute": self._look(
                [
                    [
                        f"compute.{s}.{k}" if k in ("depthwise", "grouped") else f"compute.{s}"
                        for k in KERNEL_KINDS
                    ]
                    for s in GPU_SETTINGS
                ],
                setting,
                self.kind,
            ),
            "narrow": torch.tensor([_PLACES.get(n, -1) for n in _NARROW])[self.narrow],
            **{
                name: self._look([[f"{name}.{u}" for u in UNITS]], 0 * kind, self.unit)
                for name in ("depth", "width", "watt")
            },
        }
        launches = [number_place("launch", s) for s in GPU_SETTINGS]
        launch = torch.tensor(launches)[setting]
        self.places["launch"] = torch.where(chip.kernels > 0, _PLACES["launch.kernels"], launch)
        engine = setting >= GPU_SETTINGS.index("tensorrt")
        self.places["group"] = torch.where(engine, _PLACES["group.tensorrt"], _PLACES["group"])

    def _of_networks(self, network: Any, copied: Sequence[float]) -> None:
        setting = network.setting.long()
        self.kernels = network.kernels > 0
        hosts = torch.tensor([number_place("host", s) for s in GPU_SETTINGS])[setting]
        floors = torch.tensor([number_place("floor", s) for s in GPU_SETTINGS])[setting]
        self.places["host"] = hosts
        self.places["floor"] = torch.where(self.kernels, _PLACES["floor.kernels"], floors)
        self.copied = torch.tensor(copied, dtype=torch.float32) * network.images
        self.copied = self.copied * network.number_bytes

    @staticmethod
    def _look(names: Sequence[Sequence[str]], row: Tensor, column: Tensor) -> Tensor:
        # The last place is that of a number that is 1 and is not learned.
        places = [[_PLACES.get(name, -1) for name in line] for line in names]
        return torch.tensor(places)[row, column]

    def kernel_ms(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Time of the arithmetic, the traffic and the start of each kernel, `(kernels,)` each.

        `numbers` are the values of `NUMBERS`, and a 1.
        """

        def of(name: str) -> Tensor:
            return numbers[self.places[name]]

        def one(name: str) -> Tensor:
            return numbers[_PLACES[name]]

        fill = of("fill") * (self.rate * one("fill.rate").clamp(max=1)).exp()
        # At most 1, so that a larger batch never takes less time.
        starved = fill * self.filling + one("rows") * self.rows
        waiting = (1 + starved) ** one("fill.power").clamp(max=1)
        channels = self.inputs / (self.inputs + one("winograd.channels"))
        channels = channels / (1 + one("winograd.channels") * self.width)
        small = self.pixels / (self.pixels + one("winograd.pixels"))
        faster = 1 + (one("winograd") - 1).clamp(min=0) * channels * small
        # What units wait for is no faster, or more pixels could take less time.
        waiting = torch.where(self.winograd, waiting - 1 + 1 / faster, waiting)
        waiting = waiting * (1 + of("depth") * self.depth) * (1 + of("width") * self.width)
        waiting = waiting * torch.where(self.unaligned, one("unaligned"), 1.0)
        waiting = waiting * torch.where(self.halved, one("halved"), 1.0)
        waiting = waiting * torch.where(self.emulated, one("emulated"), 1.0)
        waiting = waiting * (1 + (self.watts / of("watt")) ** 4) ** 0.25
        share = of("efficiency") * of("narrow") / of("compute")
        # Above 0, since a power of 0 has no derivative.
        arithmetic = (self.arithmetic / share * waiting).clamp(min=1e-9)
        weights = self.weights * torch.where(self.cast_weights, one("cast.weights"), 1.0)
        moved = self.moved * torch.where(self.cast_activations, one("cast.activations"), 1.0)
        moved = moved + weights
        cached = self.cache / (self.cache + moved).clamp(min=1)
        moved = moved * of("traffic") / (1 + one("cache") * cached) + one("transfer")
        traffic = moved / (self.bandwidth * one("memory"))
        return arithmetic, traffic, of("launch") + self.groups * of("group")

    def log_ms(self, numbers: Tensor, hosts: Tensor, floors: Tensor) -> Tensor:
        """Logarithm of ms of each network, `(networks,)`, at factors of each one's host and floor.

        `numbers` are the values of `NUMBERS`, and a 1.
        """
        arithmetic, traffic, launch = self.kernel_ms(numbers)
        kernel = soft_maximum(arithmetic, traffic, numbers[_PLACES["overlap.kernel"]]) + launch
        layout = numbers[_PLACES["layout"]]
        count = torch.where(self.layout, self.count * layout, self.count)
        empty = torch.zeros(self.networks)
        time = empty.index_add(0, self.owner, kernel * count).clamp(min=SMALLEST_MS)
        started = empty.index_add(0, self.owner, count).clamp(min=SMALLEST_MS)
        host = started * numbers[self.places["host"]] * hosts
        whole = soft_maximum(time, host, numbers[_PLACES["overlap.host"]])
        whole = torch.where(self.kernels, time, whole)
        whole = whole + numbers[self.places["floor"]] * floors
        return (whole + self.copied / numbers[_PLACES["copy"]]).clamp(min=SMALLEST_MS).log()


def soft_maximum(a: Tensor, b: Tensor, power: Tensor) -> Tensor:
    """A smooth maximum of positive numbers."""
    # The larger one as a factor: powers of small numbers would vanish.
    larger, smaller = torch.maximum(a, b), torch.minimum(a, b)
    result: Tensor = larger * (1 + (smaller / larger) ** power) ** (1 / power)
    return result
