"""Seven usual networks on twenty popular devices that were left out, beside all measurements.

    NASPLUG_MIRROR=... python -m experiments.latency.popular_networks [--threads 1] [--fresh]

Each device stands in the runtimes and precisions that are usual there, with the batch size at which
most of the networks were measured. The class models of the package learn all but the device, its
twins, and whatever was measured on them. GPUs leave one chip after the other; CPUs are all of
unlike lines and leave together, one in a dozen of their class; of other processors one NPU leaves
with one GPU. Measurements are all that the package's table has for a network in such a way; a
prediction for one is of what its source timed, on a machine of nobody who is known. Intervals are
the package's, without the errors on the device itself for GPUs and other processors. Writes
results/popular_networks.json; fits are kept in runs/ and not repeated.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.campaign import Options
from experiments.common import RUNS, Array, write_result
from experiments.latency.cpu_data import cpu_measurements
from experiments.latency.gpu_rows import network_rows
from experiments.latency.npu_data import npu_measurements
from experiments.zoo.train_class_models import (
    CLASSES,
    FEWEST_CHIPS,
    MOST_RESIDUALS,
    Residuals,
    residuals_of_folds,
    residuals_of_lines,
)
from nasplug.devices.hardware import hardware
from nasplug.measurements.graphs import graph_of
from nasplug.predicting.zoo import load_predictor
from nasplug.predictors.features.runtimes import Way
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.class_models import ClassModels, class_of
from nasplug.predictors.latency.fused_terms import Script
from nasplug.predictors.latency.intervals import LatencyIntervals
from nasplug.predictors.statistics.calibration import LEVELS, conformal_quantiles
from nasplug.search_spaces import Graph
from nasplug.search_spaces.files import atomic_path

# Network -> its names in the table of measurements; the first one stands where none was measured.
NETWORKS = {
    "ResNet-18": (
        *("torchvision:resnet18@224", "timm:resnet18@224", "ncnn:resnet18"),
        "pytorchcv:resnet18@224",
    ),
    "ResNet-50": (
        *("torchvision:resnet50@224", "timm:resnet50@224", "ncnn:resnet50"),
        "pytorchcv:resnet50@224",
    ),
    "MobileNetV2": (
        *("torchvision:mobilenet_v2@224", "timm:mobilenetv2_100@224", "ncnn:mobilenet_v2"),
        "pytorchcv:mobilenetv2_w1@224",
    ),
    "EfficientNet-B0": (
        *("torchvision:efficientnet_b0@224", "timm:efficientnet_b0@224", "ncnn:efficientnet_b0"),
    ),
    "ViT-B/16": (
        *("torchvision:vit_b_16@224", "timm:vit_base_patch16_224@224"),
        "transformers:google/vit-base-patch16-224-in21k@224",
    ),
    "ConvNeXt-T": ("torchvision:convnext_tiny@224", "timm:convnext_tiny@224"),
    "BERT-base": ("transformers:google-bert/bert-base-uncased@1x384",),
}
_BIG = Way("tflite", "fp32", "cpu big", 1)
_TFLITE_GPU = Way("tflite", "fp16", "gpu")
_QNN = (Way("qnn", "fp16", "npu"), Way("qnn", "int8", "npu"))
# Device -> ways that are usual there, and the batch size.
DEVICES: dict[str, tuple[tuple[Way, ...], int]] = {
    "V100": ((Way("eager", "fp16"),), 12),
    "A100 40GB": ((Way("eager", "fp16"), Way("eager", "tf32")), 12),
    "T4": ((Way("paddle tensorrt", "fp16"), Way("tensorrt", "int8")), 1),
    "L4": ((Way("tensorrt", "int8"),), 1),
    "GTX 1080 Ti": ((Way("eager", "fp32"),), 12),
    "RTX 2080 Ti": ((Way("eager", "fp16"),), 12),
    "RTX 3090": ((Way("eager nhwc", "fp16"),), 1024),
    "RTX 4090": ((Way("compiled", "fp16"), Way("eager nhwc", "fp16")), 256),
    "Jetson AGX Orin": ((Way("tensorrt", "int8", "gpu"),), 1),
    "Jetson Xavier NX": ((Way("tensorrt", "int8", "gpu"),), 1),
    "Raspberry Pi 4": ((Way("ncnn", "", "cpu", 4), Way("tflite", "fp32", "cpu", 4)), 1),
    "RK3588": ((Way("ncnn", "", "cpu", 4),), 1),
    "Pixel 4": ((_BIG, _TFLITE_GPU), 1),
    "Exynos 9820": ((_BIG, _TFLITE_GPU), 1),
    "iPhone XS": ((_BIG, _TFLITE_GPU), 1),
    "Galaxy S24": (_QNN, 1),
    "Galaxy S25": (_QNN, 1),
    "Snapdragon X Elite": (_QNN, 1),
    "Core i9-10940X": ((Way("compiled", "fp32"),), 1),
    "Ryzen 9 5950X": ((Way("ncnn", "", "", 16),), 1),
}
# Devices by the names that people know.
TITLES = {"Exynos 9820": "Galaxy S10 (Exynos 9820)"}
LOW, HIGH = 0.05, 0.95


class Measured(NamedTuple):
    """Measurement of one of the networks.

    Attributes:
        network: One of `NETWORKS`.
        script: How it was timed, for the model of GPUs; None elsewhere.
    """

    network: str
    reference: str
    graph: Graph
    column: Setting
    chip: str
    ms: float
    source: str
    script: Script | None


@cache
def measurements() -> tuple[Measured, ...]:
    """All measurements of the networks on the devices, in whatever way."""
    names = {ref: network for network, refs in NETWORKS.items() for ref in refs}
    rows = [
        Measured(
            names[r.reference],
            *(r.reference, r.graph, r.column, r.chip, r.ms, r.script.name),
            replace(r.script, name=""),
        )
        for r in network_rows(list(names))
    ]
    rows += [
        Measured(
            names[r.reference],
            *(r.reference, r.graph, r.column, r.chip, r.ms, r.source),
            None,
        )
        for r in cpu_measurements()
        if r.reference in names
    ]
    rows += [
        Measured(names[r.reference], r.reference, r.graph, r.setting, r.chip, r.ms, r.source, None)
        for r in npu_measurements()
        if r.reference in names
    ]
    return tuple(row for row in rows if row.column.hardware.name in DEVICES)


def of_way(device: str, way: Way) -> list[Measured]:
    """Measurements on a device in a way."""
    return [
        row
        for row in measurements()
        if row.column.hardware.name == device and row.column.way.plain == way.plain
    ]


def setting(device: str, way: Way, batch_size: int) -> Setting:
    """Setting in the words of the tables of measurements."""
    return Setting(hardware(device), batch_size, way.runtime, way.precision, way.unit, way.threads)


def chips() -> dict[str, dict[str, None]]:
    """Class -> chips of the devices in it, in their order."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for device, (ways, _) in DEVICES.items():
        for way in ways:
            name = class_of(setting(device, way, 1))
            for row in of_way(device, way):
                found[name][row.chip] = None
    return found


def groups() -> dict[str, list[list[str]]]:
    """Class -> chips that leave together."""
    known = {name: list(names) for name, names in chips().items()}
    units = {row.chip: row.unit for row in npu_measurements()}
    npus = [chip for chip in known["other"] if units[chip] == "npu"]
    gpus = [chip for chip in known["other"] if units[chip] == "gpu"]
    pairs = [[chip for chip in pair if chip] for pair in zip_longest(npus, gpus)]
    return {"gpu": [[chip] for chip in known["gpu"]], "cpu": [known["cpu"]], "other": pairs}


def fitted(name: str, left_out: Sequence[str], fresh: bool) -> ClassModels:
    """Model of a class that has not seen some chips; its arrays are kept in runs/."""
    path = Path(RUNS) / "popular-networks" / f"{name} {' '.join(left_out)}.npz".replace("/", "-")
    if fresh or not path.exists():
        learned = CLASSES[name]
        rows, more = learned.rows(), learned.more() if learned.more else None
        kept, operators = (
            None
            if part is None
            else part.take(np.flatnonzero([chip not in left_out for chip in part.chips]))
            for part in (rows, more)
        )
        assert kept is not None
        model = learned.fit(kept, operators)
        path.parent.mkdir(parents=True, exist_ok=True)
        card = np.array(json.dumps(model.described()))
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **model.tensors(), card=card)
        print(path.name, flush=True)
    with np.load(path) as arrays:
        tensors = {key: arrays[key] for key in arrays.files if key != "card"}
        card = json.loads(str(arrays["card"]))
    return ClassModels.restored({name: tensors}, {name: card})


def without(residuals: Residuals, chip: str) -> dict[str, Array]:
    """Quantiles of the errors on other chips, by group, as the package has them on all."""
    found = {}
    for group, by_chip in residuals.items():
        others = {name: values for name, values in by_chip.items() if name != chip}
        if len(others) >= FEWEST_CHIPS or group.endswith(" all"):
            rng = np.random.default_rng(0)
            arrays = [rng.choice(values, MOST_RESIDUALS) for values in others.values()]
            quantiles = conformal_quantiles(np.concatenate(arrays))
            found[group] = quantiles - np.interp(0.5, LEVELS, quantiles)
    return found


def bounds_of(
    column: Setting, chip: str, graph: Graph, levels: Sequence[float] = (LOW, HIGH)
) -> tuple[float, ...]:
    """Logarithms of bounds over the prediction, below which the truth is with probabilities."""
    shipped: Any = load_predictor("network-latency", "torch").model
    widths = dict(shipped._intervals.widths)
    name = class_of(column)
    if name != "cpu":
        own = _residuals(name)
        for group in [g for g in widths if g in own]:
            del widths[group]
        widths |= without(own, chip)
    intervals = LatencyIntervals({}, widths, {})
    shape, _, width = intervals.spread(shipped.groups([graph], column), column, measured=False)
    return tuple((width[0] * np.interp(levels, LEVELS, shape)).tolist())


@cache
def _residuals(name: str) -> Residuals:
    return residuals_of_folds("gpu") if name == "gpu" else residuals_of_lines()


def predicted(classes: ClassModels, row: Measured) -> float:
    """Milliseconds that a measurement would take, as its source timed."""
    log = float(classes.log_latency([row.graph], [row.column])[0, 0])
    model: Any = classes.models[class_of(row.column)]
    if row.script is not None:
        timed = model.log_latency([row.graph], [row.column], [row.script])
        log += float((timed - model.log_latency([row.graph], [row.column]))[0])
    return float(np.exp(log))


def cells_of(device: str, way: Way, batch_size: int, classes: ClassModels) -> list[dict[str, Any]]:
    """A row a network and batch size; the first of a network is the one that a page shows."""
    rows = of_way(device, way)
    chip = rows[0].chip
    found = []
    for network, references in NETWORKS.items():
        graph = graph_of(references[0])
        usual = Measured(network, references[0], graph, rows[0].column, chip, 0.0, "", None)
        own = [row for row in rows if row.network == network]
        sizes = {row.column.batch_size for row in own} or {batch_size}
        for size in sorted(sizes, key=lambda size: abs(np.log(size / batch_size))):
            measured = [row for row in own if row.column.batch_size == size]
            asked = measured or [usual._replace(column=setting(device, way, size))]
            each = [predicted(classes, row) for row in asked]
            middle = float(np.exp(np.median(np.log(each))))
            low, high = bounds_of(setting(device, way, size), chip, asked[0].graph)
            cell: dict[str, Any] = {
                "device": TITLES.get(device, device),
                "runtime": way.runtime,
                "precision": way.precision,
                "unit": way.unit,
                "threads": way.threads,
                "network": network,
                "batch_size": size,
                "is_shown": size == min(sizes, key=lambda s: abs(np.log(s / batch_size))),
                "predicted_ms": middle,
                "low_ms": middle * float(np.exp(low)),
                "high_ms": middle * float(np.exp(high)),
                "measured": [
                    {"ms": row.ms, "predicted_ms": ms, "source": row.source, "graph": row.reference}
                    for row, ms in zip(measured, each, strict=False)
                ],
            }
            if measured:
                logs = np.log([ms / row.ms for row, ms in zip(measured, each, strict=True)])
                cell["ratio"] = float(np.exp(np.median(logs)))
            found.append(cell)
    return found


def summary(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Errors over cells that were measured."""
    some = [cell for cell in cells if cell["measured"]]
    logs = np.abs(np.log([cell["ratio"] for cell in some]))
    off = 100 * np.abs(np.array([cell["ratio"] for cell in some]) - 1)
    covered = [
        cell["low_ms"] <= cell["predicted_ms"] / cell["ratio"] <= cell["high_ms"] for cell in some
    ]
    widths = [cell["high_ms"] / cell["low_ms"] for cell in some]
    return {
        "cells": len(some),
        "median_percent": float(np.median(off)),
        "mean_percent": float(np.mean(off)),
        "within_10_percent": 100 * float((off <= 10).mean()),
        "within_30_percent": 100 * float((off <= 30).mean()),
        "beyond_2": int((logs > np.log(2)).sum()),
        "covered_percent": 100 * float(np.mean(covered)),
        "median_upper_over_lower": float(np.median(widths)),
    }


def main() -> None:
    options = Options(__doc__, fresh=True).parse_args()
    classes = {
        (name, chip): fitted(name, group, options.fresh)
        for name, parts in groups().items()
        for group in parts
        for chip in group
    }
    cells = []
    for device, (ways, batch_size) in DEVICES.items():
        for way in ways:
            key = class_of(setting(device, way, 1)), of_way(device, way)[0].chip
            cells += cells_of(device, way, batch_size, classes[key])
    shown = [cell for cell in cells if cell["is_shown"]]
    kinds = {"shown": shown, "all batch sizes": cells}
    write_result(
        "popular_networks",
        left_out_together=groups(),
        summary={name: summary(some) for name, some in kinds.items()},
        cells=cells,
    )


if __name__ == "__main__":
    main()
