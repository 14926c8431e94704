"""Latencies of networks of usual sizes on GPUs, a row a measurement.

All of timm's tables on GPUs, and those rows of `derived/gpu_networks.csv.gz` (beside the mirror)
whose network timm has under a known name. The sources of latency_data.py judge what was learned
from these: small networks at small batches, whose latency is mostly that of the host.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.common import Array
from experiments.latency.latency_data import source, timm_graphs
from nasplug import datasets, hardware
from nasplug.predictors.features.settings import DeviceBatch, Setting
from nasplug.search_spaces import Graph, InputError

__all__ = ["CHIPS", "GpuTable", "gpu_table", "source_table"]

TABLE = "gpu_networks.csv.gz"
# Names of devices in that table -> the catalogue's.
DEVICES = {
    **{name: name for name in ("GTX 1080 Ti", "RTX 2080 Ti", "RTX 2080", "Titan RTX", "Titan V")},
    **{name: name for name in ("RTX 3090", "T4", "V100", "A30")},
    **{"P100 PCIe 16GB": "P100", "V100 PCIe 32GB": "V100 PCIe"},
    **{"V100 SXM 16GB": "V100", "V100 SXM 32GB": "V100"},
    **{"A100 SXM 40GB": "A100 40GB", "A100 SXM 80GB": "A100 80GB"},
}
# What torchvision calls a network -> what timm does, where the names differ.
TORCHVISION = {
    "mobilenet_v2": "mobilenetv2_100",
    "mnasnet0_5": "mnasnet_050",
    "mnasnet0_75": "mnasnet_075",
    "mnasnet1_0": "mnasnet_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
}
# Device and part of the note of rows of half precision that are slower than any of their kind.
BROKEN = (("GTX 1080 Ti", "bitahub"), ("RTX 2080", ""))
# Networks of each source of latency_data.py.
COUNT = 300
SMALLEST_MS = 0.1
# GPUs that are left out together, since one tells what the other does; any other stands alone.
CHIPS = {
    **dict.fromkeys(("V100", "V100 PCIe", "Titan V"), "V100"),
    **dict.fromkeys(("RTX 2080 Ti", "Titan RTX", "RTX 2080"), "RTX 2080 Ti"),
    **dict.fromkeys(("GTX 1080 Ti", "Titan X"), "GTX 1080 Ti"),
    **dict.fromkeys(("A100 40GB", "A100 80GB"), "A100"),
}


@dataclass(frozen=True, eq=False)
class GpuTable:
    """Measurements; all sequences have one item each.

    Attributes:
        graphs: Whole networks.
        columns: GPU, batch size and runtime.
        ms: Latencies of the batch.
        sources: Who measured.
        forms: Source, mode, GPU and runtime, as text: what belongs to one table.
    """

    graphs: list[Graph]
    columns: list[DeviceBatch]
    ms: Array
    sources: list[str]
    forms: list[str]

    @property
    def chips(self) -> list[str]:
        """Chip of each measurement: GPUs that are left out together."""
        names = [column.hardware.name for column in self.columns]
        return [CHIPS.get(name, name) for name in names]

    def rows(self, places: Collection[int]) -> GpuTable:
        """Some of the measurements."""
        return GpuTable(
            [self.graphs[k] for k in places],
            [self.columns[k] for k in places],
            self.ms[list(places)],
            [self.sources[k] for k in places],
            [self.forms[k] for k in places],
        )

    def __add__(self, other: GpuTable) -> GpuTable:
        return GpuTable(
            self.graphs + other.graphs,
            self.columns + other.columns,
            np.concatenate([self.ms, other.ms]),
            self.sources + other.sources,
            self.forms + other.forms,
        )

    def of_chip(self, chip: str) -> GpuTable:
        """The measurements on GPUs that are left out together."""
        return self.rows([k for k, name in enumerate(self.chips) if name == chip])

    def without(self, devices: Collection[str]) -> GpuTable:
        """The measurements on other chips than those of some devices."""
        left = {CHIPS.get(name, name) for name in devices}
        return self.rows([k for k, chip in enumerate(self.chips) if chip not in left])

    def at_most(self, count: int, seed: int = 0) -> GpuTable:
        """At most so many measurements of each form, drawn at random."""
        forms = pd.Series(self.forms)
        order = np.random.default_rng(seed).permutation(len(forms))
        rank = forms.iloc[order].groupby(forms.iloc[order]).cumcount()
        return self.rows(sorted(rank.index[rank < count].tolist()))


@cache
def gpu_table() -> GpuTable:
    """All measurements.

    Raises:
        InputError: If timm's graphs are not there.
    """
    known = {key: graph for key, (graph, _) in timm_graphs().items()}
    return _joined([*_timm(known), *_others(known)])


Row = tuple[Graph, DeviceBatch, float, str, str]


def _joined(rows: list[Row]) -> GpuTable:
    forms = [f"{form}|{c.hardware.name}|{c.runtime}" for _, c, _, _, form in rows]
    return GpuTable(
        [row[0] for row in rows],
        [row[1] for row in rows],
        np.array([row[2] for row in rows]),
        [row[3] for row in rows],
        forms,
    )


def _timm(known: dict[tuple[str, int], Graph]) -> list[Row]:
    """The first size of each network in each table of a GPU."""
    table = datasets.load("timm-latency")
    table = table[table["device"].str.startswith("RTX") & table["latency_ms"].notna()]
    table = table.drop_duplicates(["device", "mode", "model"])
    rows: list[Row] = []
    fields = ["device", "mode", "model", "image_size", "batch_size", "latency_ms"]
    for device, mode, model, size, batch, ms in table[fields].itertuples(index=False):
        words = [word for word in mode.split() if word in ("amp", "nhwc", "dynamo")]
        runtime = " ".join("compiled" if word == "dynamo" else word for word in words)
        if (model, size) in known:
            column = Setting(hardware(device), int(batch), runtime)
            rows.append((known[model, size], column, float(ms), "timm", f"timm {mode}"))
    return rows


def _others(known: dict[tuple[str, int], Graph]) -> list[Row]:
    """Rows of the derived table, of networks that timm has, too."""
    mirror = os.environ.get("NASPLUG_MIRROR", "").removeprefix("file://")
    path = Path(mirror).parent / "derived" / TABLE
    if not path.exists():
        raise InputError(f"{path} is not there; set NASPLUG_MIRROR to the folder beside it")
    table = pd.read_csv(path)
    table = table[(table["mode"] == "inference") & table["latency_ms"].notna()]
    table = table[table["device"].isin(DEVICES) & table["batch"].notna()]
    rows: list[Row] = []
    for row in table.fillna("").to_dict("records"):
        half = "fp16" in row["precision"]
        broken = any(row["device"] == d and note in row["note"] for d, note in BROKEN)
        name = _timm_name(row)
        size = str(row["input_shape"]).rpartition("x")[2]
        key = (name, int(size)) if size.isdecimal() else None
        usual = row["precision"] in ("fp16", "fp32", "fp32(tf32?)", "tf32", "fp16(amp)")
        if key not in known or not usual or (half and broken and "aisensiy" in row["source"]):
            continue
        engine = "TensorRT" in row["runtime"]
        runtime = " ".join(["amp"] * half + ["tensorrt"] * engine)
        column = Setting(hardware(DEVICES[row["device"]]), int(row["batch"]), runtime)
        maker = row["source"].partition("/")[0]
        # Three repositories ran one script.
        who = "torchvision" if "pytorch-gpu-benchmark" in row["source"] else maker
        rows.append((known[key], column, float(row["latency_ms"]), who, who))
    return rows


def _timm_name(row: dict[str, str]) -> str:
    """timm's name of a row's network; empty if it has none that is surely the same."""
    library, _, name = row["network_source"].rpartition("|")[2].partition(":")
    if "pytorch-gpu-benchmark" in row["source"]:
        return TORCHVISION.get(name, name) if "eager" in row["runtime"] else ""
    if "TensorRT" not in row["runtime"]:
        return ""
    # An = says that the parameters agree.
    if "PaddleClas" in row["source"] and library in ("timm", "torchvision"):
        return TORCHVISION.get(name[:-1], name[:-1]) if name.endswith("=") else ""
    return "resnet50" if "resnet50" in row["network_source"].lower() else ""


@cache
def source_table() -> GpuTable:
    """Measurements of GPUs in the sources of latency_data.py that timm's tables are not."""
    rows: list[Row] = []
    for name in ("nb201", "fbnet", "ofa", "accel", "nnlqp"):
        every = source(name, COUNT)
        for k, column in enumerate(every.columns):
            if column.hardware.kind != "gpu":
                continue
            for graph, ms in zip(every.graphs, every.latencies[:, k], strict=True):
                if np.isfinite(ms) and ms >= SMALLEST_MS:
                    rows.append((graph, column, float(ms), name, name))
    return _joined(rows)
