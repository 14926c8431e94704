"""Judge predicted latencies by cells that were not learned and devices that were left out.

    python -m experiments.latency.latency_quality

Needs the left-out predictions of `train_latency.py`. `measured`: other cells on measured devices.
`left_out`: each device left out, on other cells. `unseen`: HELP's six unseen devices over all
cells, where HELP's known devices are known, with and without the RTX 2080 Ti. Writes
results/latency_quality.json.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from experiments.accuracy.floors import roofline
from experiments.common import Array, cells, covered, split, write_result
from experiments.latency.methods import errors
from experiments.zoo.train_latency import (
    HELP,
    SMALLEST_MS,
    left_out_file,
    left_out_residuals,
    table,
    zero_shot_width,
)
from nasplug import load_predictor
from nasplug.predicting.zoo import ArchitecturePredictor
from nasplug.predictors.statistics.calibration import LEVELS
from nasplug.search_spaces import Graph


def inside(truth: Array, log_predicted: Array, quantiles: Array) -> float:
    """Share of the truths inside the central 90 % interval."""
    usual = truth >= SMALLEST_MS
    residual = np.log(truth[usual]) - log_predicted[usual]
    low, high = np.interp([0.05, 0.95], LEVELS, quantiles)
    return float(((residual >= low) & (residual <= high)).mean())


def unseen() -> list[dict[str, Any]]:
    """HELP's unseen devices, known by their specification alone, over all cells."""
    truth, columns = table()
    rows = []
    for name, also_known in HELP.items():
        with np.load(left_out_file(name)) as stored:
            predicted, unseen_columns = stored["predicted"], stored["columns"]
        for place, k in enumerate(unseen_columns):
            column = columns[k]
            rows.append(
                {
                    "column": column.plain_key,
                    "runtime": column.runtime,
                    "also_known": also_known,
                    **errors(np.exp(predicted[:, place]), truth[:, k], SMALLEST_MS),
                }
            )
    return rows


def measured(graphs: list[Graph], predictor: ArchitecturePredictor) -> list[dict[str, Any]]:
    """Cells that were not learned, on measured devices."""
    truth, columns = table()
    _, held_out = split()
    chosen = [graphs[i] for i in held_out]
    rows: list[dict[str, Any]] = []
    for k, column in enumerate(columns):
        prediction = predictor.model.predict(chosen, column.hardware, column.batch_size)
        actual = truth[held_out, k]
        usual = actual >= SMALLEST_MS
        rows.append(
            {
                "device": column.hardware.name,
                "batch_size": column.batch_size,
                "kind": column.hardware.kind,
                **errors(prediction.mean[:, 0], actual, SMALLEST_MS),
                "coverage": float(covered(prediction, actual)[usual].mean()),
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def left_out(graphs: list[Graph]) -> list[dict[str, Any]]:
    """Devices that were left out, on other cells, beside two floors."""
    truth, columns = table()
    train, held_out = split()
    names = list(dict.fromkeys(column.hardware.name for column in columns))
    logs = np.log(np.maximum(truth, SMALLEST_MS))
    chosen = [graphs[i] for i in held_out]
    residuals = {name: left_out_residuals(name, truth, columns, train) for name in names}
    rows: list[dict[str, Any]] = []
    for name in names:
        with np.load(left_out_file(name)) as stored:
            predicted, on_device = stored["predicted"][held_out], stored["columns"]
        others = [j for j, c in enumerate(columns) if c.hardware.name != name]
        mean_others = np.exp(logs[held_out][:, others].mean(1))
        # The interval of a left-out device may only know the other left-out devices.
        others_known = {other: r for other, r in residuals.items() if other != name}
        quantiles = zero_shot_width(residuals[name][0], others_known)
        low, high = np.interp([0.05, 0.95], LEVELS, quantiles)
        for log_predicted, k in zip(predicted.T, on_device, strict=True):
            column, actual = columns[k], truth[held_out, k]
            rows.append(
                {
                    "device": name,
                    "batch_size": column.batch_size,
                    "kind": column.hardware.kind,
                    **errors(np.exp(log_predicted), actual, SMALLEST_MS),
                    "coverage": inside(actual, log_predicted, quantiles),
                    "interval_factor": [float(np.exp(low)), float(np.exp(high))],
                    "roofline": errors(roofline(chosen, column), actual, SMALLEST_MS),
                    "mean_of_other_devices": errors(mean_others, actual, SMALLEST_MS),
                }
            )
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def mean(rows: list[dict[str, Any]], key: str) -> float:
    return float(np.mean([row[key] for row in rows]))


def summary(known: list[dict[str, Any]], unknown: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over measured and over left-out columns, of GPUs and of other devices."""
    gpus, others = ([r for r in known if (r["kind"] == "gpu") == gpu] for gpu in (True, False))
    means: dict[str, Any] = {
        "measured_devices": {
            "columns": len(known),
            "mean_spearman": mean(known, "spearman"),
            "gpu_mean_mape_percent": mean(gpus, "mape_percent"),
            "gpu_largest_mape_percent": max(row["mape_percent"] for row in gpus),
            "other_mean_mape_percent": mean(others, "mape_percent"),
            "mean_coverage": mean(known, "coverage"),
        }
    }
    for name, gpu in (("gpus", True), ("other_devices", False)):
        rows = [row for row in unknown if (row["kind"] == "gpu") == gpu]
        by_method = {"nasplug": rows}
        for method in ("roofline", "mean_of_other_devices"):
            by_method[method] = [row[method] for row in rows]
        means[f"left_out_{name}"] = {
            method: {f"mean_{key}": mean(part, key) for key in ("spearman", "mape_percent")}
            for method, part in by_method.items()
        } | {"mean_coverage": mean(rows, "coverage")}
    return means


def main() -> None:
    _, graphs = cells()
    predictor = load_predictor("nb201-latency")
    known, unknown = measured(graphs, predictor), left_out(graphs)
    means = summary(known, unknown)
    print(means)
    write_result(
        "latency_quality",
        "nb201-latency",
        predictor={"name": predictor.name, "sha256": predictor.sha256},
        held_out_cells=len(split()[1]),
        summary=means,
        measured=known,
        left_out=unknown,
        unseen=unseen(),
    )


if __name__ == "__main__":
    main()
