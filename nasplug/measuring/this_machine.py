"""Names that this machine gives its processors, and the devices that they are."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from nasplug.devices.hardware import hardware
from nasplug.devices.names import Meaning, meaning
from nasplug.devices.spellings import memory_suffix
from nasplug.measuring.machine import machine, physical_cores
from nasplug.predictors.hardware import Hardware
from nasplug.search_spaces.errors import InputError

__all__ = ["Processor", "processors"]

_DEVICE_TREE = Path("/proc/device-tree/model")
_ANDROID = ("ro.product.model", "ro.soc.model")
_DMI = Path("/sys/devices/virtual/dmi/id")
_CPU_SOURCES = {"Linux": "/proc/cpuinfo", "Darwin": "sysctl machdep.cpu.brand_string"}
# Share by which the memory that a driver reports may differ from the data sheet's.
_RESERVED = 0.15
# Seconds after which a tool of the system is given up; nvidia-smi may have to wake a card.
_PATIENCE = 60
_NVIDIA_SMI = ("nvidia-smi", "--format=csv,noheader,nounits")


@dataclass(frozen=True)
class Processor:
    """A processor of this machine that runs networks.

    Attributes:
        source: Tool or file that names it, such as "nvidia-smi".
        name: The name that it prints.
        device: The device that the name stands for; None if there is none for certain.
        advice: What to write for `--hw`, or what to do where the device is not known.
    """

    source: str
    name: str
    device: Hardware | None
    advice: str


def processors() -> list[Processor]:
    """Name the processors of this machine: the board, the phone, or its GPUs and its CPU."""
    board = _text(_DEVICE_TREE).strip("\0 \n")
    if board:
        return [_board(board)]
    phone = [(f"getprop {key}", _printed("getprop", key)) for key in _ANDROID]
    if any(name for _, name in phone):
        return [_resolved(phone)]
    return [*_gpus(), _cpu()]


def _resolved(names: Sequence[tuple[str, str]]) -> Processor:
    """Look up a processor that several sources name, and take the first name that is known.

    If none is, a name that is known to have no entry says more than one that no one knows, and
    any name more than none.
    """
    unknown = []
    for source, name in names:
        try:
            device = hardware(name)
        except InputError as error:
            match = meaning(name)
            is_unknown = not match.reason and not match.devices
            advice = f"{error}, or measure it (nasplug calibrate)"
            unknown.append((not name, is_unknown, Processor(source, name, None, advice)))
        else:
            return Processor(source, name, device, f'use --hw "{device.name}"')
    return min(unknown, key=lambda rank: rank[:2])[2]


def _board(name: str) -> Processor:
    """The board; versions of different memory have one name, and often different processors."""
    board = _resolved([(str(_DEVICE_TREE), name)])
    if board.device is None or not board.device.memory_gb:
        return board
    # The system does not count what the firmware keeps.
    gigabytes = 1 << max(0, math.ceil(math.log2(psutil.virtual_memory().total / 2**30)))
    version = meaning(f"{board.device.name} {gigabytes}GB")
    if gigabytes == board.device.memory_gb or version.device == board.device:
        return board
    if version.device is not None:
        version = Meaning((board.device, version.device))
    advice = f"the board has {gigabytes} GB of memory: {name!r} {version.question}"
    return replace(board, device=None, advice=advice)


def _gpus() -> list[Processor]:
    """The different NVIDIA GPUs, if their driver is there."""
    table = ""
    # Older drivers refuse the last field.
    for fields in ("name,memory.total,mig.mode.current", "name,memory.total"):
        table = table or _printed(*_NVIDIA_SMI, f"--query-gpu={fields}")
    return [_gpu(line) for line in dict.fromkeys(table.splitlines()) if line.strip()]


def _gpu(line: str) -> Processor:
    name, memory, mode = (*(cell.strip() for cell in line.split(",")), "", "")[:3]
    # A program sees a part of a card in this mode, and never the card.
    gpu = _resolved([("nvidia-smi", f"{name} MIG" if mode == "Enabled" else name)])
    if gpu.device is None or not gpu.device.memory_gb or not memory.isdecimal():
        return gpu
    gigabytes = int(memory) / 1024
    fits = abs(gigabytes / gpu.device.memory_gb - 1) <= _RESERVED
    if fits or memory_suffix(name):
        return gpu
    # The driver gives versions of different memory one name.
    version = _resolved([("nvidia-smi", f"{gpu.device.name} {gigabytes:.0f}GB")])
    return replace(version, name=name)


def _cpu() -> Processor:
    source = _CPU_SOURCES.get(platform.system(), "platform.processor()")
    names = [(source, str(machine()["processor"]))]
    for line in _printed("lscpu").splitlines():
        if line.startswith("Model name:"):
            names.append(("lscpu", line.partition(":")[2].strip()))
    names.append(("sysctl hw.model", _printed("sysctl", "-n", "hw.model")))
    instance = _text(_DMI / "product_name").strip()
    chips = meaning(instance).devices if "Amazon" in _text(_DMI / "sys_vendor") else ()
    # Other instances are named by their GPU.
    if any(chip.kind == "cpu" for chip in chips):
        names.append((str(_DMI / "product_name"), instance))
    cpu = _resolved(names)
    if cpu.device is None or cpu.device.kind != "cpu" or physical_cores() >= cpu.device.units:
        return cpu
    advice = (
        f'--hw "{cpu.device.name}" describes all {cpu.device.units} cores, and this machine has '
        f"{physical_cores()}: describe them in a .toml file, or measure (nasplug calibrate)"
    )
    return replace(cpu, advice=advice)


def _printed(*command: str) -> str:
    """Output of a tool, stripped; empty if the tool is not there or fails."""
    # Tools translate what they print.
    english = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=_PATIENCE,
            check=True,
            stdin=subprocess.DEVNULL,
            env=english,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace").strip()


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
