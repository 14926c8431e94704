"""Terms of the roofline of CPUs; cpu_roofline.py has the formula, cpu_numbers.py the numbers.

A kernel keeps the places of the numbers that its rates are products of, so that the logarithm of a
rate is a sum over places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nasplug.predictors.features.settings import Setting
from nasplug.predictors.hardware import Hardware, on_unit
from nasplug.predictors.latency.cpu_numbers import (
    COMPUTING,
    CORE_KINDS,
    CPU_RUNTIMES,
    GROUP_OF,
    GROUPS,
    NAMES,
    NEAR,
    PRECISIONS,
    RATES,
)
from nasplug.predictors.latency.fused_operators import (
    FUSIONS,
    KERNEL_COLUMNS,
    KERNEL_KINDS,
    graph_kernels,
)
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph

__all__ = ["CpuTerms", "core_kind", "cpu_fusion", "cpu_kernels", "cpu_precision"]

_IN_ORDER = frozenset({f"Cortex-A{number}" for number in (34, 35, 53, 55, 510, 520)})
_OLD = frozenset({f"Cortex-A{number}" for number in (5, 7, 8, 9, 12, 15, 17)})
# Beginnings of the names of cores that are neither Arm's nor x86.
_OTHERS = ("GS", "LA", "Loongson")
# Those whose vectors runtimes hardly use.
_SCALARS = ("C9", "SpacemiT", "Sunway", "SW", "sw", "U7", "X60", "XuanTie")
_X86 = (
    *("Zen", "Ivy Bridge", "Sandy Bridge", "Haswell", "Broadwell", "Skylake", "Kaby Lake"),
    *("Coffee Lake", "Comet Lake", "Cascade Lake", "Cooper Lake", "Ice Lake", "Tiger Lake"),
    *("Rocket Lake", "Sapphire Rapids", "Emerald Rapids", "Granite Rapids", "Golden Cove"),
    *("Raptor Cove", "Willow Cove", "Sunny Cove", "Cypress Cove", "Redwood Cove", "Lion Cove"),
    *("Gracemont", "Crestmont", "Skymont", "Tremont", "Goldmont", "Airmont", "Silvermont"),
    *("Yonah", "Knights", "Nehalem", "Westmere", "Bulldozer", "Alder Lake", "Raptor Lake"),
)
# Runtimes that compute in half precision where the CPU can, unless told otherwise.
_HALF = frozenset({"ncnn", "mnn"})
# Operations of int8 for each of fp32 from which on there is an instruction for dot products.
_DOTS = 3.9
# Operations a cycle of a core with the vectors of a wide one.
_WIDE = 16.0
_SCALAR = 2.0
# Year from which later processors, and what is compiled for them, are better.
_YEAR = 2019
# Watts for 1e9 operations a second, of a usual processor of a desktop.
_WATTS = 0.07
SMALLEST_MS = 1e-9
Places = NDArray[np.int64]


def core_kind(microarchitecture: str, operations: float) -> str:
    """One of `CORE_KINDS`, from its name and its operations of fp32 a cycle."""
    if microarchitecture in _IN_ORDER:
        return "in order"
    if microarchitecture in _OLD:
        return "32 bit"
    if microarchitecture.startswith(_X86):
        return "x86"
    if microarchitecture.startswith(_OTHERS):
        return "other"
    if microarchitecture.startswith(_SCALARS):
        return "scalar"
    # Figures of data sheets are rounded.
    return "wide" if round(operations) >= _WIDE else "narrow"


def cpu_precision(column: Setting) -> str:
    """One of `PRECISIONS`: how the CPU of a setting computes what is asked for."""
    used, wanted = column.processor, column.precision
    peaks = used.peak_tflops
    if used.microarchitecture.startswith(_SCALARS):
        return "int8" if wanted == "int8" else "fp32"
    if wanted.startswith(("int8", "int4", "w8")):
        return "int8 dot" if peaks.get("int8", 0.0) > _DOTS * peaks["fp32"] else "int8"
    wants_half = wanted in ("fp16", "bf16") or (not wanted and column.runtime in _HALF)
    return "fp16" if wants_half and "fp16" in peaks else "fp32"


def cpu_fusion(runtime: str) -> tuple[str, bool]:
    """One of `FUSIONS`, and whether attention is one kernel, in a runtime of CPUs."""
    fusion = {"eager": FUSIONS[0], "compiled": FUSIONS[1]}.get(runtime, FUSIONS[2])
    return fusion, runtime in ("eager", "compiled", "openvino")


def cpu_kernels(graph: Graph, runtime: str) -> Array:
    """Kernels of a network in a runtime, see `fused_kernels`."""
    fusion, flash = cpu_fusion(runtime)
    return graph_kernels(graph, fusion, flash)


class _Cpu(NamedTuple):
    """A column in numbers; rates a ms."""

    core: float
    cores: float
    evenness: float
    lanes: float
    year: float
    power: float
    clock: float
    bandwidth: float
    cache: float
    images: float
    number_bytes: float
    dots: float
    runtime: int
    precision: int
    kind: int


def _cpu(column: Setting) -> _Cpu:
    used = column.processor
    first = on_unit(column.hardware, column.unit or "cpu", 1)
    core = first.peak_tflops["fp32"]
    if first.microarchitecture.startswith(_SCALARS):
        core = _SCALAR * first.clock_ghz / 1e3
    operations = 1e3 * core / first.clock_ghz
    part = used.peak_tflops["fp32"] / (used.units * first.peak_tflops["fp32"])
    precision = cpu_precision(column)
    runtime = column.runtime if column.runtime in CPU_RUNTIMES else ""
    kind = core_kind(used.microarchitecture, operations)
    return _Cpu(
        1e9 * core,
        used.units,
        part,
        float(np.log(operations / _WIDE)),
        (column.hardware.year - _YEAR) / 5,
        _power(column.hardware) if kind == "x86" and used.units > 1 else 0.0,
        1e6 * used.clock_ghz,
        1e6 * used.memory_bandwidth_gbs,
        1e6 * max(used.on_chip_memory_mb, 0.25),
        column.batch_size,
        {"fp32": 4.0, "fp16": 2.0}.get(precision, 1.0),
        _dots(used) if precision == "int8 dot" else 0.0,
        CPU_RUNTIMES.index(runtime),
        PRECISIONS.index(precision),
        CORE_KINDS.index(kind),
    )


def _power(hardware: Hardware) -> float:
    """Watts for what all cores compute, as a logarithm: with few, clocks stay below the highest."""
    ratio = max(hardware.power_w, 1.0) / (1e3 * hardware.peak_tflops["fp32"])
    return float(np.clip(np.log(ratio / _WATTS), -1.5, 1.5))


def _dots(used: Hardware) -> float:
    """Logarithm of the width of a CPU's dot products, beyond four numbers."""
    ratio = used.peak_tflops["int8"] / used.peak_tflops["fp32"] / 4
    # Arm's cores with bf16 multiply matrices of int8, too, twice as many numbers at once.
    has_matrices = "bf16" in used.peak_tflops and not used.microarchitecture.startswith(_X86)
    return float(np.log(max(ratio, 2.0 if has_matrices else 1.0)))


class CpuTerms:
    """The parts of the model that are known before its numbers are.

    Attributes:
        core_names: Microarchitecture and group of rates of each factor of `log_ms`'s `cores`.
    """

    def __init__(self, kernels: Sequence[Array], columns: Sequence[Setting]) -> None:
        """Prepare for some networks.

        Args:
            kernels: Kernels of each network, see `fused_kernels`.
            columns: The device, batch size, runtime, precision, unit and threads of each.
        """
        cpus = {id(column): _cpu(column) for column in columns}
        used = {id(column): column.processor.microarchitecture for column in columns}
        self.networks = len(kernels)
        owner: Places = np.repeat(np.arange(len(kernels)), list(map(len, kernels))).astype(np.int64)
        self.owner = torch.from_numpy(owner)
        table = np.concatenate([*kernels, np.zeros((0, len(KERNEL_COLUMNS)))]).astype(np.float32)
        kernel = dict(zip(KERNEL_COLUMNS, torch.from_numpy(table).unbind(1), strict=True))
        numbers = [cpus[id(column)] for column in columns]
        every = torch.tensor(numbers, dtype=torch.float32).reshape(-1, len(_Cpu._fields))
        whole = _Cpu(*every.unbind(1))  # type: ignore[arg-type]
        cpu = _Cpu(*every[self.owner].unbind(1))  # type: ignore[arg-type]
        kind = kernel["kind"].long().numpy()
        self.count = kernel["count"]
        names = [used[id(column)] for column in columns]
        self._place(kind, every[self.owner][:, -3:].long().numpy(), names, owner)
        depthwise = torch.from_numpy(kind == KERNEL_KINDS.index("depthwise"))
        dense = torch.from_numpy(kind == KERNEL_KINDS.index("convolution"))
        by_matrix = torch.from_numpy(kind < len(COMPUTING)) & ~depthwise
        self.arithmetic = 2 * kernel["macs"] * cpu.images / cpu.core
        window = kernel["window"]
        # A window costs loads beside its products.
        self.window = torch.where(depthwise, 1 / window.clamp(min=1) ** 2, 0.0)
        self.strided = depthwise & (kernel["stride"] > 1)
        self.depth = by_matrix / kernel["depth"].clamp(min=1)
        self.width = by_matrix / kernel["width"].clamp(min=1)
        outputs = kernel["outputs"].clamp(min=1) * cpu.images
        self.pixels = by_matrix * kernel["width"].clamp(min=1) / outputs
        # The first convolution of a network reads the colours of an image.
        self.first = dense & (kernel["depth"] <= 4 * window**2)
        is_float = torch.as_tensor(cpu.number_bytes) > 1
        small = (window == 3) & (kernel["stride"] == 1)
        self.winograd = dense & ~self.first & small & is_float
        self.dots = cpu.dots * ~depthwise
        self.cpu, self.whole = cpu, whole
        self.evenness = torch.as_tensor(cpu.evenness).log()
        self.moved = kernel["activations"] * cpu.images * cpu.number_bytes
        self.weights = kernel["weights"] * cpu.number_bytes
        total = torch.zeros(len(kernels)).index_add(0, self.owner, self.weights * self.count)
        self.all_weights = total[self.owner]

    def _place(
        self,
        kind: Places,
        setting: Places,
        names: Sequence[str],
        owner: Places,
    ) -> None:
        """Find the places of the numbers that each kernel's rates are made of."""
        runtime, precision, core = setting.T
        distinct = list(dict.fromkeys(names))
        self.core_names = [f"{name}.{group}" for name in distinct for group in GROUPS]
        of_name = np.array([distinct.index(name) for name in names], dtype=np.int64)[owner]
        zeros = np.zeros_like(kind)
        # A kernel that does not multiply has the place of the first kind, and takes no arithmetic.
        rate = np.where(kind < len(COMPUTING), kind, 0)

        def of(
            firsts: Sequence[str], first: Places, seconds: Sequence[str], second: Places
        ) -> Places:
            table = np.array([[NAMES[f"{a}.{b}"] for b in seconds] for a in firsts], dtype=np.int64)
            found: Places = table[first, second]
            return found

        def factors(rates: Places, seconds: Sequence[str]) -> Places:
            parts = [
                of(["base"], zeros, seconds, rates),
                of(CPU_RUNTIMES, runtime, seconds, rates),
                of(PRECISIONS, precision, seconds, rates),
                of(CORE_KINDS, core, seconds, rates),
            ]
            return np.stack(parts, 1)

        pairs = [
            of(CPU_RUNTIMES, runtime, PRECISIONS, precision),
            of(CORE_KINDS, core, PRECISIONS, precision),
            of(CORE_KINDS, core, CPU_RUNTIMES, runtime),
        ]
        compute = np.concatenate([factors(rate, COMPUTING), np.stack(pairs, 1)], 1)
        self.compute_at = torch.from_numpy(compute)
        moving = np.maximum(kind - len(COMPUTING) + 1, 0)
        self.memory_at = torch.from_numpy(factors(moving, NEAR))
        self.launch_at = torch.from_numpy(factors(zeros, ["launch"]))
        groups = np.array([GROUPS.index(GROUP_OF[name]) for name in RATES])
        self.core_at = [
            torch.from_numpy(of_name * len(GROUPS) + groups[place])
            for place in (rate, zeros + len(COMPUTING), zeros + len(RATES) - 1)
        ]
        self.serial_at = torch.from_numpy(of(["serial"], zeros, COMPUTING, rate))
        self.serial_near_at = torch.from_numpy(of(["serial"], zeros, NEAR, moving))
        self.lanes_at = torch.from_numpy(of(["lanes"], zeros, COMPUTING, rate))
        self.traffic_at = torch.from_numpy(of(["traffic"], zeros, KERNEL_KINDS, kind))
        self.far_at = torch.from_numpy(of(["far"], zeros, CORE_KINDS, core))
        self.runtime = torch.from_numpy(runtime)

    def kernel_ms(self, logs: Tensor, cores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Times of arithmetic, traffic and launch of each kernel, in ms, each `(kernels,)`.

        Args:
            logs: Logarithms of the numbers of `START`.
            cores: Logarithms of the factors of microarchitectures, by `core_names`.
        """

        def number(name: str) -> Tensor:
            return logs[NAMES[name]].exp()

        cpu = self.cpu
        more = torch.as_tensor(cpu.cores) - 1
        shared = more.clamp(min=1e-6) ** number("serial.power")
        serial = by_runtime("serial", logs)[self.runtime]
        used = cpu.cores * (number("uneven") * self.evenness).exp()
        rate = logs[self.compute_at].sum(1) + cores[self.core_at[0]]
        rate = rate + logs[self.lanes_at] * cpu.lanes + number("wider") * self.dots
        rate = rate + logs[NAMES["year.compute"]] * cpu.year + logs[NAMES["power"]] * cpu.power
        rate = rate.exp() * used / (1 + shared * logs[self.serial_at].exp() * serial)
        waiting = (1 + number("depth") * self.depth) * (1 + number("width") * self.width)
        waiting = waiting * (1 + number("pixels") * self.pixels * cpu.cores)
        waiting = waiting * (1 + number("window") * self.window)
        waiting = torch.where(self.strided, waiting * number("stride"), waiting)
        first, winograd = by_runtime("first", logs), by_runtime("winograd", logs)
        waiting = torch.where(self.first, waiting * first[self.runtime], waiting)
        waiting = torch.where(self.winograd, waiting / winograd[self.runtime], waiting)
        # Above 0, since a power of 0 has no derivative.
        arithmetic = (self.arithmetic / rate * waiting).clamp(min=1e-9)
        near = logs[self.memory_at].sum(1) + cores[self.core_at[1]]
        near = near + logs[NAMES["lanes.memory"]] * cpu.lanes
        near = near + logs[NAMES["year.memory"]] * cpu.year
        near = near.exp() * cpu.clock * used
        near = near / (1 + shared * logs[self.serial_near_at].exp() * serial)
        each = number("core memory") * logs[self.far_at].exp() * cpu.clock * cpu.cores
        main = number("memory") * cpu.bandwidth
        far = each * main / (each + main)
        # Cores share the last cache.
        cache = number("cache.activations") * cpu.cache * cpu.cores ** -number("cache.cores")
        activations = self.moved / (self.moved + cache)
        weights = self.all_weights / (self.all_weights + number("cache.weights") * cpu.cache)
        beyond = self.moved * activations * logs[self.traffic_at].exp() + self.weights * weights
        traffic = ((self.moved + self.weights) / near + beyond / far).clamp(min=1e-9)
        launch = logs[self.launch_at].sum(1) + cores[self.core_at[2]]
        launch = (launch - logs[NAMES["year.launch"]] * cpu.year).exp()
        sync = by_runtime("sync", logs)[self.runtime]
        return arithmetic, traffic, 1e3 * launch / cpu.clock * (1 + sync * more)

    def log_ms(self, logs: Tensor, cores: Tensor) -> Tensor:
        """Logarithm of ms of each network, `(networks,)`, from what `kernel_ms` takes."""
        arithmetic, traffic, launch = self.kernel_ms(logs, cores)
        q = logs[NAMES["overlap"]].exp()
        # The larger one as a factor: powers of small numbers would vanish.
        larger, smaller = torch.maximum(arithmetic, traffic), torch.minimum(arithmetic, traffic)
        kernel = larger * (1 + (smaller / larger) ** q) ** (1 / q) + launch
        time = torch.zeros(self.networks).index_add(0, self.owner, kernel * self.count)
        call = by_runtime("call", logs)[torch.as_tensor(self.whole.runtime).long()]
        return (time + 1e3 * call / self.whole.clock).clamp(min=SMALLEST_MS).log()


def by_runtime(name: str, logs: Tensor) -> Tensor:
    """Numbers of one name, one a runtime."""
    return logs[[NAMES[f"{name}.{runtime}"] for runtime in CPU_RUNTIMES]].exp()
