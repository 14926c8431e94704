"""Rows of the table of measurements as settings of latency models, and the rows to learn from.

`setting_of(row)` is the `Setting` (device of the catalogue, batch size, runtime, precision, unit
and threads) of one row, such as `nasplug.measured` returns. `learning_rows(units=..., kinds=...)`
has all rows that a latency model may learn from, by columns: with `rows = learning_rows()`, row `k`
says that the graph `graph_of(rows.references[rows.graph[k]])` took `rows.ms[k]` milliseconds a
batch in `rows.settings[rows.setting[k]]`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.datasets.measurements import MeasurementTable, shipped_measurements
from nasplug.datasets.network_graphs import shipped_network_graphs
from nasplug.devices.hardware import hardware as find_hardware
from nasplug.measurements.device_names import catalogued
from nasplug.measurements.graphs import has_graph
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.hardware import Hardware, on_unit
from nasplug.search_spaces.errors import InputError

__all__ = ["NOT_TAUGHT", "LearningRows", "learning_rows", "setting_of"]

NOT_TAUGHT = (
    *("cost model", "fallback", "part of the card", "power limited", "server", "sparse weights"),
    *("two sockets", "untuned", "virtual GPU"),
)
"""Words of `FLAGS` whose rows say nothing of the device that its data sheet describes."""

# Processor that ran a network, as the table says it -> unit of a setting.
_UNITS = {"CPU": "cpu", "GPU": "gpu", "NPU": "npu", "TPU": "npu", "FPGA": "npu", "ASIC": "npu"}
# Precision that is not the same on all devices: what the runtime chooses.
_USUAL = {"float": "", "mixed": ""}
# MLPerf does not say in which precision a system ran; with these tools all presumably run int8.
_INT8_TOOLS = ("tensorrt", "cloud ai")
_WITHOUT_PRECISION = "mlcommons/inference_results"
_LEARNED_MODES = ("inference", "forward")
_LEARNED_PRECISIONS = ("", "fp32", "tf32", "fp16", "bf16", "int8", "int4", "w8a16", "float")
# Snapshots of one source, the newest first: an older one counts only for what the newer ones lack.
_SNAPSHOTS = (
    "qualcomm/ai-hub-models@b61a009",
    "qualcomm/ai-hub-models@feecc9e",
    "qualcomm/ai-hub-models@4341d5d",
)
# Cluster of a CPU -> clusters that the catalogue must know, for the word to mean that one.
_CLUSTERS = {"big": 1, "medium": 3, "little": 2}
# Share of the peak of the fastest element type that no network reaches: a convolution of three by
# three may need less than half of its products.
_LARGEST_SHARE = 2.0
_CORES = re.compile(r"(?P<count>\d+) (?P<what>big|medium|little|of the NPU)")
# Half of a card with two chips, which the catalogue may have as a device of its own.
_CHIP_OF_CARD = re.compile(r"\bGCD\b")
_OPERATOR = re.compile(r"op:[\w.]+")


@dataclass(frozen=True, eq=False)
class LearningRows:
    """Measurements to learn latency from, by columns; one row a graph, setting and way of timing.

    Attributes:
        references: Distinct references of graphs, for `graph_of`.
        settings: Distinct settings.
        sources: Distinct sources, as owner/name@commit.
        timings: Distinct ways of timing; see the column `timing` of the table.
        qualities: Distinct words about quality; see `FLAGS`.
        graph: Position of each row's reference, shape `(n,)`.
        setting: Position of each row's setting.
        source: Position of each row's source.
        timing: Position of each row's way of timing.
        quality: Position of each row's words about quality.
        ms: Milliseconds a batch.
        dropped: Reason -> rows of the table that are left out for it.
    """

    references: tuple[str, ...]
    settings: tuple[Setting, ...]
    sources: tuple[str, ...]
    timings: tuple[str, ...]
    qualities: tuple[str, ...]
    graph: NDArray[np.int32]
    setting: NDArray[np.int32]
    source: NDArray[np.int32]
    timing: NDArray[np.int32]
    quality: NDArray[np.int32]
    ms: NDArray[np.float64]
    dropped: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.ms)

    def take(self, rows: NDArray[Any]) -> LearningRows:
        """The rows at some positions, or those that are true in a mask."""
        columns = ("graph", "setting", "source", "timing", "quality", "ms")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})

    def compact(self) -> LearningRows:
        """The rows, without references, settings and texts that none of them has."""
        changed: dict[str, Any] = {}
        names = ("references", "settings", "sources", "timings", "qualities")
        for name, code in zip(
            names, ("graph", "setting", "source", "timing", "quality"), strict=True
        ):
            used, places = np.unique(getattr(self, code), return_inverse=True)
            values = getattr(self, name)
            changed[name] = tuple(values[k] for k in used)
            changed[code] = places.astype(np.int32)
        return replace(self, **changed)

    def per_setting(self, values: Any) -> NDArray[Any]:
        """Value of each row's setting, such as the names of devices, given one a setting."""
        return np.asarray(values)[self.setting]


def setting_of(row: Mapping[str, Any]) -> Setting | None:
    """Setting that a row of the table was measured in; None if the catalogue lacks its device.

    Args:
        row: Texts and numbers by the names of the table's columns, as `nasplug.measured` returns.

    Returns:
        The setting. Its unit is empty where the device is that one processor; "cpu big" has a
        cluster of its own, and several clusters are "cpu" with the threads of all. Threads of an
        NPU are its cores. TensorRT ran int8 where a row states no precision; a GPU without bf16
        ran fp16 in its place, as its times tell. None, too, if the catalogue lacks that unit of
        the device.

    Example:
        >>> import nasplug
        >>> row = nasplug.measured("ResNet-50", "RTX 3090", "eager nhwc", batch_size=1024)[0]
        >>> setting_of(row).key
        'RTX 3090@1024 eager nhwc fp16'
    """
    texts = (str(row.get(name, "")) for name in ("hardware", "device", "unit", "cores"))
    placed = _placed(*texts, int(row.get("threads", 0)))
    if placed is None:
        return None
    device, unit, threads = placed
    precision, runtime = str(row.get("precision", "")), str(row.get("runtime", ""))
    if not precision and runtime in _INT8_TOOLS:
        precision = "int8"
    if precision == "bf16" and not unit and "bf16" not in device.peak_tflops:
        precision = "fp16"
    return Setting(
        device,
        max(1, int(row.get("batch", 1))),
        runtime,
        _USUAL.get(precision, precision),
        unit,
        threads,
    )


@cache
def _placed(
    name: str, in_table: str, processor: str, cores: str, threads: int
) -> tuple[Hardware, str, int] | None:
    """Device, unit and threads of a row; None if the catalogue lacks one of them."""
    device_name = catalogued(name) or in_table
    if not device_name:
        return None
    try:
        device = find_hardware(device_name)
        unit, threads = _unit(processor, cores, threads)
        on_unit(device, unit, threads)
    except InputError:
        return None
    # All cores of a server or a desktop are big ones.
    clusters = sum(part.kind == "cpu" for part in device.processors) or int(device.kind == "cpu")
    words = set(_CLUSTERS) & set(re.findall(r"[a-z]+", cores))
    if clusters < max((_CLUSTERS[word] for word in words), default=0):
        return None
    # A device that is one processor needs no word for it.
    return device, unit if device.processors else "", threads


def _unit(processor: str, cores: str, threads: int) -> tuple[str, int]:
    """Unit and threads of a setting, from the columns `unit`, `cores` and `threads`."""
    unit = _UNITS.get(processor, "")
    if cores == "big" and threads:
        # ncnn's word for the faster half of the cores, of several clusters.
        return unit, threads
    if cores in _CLUSTERS:
        return f"cpu {cores}", threads
    groups = [(int(match["count"]), match["what"]) for match in _CORES.finditer(cores)]
    if groups:
        threads = sum(count for count, _ in groups)
        clusters = [what for _, what in groups if what != "of the NPU"]
        if len(clusters) == 1:
            unit = f"cpu {clusters[0]}"
    return unit, threads


def learning_rows(
    units: Collection[str] = ("cpu", "gpu", "npu"),
    kinds: Collection[str] = ("network", "block", "operator"),
    most: int | None = None,
    seed: int = 0,
    table: MeasurementTable | None = None,
) -> LearningRows:
    """Measurements that a latency model may learn from.

    Left out are rows without a graph or without a device of the catalogue (see `setting_of`), those
    with a flag of `NOT_TAUGHT`, estimates, steps of training and requests of language models, fp64,
    rows of an unknown batch size or precision, networks that took less time than the processor
    needs for their products, and older snapshots of a source where a newer one has the same. Rows
    of one graph, setting, source and way of timing become one, their median.

    Args:
        units: Processors that ran the networks: "cpu", "gpu" (of a desktop or a phone), "npu".
        kinds: Kinds of rows: "network", "block", "operator".
        most: Rows of one source, setting and package of graphs (or operator), chosen by chance;
            None for all.
        seed: Seed of that choice.
        table: The measurements; None for those that the package ships.

    Example:
        >>> from nasplug.measurements.settings import learning_rows
        >>> rows = learning_rows(units=["gpu"], kinds=["network"], most=20)
        >>> len(rows) > 1000, rows.settings[rows.setting[0]].processor.kind
        (True, 'gpu')
    """
    table = shipped_measurements() if table is None else table
    dropped: Counter[str] = Counter()
    for reason, is_left_out in _reasons(table, units, kinds).items():
        dropped[reason] = int(is_left_out.sum())
        table = table.take(~is_left_out) if is_left_out.any() else table
    setting, settings = _settings(table)
    has_setting = setting >= 0
    dropped["no such device or unit in the catalogue"] = int((~has_setting).sum())
    table, setting = table.take(has_setting), setting[has_setting]
    is_impossible = _is_impossible(table, setting, settings)
    dropped["faster than the processor can"] = int(is_impossible.sum())
    table, setting = table.take(~is_impossible), setting[~is_impossible]
    is_old = _is_older_snapshot(table, setting)
    dropped["an older snapshot"] = int(is_old.sum())
    table, setting = table.take(~is_old), setting[~is_old]
    _, key = _grouped([*(table.codes[name] for name in ("graph", "source", "timing")), setting])
    first, ms = _medians(key, table.numbers["latency_ms"])
    dropped["repeated"] = len(table) - len(first)
    table, setting = table.take(first), setting[first]
    codes, texts = table.codes, table.values
    rows = LearningRows(
        references=texts["graph"],
        settings=settings,
        sources=texts["source"],
        timings=texts["timing"],
        qualities=texts["quality"],
        graph=codes["graph"],
        setting=setting,
        source=codes["source"],
        timing=codes["timing"],
        quality=codes["quality"],
        ms=ms,
        dropped=dict(dropped),
    )
    if most is not None:
        rows = rows.take(_chosen(rows, most, seed))
    return rows.compact()


def _reasons(
    table: MeasurementTable, units: Collection[str], kinds: Collection[str]
) -> dict[str, NDArray[np.bool_]]:
    """Rows that are left out for each reason, those of no reason before it alone."""
    wanted = [name for name in table.values["unit"] if _UNITS.get(name) in units]
    flags = set(NOT_TAUGHT)
    bad = [text for text in table.values["quality"] if flags & set(text.split(", "))]
    # A flag of its own: the catalogue may have the chip.
    chips = [name for name in table.values["hardware"] if _CHIP_OF_CARD.search(name)]
    ok = [text for text in bad if flags & set(text.split(", ")) == {"part of the card"}]
    is_bad = table.where("quality", bad) & ~(
        table.where("quality", ok) & table.where("hardware", chips)
    )
    unstated = [name for name in table.values["source"] if name.startswith(_WITHOUT_PRECISION)]
    is_unstated = (
        table.where("source", unstated)
        & table.where("precision", [""])
        & ~table.where("runtime", _INT8_TOOLS)
    )
    graphless = [text for text in table.values["graph"] if not has_graph(text)]
    reasons = {
        "of another unit or kind": ~table.where("unit", wanted) | ~table.where("kind", kinds),
        "of another mode or an estimate": ~table.where("mode", _LEARNED_MODES)
        | table.where("timing", ["estimate"])
        | (table.numbers["batch"] == 0)
        | ~table.where("precision", _LEARNED_PRECISIONS),
        "of an unknown precision": is_unstated,
        "with a flag of NOT_TAUGHT": is_bad,
        "without a graph": table.where("graph", graphless),
    }
    left = np.ones(len(table), dtype=np.bool_)
    for reason, is_out in reasons.items():
        reasons[reason] = is_out[left]
        left &= ~is_out
    return reasons


def _settings(table: MeasurementTable) -> tuple[NDArray[np.int32], tuple[Setting, ...]]:
    """Position of each row's setting, -1 for a row without, and the distinct settings."""
    texts = ("hardware", "device", "unit", "cores", "runtime", "precision")
    columns = [table.codes[name] for name in texts]
    columns += [table.numbers[name] for name in ("threads", "batch")]
    first, which = _grouped(columns)
    positions: dict[str, int] = {}
    settings: list[Setting] = []
    found = np.full(len(first), -1, dtype=np.int32)
    for k, values in enumerate(zip(*(column[first].tolist() for column in columns), strict=True)):
        row: dict[str, Any] = {
            name: table.values[name][code] for name, code in zip(texts, values, strict=False)
        }
        setting = setting_of(row | {"threads": values[-2], "batch": values[-1]})
        if setting is not None:
            if setting.key not in positions:
                positions[setting.key] = len(settings)
                settings.append(setting)
            found[k] = positions[setting.key]
    return found[which], tuple(settings)


def _grouped(columns: Sequence[NDArray[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First row of each distinct combination of whole numbers, and each row's combination."""
    group: NDArray[np.int64] = np.zeros(len(columns[0]), dtype=np.int64)
    first = group[:1]
    for column in columns:
        # Numbered anew after each column, so that the product stays small.
        group = group * (int(column.max(initial=0)) + 1) + column
        _, first, group = np.unique(group, return_index=True, return_inverse=True)
    return first, group


def _is_impossible(
    table: MeasurementTable, setting: NDArray[np.int32], settings: Sequence[Setting]
) -> NDArray[np.bool_]:
    """Whether a network took less time than its products at `_LARGEST_SHARE` of the peak do."""
    networks = shipped_network_graphs()
    macs_of = dict(zip(networks.references, networks.macs, strict=True))
    macs = np.array([macs_of.get(name, 0) for name in table.values["graph"]])[table.codes["graph"]]
    is_known = macs > 0
    peaks = np.zeros(len(settings))
    for k in np.unique(setting[is_known]):
        peaks[k] = max(settings[k].processor.peak_tflops.values())
    operations = 2 * macs * table.numbers["batch"]
    most = _LARGEST_SHARE * 1e9 * peaks[setting] * table.numbers["latency_ms"]
    result: NDArray[np.bool_] = is_known & (operations > most)
    return result


def _is_older_snapshot(table: MeasurementTable, setting: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether a newer snapshot of the row's source has its graph and setting."""
    names = table.values["source"]
    is_old = np.zeros(len(table), dtype=np.bool_)
    newer: set[tuple[int, int]] = set()
    for name in _SNAPSHOTS:
        if name in names:
            rows = np.flatnonzero(table.codes["source"] == names.index(name))
            graphs = table.codes["graph"][rows].tolist()
            pairs = list(zip(graphs, setting[rows].tolist(), strict=True))
            is_old[rows] = [pair in newer for pair in pairs]
            newer |= set(pairs)
    return is_old


def _medians(
    key: NDArray[np.int64], ms: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """First row of each key, and the median of its rows."""
    _, first, count = np.unique(key, return_index=True, return_counts=True)
    order = np.lexsort((ms, key))
    starts = np.cumsum(count) - count
    low, high = (ms[order[starts + half]] for half in ((count - 1) // 2, count // 2))
    # Latencies multiply.
    return first, np.sqrt(low * high)


def _chosen(rows: LearningRows, most: int, seed: int) -> NDArray[np.int64]:
    """At most so many rows of one source, setting and package of graphs or operator."""
    packages: dict[str, int] = {}
    of_reference = np.array(
        [packages.setdefault(_package(name), len(packages)) for name in rows.references]
    )
    _, group = _grouped([rows.source, rows.setting, of_reference[rows.graph]])
    order = np.random.default_rng(seed).permutation(len(rows))
    order = order[np.argsort(group[order], kind="stable")]
    groups = group[order]
    place_in_group = np.arange(len(rows)) - np.searchsorted(groups, groups)
    return np.sort(order[place_in_group < most])


def _package(reference: str) -> str:
    match = _OPERATOR.match(reference)
    return match[0] if match else reference.partition(":")[0]
