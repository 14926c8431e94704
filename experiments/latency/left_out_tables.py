"""The tables of docs/latency.md: errors on chips that were left out, and what they should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

from experiments.tables import MISSING, Row, grouped, load, section, table

# Blocks of left_out_chips.json and groups of left_out_cpus.json, as a page names them.
GPUS = {
    "whole networks": "GPUs of servers and desktops, whole networks",
    "NeuSight": "the same, NeuSight's transformers in fp32",
    "HW-GPT": "the same, HW-GPT's transformers",
    "search spaces": "the same, cells and networks of search spaces",
    "boards and integrated GPUs": "GPUs of boards and integrated ones",
}
CPUS = {"phones and boards": "CPUs of phones and boards", "x86": "CPUs of x86"}
OTHERS = {
    ("NPU, Hexagon", "fp16"): "Hexagon NPUs, fp16",
    ("NPU, Hexagon", "int8"): "Hexagon NPUs, int8",
    ("NPU, Hexagon", "w8a16"): "Hexagon NPUs, w8a16",
    ("NPU, other", "all"): "other NPUs",
    ("GPU, phone or board", "all"): "GPUs of phones and of boards without CUDA",
    ("GPU, other (Vulkan)", "all"): "desktop GPUs with Vulkan or OpenVINO",
}
CALIBRATED = {"gpu": "GPUs", "cpu": "CPUs", "other": "NPUs, GPUs of phones and boards"}
# Rivals of the model; fewest networks of a table that judges.
GPU_FLOORS, FEWEST_NETWORKS = ("ridge", "scaled roofline", "sibling"), 3
# Least and most cover of 90 % intervals, in percent.
COVER = (87.0, 94.0)
CHECKS = {
    "batch": "a larger batch takes less time",
    "width": "wider layers take less time",
    "side": "larger images take less time",
    "stronger device": "a device with a fifth more of every figure is slower",
    "precision": "half precision or int8 is slower, where the hardware has it",
    "measured": "a measured batch size is a jump between its neighbours",
    "kernels": "the operators take longer than the whole",
}


def _gpu_blocks() -> dict[str, list[Row]]:
    """Tables of left-out GPUs by block, those with too few networks left out."""
    rows = grouped(load("left_out_chips")["left_out"], "block")
    return {
        block: [row for row in rows[(block,)] if row["networks"] >= FEWEST_NETWORKS]
        for block in GPUS
    }


def _errors(rows: Sequence[Row], key: str, figure: str = "mape_percent") -> list[float]:
    """A figure of a method in each table in which it exists."""
    return [row[key][figure] for row in rows if row.get(key) and row[key].get("networks")]


def _gpu_rows() -> list[list[str]]:
    summary = load("left_out_chips")["summary"]
    rows = []
    for block, tables in _gpu_blocks().items():
        errors, shapes = _errors(tables, "model"), _errors(tables, "model", "shape_percent")
        floors = [median(_errors(tables, key)) for key in GPU_FLOORS]
        interval = summary[block]["intervals"]
        rows.append(
            [
                GPUS[block],
                str(len({row["chip"] for row in tables})),
                f"{median(errors):.0f} ({mean(errors):.0f})",
                *(f"{value:.0f}" for value in floors),
                f"{median(shapes):.0f}",
                MISSING,
                f"{interval['mean_covers_percent']:.0f} %",
                f"{interval['median_upper_over_lower']:.1f}",
            ]
        )
    return rows


def _cpu_rows() -> list[list[str]]:
    summary = load("left_out_cpus")["summary"]
    rows = []
    for group, name in CPUS.items():
        row = summary[group]
        model = row["model"]
        rows.append(
            [
                name,
                str(row["chips"]),
                f"{model['mape_percent']:.0f} ({model['mean mape_percent']:.0f})",
                *(f"{row[key]['mape_percent']:.0f}" for key in ("ridge", "roofline", "sibling")),
                f"{model['shape_percent']:.0f}",
                f"{model['spearman']:.3f}",
                f"{100 * row['covered']:.0f} %",
                f"{row['width']:.1f}",
            ]
        )
    return rows


def _other(kind: tuple[str, str]) -> tuple[Row, dict[str, Row]]:
    """Summary of a class of other processors, and its intervals of known and new networks."""
    result = load("left_out_npus")
    rows = {(row["class"], row["precision"]): row for row in result["summary"]}
    intervals = {row["networks"]: row for row in result["intervals"] if row["class"] == kind[0]}
    return rows[kind], intervals


def _other_rows() -> list[list[str]]:
    rows = []
    for kind, name in OTHERS.items():
        row, intervals = _other(kind)
        for key, networks in (("model", "known"), ("new networks", "new")):
            model = row[key]
            rows.append(
                [
                    f"{name}; {networks} networks",
                    str(row["chips"]),
                    f"{model['mape_percent']:.0f} ({model['mean_mape_percent']:.0f})",
                    *(f"{row[f]['mape_percent']:.0f}" for f in ("ridge", "roofline", "sibling")),
                    f"{model['one_factor']:.0f}",
                    f"{model['spearman']:.3f}",
                    f"{intervals[networks]['covered_percent']:.0f} %",
                    f"{intervals[networks]['median_width']:.1f}",
                ]
            )
    return rows


@section("left-out-classes")
def left_out() -> str:
    """A row a class of devices: errors on chips that were left out, beside simple methods."""
    head = "devices; networks | chips | model | ridge | roofline × factor | sibling | "
    head += "shape alone | Spearman | 90 % cover | upper / lower"
    return table(head, [*_gpu_rows(), *_cpu_rows(), *_other_rows()])


def _met(value: float, most: float) -> str:
    return "met" if value <= most else "missed"


def _within(what: str, value: float, most: float, unit: str = "%") -> list[str]:
    """Row of a figure that should be small."""
    return [what, f"≤ {most:g} {unit}", f"{value:.1f} {unit}", _met(value, most)]


def _at_least(
    what: str, value: float, least: float, form: str = ".4f", unit: str = ""
) -> list[str]:
    """Row of a figure that should be large."""
    state = "met" if value >= least else "missed"
    return [what, f"≥ {least:g}{unit}", f"{value:{form}}{unit}", state]


def _interval(what: str, cover: float, width: float, most: float) -> list[str]:
    least, highest = COVER
    met = least <= cover <= highest and width <= most
    target = f"{least:.0f} to {highest:.0f} %, ≤ {most:g}"
    return [f"intervals, {what}", target, f"{cover:.0f} %, {width:.1f}", "met" if met else "missed"]


def _is_below(tables: Sequence[Row]) -> bool:
    """Whether the form is better on a chip than each of its rivals, in the mean over tables."""
    rivals = [errors for key in GPU_FLOORS if (errors := _errors(tables, key))]
    return mean(_errors(tables, "model")) < min(map(mean, rivals))


def _gpu_goals() -> list[list[str]]:
    blocks = _gpu_blocks()
    chips = {
        block: {chip: own for (chip,), own in grouped(rows, "chip").items()}
        for block, rows in blocks.items()
    }
    errors = _errors(blocks["whole networks"], "model")
    whole = [_is_below(own) for own in chips["whole networks"].values()]
    intervals = load("left_out_chips")["summary"]["whole networks"]["intervals"]
    cover, width = intervals["mean_covers_percent"], intervals["median_upper_over_lower"]
    published = (
        ("NeuSight", "H100", 6.1),
        ("NeuSight", "MI250", 7.7),
        ("HW-GPT", "H100", 8),
        ("HW-GPT", "A100", 8),
    )
    return [
        _within("GPUs, whole networks, median", median(errors), 10),
        _within("the same, mean", mean(errors), 15),
        _at_least("the same, chips below all simple methods", 100 * mean(whole), 80, ".0f", " %"),
        *(
            _within(
                f"{block}'s transformers, {chip}", mean(_errors(chips[block][chip], "model")), most
            )
            for block, chip, most in published
        ),
        _interval("GPUs", cover, width, 1.8),
    ]


def _cpu_goals() -> list[list[str]]:
    summary = load("left_out_cpus")["summary"]
    mobile, x86 = summary["phones and boards"], summary["x86"]
    return [
        _within("CPUs of phones and boards, median", mobile["model"]["mape_percent"], 15),
        _at_least("the same, Spearman", mobile["model"]["spearman"], 0.97),
        _within("CPUs of x86, median", x86["model"]["mape_percent"], 20),
        _interval("CPUs of phones and boards", 100 * mobile["covered"], mobile["width"], 2.2),
        _interval("CPUs of x86", 100 * x86["covered"], x86["width"], 2.2),
    ]


def _other_goals() -> list[list[str]]:
    rows = []
    for kind, name in (
        (("NPU, Hexagon", "all"), "Hexagon NPUs"),
        (("NPU, other", "all"), "other NPUs"),
        (("GPU, phone or board", "all"), "GPUs of phones and boards"),
    ):
        row, intervals = _other(kind)
        for key, networks in (("model", "known"), ("new networks", "new")):
            what, own = f"{name}, {networks} networks", intervals[networks]
            rows += [
                _within(f"{what}, median", row[key]["mape_percent"], 25),
                _at_least(f"{what}, Spearman", row[key]["spearman"], 0.93),
                _interval(what, own["covered_percent"], own["median_width"], 3),
            ]
    return rows


def _few() -> dict[tuple[str, int], Mapping[str, Any]]:
    """Summaries of devices that were calibrated on suggested networks, by class and count."""
    rows = load("few_measurements")["summary"]
    return {
        (row["class"], row["measured"]): row
        for row in rows
        if row["method"] in {"data sheet", "suggested"}
    }


def _known_goals() -> list[list[str]]:
    columns = load("network_latency_quality")["measured"]
    cells = load("latency_quality")["summary"]["left_out_gpus"]["nasplug"]
    error = median(row["mape_percent"] for row in columns)
    near = mean(row["acc10_percent"] for row in columns)
    few = _few()
    rows = [
        _within("measured devices, new networks, median over columns", error, 3),
        _at_least("the same, within 10 %", near, 85, ".0f", " %"),
        _within("NAS-Bench-201 cells on a GPU model left out", cells["mean_mape_percent"], 8),
        _at_least("the same, Spearman", cells["mean_spearman"], 0.975),
    ]
    for name, title in CALIBRATED.items():
        none, three, ten = (few[name, count]["median_mape_percent"] for count in (0, 3, 10))
        gain = 100 * (1 - three / none)
        near = few[name, 10]["median_within_10_percent"]
        rows += [
            _at_least(f"{title}, three measurements: less error by", gain, 33, ".1f", " %"),
            _within(f"{title}, ten measurements", ten, 8),
            _at_least("the same, within 10 %", near, 75, ".0f", " %"),
            _interval(
                f"{title}, ten measurements",
                100 * few[name, 10]["mean_coverage"],
                few[name, 10]["median_width"],
                1.4,
            ),
        ]
    return rows


@section("latency-targets")
def targets() -> str:
    """A row a target, and whether it is met."""
    rows = [*_gpu_goals(), *_cpu_goals(), *_other_goals(), *_known_goals()]
    met = sum(row[-1] == "met" for row in rows)
    return f"{met} of {len(rows)} targets are met:\n\n" + table(
        "what | target | reached | state", rows
    )


@section("few-measurements-short")
def few_measurements() -> str:
    """A row a class of devices and number of suggested networks that were measured."""
    few = _few()
    body = [
        _few_row(title, few[name, count])
        for name, title in CALIBRATED.items()
        for count in (0, 1, 3, 10)
    ]
    head = "devices | measured | MAPE %, median | within 10 % | 90 % cover | upper / lower"
    return table(head, body)


def _few_row(title: str, row: Mapping[str, Any]) -> list[str]:
    interval = [MISSING, MISSING]
    if row["mean_coverage"] is not None:
        interval = [f"{row['mean_coverage']:.0%}", f"{row['median_width']:.2f}"]
    return [
        title,
        str(row["measured"]),
        f"{row['median_mape_percent']:.1f}",
        f"{row['median_within_10_percent']:.0f} %",
        *interval,
    ]


@section("sanity")
def sanity() -> str:
    """A row a check of consistency."""
    result = load("sanity")
    body = [
        [
            CHECKS[name],
            f"{row['checked']:,}",
            f"{row['wrong_percent']:.2f}",
            str(row["beyond_5_percent"]),
        ]
        for name, row in result["checks"].items()
    ]
    head: Sequence[str] = ("wrong if", "comparisons", "wrong, %", "by more than 5 %")
    return (
        f"{len(result['devices'])} devices of all kinds, {result['networks']} networks.\n\n"
        + table(head, body)
    )
