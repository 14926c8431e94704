"""Measurements of whole networks on NPUs, and on GPUs other than NVIDIA's or by Vulkan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from experiments.common import Array
from nasplug.measurements.graphs import graph_of
from nasplug.measurements.settings import learning_rows
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.npu_residuals import peak_rate
from nasplug.predictors.latency.npu_terms import precision_of
from nasplug.search_spaces import Graph

# Runtimes of NVIDIA's GPUs whose measurements belong here; other GPUs have all but these.
VULKAN = ("ncnn vulkan", "mnn vulkan")
EAGER = ("", "eager", "eager nhwc", "eager graphs", "compiled", "compiled graphs", "tensorflow")
# Sources of architectures of search spaces, of operators, and of microcontrollers.
_SPACES = ("HayeonLee", "automl", "afzalxo", "yuny220", "ScalingIntelligence", "mlcommons/tiny")
# Boards that stand in for a chip with other figures: a QCS8550 was measured.
_STAND_INS = ("SA8255P", "SA8650P")
# Snapshots of AI Hub, the newest of which counts: older compilers differ.
_OLD = {"feecc9e": "AI Hub v0.39", "4341d5d": "AI Hub v0.30"}
OLD_NOISE, NOISE = 0.25, 0.12
# Devices with one processor, by any of their names; a chip leaves with all of them.
TWINS = (
    ("QCS8550", "Galaxy S23", "Galaxy S23 Ultra", "Snapdragon 8 Gen 2"),
    ("Snapdragon 8 Elite", "Galaxy S25"),
    ("SA8775P", "Dragonwing IQ-9075"),
    ("Renesas RZ/V2M", "Renesas RZ/V2MA"),
    ("Adreno 640", "Pixel 4", "Snapdragon 855", "Snapdragon 855 Plus"),
    ("RK3588", "RK3588S"),
    ("Mali-G52 MP4", "Amlogic A311D", "Amlogic S922X"),
    ("Core i7-1185G7", "Core i7-1185GRE"),
    ("Cloud AI 100", *(f"Cloud AI 100 {form}" for form in ("DM.2", "DM.2e", "Pro", "Standard"))),
)
# Multiple of the peak that no network reaches, and the share of a table that may.
TOO_FAST, MOST_FAST = 1.5, 0.1
_CHIP_OF = {name: names[0] for names in TWINS for name in names}


class Row(NamedTuple):
    """Measurement of a network.

    Attributes:
        chip: Name that all devices with this processor have here.
        unit: "gpu" or "npu".
        reference: The network.
        source: Who measured, `""` for the newest AI Hub.
        noise: Standard deviation of the logarithm.
    """

    chip: str
    unit: str
    reference: str
    graph: Graph
    setting: Setting
    source: str
    ms: float
    noise: float

    @property
    def form(self) -> tuple[str, str]:
        """Runtime and precision."""
        return self.setting.runtime, precision_of(self.setting)


@cache
def npu_measurements() -> tuple[Row, ...]:
    """All rows."""
    table = learning_rows(units=("gpu", "npu"), kinds=("network",))
    wanted = np.array([_is_wanted(setting) for setting in table.settings])
    sources = np.array([not source.startswith(_SPACES) for source in table.sources])
    table = table.take(wanted[table.setting] & sources[table.source])
    rows = []
    graphs: dict[int, Graph] = {}
    for graph, place, source, ms in zip(
        table.graph.tolist(), table.setting, table.source, table.ms.tolist(), strict=True
    ):
        if graph not in graphs:
            graphs[graph] = graph_of(table.references[graph])
        setting = table.settings[place]
        name, _, commit = table.sources[source].partition("@")
        old = _OLD.get(commit, "")
        rows.append(
            Row(
                _CHIP_OF.get(setting.hardware.name, setting.hardware.name),
                "gpu" if setting.processor.kind == "gpu" else "npu",
                table.references[graph],
                graphs[graph],
                setting,
                old if name.endswith("ai-hub-models") else name.partition("/")[0],
                ms,
                OLD_NOISE if old else NOISE,
            )
        )
    return tuple(_possible(rows))


def _possible(rows: Sequence[Row]) -> list[Row]:
    """Rows that the data sheet allows; of a table with many others, such as after a fault, none."""
    tables = [(row.setting.hardware.name, *row.form, row.source) for row in rows]
    fast = Counter(
        table for table, row in zip(tables, rows, strict=True) if _share_of_peak(row) > TOO_FAST
    )
    sizes = Counter(tables)
    broken = {table for table in sizes if fast[table] > MOST_FAST * sizes[table]}
    return [
        row
        for table, row in zip(tables, rows, strict=True)
        if table not in broken and _share_of_peak(row) <= TOO_FAST
    ]


def _share_of_peak(row: Row) -> float:
    """Operations that a network took each second, as a share of the peak."""
    operations = 2e-9 * row.graph.total("flops") * row.setting.batch_size
    return float(operations / row.ms / peak_rate(row.setting))


def _is_wanted(setting: Setting) -> bool:
    if setting.hardware.name in _STAND_INS:
        return False
    if setting.runtime == "ncnn vulkan" and setting.precision == "int8":
        # It runs them on the CPU.
        return False
    if setting.hardware.vendor == "NVIDIA":
        return setting.runtime in VULKAN
    return setting.runtime not in EAGER


def without(rows: Sequence[Row], chips: Collection[str]) -> list[Row]:
    """The rows of other chips."""
    return [row for row in rows if row.chip not in chips]


def log_ms(rows: Sequence[Row]) -> Array:
    """Logarithms of the measured ms."""
    return np.log([row.ms for row in rows])
