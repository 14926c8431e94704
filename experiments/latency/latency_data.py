"""Measured latencies of whole networks from all sources, as one table for `NetworkLatency`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd

from experiments import RESULTS
from experiments.common import Array
from nasplug import datasets, hardware
from nasplug.datasets.network_graphs import shipped_network_graphs
from nasplug.predictors.features.settings import Setting
from nasplug.search_spaces import Graph, space
from nasplug.search_spaces.networks.nasbench201 import network_as_written

__all__ = ["Source", "joined", "source", "timm_graphs"]

CPU_CSV = RESULTS / "cpu_latency.csv"
CPU_DEVICE = RESULTS / "cpu_device.toml"
# HW-NAS-Bench measured these by TensorFlow Lite, which takes exported networks.
EXPORTED = ("Pixel 3@1", "Raspberry Pi 4@1")
# Accel-NASBench's authors state this batch for GPUs and TPUs.
ACCEL_BATCH = 128
ACCEL = {
    "RTX 3090 img/s": ("RTX 3090", ACCEL_BATCH, "amp nhwc"),
    "A100 40GB img/s": ("A100 40GB", ACCEL_BATCH, "amp nhwc"),
    "TPU v2 img/s": ("TPU v2", ACCEL_BATCH, "compiled"),
    "TPU v3 img/s": ("TPU v3", ACCEL_BATCH, "compiled"),
}
# Source -> its data set, and the space of its architectures.
TABLES = {
    "nb201": ("nb201-latency", "nb201"),
    "nb201-exported": ("nb201-latency", "nb201"),
    "fbnet": ("fbnet-latency", "fbnet"),
    "ofa": ("ofa-latency", "ofa"),
    "accel": ("accel", "accel"),
    "nnlqp": ("nnlqp-nasbench201", "nnlqp:nasbench201"),
}


@dataclass(frozen=True, eq=False)
class Source:
    """Networks with their latencies on some columns.

    Attributes:
        name: Of the source.
        graphs: Whole networks.
        columns: Of the table.
        latencies: In ms, shape `(graphs, columns)`; NaN where unknown.
        families: Family of each network.
    """

    name: str
    graphs: list[Graph]
    columns: list[Setting]
    latencies: Array
    families: list[str]

    def rows(self, chosen: Iterable[int]) -> Source:
        """Some of the networks."""
        places = list(chosen)
        return replace(
            self,
            graphs=[self.graphs[k] for k in places],
            latencies=self.latencies[places],
            families=[self.families[k] for k in places],
        )

    def only(self, wanted: Callable[[Setting], bool]) -> Source:
        """Some of the columns."""
        places = [k for k, column in enumerate(self.columns) if wanted(column)]
        columns = [self.columns[k] for k in places]
        return replace(self, columns=columns, latencies=self.latencies[:, places])


def as_measured(columns: Sequence[Setting]) -> list[Setting]:
    """The columns of a table, with the runtime of those that were not measured in a framework."""
    return [
        Setting(c.hardware, c.batch_size, "tflite") if c.key in EXPORTED else c for c in columns
    ]


@cache
def source(name: str, count: int | None = None, seed: int = 0) -> Source:
    """A source: `"nb201"`, `"nb201-exported"`, `"fbnet"`, `"ofa"`, `"accel"`, `"nnlqp"`, `"cpu"` or
    `"timm"`.

    The networks of NAS-Bench-201 are those that the benchmark's own code runs; of two devices
    they were exported first, which drops what has no influence.

    Args:
        name: One of those.
        count: At most so many networks, drawn at random; all if left out.
        seed: Of the draw, which also decides the order.
    """
    if name in ("cpu", "timm"):
        return _cpu(seed) if name == "cpu" else _timm(seed)
    table, of = TABLES[name]
    rows, where = datasets.load(table), space(of)
    is_cell = name.startswith("nb201")
    archs = list(map(str, where) if is_cell else rows["arch"].astype(str))  # type: ignore[call-overload]
    columns: list[Setting] = []
    values = []
    for column, setting in ACCEL.items() if name == "accel" else ():
        columns.append(Setting(hardware(setting[0]), *setting[1:]))
        values.append(1000 * ACCEL_BATCH / rows[column].to_numpy(np.float64))
    for column in rows.columns:
        if "@" in column and not (is_cell and (column in EXPORTED) != (name == "nb201-exported")):
            usual = "tflite" if column in EXPORTED else ""
            device, _, batch = column.rpartition("@")
            runtime = "tensorrt" if name == "nnlqp" else usual
            columns.append(Setting(hardware(device), int(batch), runtime))
            values.append(rows[column].to_numpy(np.float64))
    # Equal architectures, which two benchmarks list twice, come once.
    order = np.random.default_rng(seed).permutation(len(archs))[:count]
    if name == "nb201":
        graphs = [network_as_written(where.parse(archs[k])) for k in order]
    else:
        # Cells that were exported are read as networks of NNLQP's family.
        reader = space("nnlqp:nasbench201") if is_cell else where
        graphs = [reader.to_graph(reader.parse(archs[k])) for k in order]
    latencies = np.stack(values, axis=1)[order]
    return Source(name, graphs, columns, latencies, [name] * len(order))


def _cpu(seed: int) -> Source:
    rows = pd.read_csv(CPU_CSV)
    rows = rows[rows["error"].isna()]
    rows = rows.sample(frac=1, random_state=seed)
    nnlqp = space("nnlqp")
    graphs = [nnlqp.to_graph(nnlqp.parse(arch)) for arch in rows["arch"]]
    column = Setting(hardware(CPU_DEVICE), 1, "onnxruntime")
    values = rows["latency_ms"].to_numpy(np.float64)[:, None]
    return Source("cpu", graphs, [column], values, rows["family"].tolist())


# Tables of timm, and batch sizes that enough of their networks have; the others are left out.
TIMM = (
    ("RTX 3090", "amp nhwc pt240 cu124", "amp nhwc"),
    ("RTX 4090", "amp nhwc pt240 cu124", "amp nhwc"),
    ("Core i9-10940X", "fp32 nchw pt240 dynamo", "compiled"),
)
FEWEST = 30


# Networks beyond are giants that no search here would propose.
LARGEST_GMACS = 50


@cache
def timm_graphs() -> dict[tuple[str, int], tuple[Graph, str]]:
    """(Model, image size) -> graph and family of timm's networks below `LARGEST_GMACS`.

    The size is the first that the tables of `TIMM` have for a model.
    """
    networks = shipped_network_graphs()
    table = datasets.load("timm-latency")
    table = pd.concat(
        [table[(table["device"] == name) & (table["mode"] == mode)] for name, mode, _ in TIMM]
    )
    table = table[~(table["gmacs"] >= LARGEST_GMACS)].drop_duplicates("model")
    result = {}
    for model, size in sorted(zip(table["model"], table["image_size"], strict=True)):
        reference = f"timm:{model}@{size}"
        if reference in networks:
            result[model, size] = (networks.graph(reference), networks.family(reference))
    return result


def _timm(seed: int) -> Source:
    networks = timm_graphs()
    rows = datasets.load("timm-latency")
    position = {key: k for k, key in enumerate(networks)}
    columns: list[Setting] = []
    values = []
    for device, mode, runtime in TIMM:
        table = rows[(rows["device"] == device) & (rows["mode"] == mode)]
        rows_with_graphs = table[
            [key in position for key in zip(table["model"], table["image_size"], strict=True)]
        ]
        for batch, own in rows_with_graphs.groupby("batch_size"):
            if len(own) < FEWEST:
                continue
            columns.append(Setting(hardware(device), int(batch), runtime))
            values.append(np.full(len(position), np.nan))
            for model, size, latency in own[["model", "image_size", "latency_ms"]].itertuples(
                index=False
            ):
                values[-1][position[model, size]] = latency
    order = np.random.default_rng(seed).permutation(len(position))
    graphs, families = zip(*(list(networks.values())[k] for k in order), strict=True)
    latencies = np.stack(values, axis=1)[order]
    return Source("timm", list(graphs), columns, latencies, list(families))


def joined(
    sources: Sequence[Source], seed: int = 0
) -> tuple[list[Graph], Array, list[Setting], list[str]]:
    """Graphs in random order, latencies on the union of columns, columns, groups."""
    columns: dict[str, Setting] = {}
    for part in sources:
        for column in part.columns:
            columns.setdefault(column.key, column)
    keys = list(columns)
    graphs, blocks, groups = [], [], []
    for part in sources:
        block = np.full((len(part.graphs), len(keys)), np.nan)
        for k, column in enumerate(part.columns):
            block[:, keys.index(column.key)] = part.latencies[:, k]
        graphs += part.graphs
        blocks.append(block)
        groups += [part.name] * len(part.graphs)
    order = np.random.default_rng(seed).permutation(len(graphs)).tolist()
    return (
        [graphs[k] for k in order],
        np.concatenate(blocks)[order],
        list(columns.values()),
        [groups[k] for k in order],
    )
