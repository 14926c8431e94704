"""Description of the machine that networks are timed on, and its free cores and memory."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from nasplug.arguments import checked_count
from nasplug.search_spaces import InputError

__all__ = [
    "OtherWork",
    "available_cores",
    "checked_threads",
    "free_memory",
    "machine",
    "physical_cores",
]

_CGROUP = Path("/sys/fs/cgroup")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_CPUINFO = Path("/proc/cpuinfo")


def machine() -> dict[str, Any]:
    """Processor, cores, memory and operating system; nothing that names a person or a place."""
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(logical=True),
        "governor": _read(_GOVERNOR),
        "ram_gb": round(psutil.virtual_memory().total / 1e9),
        "system": platform.system(),
        "kernel": platform.release(),
    }


def available_cores() -> int:
    """Logical cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def physical_cores() -> int:
    """Physical cores that this process may use, if the system tells them; else logical ones."""
    return min(psutil.cpu_count(logical=False) or available_cores(), available_cores())


def checked_threads(threads: int | None) -> int:
    """Check a number of threads; one a physical core for None.

    Raises:
        InputError: If it is no whole number of at least 1, or more than this machine has cores.
    """
    if threads is None:
        return physical_cores()
    most = available_cores()
    if checked_count(threads, "number of threads") > most:
        raise InputError(
            f"{threads} threads are more than the {most} cores of this machine; give at most {most}"
        )
    return threads


def free_memory() -> int:
    """Bytes of main memory that this process can still take; a container's limit counts."""
    free = int(psutil.virtual_memory().available)
    limit, used = _read(_CGROUP / "memory.max"), _read(_CGROUP / "memory.current")
    if limit and used and limit.isdigit() and used.isdigit():
        free = min(free, int(limit) - int(used))
    return free


class OtherWork:
    """Meter of the cores that others keep busy: processes of this machine, or of its host."""

    def __init__(self) -> None:
        self._before = self._times()

    @staticmethod
    def _times() -> tuple[float, float, float]:
        spent = psutil.cpu_times()
        idle = spent.idle + getattr(spent, "iowait", 0.0)
        # The time of guests is included in that of the users that run them.
        guests = getattr(spent, "guest", 0.0) + getattr(spent, "guest_nice", 0.0)
        return time.monotonic(), sum(spent) - guests - idle, time.process_time()

    def cores(self) -> float:
        """Mean number of busy cores since the last call, or since the meter was made."""
        now = self._times()
        elapsed, busy, this_process = (b - a for a, b in zip(self._before, now, strict=True))
        self._before = now
        return max(0.0, busy - this_process) / elapsed if elapsed else 0.0


def _processor() -> str:
    for line in (_read(_CPUINFO) or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    if platform.system() == "Darwin":
        try:
            words = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            pass
    return platform.processor() or platform.machine()


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
