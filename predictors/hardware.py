"""The description of a device that a latency predictor is conditioned on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from nasplug.search_spaces.errors import InputError

__all__ = [
    "KINDS",
    "PRECISIONS",
    "UNITS",
    "Hardware",
    "Processor",
    "as_data",
    "hardware_of",
    "on_unit",
]

KINDS = ("gpu", "cpu", "phone", "edge", "fpga", "asic")
PRECISIONS = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "int8", "int4")
UNITS = ("cpu", "gpu", "npu")
# Kind of the device that a unit alone is.
_KIND_OF = {"cpu": "cpu", "gpu": "gpu", "npu": "asic"}
# Words for clusters of a CPU, by size; "cpu little" is its slowest.
_CLUSTERS = ("big", "medium", "little")
# Threads that phones and boards usually run a network in.
_MOBILE_THREADS = 4


@dataclass(frozen=True)
class Processor:
    """A processor of a system on a chip: a cluster of equal CPU cores, a GPU, or an NPU.

    Attributes:
        kind: One of `UNITS`.
        microarchitecture: Such as `"Cortex-A76"`, `"Adreno 640"` or `"Hexagon 690"`.
        units: Cores of a cluster, shader cores or compute units of a GPU, 1 where the idea does not
            apply.
        clock_ghz: Highest clock, GHz.
        peak_tflops: Precision to peak dense throughput of all units, as in `Hardware`.
        on_chip_memory_mb: Cache or buffers of this processor, MB; 0 if unknown.
    """

    kind: str
    microarchitecture: str
    units: int
    clock_ghz: float
    peak_tflops: Mapping[str, float]
    on_chip_memory_mb: float = 0.0


@dataclass(frozen=True)
class Hardware:
    """A device, as its data sheet describes it.

    Attributes:
        name: The name people use, such as `"RTX 3090"`; unique in a catalogue.
        vendor: The maker of the chip, such as `"NVIDIA"`.
        kind: One of `KINDS`; `edge` is a board such as a Jetson or a Raspberry Pi.
        microarchitecture: Of the processor that runs the network, such as `"Ampere"`.
        year: When it came out.
        peak_tflops: Precision (one of `PRECISIONS`) to peak dense throughput without sparsity, in
            1e12 operations a second (a multiply-add counts as two); for fp32 the throughput of
            ordinary (not tensor) cores. `"fp32"` is always there; on an accelerator without
            floating point it is the throughput of its native precision.
        memory_bandwidth_gbs: Of the main memory of the device, GB/s (1e9 bytes a second).
        memory_gb: Size of that memory, GB; 0 if it varies.
        on_chip_memory_mb: Last-level cache of the processor (L2 of a GPU, L3 of a server CPU), MB.
        power_w: Thermal design power of the board or the chip, W.
        clock_ghz: Boost clock, GHz.
        units: Parallel units: streaming multiprocessors of a GPU, cores of a CPU, big cores of a
            phone, 1 where the idea does not apply.
        aliases: Other spellings that mean this device.
        processors: Processors of a system on a chip, clusters of its CPU from the fastest to the
            slowest; empty for a device that is one processor. The other fields describe the one
            that usually runs networks.
        source: Where the figures come from (URL or document).
        note: What a reader should know, such as which figure is an estimate.

    Example:
        >>> import nasplug
        >>> device = nasplug.hardware("RTX 3090")
        >>> device.kind, device.memory_gb
        ('gpu', 24.0)
    """

    name: str
    vendor: str
    kind: str
    microarchitecture: str
    year: int
    peak_tflops: Mapping[str, float]
    memory_bandwidth_gbs: float
    memory_gb: float
    on_chip_memory_mb: float
    power_w: float
    clock_ghz: float
    units: int
    aliases: tuple[str, ...] = field(default=())
    processors: tuple[Processor, ...] = field(default=())
    source: str = ""
    note: str = ""


def as_data(hardware: Hardware) -> dict[str, Any]:
    """Describe a device by the types of JSON; empty processors are left out, as in older files."""
    content = {entry.name: getattr(hardware, entry.name) for entry in fields(Hardware)}
    content |= {
        "peak_tflops": dict(hardware.peak_tflops),
        "aliases": list(hardware.aliases),
        "processors": [
            asdict(part) | {"peak_tflops": dict(part.peak_tflops)} for part in hardware.processors
        ],
    }
    if not hardware.processors:
        del content["processors"]
    return content


def hardware_of(data: Mapping[str, Any]) -> Hardware:
    """Restore the device of `as_data`, from a file that is trusted."""
    parts = tuple(Processor(**part) for part in data.get("processors", ()))
    return Hardware(**{**data, "aliases": tuple(data["aliases"]), "processors": parts})


def on_unit(hardware: Hardware, unit: str = "", threads: int = 0) -> Hardware:
    """Describe the part of a device that runs a network.

    Args:
        hardware: The device.
        unit: One of `UNITS`; or a cluster of the CPU, `"cpu big"`, `"cpu medium"` or
            `"cpu little"`; empty for the usual one.
        threads: Cores of the CPU, the fastest first; 0 for the usual number: four of a phone or a
            board, all of another CPU.

    Returns:
        The device with the figures of that part alone; its kind is then that of the part.

    Raises:
        InputError: If the catalogue knows no such unit of the device.

    Example:
        >>> import nasplug
        >>> cpu = on_unit(nasplug.hardware("Xeon Gold 6226"), "cpu", threads=3)
        >>> cpu.units, round(cpu.peak_tflops["fp32"], 3)
        (3, 0.711)
    """
    if not unit and (not threads or not _is_cpu(hardware)):
        return hardware
    kind, _, cluster = (unit or "cpu").partition(" ")
    parts = [part for part in hardware.processors if part.kind == kind]
    if not parts and not hardware.processors and _kind_of(hardware) == kind:
        parts = [
            Processor(
                kind,
                hardware.microarchitecture,
                hardware.units,
                hardware.clock_ghz,
                hardware.peak_tflops,
                hardware.on_chip_memory_mb,
            )
        ]
    if not parts:
        known = sorted({part.kind for part in hardware.processors} or {_kind_of(hardware)})
        wanted = kind.upper() if kind in UNITS else repr(unit)
        raise InputError(
            f"the catalogue knows no {wanted} of {hardware.name}, but its "
            f"{' and its '.join(name.upper() for name in known)}"
        )
    if kind == "cpu":
        parts = _cores(hardware, parts, cluster, threads)
    first = parts[0]
    # A calibrated device has more fields than a description.
    plain = Hardware(**{entry.name: getattr(hardware, entry.name) for entry in fields(Hardware)})
    return replace(
        plain,
        kind=_KIND_OF[kind],
        microarchitecture=first.microarchitecture,
        peak_tflops={
            precision: sum(part.peak_tflops.get(precision, 0.0) for part in parts)
            for precision in first.peak_tflops
        },
        on_chip_memory_mb=first.on_chip_memory_mb or hardware.on_chip_memory_mb,
        clock_ghz=first.clock_ghz,
        units=sum(part.units for part in parts),
        processors=(),
    )


def _cores(
    hardware: Hardware, clusters: Sequence[Processor], cluster: str, threads: int
) -> list[Processor]:
    """The cores of a CPU that some threads run on, cluster after cluster."""
    if cluster:
        place = {"big": 0, "medium": len(clusters) // 2, "little": len(clusters) - 1}
        if cluster not in place:
            raise InputError(f"a CPU has the clusters {', '.join(_CLUSTERS)}, not {cluster!r}")
        clusters = [clusters[place[cluster]]]
    usual = _MOBILE_THREADS if hardware.kind in ("phone", "edge") else hardware.units
    left = threads or (usual if not cluster else clusters[0].units)
    used = []
    for part in clusters:
        units = min(part.units, left)
        if units:
            share = units / part.units
            peaks = {name: peak * share for name, peak in part.peak_tflops.items()}
            used.append(replace(part, units=units, peak_tflops=peaks))
        left -= units
    return used


def _is_cpu(hardware: Hardware) -> bool:
    return any(part.kind == "cpu" for part in hardware.processors) or _kind_of(hardware) == "cpu"


def _kind_of(hardware: Hardware) -> str:
    """Unit that a device without processors is."""
    if hardware.kind == "gpu":
        return "gpu"
    if hardware.kind in ("fpga", "asic"):
        return "npu"
    return "gpu" if hardware.kind == "edge" and hardware.vendor == "NVIDIA" else "cpu"
