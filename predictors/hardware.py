"""The description of a device that a latency predictor is conditioned on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["KINDS", "PRECISIONS", "Hardware"]

KINDS = ("gpu", "cpu", "phone", "edge", "fpga", "asic")
PRECISIONS = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "int8", "int4")


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
    source: str = ""
    note: str = ""
