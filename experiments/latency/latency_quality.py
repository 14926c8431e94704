"""How well latencies are predicted: cells that were not learned, and devices that were left out.

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
from scipy.stats import spearmanr

from experiments.accuracy.floors import roofline
from experiments.common import Array, cells, provenance, split, write_result
from experiments.zoo.train_latency import (
    HELP,
    SMALLEST_MS,
    left_out_file,
    left_out_residuals,
    table,
    zero_shot_width,
)
from nasplug import load_predictor
from nasplug.predictors.statistics.calibration import LEVELS


def errors(predicted: Array, truth: Array) -> dict[str, float]:
    """Spearman over all cells; MAPE over those without degenerate measurements."""
    known = truth >= SMALLEST_MS
    relative = np.abs(predicted[known] - truth[known]) / truth[known]
    return {
        "spearman": float(spearmanr(predicted, truth)[0]),
        "mape_percent": float(100 * relative.mean()),
    }


def inside(truth: Array, log_predicted: Array, quantiles: Array) -> float:
    """Share of the truths inside the central 90 % interval."""
    known = truth >= SMALLEST_MS
    residual = np.log(truth[known]) - log_predicted[known]
    low, high = np.interp([0.05, 0.95], LEVELS, quantiles)
    return float(((residual >= low) & (residual <= high)).mean())


def unseen() -> list[dict[str, Any]]:
    """HELP's unseen devices, known by their specification alone, over all cells."""
    truth, columns = table()
    rows = []
    for name, also_known in HELP.items():
        with np.load(left_out_file(name)) as stored:
            predicted, own = stored["predicted"], stored["columns"]
        for place, k in enumerate(own):
            column = columns[k]
            rows.append(
                {
                    "column": column.plain_key,
                    "runtime": column.runtime,
                    "also_known": also_known,
                    **errors(np.exp(predicted[:, place]), truth[:, k]),
                }
            )
    return rows


def main() -> None:
    _, graphs = cells()
    truth, columns = table()
    train, held_out = split()
    predictor = load_predictor("nb201-latency")
    measured: list[dict[str, Any]] = []
    for k, column in enumerate(columns):
        prediction = predictor.model.predict(
            [graphs[i] for i in held_out], column.hardware, column.batch_size
        )
        actual = truth[held_out, k]
        known = actual >= SMALLEST_MS
        lower, upper = prediction.lower[:, 0], prediction.upper[:, 0]
        covered = (actual >= lower) & (actual <= upper)
        measured.append(
            {
                "device": column.hardware.name,
                "batch_size": column.batch_size,
                "kind": column.hardware.kind,
                **errors(prediction.mean[:, 0], actual),
                "coverage": float(covered[known].mean()),
            }
        )
        print(measured[-1], file=sys.stderr, flush=True)

    names = list(dict.fromkeys(column.hardware.name for column in columns))
    logs = np.log(np.maximum(truth, SMALLEST_MS))
    left_out = []
    residuals = {name: left_out_residuals(name, truth, columns, train) for name in names}
    for name in names:
        with np.load(left_out_file(name)) as stored:
            predicted, own = stored["predicted"], stored["columns"]
        for place, k in enumerate(own):
            column, actual = columns[k], truth[held_out, k]
            others = [j for j, c in enumerate(columns) if c.hardware.name != name]
            # The interval of a left-out device may only know the other left-out devices.
            others_known = {other: r for other, r in residuals.items() if other != name}
            quantiles = zero_shot_width(residuals[name][0], others_known)
            mean_others = np.exp(logs[held_out][:, others].mean(1))
            low, high = np.interp([0.05, 0.95], LEVELS, quantiles)
            left_out.append(
                {
                    "device": name,
                    "batch_size": column.batch_size,
                    "kind": column.hardware.kind,
                    **errors(np.exp(predicted[held_out, place]), actual),
                    "coverage": inside(actual, predicted[held_out, place], quantiles),
                    "interval_factor": [float(np.exp(low)), float(np.exp(high))],
                    "roofline": errors(roofline([graphs[i] for i in held_out], column), actual),
                    "mean_of_other_devices": errors(mean_others, actual),
                }
            )
            print(left_out[-1], file=sys.stderr, flush=True)

    def mean(rows: list[dict[str, Any]], *keys: str, gpu: bool | None = None) -> float:
        values = []
        for row in rows:
            if gpu is None or gpu == (row["kind"] == "gpu"):
                value: Any = row
                for key in keys:
                    value = value[key]
                values.append(value)
        return float(np.mean(values))

    summary = {
        "measured_devices": {
            "columns": len(measured),
            "mean_spearman": mean(measured, "spearman"),
            "gpu_mean_mape_percent": mean(measured, "mape_percent", gpu=True),
            "gpu_largest_mape_percent": max(
                r["mape_percent"] for r in measured if r["kind"] == "gpu"
            ),
            "other_mean_mape_percent": mean(measured, "mape_percent", gpu=False),
            "mean_coverage": mean(measured, "coverage"),
        },
        **{
            f"left_out_{name}": {
                method: {
                    "mean_spearman": mean(left_out, *path, "spearman", gpu=gpu),
                    "mean_mape_percent": mean(left_out, *path, "mape_percent", gpu=gpu),
                }
                for method, path in (
                    ("nasplug", ()),
                    ("roofline", ("roofline",)),
                    ("mean_of_other_devices", ("mean_of_other_devices",)),
                )
            }
            | {"mean_coverage": mean(left_out, "coverage", gpu=gpu)}
            for name, gpu in (("gpus", True), ("other_devices", False))
        },
    }
    print(summary)
    write_result(
        "latency_quality",
        {
            "predictor": {"name": predictor.name, "sha256": predictor.sha256},
            "held_out_cells": len(held_out),
            "summary": summary,
            "measured": measured,
            "left_out": left_out,
            "unseen": unseen(),
            "provenance": provenance("nb201-latency"),
        },
    )


if __name__ == "__main__":
    main()
