"""Latency of networks on CPUs that were never measured, from their data sheets.

A kernel of kind k (fused_operators.py) on n cores of a CPU, in a runtime and a precision, takes

    arithmetic = operations / (peak of a core · cores · e) · waiting
    traffic    = activations / near + (activations beyond the cache + weights beyond it) / far
    kernel     = (arithmetic^q + traffic^q)^(1/q) + launch / clock · (1 + sync · (n − 1))

and a network the sum of its kernels and what a call costs. Efficiencies e, near bandwidth and
launch are products of factors: of the kind, the runtime, the precision, the kind of core (in order,
narrow, wide, x86), the width of its vectors, and the microarchitecture. Cores share what they
compute by Amdahl's law; the main memory gives each core a part of its bandwidth at most. All
numbers are learned together, each held near its start, which is a plain guess. What is particular
to one chip or one table is a factor that is learned and not kept, since a new chip has none; what
is particular to a version of a runtime is kept by the name of its source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nasplug.predictors.features.settings import Setting
from nasplug.predictors.hardware import Hardware, on_unit
from nasplug.predictors.latency.fused_operators import (
    FUSIONS,
    KERNEL_COLUMNS,
    KERNEL_KINDS,
    fused_kernels,
)
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph

__all__ = ["CPU_RUNTIMES", "CpuRoofline", "core_kind", "cpu_precision"]

CPU_RUNTIMES = (
    *("tflite", "pytorch mobile", "ncnn", "onnxruntime", "openvino", "armnn", "eager", "compiled"),
    *("paddle lite", "mnn", "core ml", "tensorflow", "opencv", ""),
)
# How a CPU computes: int8 with and without an instruction for dot products.
PRECISIONS = ("fp32", "fp16", "int8", "int8 dot")
CORE_KINDS = ("in order", "narrow", "wide", "x86", "32 bit", "other")
_IN_ORDER = frozenset(
    {"Cortex-A35", "Cortex-A53", "Cortex-A55", "Cortex-A510", "Cortex-A520"}
)
_OLD = frozenset({f"Cortex-A{number}" for number in (5, 7, 8, 9, 12, 15, 17)})
# Beginnings of the names of cores that are neither Arm's nor x86.
_OTHERS = ("C9", "GS", "LA", "Loongson", "SpacemiT", "Sunway", "SW", "U7", "X60", "XuanTie")
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
_COMPUTING = KERNEL_KINDS[:7]
_RATES = (*_COMPUTING, "memory", "launch")
# Kinds that a microarchitecture changes alike.
_GROUP_OF = {
    **{kind: "compute" for kind in _COMPUTING},
    "depthwise": "depthwise",
    "memory": "memory",
    "launch": "launch",
}
_GROUPS = tuple(dict.fromkeys(_GROUP_OF.values()))
_MICROARCHITECTURE_SPREAD = 0.2
STEPS, RATE = 150, 0.1
HUBER = 0.2
PRIOR = 3e-5
SOURCE_SPREAD, EFFECT_SPREAD = 0.15, 0.2
SMALLEST_MS = 1e-9


def _start() -> dict[str, tuple[float, float]]:
    """Name of a number -> where its fit starts, and how far it may go, in log units."""
    efficiencies = dict.fromkeys(_COMPUTING, 0.4) | {
        "depthwise": 0.15,
        "grouped": 0.2,
        "batched": 0.2,
        "attention": 0.25,
    }
    start = {f"base.{kind}": (value, 0.5) for kind, value in efficiencies.items()}
    # Bytes a cycle of a core from its caches; thousands of cycles.
    start |= {"base.memory": (4.0, 0.7), "base.launch": (10.0, 1.0)}
    for first, rate in product((*CPU_RUNTIMES, *PRECISIONS, *CORE_KINDS), _RATES):
        start[f"{first}.{rate}"] = (1.0, 0.3)
    for runtime, precision in product(CPU_RUNTIMES, PRECISIONS):
        start[f"{runtime}.{precision}"] = (1.0, 0.25)
    for core, second in product(CORE_KINDS, (*CPU_RUNTIMES, *PRECISIONS)):
        start[f"{core}.{second}"] = (1.0, 0.25)
    for kind in _COMPUTING:
        quick = kind not in ("depthwise", "attention", "batched")
        start[f"fp16.{kind}"] = (1.7, 0.2)
        start[f"int8.{kind}"] = (1.3, 0.3)
        start[f"int8 dot.{kind}"] = (2.5 if quick else 1.5, 0.4)
    start |= {f"serial.{rate}": (0.04, 0.7) for rate in _RATES[:-1]}
    start |= {f"serial.{runtime}": (1.0, 0.5) for runtime in CPU_RUNTIMES}
    start |= {f"lanes.{rate}": (0.85, 0.15) for rate in _RATES[:-1]}
    for runtime in CPU_RUNTIMES:
        start[f"winograd.{runtime}"] = (1.6 if runtime in _WINOGRAD else 1.1, 0.3)
        start[f"sync.{runtime}"] = (0.1, 1.0)
        start[f"call.{runtime}"] = (50.0, 1.0)
        start[f"first.{runtime}"] = (2.0, 0.5)
    start |= {f"traffic.{kind}": (1.5 if kind in _COMPUTING else 1.0, 0.4) for kind in KERNEL_KINDS}
    start |= {f"far.{core}": (1.0, 0.3) for core in CORE_KINDS}
    start |= {"wider": (0.7, 0.2)}
    start |= {"uneven": (1.3, 0.3), "memory": (0.6, 0.3), "core memory": (3.0, 0.5)}
    start |= {"cache.weights": (0.7, 0.5), "cache.activations": (0.7, 0.5)}
    start |= {"depth": (20.0, 1.0), "width": (8.0, 1.0), "pixels": (8.0, 1.0)}
    start |= {"window": (6.0, 0.7), "stride": (1.3, 0.3), "overlap": (2.0, 0.4)}
    return start


# Runtimes known to compute convolutions of floats by Winograd's algorithm.
_WINOGRAD = frozenset({"ncnn", "mnn", "paddle lite", "armnn", "pytorch mobile", "eager", "opencv"})
START = _start()
_NAMES = {name: place for place, name in enumerate(START)}


def core_kind(microarchitecture: str, operations: float) -> str:
    """One of `CORE_KINDS`, from its operations a cycle."""
    if microarchitecture in _IN_ORDER:
        return "in order"
    if microarchitecture in _OLD:
        return "32 bit"
    if microarchitecture.startswith(_OTHERS):
        return "other"
    if microarchitecture.startswith(_X86):
        return "x86"
    return "wide" if operations >= _WIDE else "narrow"


def cpu_precision(column: Setting) -> str:
    """One of `PRECISIONS`: how the CPU of a setting computes what is asked for."""
    peaks = column.processor.peak_tflops
    wanted = column.precision
    if wanted.startswith(("int8", "int4", "w8")):
        return "int8 dot" if peaks.get("int8", 0.0) > _DOTS * peaks["fp32"] else "int8"
    wants_half = wanted in ("fp16", "bf16") or (not wanted and column.runtime in _HALF)
    return "fp16" if wants_half and "fp16" in peaks else "fp32"


@dataclass(frozen=True, eq=False)
class CpuRoofline:
    """Learned numbers of the roofline of CPUs.

    Attributes:
        numbers: Name -> number, those of `START`.
        cores: Microarchitecture and one of the groups of rates -> factor on these rates.
        sources: Source -> factor on the time that it measures.
    """

    numbers: Mapping[str, float]
    cores: Mapping[str, float]
    sources: Mapping[str, float]

    @classmethod
    def of(
        cls,
        graphs: Sequence[Graph],
        columns: Sequence[Setting],
        ms: Array,
        sources: Sequence[str],
        weights: Array | None = None,
        strength: float = PRIOR,
        steps: int = STEPS,
    ) -> CpuRoofline:
        """Learn from measurements.

        Args:
            graphs: The network of each measurement.
            columns: The device, runtime, precision, unit and threads of each.
            ms: Latencies, all above 0.
            sources: Who measured each, with which version.
            weights: How much each counts beside those of its table; all alike if left out.
            strength: How strongly all numbers are held where they start.
            steps: Steps of the fit.
        """
        terms = _Terms(graphs, columns)
        target = torch.tensor(np.log(ms), dtype=torch.float32)
        names = list(dict.fromkeys(sources))
        source = torch.tensor([names.index(name) for name in sources])
        tables = [
            (s, c.hardware.name, c.precision, c.unit, c.threads)
            for s, c in zip(sources, columns, strict=True)
        ]
        sizes = Counter(tables)
        chips = Counter(key[1] for key in sizes)
        places = {key: place for place, key in enumerate(sizes)}
        table = torch.tensor([places[key] for key in tables])
        # Large tables and much measured devices say more, but not in proportion.
        own = np.ones(len(tables)) if weights is None else np.asarray(weights)
        balance = [(sizes[key] * chips[key[1]]) ** -0.5 for key in tables]
        weight = torch.tensor(own * balance, dtype=torch.float32)
        weight = weight / weight.sum()
        start = torch.tensor([value for value, _ in START.values()]).log()
        spread = torch.tensor([value for _, value in START.values()])
        logs = torch.zeros(len(START), requires_grad=True)
        cores = torch.zeros(terms.cores, requires_grad=True)
        factors = torch.zeros(len(names), requires_grad=True)
        effects = torch.zeros(len(sizes), requires_grad=True)
        learned = [logs, cores, factors, effects]
        optimizer = torch.optim.Adam(learned, lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
        for _ in range(steps):
            predicted = terms.log_ms(start + logs * spread, _MICROARCHITECTURE_SPREAD * cores)
            predicted = predicted + SOURCE_SPREAD * factors[source] + EFFECT_SPREAD * effects[table]
            errors = torch.nn.functional.huber_loss(
                predicted, target, reduction="none", delta=HUBER
            )
            prior = sum((values**2).sum() for values in learned)
            optimizer.zero_grad()
            ((weight * errors).sum() + strength * prior).backward()
            optimizer.step()
            schedule.step()
        values = (start + logs.detach() * spread).exp().tolist()
        kept = (_MICROARCHITECTURE_SPREAD * cores.detach()).exp().tolist()
        said = (SOURCE_SPREAD * factors.detach()).exp().tolist()
        return cls(
            dict(zip(START, values, strict=True)),
            dict(zip(terms.core_names, kept, strict=True)),
            dict(zip(names, said, strict=True)),
        )

    @torch.no_grad()
    def log_latency(
        self, graphs: Sequence[Graph], columns: Sequence[Setting], sources: Sequence[str] = ()
    ) -> Array:
        """Natural logarithm of the latency of each network on its column in ms, `(networks,)`.

        Args:
            graphs: Whole networks.
            columns: The device, runtime, precision, unit and threads of each.
            sources: By whom each is measured; the usual one where there is none.
        """
        terms = _Terms(graphs, columns)
        logs = terms.log_ms(self._numbers(), self._cores(terms))
        names = list(sources) or [""] * len(graphs)
        factors = np.log([self.sources.get(name, 1.0) for name in names])
        result: Array = logs.double().numpy() + factors
        return result

    def _numbers(self) -> Tensor:
        return torch.tensor([self.numbers[name] for name in START]).log()

    def _cores(self, terms: _Terms) -> Tensor:
        return torch.tensor([self.cores.get(name, 1.0) for name in terms.core_names]).log()


class _Cpu(NamedTuple):
    """A column in numbers; rates a ms."""

    core: float
    cores: float
    evenness: float
    lanes: float
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
    operations = 1e3 * core / used.clock_ghz
    precision = cpu_precision(column)
    runtime = column.runtime if column.runtime in CPU_RUNTIMES else ""
    return _Cpu(
        1e9 * core,
        used.units,
        used.peak_tflops["fp32"] / (used.units * core),
        np.log(operations / _WIDE),
        1e6 * used.clock_ghz,
        1e6 * used.memory_bandwidth_gbs,
        1e6 * max(used.on_chip_memory_mb, 0.25),
        column.batch_size,
        {"fp32": 4.0, "fp16": 2.0}.get(precision, 1.0),
        _dots(used) if precision == "int8 dot" else 0.0,
        CPU_RUNTIMES.index(runtime),
        PRECISIONS.index(precision),
        CORE_KINDS.index(core_kind(used.microarchitecture, operations)),
    )


def _dots(used: Hardware) -> float:
    """How much wider than four numbers the dot products of a CPU are, as a logarithm."""
    ratio = used.peak_tflops["int8"] / used.peak_tflops["fp32"] / 4
    # Arm's cores with bf16 multiply matrices of int8, too, twice as many numbers at once.
    has_matrices = "bf16" in used.peak_tflops and not used.microarchitecture.startswith(_X86)
    return float(np.log(max(ratio, 2.0 if has_matrices else 1.0)))


def _fusion(runtime: str) -> tuple[str, bool]:
    """One of `FUSIONS`, and whether attention is one kernel."""
    fusion = {"eager": FUSIONS[0], "compiled": FUSIONS[1]}.get(runtime, FUSIONS[2])
    return fusion, runtime in ("eager", "compiled", "openvino")


class _Terms:
    """The parts of the model that are known before its numbers are."""

    def __init__(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> None:
        known: dict[tuple[int, str, bool], Array] = {}
        cpus: dict[Setting | int, _Cpu] = {}
        rows, numbers, names = [], [], []
        for graph, column in zip(graphs, columns, strict=True):
            fusion, flash = _fusion(column.runtime)
            key = (id(graph), fusion, flash)
            if key not in known:
                known[key] = fused_kernels(graph, fusion, flash=flash)
            rows.append(known[key])
            if id(column) not in cpus:
                cpus[id(column)] = _cpu(column)
            numbers.append(cpus[id(column)])
            names.append(column.processor.microarchitecture)
        self.networks = len(rows)
        owner = np.repeat(np.arange(len(rows)), list(map(len, rows)))
        self.owner = torch.from_numpy(owner)
        table = torch.from_numpy(np.concatenate([*rows, np.zeros((0, len(KERNEL_COLUMNS)))]))
        kernel = dict(zip(KERNEL_COLUMNS, table.float().unbind(1), strict=True))
        every = torch.tensor(numbers, dtype=torch.float32).reshape(len(rows), len(_Cpu._fields))
        whole = _Cpu(*every.unbind(1))  # type: ignore[arg-type]
        cpu = _Cpu(*every[self.owner].unbind(1))  # type: ignore[arg-type]
        kind = kernel["kind"].long().numpy()
        self.count = kernel["count"]
        self._index(kind, every[self.owner][:, -3:].long().numpy(), names, owner)
        is_kind = {name: torch.from_numpy(kind == k) for k, name in enumerate(KERNEL_KINDS)}
        depthwise, dense = is_kind["depthwise"], is_kind["convolution"]
        computing = torch.from_numpy(kind < len(_COMPUTING))
        outputs = kernel["outputs"].clamp(min=1) * cpu.images
        self.depthwise = depthwise
        self.arithmetic = 2 * kernel["macs"] * cpu.images / cpu.core
        # A window costs loads beside its products.
        self.window = torch.where(depthwise, 1 / kernel["window"].clamp(min=1) ** 2, 0.0)
        self.strided = depthwise & (kernel["stride"] > 1)
        by_matrix = computing & ~depthwise
        self.depth = by_matrix / kernel["depth"].clamp(min=1)
        self.width = by_matrix / kernel["width"].clamp(min=1)
        self.pixels = by_matrix * kernel["width"].clamp(min=1) / outputs
        area = kernel["window"] ** 2
        few = dense & (kernel["depth"] <= 4 * area)
        self.first = few
        floats = cpu.number_bytes > 1
        self.winograd = (
            dense & ~few & (kernel["window"] == 3) & (kernel["stride"] == 1) & floats
        )
        self.cores_used, self.evenness = cpu.cores, cpu.evenness.log()
        self.dots = cpu.dots * ~depthwise
        self.lanes, self.clock, self.bandwidth = cpu.lanes, cpu.clock, cpu.bandwidth
        self.moved = kernel["activations"] * cpu.images * cpu.number_bytes
        self.weights = kernel["weights"] * cpu.number_bytes
        total = torch.zeros(len(rows)).index_add(0, self.owner, self.weights * self.count)
        self.beyond = (cpu.cache, self.moved, total[self.owner])
        self.call = (whole.runtime.long(), whole.clock)

    def _index(
        self, kind: Array, setting: Array, names: Sequence[str], owner: Array
    ) -> None:
        """Places of the numbers that each kernel's rates are made of."""
        runtime, precision, core = setting.T
        distinct = list(dict.fromkeys(names))
        self.core_names = [f"{name}.{group}" for name in distinct for group in _GROUPS]
        self.cores = len(self.core_names)
        of_name = np.array([distinct.index(name) for name in names])[owner]
        # A kernel that does not multiply has the place of the first kind, and takes no arithmetic.
        rate = np.where(kind < len(_COMPUTING), kind, 0)

        def of(firsts: Sequence[str], first: Array, seconds: Sequence[str], second: Array) -> Array:
            table = np.array([[_NAMES[f"{a}.{b}"] for b in seconds] for a in firsts])
            return table[first, second]

        def all_of(rates: Array, seconds: Sequence[str]) -> Array:
            parts = [
                of(["base"], np.zeros_like(runtime), seconds, rates),
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
        compute = np.concatenate([all_of(rate, _COMPUTING), np.stack(pairs, 1)], 1)
        zeros = np.zeros_like(rate)
        self.compute_at = torch.from_numpy(compute)
        self.memory_at = torch.from_numpy(all_of(zeros, ["memory"]))
        self.launch_at = torch.from_numpy(all_of(zeros, ["launch"]))
        groups = np.array([_GROUPS.index(_GROUP_OF[name]) for name in _RATES])
        memory = len(_COMPUTING)
        self.core_at = [
            torch.from_numpy(of_name * len(_GROUPS) + groups[place])
            for place in (rate, zeros + memory, zeros + memory + 1)
        ]
        self.serial_at = torch.from_numpy(of(["serial"], zeros, _RATES[:-1], rate))
        self.lanes_at = torch.from_numpy(of(["lanes"], zeros, _RATES[:-1], rate))
        self.of_runtime = torch.from_numpy(runtime)
        self.traffic_at = torch.from_numpy(
            of(["traffic"], np.zeros_like(kind), KERNEL_KINDS, kind)
        )
        self.far_at = torch.from_numpy(of(["far"], zeros, CORE_KINDS, core))

    def log_ms(self, logs: Tensor, cores: Tensor) -> Tensor:
        """Logarithm of ms of each network, `(networks,)`, of the logarithms of all numbers."""

        def number(name: str) -> Tensor:
            return logs[_NAMES[name]].exp()

        def by_runtime(name: str) -> Tensor:
            places = [_NAMES[f"{name}.{runtime}"] for runtime in CPU_RUNTIMES]
            return logs[places].exp()

        more = self.cores_used - 1
        serial = by_runtime("serial")[self.of_runtime]
        own = logs[self.serial_at].exp() * serial
        uneven = number("uneven") * self.evenness
        cores_used = self.cores_used * uneven.exp()
        lanes = logs[self.lanes_at] * self.lanes
        rate = logs[self.compute_at].sum(1) + cores[self.core_at[0]] + lanes
        rate = rate + number("wider") * self.dots
        rate = rate.exp() * cores_used / (1 + more * own)
        waiting = (1 + number("depth") * self.depth) * (1 + number("width") * self.width)
        waiting = waiting * (1 + number("pixels") * self.pixels * self.cores_used)
        waiting = waiting * (1 + number("window") * self.window)
        waiting = torch.where(self.strided, waiting * number("stride"), waiting)
        first, winograd = by_runtime("first"), by_runtime("winograd")
        waiting = torch.where(self.first, waiting * first[self.of_runtime], waiting)
        waiting = torch.where(self.winograd, waiting / winograd[self.of_runtime], waiting)
        arithmetic = (self.arithmetic / rate * waiting).clamp(min=1e-9)
        near = logs[self.memory_at].sum(1) + cores[self.core_at[1]]
        near = near + logs[_NAMES["lanes.memory"]] * self.lanes
        shared = cores_used / (1 + more * number("serial.memory") * serial)
        near = near.exp() * self.clock * shared
        each = number("core memory") * logs[self.far_at].exp() * self.clock * self.cores_used
        main = number("memory") * self.bandwidth
        far = each * main / (each + main)
        cache, moved, total = self.beyond
        activations = moved / (moved + number("cache.activations") * cache)
        weights = total / (total + number("cache.weights") * cache)
        beyond = self.moved * activations * logs[self.traffic_at].exp() + self.weights * weights
        traffic = ((self.moved + self.weights) / near + beyond / far).clamp(min=1e-9)
        q = number("overlap")
        larger, smaller = torch.maximum(arithmetic, traffic), torch.minimum(arithmetic, traffic)
        kernel = larger * (1 + (smaller / larger) ** q) ** (1 / q)
        launch = (logs[self.launch_at].sum(1) + cores[self.core_at[2]]).exp()
        sync = by_runtime("sync")[self.of_runtime]
        kernel = kernel + 1e3 * launch / self.clock * (1 + sync * more)
        time = torch.zeros(self.networks).index_add(0, self.owner, kernel * self.count)
        runtime, clock = self.call
        return (time + 1e3 * by_runtime("call")[runtime] / clock).clamp(min=SMALLEST_MS).log()
