"""Train the shipped NAS-Bench-201 latency predictor on half of the cells, and each left-out device.

For every device a predictor is trained that has not seen it (at any batch size). Its errors on that
device set the width of the zero-shot intervals of the shipped predictor, and are kept for
`latency_quality.py`. Devices that are done are not trained again.

    python experiments/train_latency.py [--threads 2]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from common import RUNS, SPLIT_SEED, ZOO, Array, cells, latencies, provenance, split
from numpy.typing import NDArray

from nasplug.predictors.calibration import left_out_quantiles
from nasplug.predictors.files import atomic_path
from nasplug.predictors.latency import DeviceBatch, LatencyConfig, LatencyPredictor, device_group
from nasplug.predictors.training import TrainingConfig, TrainingResult

CALIBRATION_SHARE = 0.15
SMALLEST_MS = LatencyConfig().smallest_ms


def config(epochs: int, members: int) -> LatencyConfig:
    """The sizes of all latency predictors here."""
    return LatencyConfig(
        members=members,
        calibration_share=CALIBRATION_SHARE,
        training=TrainingConfig(
            epochs=epochs,
            batch_size=256,
            learning_rate=2e-3,
            weight_decay=0.01,
            rank_weight=0.0,
        ),
    )


def left_out_file(device: str) -> Path:
    """Where predictions for a left-out device are kept."""
    return RUNS / "left-out" / f"{device.replace(' ', '-')}.npz"


def leave_out(device: str, epochs: int) -> None:
    """Train without `device` and keep its predicted log-latencies of all cells."""
    _, graphs = cells()
    truth, columns = latencies()
    train, _ = split()
    others = [k for k, column in enumerate(columns) if column.hardware.name != device]
    own = [k for k, column in enumerate(columns) if column.hardware.name == device]
    predictor = LatencyPredictor(config(epochs, members=1))
    predictor.fit([graphs[i] for i in train], truth[train][:, others], [columns[k] for k in others])
    predicted = predictor.log_latency(graphs, [columns[k] for k in own])
    with atomic_path(left_out_file(device)) as temporary:
        np.savez(temporary, predicted=predicted, columns=own)
    print(f"left out {device}", flush=True)


def left_out_residuals(
    device: str, truth: Array, columns: list[DeviceBatch], cells: NDArray[np.int64]
) -> tuple[str, Array]:
    """A left-out device's group, and log(truth) − log(prediction) of `cells` at all batch sizes."""
    with np.load(left_out_file(device)) as stored:
        predicted, own = stored["predicted"], stored["columns"]
    errors = []
    for place, column in enumerate(own):
        known = truth[cells, column] >= SMALLEST_MS
        errors.append((np.log(truth[cells, column]) - predicted[cells, place])[known])
    return device_group(columns[own[0]].hardware), np.concatenate(errors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--left-out-epochs", type=int, default=40)
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--out", default=str(ZOO / "nb201-latency"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    _, graphs = cells()
    truth, columns = latencies()
    train, _ = split()
    devices = list(dict.fromkeys(column.hardware.name for column in columns))
    for device in devices:
        if not left_out_file(device).exists():
            leave_out(device, options.left_out_epochs)

    results: list[TrainingResult] = []

    def report(result: TrainingResult) -> None:
        results.append(result)
        print(result, flush=True)

    predictor = LatencyPredictor(config(options.epochs, options.members))
    predictor.fit(
        [graphs[i] for i in train],
        truth[train],
        columns,
        folder=RUNS / f"nb201-latency-{options.epochs}",
        report=report,
    )
    residuals: dict[str, list[Array]] = {}
    for device in devices:
        group, errors = left_out_residuals(device, truth, columns, train)
        residuals.setdefault(group, []).append(errors)
    predictor.set_zero_shot({g: left_out_quantiles(parts) for g, parts in residuals.items()})
    predictor.save(
        options.out,
        {
            "name": "nb201-latency",
            "space": "nb201",
            "description": "Latency (ms a forward pass) of NAS-Bench-201 networks with 32×32 "
            "input on a described device",
            "training": {
                "cells": len(train),
                "split": f"numpy default_rng({SPLIT_SEED}).permutation(15625)[:7812]",
                "columns": [column.key for column in columns],
                "left_out_epochs": options.left_out_epochs,
                "members": [result.__dict__ for result in results],
            },
            "provenance": provenance("nb201-latency"),
        },
    )


if __name__ == "__main__":
    main()
