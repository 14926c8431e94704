"""Latencies of networks of usual sizes on GPUs, a row a measurement.

All of timm's tables on GPUs, and those rows of `derived/gpu_networks.csv.gz` (beside the mirror)
whose network timm has under a known name. The sources of latency_data.py judge what was learned
from these: small networks at small batches, whose latency is mostly that of the host.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from experiments.latency.latency_data import source, timm_graphs
from nasplug import datasets, hardware
from nasplug.predictors.features.settings import Setting
from nasplug.search_spaces import Graph, InputError

__all__ = [
    "Measurement",
    "Measurements",
    "at_most",
    "gpu_measurements",
    "source_measurements",
    "without",
]

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


class Measurement(NamedTuple):
    """Latency of a network on a GPU.

    Attributes:
        graph: The whole network.
        column: GPU, batch size and runtime.
        ms: Latency of the batch.
        source: Who measured.
        table: The source, or the one of its tables.
        script: What measured, on whose hosts: the table, or the repository.
    """

    graph: Graph
    column: Setting
    ms: float
    source: str
    table: str
    script: str

    @property
    def form(self) -> str:
        """Table, GPU and runtime: what was measured in one way."""
        return f"{self.table}|{self.column.hardware.name}|{self.column.runtime}"

    @property
    def chip(self) -> str:
        """The chip: GPUs that are left out together."""
        return CHIPS.get(self.column.hardware.name, self.column.hardware.name)


Measurements = list[Measurement]


def without(rows: Measurements, devices: Iterable[str]) -> Measurements:
    """The measurements on other chips than those of some devices."""
    left = {CHIPS.get(name, name) for name in devices}
    return [row for row in rows if row.chip not in left]


def at_most(rows: Measurements, count: int) -> Measurements:
    """At most so many measurements of each form, drawn at random."""
    forms = pd.Series([row.form for row in rows])
    order = np.random.default_rng(0).permutation(len(forms))
    rank = forms.iloc[order].groupby(forms.iloc[order]).cumcount()
    return [rows[k] for k in sorted(rank.index[rank < count])]


@cache
def gpu_measurements() -> Measurements:
    """All measurements of networks of usual sizes.

    Raises:
        InputError: If timm's graphs are not there.
    """
    graphs = {key: graph for key, (graph, _) in timm_graphs().items()}
    return [*_timm(graphs), *_others(graphs)]


def _timm(graphs: dict[tuple[str, int], Graph]) -> Measurements:
    """The first size of each network in each table of a GPU."""
    table = datasets.load("timm-latency")
    table = table[table["device"].str.startswith("RTX") & table["latency_ms"].notna()]
    table = table.drop_duplicates(["device", "mode", "model"])
    rows: Measurements = []
    fields = ["device", "mode", "model", "image_size", "batch_size", "latency_ms"]
    for device, mode, model, size, batch, ms in table[fields].itertuples(index=False):
        words = [word for word in mode.split() if word in ("amp", "nhwc", "dynamo")]
        runtime = " ".join("compiled" if word == "dynamo" else word for word in words)
        if (model, size) in graphs:
            column = Setting(hardware(device), int(batch), runtime)
            timm = f"timm {mode}"
            rows.append(Measurement(graphs[model, size], column, float(ms), "timm", timm, timm))
    return rows


def _others(graphs: dict[tuple[str, int], Graph]) -> Measurements:
    """Rows of the derived table, of networks that timm has, too."""
    mirror = os.environ.get("NASPLUG_MIRROR", "").removeprefix("file://")
    path = Path(mirror).parent / "derived" / TABLE
    if not path.exists():
        raise InputError(f"{path} is not there; set NASPLUG_MIRROR to the folder beside it")
    table = pd.read_csv(path)
    table = table[(table["mode"] == "inference") & table["latency_ms"].notna()]
    table = table[table["device"].isin(DEVICES) & table["batch"].notna()]
    rows: Measurements = []
    for row in table.fillna("").to_dict("records"):
        half = "fp16" in row["precision"]
        broken = any(row["device"] == d and note in row["note"] for d, note in BROKEN)
        name = _timm_name(row)
        size = str(row["input_shape"]).rpartition("x")[2]
        key = (name, int(size)) if size.isdecimal() else None
        usual = row["precision"] in ("fp16", "fp32", "fp32(tf32?)", "tf32", "fp16(amp)")
        if key not in graphs or not usual or (half and broken and "aisensiy" in row["source"]):
            continue
        engine = "TensorRT" in row["runtime"]
        runtime = " ".join(["amp"] * half + ["tensorrt"] * engine)
        column = Setting(hardware(DEVICES[row["device"]]), int(row["batch"]), runtime)
        maker = row["source"].partition("/")[0]
        # Three repositories ran one script, on different hosts.
        who = "torchvision" if "pytorch-gpu-benchmark" in row["source"] else maker
        rows.append(Measurement(graphs[key], column, float(row["latency_ms"]), who, who, maker))
    return rows


def _timm_name(row: dict[Any, Any]) -> str:
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
def source_measurements() -> Measurements:
    """Measurements of GPUs in the sources of latency_data.py that timm's tables are not."""
    rows: Measurements = []
    for name in ("nb201", "fbnet", "ofa", "accel", "nnlqp"):
        every = source(name, COUNT)
        for k, column in enumerate(every.columns):
            if column.hardware.kind != "gpu":
                continue
            for graph, ms in zip(every.graphs, every.latencies[:, k], strict=True):
                if np.isfinite(ms) and ms >= SMALLEST_MS:
                    rows.append(Measurement(graph, column, float(ms), name, name, name))
    return rows
