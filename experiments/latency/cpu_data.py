"""Latencies of networks on CPUs, a row a measurement, for models of CPUs.

All rows of networks on the CPUs of the catalogue, with what the table alone does not say: the
threads of MLPerf's logs, the clusters of ncnn's settings, the age of ncnn, and the chips that are
left out together.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from experiments.latency.measured_networks import measured_network
from nasplug.datasets.measurements import shipped_measurements
from nasplug.devices.hardware import hardware
from nasplug.measurements.graphs import has_graph
from nasplug.measurements.settings import NOT_TAUGHT, setting_of
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.cpu_terms import core_kind
from nasplug.search_spaces import Graph, InputError

__all__ = ["CpuMeasurement", "cpu_measurements"]

# Chips in several products, left out together; any other device stands alone.
CHIPS = {
    **dict.fromkeys(("Pixel 4", "Snapdragon 855", "Snapdragon 855 Plus"), "Snapdragon 855"),
    **dict.fromkeys(("Pixel 2", "Essential PH-1", "Snapdragon 835"), "Snapdragon 835"),
    **dict.fromkeys(("Pixel 3", "Snapdragon 845"), "Snapdragon 845"),
    **dict.fromkeys(("RK3588", "RK3588S"), "RK3588"),
    **dict.fromkeys(("RK3566", "RK3568"), "RK3568"),
    **dict.fromkeys(
        ("Raspberry Pi 3", "Raspberry Pi 3 Model B+", "Raspberry Pi Zero 2 W"), "BCM2837"
    ),
    **dict.fromkeys(("Exynos 9820", "Galaxy S10"), "Exynos 9820"),
    **dict.fromkeys(("iPhone XS", "Apple A12"), "Apple A12"),
    **dict.fromkeys(("Kunpeng 920 2251K", "Kunpeng 920 3211K", "Kunpeng 920 7260"), "Kunpeng 920"),
    **dict.fromkeys(("Core i7-1185G7", "Core i7-1185GRE"), "Core i7-1185G7"),
    **dict.fromkeys(("Core i9-10940X", "Core i9-10900X"), "Core i9-10940X"),
    **dict.fromkeys(("Snapdragon 8 Elite", "Galaxy S25"), "Snapdragon 8 Elite"),
}
# Names of a source -> the catalogue's, where the table's names lack them.
_NAMES = {
    "AWS c5.4xlarge Instance": "c5.4xlarge",
    "Intel Core i9-10900X": "Core i9-10900X",
}
_SPACES = ("nb201", "fbnet")
# Networks of each space, and of each width of the language models.
_OF_SPACE, _OF_WIDTH = 120, 15
# Runtimes that run a network as it is written.
_FRAMEWORKS = ("eager", "eager nhwc", "compiled", "pytorch mobile", "tensorflow")
# Programs whose threads or builds differ from what is said.
_ERRATIC = ("xnnpack", "v1.15")
_DOUBTFUL, _ROUNDED = 0.3, 0.5
# Servers of one source differ by a factor of three where their data sheets are alike.
_UNLIKE = 0.1
# Boards of two sources that took three and six times as long as others of their kind.
_SLOW = {("ispcojp/ai_inference_device_benchmark", "Raspberry Pi 4"), ("mlperf", "Raspberry Pi 3")}


class CpuMeasurement(NamedTuple):
    """Latency of a network on a CPU.

    Attributes:
        reference: The network, as in the table.
        column: Device, batch size, runtime, precision, unit and threads.
        ms: Latency of the batch.
        source: Who measured, with which program and version.
        chip: Chip that is left out as one.
        group: Class of device and source that goals name.
        weight: How much it says beside others.
    """

    reference: str
    column: Setting
    ms: float
    source: str
    chip: str
    group: str
    weight: float

    @property
    def graph(self) -> Graph:
        """Graph of the network as it was run; of ncnn's int8 files as floats."""
        is_engine = self.column.runtime not in _FRAMEWORKS
        return measured_network(self.reference.removesuffix("_int8"), is_engine)


@cache
def cpu_measurements(seed: int = 0) -> tuple[CpuMeasurement, ...]:
    """All measurements of networks on CPUs that can be learned from."""
    table = shipped_measurements()
    table = table.take(table.where("unit", ["CPU"]) & table.where("kind", ["network"]))
    frame = table.to_frame()
    for name in frame.select_dtypes("category"):
        frame[name] = frame[name].astype(str)
    frame = frame[frame["graph"].map({ref: has_graph(ref) for ref in set(frame["graph"])})]
    frame = frame[frame["mode"] == "inference"]
    flags = [set(text.split(", ")) for text in frame["quality"]]
    frame = frame[[not set(NOT_TAUGHT) & flag for flag in flags]]
    frame = frame[frame["graph"].isin(_chosen(sorted(set(frame["graph"])), seed))]
    rows = frame.to_dict("records")
    eras = _eras(rows)
    found: dict[tuple[Any, ...], list[CpuMeasurement]] = defaultdict(list)
    for row in rows:
        measurement = _measurement(row, eras)
        if measurement is not None:
            key = (measurement.reference, measurement.column.key, measurement.source)
            found[key].append(measurement)
    # Runs of one key differ by modes of power, of which the fastest is the usual one.
    return tuple(min(group, key=lambda row: row.ms) for group in found.values())


def _chosen(references: list[str], seed: int) -> set[str]:
    """References that are learned: some of each space, and all others."""
    rng = np.random.default_rng(seed)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in references:
        space, _, rest = name.partition(":")
        key = space if space in _SPACES else rest.split(",")[0] if space == "gpt" else ""
        groups[key].append(name)
    chosen: set[str] = set()
    for key, names in groups.items():
        most = len(names) if not key else _OF_SPACE if key in _SPACES else _OF_WIDTH
        chosen.update(rng.permutation(names)[:most].tolist())
    return chosen


def _eras(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], str]:
    """Section of ncnn's tables -> its age, by the networks that its version could run."""
    networks = defaultdict(set)
    for row in rows:
        if row["runtime"] == "ncnn":
            networks[_section(row)].add(row["network"])
    return {
        key: "new" if "FastestDet" in names else "mid" if "efficientnetv2_b0" in names else "old"
        for key, names in networks.items()
    }


def _section(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["hardware"], row["threads"], row["cores"], row["version"]


def _measurement(row: dict[str, Any], eras: dict[tuple[Any, ...], str]) -> CpuMeasurement | None:
    row = dict(row)
    source = str(row["source"]).partition("@")[0]
    is_mlperf = source.startswith("mlcommons/inference")
    if row["precision"] in ("mixed", "") or row["hardware"].startswith("RZ/"):
        return None
    # One script ran convolutional networks and transformers in versions of their own.
    version = "" if source.startswith("qed-usc") else row["version"]
    program = f"{row['runtime']} {version}"
    if row["runtime"] == "ncnn":
        era = eras[_section(row)]
        program = f"ncnn {era}" + (" without AVX-512" if "Without" in row["version"] else "")
        # "big" are all but the smallest cores there.
        row["cores"] = "" if row["cores"] == "big" else row["cores"]
        if era == "old" and row["precision"] == "float":
            row["precision"] = "fp32"
    try:
        if row["hardware"] in _NAMES:
            row["device"] = row["hardware"] = hardware(_NAMES[row["hardware"]]).name
        column = setting_of(row)
    except InputError:
        return None
    if column is None or column.processor.kind == "gpu":
        return None
    if not column.unit and column.hardware.processors:
        return None
    if is_mlperf:
        threads = 1 if "xnnpack" in row["version"] else _largest(column)
        column = Setting(
            *(column.hardware, column.batch_size, column.runtime, column.precision),
            column.unit,
            threads,
        )
    name = column.hardware.name
    source = "mlperf" if is_mlperf else source
    is_slow = (source, name) in _SLOW
    weight = 1.0
    if is_slow or "noisy" in row["quality"] or any(word in program for word in _ERRATIC):
        weight = _DOUBTFUL
    elif "rounded" in row["quality"]:
        weight = _ROUNDED
    group = _group(source, column)
    if group == "HELP servers":
        weight *= _UNLIKE
    return CpuMeasurement(
        str(row["graph"]),
        column,
        float(row["latency_ms"]),
        f"{source} {program}{f' {name}' if is_slow else ''}".strip(),
        CHIPS.get(name, name),
        group,
        weight,
    )


def _largest(column: Setting) -> int:
    """Cores of the first cluster, which logs that do not tell threads point to."""
    clusters = [part for part in column.hardware.processors if part.kind == "cpu"]
    return clusters[0].units if clusters else column.hardware.units


def is_x86(column: Setting) -> bool:
    """Whether a CPU is one of AMD's or Intel's."""
    return core_kind(column.processor.microarchitecture, 0.0) == "x86"


def _group(source: str, column: Setting) -> str:
    """Class of device and source that goals name."""
    short = source.rpartition("/")[2]
    if short == "mobile-ml-benchmark":
        return f"qed {column.runtime}"
    if short in ("mlperf", "ncnn"):
        return f"{short} x86" if is_x86(column) else short
    if short == "HELP":
        is_server = column.hardware.kind == "cpu"
        return "HELP servers" if is_server else "HELP phones"
    return short
