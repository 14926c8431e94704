"""Latency of whole networks on any GPU, from its data sheet: a roofline of some forty numbers.

A data sheet tells how fast a GPU could be; how far below that it stays is much the same for all of
them, and is learned here from measurements of many. For an operator of kind k in precision p, in a
network that is run in setting s:

    arithmetic = operations / (peak_p · e_pk) · (1 + c_k · units / outputs)
    traffic    = (bytes / (1 + g · cache / (cache + bytes)) + b) / (bandwidth · m_s)
    operator   = ((arithmetic^q + traffic^q)^(1/q) + launch_s) · fused_s
    network    = ((Σ operator)^r + (number of operators · host_s)^r)^(1/r)

Few outputs do not fill the units, small transfers do not reach the bandwidth, a compiler fuses what
works element by element, and a host that hands over one operator after the other may be what takes
longest. What is learned of a setting is a factor on what holds for another, so that one of which
little is known is like that one: channels last is like a framework's usual way, and a compiler
moves data as channels last does, and starts operators as TensorRT does. All numbers are positive,
and latency grows with the batch. The efficiencies are those of the roofline model (Williams et al.,
CACM 2009) with overheads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nasplug.predictors.features.operators import operator_kinds
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.models.roofline_transformer import VIEWS
from nasplug.predictors.prediction import Array
from nasplug.search_spaces import Graph
from nasplug.search_spaces.costs import FLOAT_BYTES

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GPU_SETTINGS", "GpuRoofline", "gpu_setting"]

KINDS = ("convolution", "depthwise", "grouped", "product", "pointwise", "other")
# How a network is run, as far as measurements of several GPUs tell it apart.
GPU_SETTINGS = ("framework", "channels last", "compiled", "tensorrt")
# Number -> the one that it is a factor on; PyTorch's compiler gives convolutions channels last.
_FACTOR_ON = {
    **{f"{name}.channels last": f"{name}.framework" for name in ("bandwidth", "launch", "host")},
    "bandwidth.compiled": "bandwidth.channels last",
    **{f"{name}.compiled": f"{name}.tensorrt" for name in ("launch", "host")},
}
_FUSING = GPU_SETTINGS[2:]
_PRODUCTS = frozenset({"Gemm", "MatMul"})
_POINTWISE = frozenset(
    {"Add", "BatchNormalization", "Cast", "Clip", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid"}
    | {"HardSwish", "LeakyRelu", "Mish", "Mul", "Neg", "PRelu", "Pow", "Relu", "Sigmoid", "Silu"}
    | {"Softplus", "Sqrt", "Sub", "Tanh"}
)
# What a framework gives as a view, and an engine leaves out.
_FREE = VIEWS | {"Expand", "Slice", "Split"}
# Architectures without TF32, on which convolutions of floats run as Winograd's.
_WINOGRAD = frozenset({"Maxwell", "Pascal", "Volta", "Turing"})

# Name of a number -> where its fit starts; times in ms.
START: dict[str, float] = {
    **{f"efficiency.{p}.{k}": 0.3 for p in ("float", "half") for k in KINDS},
    **{f"efficiency.{p}.{k}": 0.6 for p in ("float", "half") for k in ("convolution", "product")},
    "efficiency.winograd": 1.2,
    **{f"fill.{k}": 1000.0 for k in KINDS},
    "transfer": 2e5,
    "cache": 0.3,
    **{"bandwidth.framework": 0.8, "bandwidth.tensorrt": 0.8},
    **{"launch.framework": 3e-3, "launch.tensorrt": 1e-3},
    **{"host.framework": 8e-3, "host.tensorrt": 1e-3},
    **dict.fromkeys(_FACTOR_ON, 1.0),
    **{f"fused.{s}": 0.5 for s in _FUSING},
    "overlap.operator": 2.0,
    "overlap.host": 3.0,
}
STEPS, RATE = 300, 0.05
# Relative errors beyond this count linearly.
HUBER = 0.2
# How strongly numbers are held where they start, and sources' hosts at that of all.
PRIOR, HOST_PRIOR = 4e-4, 1e-4
# Networks that are priced at once.
CHUNK = 256
SMALLEST_MS = 1e-9


def gpu_setting(column: Setting) -> str:
    """One of `GPU_SETTINGS`: how a column's runtime runs networks on a GPU."""
    words = set(column.runtime.split())
    if "tensorrt" in words:
        return "tensorrt"
    if words & {"compiled", "dynamo", "onnxruntime", "tflite"}:
        return "compiled"
    return "channels last" if "nhwc" in words else "framework"


@dataclass(frozen=True, eq=False)
class GpuRoofline:
    """The numbers of the model.

    Attributes:
        numbers: Name -> number, those of `START`.
        devices: Runtime -> names of the GPUs whose measurements were learned in it.
        groups: Kinds of networks that were learned, by the names that `Familiarity` has for them.
    """

    numbers: Mapping[str, float]
    devices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    groups: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        graphs: Sequence[Graph],
        columns: Sequence[Setting],
        ms: Array,
        sources: Sequence[str],
        groups: Sequence[str] = (),
    ) -> GpuRoofline:
        """Learn from measurements.

        Args:
            graphs: The network of each measurement.
            columns: The GPU, batch size and runtime of each.
            ms: Latencies, all above 0.
            sources: Who measured each: hosts differ, and each has a factor that is not kept.
            groups: Names of the kinds of networks that these are.
        """
        terms = _Terms(_operators(graphs), columns)
        target = torch.tensor(np.log(ms), dtype=torch.float64)
        names = list(dict.fromkeys(sources))
        source = torch.tensor([names.index(name) for name in sources])
        chips = [(column.hardware.name, column.runtime) for column in columns]
        tables = list(zip(sources, chips, strict=True))
        sizes = Counter(tables)
        # A large table says more than a small one, but not in proportion.
        weight = torch.tensor([sizes[table] ** -0.5 for table in tables], dtype=torch.float64)
        start = torch.tensor(list(START.values()), dtype=torch.float64).log()
        logs = start.clone().requires_grad_(True)
        hosts = torch.zeros(len(names), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([logs, hosts], lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
        for _ in range(STEPS):
            predicted = terms.log_ms(dict(zip(START, logs.exp(), strict=True)), hosts.exp()[source])
            errors = torch.nn.functional.huber_loss(
                predicted, target, reduction="none", delta=HUBER
            )
            prior = PRIOR * ((logs - start) ** 2).mean() + HOST_PRIOR * (hosts**2).sum()
            optimizer.zero_grad()
            ((weight * errors).sum() / weight.sum() + prior).backward()
            optimizer.step()
            schedule.step()
        numbers = dict(zip(START, logs.detach().exp().tolist(), strict=True))
        devices: dict[str, tuple[str, ...]] = {}
        for name, runtime in dict.fromkeys(chips):
            devices[runtime] = (*devices.get(runtime, ()), name)
        return cls(numbers, devices, tuple(groups))

    @torch.no_grad()
    def log_latency(self, graphs: Sequence[Graph], columns: Sequence[Setting]) -> Array:
        """Natural logarithms of latencies of whole networks on GPUs in ms, `(graphs, columns)`."""
        values = torch.tensor(list(self.numbers.values()), dtype=torch.float64)
        numbers = dict(zip(self.numbers, values, strict=True))
        result = np.empty((len(graphs), len(columns)))
        for start in range(0, len(graphs), CHUNK):
            part = graphs[start : start + CHUNK]
            operators = _operators(part)
            for k, column in enumerate(columns):
                terms = _Terms(operators, [column] * len(part))
                result[start : start + CHUNK, k] = terms.log_ms(numbers, torch.ones(len(part)))
        return result

    def tensors(self) -> dict[str, NDArray[np.float64]]:
        """An array to store; the rest belongs to the card (`described`)."""
        return {"numbers": np.array([self.numbers[name] for name in START])}

    def described(self) -> dict[str, Any]:
        """Entries of the card that describe the roofline."""
        return {"devices": dict(self.devices), "groups": list(self.groups)}

    @classmethod
    def restored(
        cls,
        tensors: Mapping[str, NDArray[Any]],
        devices: Mapping[str, Sequence[str]],
        groups: Sequence[str],
    ) -> GpuRoofline:
        """Restore the roofline that `tensors` and `described` stored."""
        numbers = dict(zip(START, map(float, tensors["numbers"]), strict=True))
        learned = {str(runtime): tuple(map(str, names)) for runtime, names in devices.items()}
        return cls(numbers, learned, tuple(map(str, groups)))


class _Operators(NamedTuple):
    """Operators that take time in some networks; all fields but `owner` describe one image.

    Attributes:
        owner: Which network each operator is of.
        kind: Its place in `KINDS`.
        operations: Two a multiply-accumulate.
        weights: Bytes of its parameters.
        activations: Bytes that it reads and writes.
        outputs: Elements of its output.
    """

    owner: Tensor
    kind: Tensor
    operations: Tensor
    weights: Tensor
    activations: Tensor
    outputs: Tensor


def _operators(graphs: Sequence[Graph]) -> _Operators:
    # Measurements on many GPUs are of the same few networks.
    distinct = {id(graph): graph for graph in graphs}
    priced = {key: _rows(graph) for key, graph in distinct.items()}
    rows = [priced[id(graph)] for graph in graphs]
    owner = np.repeat(np.arange(len(rows)), list(map(len, rows)))
    columns = torch.from_numpy(np.concatenate([*rows, np.zeros((0, 5))])).unbind(1)
    return _Operators(torch.from_numpy(owner), columns[0].long(), *columns[1:])


def _rows(graph: Graph) -> Array:
    """Kind, operations, bytes of parameters and activations, outputs of what takes time."""
    timed = [k for k, op in enumerate(graph.ops) if op not in _FREE]
    kinds = operator_kinds(graph)
    weights = FLOAT_BYTES * graph.attribute("params")
    sides = np.maximum(graph.attribute("height"), 1) * np.maximum(graph.attribute("width"), 1)
    columns = (
        2 * graph.attribute("flops"),
        weights,
        np.maximum(graph.attribute("bytes") - weights, 0),
        graph.attribute("out_channels") * sides,
    )
    return np.stack([[_kind(kinds[k]) for k in timed], *(column[timed] for column in columns)], 1)


def _kind(name: str) -> int:
    op, _, form = name.partition(" ")
    if op == "Conv":
        return KINDS.index(form if form in KINDS else "convolution")
    if op in _PRODUCTS:
        return KINDS.index("product")
    return KINDS.index("pointwise" if op in _POINTWISE else "other")


class _Chip(NamedTuple):
    """A column in numbers; rates a ms."""

    convolutions: float
    products: float
    others: float
    bandwidth: float
    units: float
    cache: float
    images: float
    number_bytes: float
    half: bool
    winograd: bool
    setting: int


def _chip(column: Setting) -> _Chip:
    hardware = column.hardware
    half, setting = column.is_half, gpu_setting(column)
    peaks, plain = hardware.peak_tflops, hardware.peak_tflops["fp32"]
    tensor = max(peaks.get("fp16" if half else "tf32", plain), plain)
    # A framework computes products of floats in full precision, an engine does not.
    products = tensor if half or setting == "tensorrt" else plain
    return _Chip(
        1e9 * tensor,
        1e9 * products,
        1e9 * plain,
        1e6 * hardware.memory_bandwidth_gbs,
        hardware.units,
        1e6 * hardware.on_chip_memory_mb,
        column.batch_size,
        FLOAT_BYTES / (1 + half),
        half,
        not half and hardware.microarchitecture in _WINOGRAD,
        GPU_SETTINGS.index(setting),
    )


class _Terms:
    """The parts of the model that are known before its numbers are.

    Args:
        operators: Those of some networks.
        columns: What each network is run on.
    """

    def __init__(self, operators: _Operators, columns: Sequence[Setting]) -> None:
        self.networks = len(columns)
        self.owner, self.kind = operators.owner, operators.kind
        chips = torch.tensor([_chip(column) for column in columns], dtype=torch.float64)
        self.setting = chips[:, -1].long()
        chip: Any = _Chip(*chips[self.owner].unbind(1))  # type: ignore[arg-type]
        self.setting_of = self.setting[self.owner]
        convolution, product, pointwise = (
            self.kind == KINDS.index(name) for name in ("convolution", "product", "pointwise")
        )
        peak = torch.where(product, chip.products, chip.others)
        peak = torch.where(convolution, chip.convolutions, peak)
        self.precision = chip.half.long()
        self.arithmetic = operators.operations * chip.images / peak
        self.filling = chip.units / (operators.outputs * chip.images).clamp(min=1)
        moved = operators.weights + operators.activations * chip.images
        self.moved = moved * chip.number_bytes / FLOAT_BYTES
        self.cached = chip.cache / (chip.cache + self.moved).clamp(min=1)
        self.bandwidth = chip.bandwidth
        self.winograd = convolution & (chip.winograd > 0)
        self.pointwise = pointwise

    def log_ms(self, numbers: Mapping[str, Tensor], hosts: Tensor) -> Tensor:
        """Logarithm of ms of each network, `(networks,)`, at a factor of each one's host."""

        def number(name: str) -> Tensor:
            base = _FACTOR_ON.get(name)
            return numbers[name] if base is None else numbers[name] * number(base)

        def of(name: str, values: Sequence[str], place: Tensor) -> Tensor:
            return torch.stack([number(f"{name}.{value}") for value in values])[place]

        kinds = [f"{p}.{k}" for p in ("float", "half") for k in KINDS]
        efficiency = of("efficiency", kinds, self.precision * len(KINDS) + self.kind)
        efficiency = torch.where(
            self.winograd, efficiency * numbers["efficiency.winograd"], efficiency
        )
        waiting = 1 + of("fill", KINDS, self.kind) * self.filling
        # Above 0, since a power of 0 has no derivative.
        arithmetic = (self.arithmetic / efficiency * waiting).clamp(min=1e-12)
        moved = self.moved / (1 + numbers["cache"] * self.cached) + numbers["transfer"]
        traffic = moved / (self.bandwidth * of("bandwidth", GPU_SETTINGS, self.setting_of))
        q, r = numbers["overlap.operator"], numbers["overlap.host"]
        operator = (arithmetic**q + traffic**q) ** (1 / q)
        operator = operator + of("launch", GPU_SETTINGS, self.setting_of)
        fused = of("fused", _FUSING, (self.setting_of - 2).clamp(min=0))
        share = torch.where(self.pointwise & (self.setting_of >= 2), fused, 1.0)
        empty = torch.zeros(self.networks, dtype=torch.float64)
        time = empty.index_add(0, self.owner, operator * share)
        count = empty.index_add(0, self.owner, share)
        host = count * of("host", GPU_SETTINGS, self.setting) * hosts
        return ((time**r + host**r) ** (1 / r)).clamp(min=SMALLEST_MS).log()
