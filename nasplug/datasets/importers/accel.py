"""Accel-NASBench: ImageNet accuracy of MnasNet-like networks, and their speed on accelerators."""

from __future__ import annotations

import json
import re
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nasplug.datasets.layout import foreign, named_numbers, shown
from nasplug.datasets.tables import Table
from nasplug.search_spaces import space
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.networks.accel import ACCEL

__all__ = ["ACCEL_LATENCY", "ACCEL_THROUGHPUT", "NOISY", "N_ARCHS", "import_accel"]

N_ARCHS = 5_138

ACCEL_THROUGHPUT = {
    "throughput_3090": "RTX 3090",
    "throughput_a100": "A100 40GB",
    "throughput_tpuv2": "TPU v2",
    "throughput_tpuv3": "TPU v3",
    "throughput_zcu102": "ZCU102",
    "throughput_vck190": "VCK190",
}
"""Key in the files -> device: images a second."""

ACCEL_LATENCY = {"latency_zcu102": ("ZCU102", 1), "latency_vck190": ("VCK190", 6)}
"""Key in the files -> (device, batch size): milliseconds per batch."""

NOISY = 0.05
"""Ratio of spread to mean above which a throughput of the RTX 3090 counts as noisy."""

_MEMBER = re.compile(r"(?:\./)?anb_dataset_jsons/result_(0|[1-9]\d{0,3})\.json", re.ASCII)
_MAX_BYTES = 100_000  # of one file in the archive: they have about 1,500
_SECTIONS = {"architecture", "metrics", "model_info", "platform_perf"}
_COLUMNS = (
    *("imagenet_val", "imagenet_val_top5", "train_time", "macs_millions", "params_millions"),
    *(f"{d} img/s{std}" for d in ACCEL_THROUGHPUT.values() for std in ("", " std")),
    *(f"{device}@{batch}" for device, batch in ACCEL_LATENCY.values()),
    *("noisy_rtx3090", "first_index"),
)


def _read_archive(path: Path) -> list[dict[str, Any]]:
    """Read the objects in the archive, in the order of their numbers, without unpacking to disk."""
    results: dict[int, dict[str, Any]] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if member.isdir():
                    continue
                name = _MEMBER.fullmatch(member.name)
                if name is None or not member.isreg() or member.size > _MAX_BYTES:
                    raise foreign(path, f"it has the member {shown(member.name)}")
                stream = archive.extractfile(member)
                content = json.loads(stream.read()) if stream else None
                if not isinstance(content, dict) or content.keys() != _SECTIONS:
                    raise foreign(
                        path, f"{name[0]} is not an object with the keys {sorted(_SECTIONS)}"
                    )
                if results.setdefault(int(name[1]), content) is not content:
                    raise foreign(path, f"it has {name[0]} twice")
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is not a readable tar.gz of JSON files ({type(error).__name__}: {error}); "
            "fetch it again"
        ) from error
    if sorted(results) != list(range(N_ARCHS)):
        raise foreign(
            path, f"it holds {len(results):,} results instead of those numbered 0 to {N_ARCHS - 1}"
        )
    return [results[i] for i in range(N_ARCHS)]


def _arch_text(path: Path, row: int, arch: object) -> str:
    if not isinstance(arch, dict) or arch.keys() != {d.name for d in ACCEL.decisions}:
        raise foreign(path, f"result {row} has an architecture with other keys")
    for decision in ACCEL.decisions:
        value = arch[decision.name]
        if type(value) is not type(decision.default) or value not in decision.choices:
            why = f"{shown(value)} for {decision.name}"
            if isinstance(decision.default, bool):
                why = "a block whose se is neither true nor false"
            raise foreign(path, f"result {row} has {why}")
    return space("accel").from_params(arch).text


def _speeds(path: Path, row: int, speeds: object) -> list[float]:
    if not isinstance(speeds, dict) or speeds.keys() != {*ACCEL_THROUGHPUT, *ACCEL_LATENCY}:
        raise foreign(path, f"result {row} was measured on other devices")
    values = []
    for key in (*ACCEL_THROUGHPUT, *ACCEL_LATENCY):
        names = [f"{key.partition('_')[0]}_{part}" for part in ("mean", "std")]
        mean, std = named_numbers(path, f"{key} of result {row}", speeds[key], names, nullable=True)
        if mean == 0:
            raise foreign(path, f"result {row} has 0 for {key}")
        # The two latencies have no spread in any result.
        values += [mean, std] if key in ACCEL_THROUGHPUT else [mean]
    return values


def import_accel(files: Mapping[str, Path]) -> Table:
    """Build the table of Accel-NASBench from `anb_dataset_jsons.tar.gz`.

    Returns:
        5,138 rows, numbered as the files are. The architecture is
        `e=<7 expansions>;k=<7 kernels>;l=<7 counts of layers>;se=<7 times 0 or 1>`; accuracies are
        in percent on ImageNet's validation images after a shortened training with one seed, whose
        `train_time` is as published, without a unit; NaN where a device has no measurement.
        `noisy_rtx3090` marks a spread above 5 % of the mean there, `first_index` is the first row
        with the same architecture.
    """
    path = files["anb_dataset_jsons.tar.gz"]
    archs: list[str] = []
    rows = []
    first: dict[str, int] = {}
    for row, result in enumerate(_read_archive(path)):
        name = f"result {row}"
        metrics = ("val_top1", "val_top5", "train_time")
        numbers = named_numbers(path, f"metrics of {name}", result["metrics"], metrics)
        if max(numbers[:2]) > 100:
            raise foreign(path, f"{name} has an accuracy above 100 percent")
        size = ("macs", "params")
        numbers += named_numbers(path, f"model_info of {name}", result["model_info"], size)
        speeds = _speeds(path, row, result["platform_perf"])
        text = _arch_text(path, row, result["architecture"])
        archs.append(text)
        noisy = speeds[1] > NOISY * speeds[0]  # False where it was not measured
        rows.append([*numbers, *speeds, float(noisy), float(first.setdefault(text, row))])
    return Table(
        index=np.arange(N_ARCHS),
        columns=_COLUMNS,
        values=np.array(rows),
        archs=tuple(archs),
        dtypes={"noisy_rtx3090": "bool", "first_index": "int64"},
    )
