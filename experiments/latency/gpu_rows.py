"""Measurements that the roofline of fused kernels learns from: networks and operators on GPUs.

Rows of the package's table of measurements (`learning_rows`), thinned so that no source or kind of
operator drowns the others, each with a `Script` that says how its source timed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np

from experiments.latency.measured_networks import measured_network
from nasplug import hardware
from nasplug.measurements.settings import LearningRows, learning_rows
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.fused_terms import Script
from nasplug.search_spaces import Graph

__all__ = [
    "OPERATORS",
    "GpuRow",
    "at_most",
    "chip_of",
    "gpu_rows",
    "network_rows",
    "operator_rows",
]

# GPUs that are left out together, since one tells what the other does; any other stands alone.
CHIPS = {
    **dict.fromkeys(("V100", "V100 PCIe", "V100 SXM 32GB", "Titan V"), "V100"),
    **dict.fromkeys(("RTX 2080 Ti", "Titan RTX", "RTX 2080"), "RTX 2080 Ti"),
    **dict.fromkeys(("GTX 1080 Ti", "Titan X", "Titan Xp"), "GTX 1080 Ti"),
    **dict.fromkeys(("A100 40GB", "A100 80GB", "A100 40GB PCIe", "A100 80GB PCIe"), "A100"),
    **dict.fromkeys(("H100", "H100 PCIe", "H200", "GH200", "H100 NVL"), "H100"),
    **dict.fromkeys(("B200", "GB200"), "B200"),
    **dict.fromkeys(("RTX 3090", "RTX 3090 Ti"), "RTX 3090"),
    **dict.fromkeys(("Jetson AGX Orin", "Jetson Orin NX"), "Jetson Orin"),
    **dict.fromkeys(("Jetson AGX Xavier", "Jetson Xavier NX"), "Jetson Xavier"),
    **dict.fromkeys(("MI250", "MI250 (1 GCD)", "MI210"), "MI250"),
}
# Rows of each device, setting and kind of operator, or source of networks; others keep all.
MOST = {
    **{"op:gemm": 200, "op:attention.prefill": 80, "op:linear": 100, "op:bmm": 100},
    **{"op:conv2d": 100, "op": 25, "gpt": 300, "nb201": 60, "fbnet": 60, "ofa": 60},
}
# How much the measurement of an operator counts, beside that of a network.
OPERATORS = 0.3
# Networks of timm that are kept, of 256; of those that others measured, too, all.
SHARE = 96
# Sources whose times are those of framework programs, which read and prepare the images, too.
_PROGRAMS = ("tensorflow", "mxnet", "paddle", "tensorflow xla")
_UNKNOWN_RUNTIMES = ("", "armnn", "tflite", "opencv", "pytorch mobile", "ncnn vulkan")


class GpuRow(NamedTuple):
    """Latency of a network or an operator on a GPU.

    Attributes:
        reference: Of the graph.
        graph: For one item of the batch.
        column: GPU, batch size, runtime and precision.
        ms: Latency of the batch.
        script: Who measured, and how.
        source: Of the networks: package or kind of operator, and who measured.
    """

    reference: str
    graph: Graph
    column: Setting
    ms: float
    script: Script
    source: str

    @property
    def chip(self) -> str:
        """The chip: GPUs that are left out together."""
        return chip_of(self.column)

    @property
    def form(self) -> str:
        """Key of the measurements in one way on one GPU."""
        words = (self.column.runtime, self.column.precision)
        return "|".join((self.source, self.column.hardware.name, *words))


def chip_of(column: Setting) -> str:
    """Name of the chip of a column."""
    return CHIPS.get(column.hardware.name, column.hardware.name)


def at_most(rows: Sequence[GpuRow], count: int) -> list[GpuRow]:
    """At most so many rows of each form, drawn at random; half of it a scale of GPTs."""
    counts: Counter[str] = Counter()
    chosen = []
    for k in np.random.default_rng(0).permutation(len(rows)).tolist():
        row = rows[k]
        is_gpt = row.reference.startswith("gpt:")
        key = f"{row.form}|{row.column.batch_size}" if is_gpt else row.form
        if counts[key] < (count // 2 if is_gpt else count):
            counts[key] += 1
            chosen.append(k)
    return [rows[k] for k in sorted(chosen)]


@cache
def gpu_rows() -> list[GpuRow]:
    """Whole networks on GPUs of desktops, laptops, servers and Jetson boards."""
    rows = learning_rows(units=["gpu"], kinds=["network"])
    return _rows(rows, _thinned(rows))


def network_rows(references: Collection[str]) -> list[GpuRow]:
    """All measurements of some networks on such GPUs, those that `gpu_rows` thins out, too."""
    rows = learning_rows(units=["gpu"], kinds=["network"])
    asked = [k for k, graph in enumerate(rows.graph) if rows.references[graph] in references]
    return _rows(rows, asked)


@cache
def operator_rows() -> list[GpuRow]:
    """Single operators on such GPUs."""
    rows = learning_rows(units=["gpu"], kinds=["operator"])
    return _rows(rows, _thinned(rows))


def _rows(rows: LearningRows, kept: Sequence[int]) -> list[GpuRow]:
    graphs: dict[tuple[int, bool], Graph] = {}
    # The cluster that HW-GPT-Bench names beside its GPUs has the smaller of two A100.
    smaller: dict[str, Setting] = {}
    # The precision of submissions to MLPerf that say none.
    int8: dict[str, Setting] = {}
    result = []
    for k in kept:
        reference = rows.references[rows.graph[k]]
        column = rows.settings[rows.setting[k]]
        source = rows.sources[rows.source[k]].partition("@")[0]
        timing, quality = rows.timings[rows.timing[k]], rows.qualities[rows.quality[k]]
        script = _script(reference, source, timing, quality, column)
        if script is None:
            continue
        is_engine = "tensorrt" in column.runtime
        if (rows.graph[k], is_engine) not in graphs:
            graphs[rows.graph[k], is_engine] = measured_network(reference, is_engine)
        if column.runtime == "tensorrt" and not column.precision:
            column = int8.setdefault(column.key, replace(column, precision="int8"))
        if script.name == "automl" and column.hardware.name == "A100 80GB":
            changed = replace(column, hardware=hardware("A100 40GB"))
            column = smaller.setdefault(column.key, changed)
        # The V100 took half of the time there: this network was broken.
        if chip_of(column) == "A100" and "switchxl" in reference:
            continue
        name = f"{_kind(reference)} {script.name}"
        result.append(
            GpuRow(
                reference,
                graphs[rows.graph[k], is_engine],
                column,
                float(rows.ms[k]),
                script,
                name,
            )
        )
    return result


def _kind(reference: str) -> str:
    head = reference.partition("{")[0] if reference.startswith("op:") else ""
    package = head or reference.partition(":")[0]
    return "torchvision" if package == "pytorchcv" else package


def _script(
    reference: str, source: str, timing: str, quality: str, column: Setting
) -> Script | None:
    """Way in which a source timed; None where no runtime of ours is like its."""
    device, runtime = column.hardware, column.runtime
    owner = source.partition("/")[0]
    is_nvidia = device.vendor in ("NVIDIA", "AMD") and device.kind in ("gpu", "edge")
    # A K80 is a card of two chips.
    if not is_nvidia or device.name == "K80" or runtime in (*_PROGRAMS, *_UNKNOWN_RUNTIMES):
        return None
    if owner == "sitar-lab":
        # Convolutions there are in full precision, unlike those of the framework's usual way.
        if reference.startswith("op:conv2d") and "tf32" in device.peak_tflops:
            return None
        if not reference.startswith("op:"):
            return Script(owner, flash=False)
        return Script(f"{owner} {_kind(reference)}", kernels=True)
    operator = reference.startswith("op:")
    return Script(
        f"{owner} {_kind(reference)}" if operator else owner,
        copies=timing == "wall clock with copies",
        kernels=timing == "kernels" or operator,
        casts="autocast" in quality and "tensorrt" not in runtime,
        causal=reference.startswith(("gpt:", "op:attention.prefill")),
    )


def _thinned(rows: LearningRows) -> list[int]:
    """Positions of some rows: the same networks on all devices, operators of all sizes."""
    kinds = [_kind(reference) for reference in rows.references]
    ranks = [
        hashlib.blake2b(reference.encode(), digest_size=8).digest() for reference in rows.references
    ]
    groups: dict[tuple[str, ...], list[int]] = {}
    for k in range(len(rows)):
        column = rows.settings[rows.setting[k]]
        kind = kinds[rows.graph[k]]
        is_large = rows.sources[rows.source[k]].startswith("huggingface/")
        if is_large and ranks[rows.graph[k]][0] >= SHARE:
            continue
        key = (kind, rows.sources[rows.source[k]], column.hardware.name)
        batch = "" if kind.startswith("op:") else str(column.batch_size)
        groups.setdefault((*key, column.runtime, column.precision, batch), []).append(k)
    kept: list[int] = []
    for key, places in groups.items():
        most = MOST.get(key[0], MOST["op"] if key[0].startswith("op:") else len(places))
        if len(places) > most and key[0].startswith("op:"):
            kept += _even(places, rows, most)
            continue
        kept += sorted(places, key=lambda k: ranks[rows.graph[k]])[:most]
    return sorted(kept)


def _even(places: list[int], rows: LearningRows, most: int) -> list[int]:
    """Some of the rows, evenly over the logarithm of their times."""
    logs = np.log(rows.ms[places])
    order = np.random.default_rng(0).permutation(len(places))
    bins = np.floor(20 * (logs - logs.min()) / max(float(np.ptp(logs)), 1e-9)).astype(int)
    counts: dict[int, int] = {}
    ranked = []
    for k in order:
        counts[bins[k]] = counts.get(bins[k], 0) + 1
        ranked.append((counts[bins[k]], k))
    return [places[k] for _, k in sorted(ranked)[:most]]
