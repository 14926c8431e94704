"""Train the shipped NAS-Bench-201 latency predictor on half of the cells, and each left-out device.

For every device a predictor is trained that has not seen it (at any batch size). Its errors on that
device set the width of the zero-shot intervals of the shipped predictor, and are kept for
`latency_quality.py`. So are the predictions for HELP's unseen devices of two that know HELP's known
devices, one of which also knows the RTX 2080 Ti. What is done is not trained again.

    python -m experiments.zoo.train_latency [--threads 2]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.campaign import Options, missing
from experiments.common import RUNS, SPLIT_SEED, ZOO, Array, cells, latencies, provenance, split
from experiments.latency.latency_data import as_measured
from nasplug.datasets.help_protocol import PROTOCOLS
from nasplug.predictors.features.devices import compute_class
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.cell_latency import LatencyConfig, LatencyPredictor
from nasplug.predictors.statistics.calibration import left_out_quantiles
from nasplug.predictors.training.config import TrainingConfig, TrainingResult
from nasplug.search_spaces.files import atomic_path

CALIBRATION_SHARE = 0.15
SMALLEST_MS = LatencyConfig().smallest_ms
# What is left out -> which device is known that is not among HELP's known ones.
HELP: dict[str, str | None] = {
    "unseen devices of HELP": None,
    "unseen devices of HELP, RTX 2080 Ti known": "RTX 2080 Ti",
}


def config(epochs: int, members: int) -> LatencyConfig:
    """The sizes of all latency predictors here."""
    return LatencyConfig(
        members=members,
        calibration_share=CALIBRATION_SHARE,
        training=TrainingConfig(
            epochs=epochs, batch_size=256, learning_rate=2e-3, weight_decay=0.01, rank_weight=0.0
        ),
    )


def left_out_file(device: str) -> Path:
    """File of the predictions for a left-out device."""
    return RUNS / "left-out" / f"{device.replace(',', '').replace(' ', '-')}.npz"


def table() -> tuple[Array, list[Setting]]:
    """Latencies of all cells, and what they were measured on."""
    truth, columns = latencies()
    return truth, as_measured(columns)


def leave_out(device: str, epochs: int, members: int = 1) -> None:
    """Train without `device` and keep its predicted log-latencies of all cells.

    A name in `HELP` stands for HELP's unseen devices.
    """
    _, graphs = cells()
    truth, columns = table()
    train, _ = split()
    keys = [column.plain_key for column in columns]
    if device in HELP:
        protocol = PROTOCOLS["nb201"]
        others = [keys.index(key) for key in (*protocol.meta_train, *protocol.meta_validation)]
        others += [k for k, column in enumerate(columns) if column.hardware.name == HELP[device]]
        left_out = [keys.index(key) for key in protocol.meta_test]
    else:
        others = [k for k, column in enumerate(columns) if column.hardware.name != device]
        left_out = [k for k, column in enumerate(columns) if column.hardware.name == device]
    predictor = LatencyPredictor(config(epochs, members))
    predictor.fit(
        [graphs[i] for i in train],
        truth[train][:, others],
        [columns[k] for k in others],
        folder=left_out_file(device).with_suffix(""),
    )
    predicted = predictor.log_latency(graphs, [columns[k] for k in left_out])
    with atomic_path(left_out_file(device)) as temporary:
        np.savez(temporary, predicted=predicted, columns=left_out)
    print(f"left out {device}", flush=True)


def left_out_residuals(
    device: str, truth: Array, columns: list[Setting], cells: NDArray[np.int64]
) -> tuple[str, Array]:
    """A left-out device's class, and log(truth) − log(prediction) of `cells` at all batch sizes."""
    with np.load(left_out_file(device)) as stored:
        predicted, left_out = stored["predicted"], stored["columns"]
    errors = []
    for place, column in enumerate(left_out):
        usual = truth[cells, column] >= SMALLEST_MS
        errors.append((np.log(truth[cells, column]) - predicted[cells, place])[usual])
    return compute_class(columns[left_out[0]].hardware), np.concatenate(errors)


def zero_shot_width(group: str, residuals: dict[str, tuple[str, Array]]) -> Array:
    """Quantiles of the errors of zero-shot predictions on devices of a class.

    Accelerators are too few to tell of themselves: theirs are those of CPUs and accelerators.

    Args:
        group: The class.
        residuals: Device -> its class and its residuals (`left_out_residuals`).
    """
    alike = ("accelerator", "cpu") if group == "accelerator" else (group,)
    return left_out_quantiles([own for other, own in residuals.values() if other in alike])


def main() -> None:
    parser = Options(__doc__, threads=2)
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--left-out-epochs", type=int, default=40)
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--out", default=str(ZOO / "nb201-latency"))
    options = parser.parse_args()
    _, graphs = cells()
    truth, columns = table()
    train, _ = split()
    devices = list(dict.fromkeys(column.hardware.name for column in columns))
    for name in missing({name: left_out_file(name) for name in [*HELP, *devices]}):
        if name in HELP:
            # As the shipped predictor is trained, on fewer devices.
            leave_out(name, options.epochs, options.members)
        else:
            leave_out(name, options.left_out_epochs)

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
    residuals = {name: left_out_residuals(name, truth, columns, train) for name in devices}
    classes = {group for group, _ in residuals.values()}
    predictor.set_zero_shot({group: zero_shot_width(group, residuals) for group in classes})
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
                "columns": list(predictor.devices),
                "left_out_epochs": options.left_out_epochs,
                "members": [result.__dict__ for result in results],
            },
            "provenance": provenance("nb201-latency"),
        },
    )


if __name__ == "__main__":
    main()
