"""Train the shipped latency predictor of whole networks, and those that judge it.

    python -m experiments.zoo.train_network_latency [--threads 1] [--epochs 45] [--part zoo]

Parts, each kept in runs/ and not repeated: `devices-K` leaves a fold of devices out of training (of
all sources and at all batch sizes), `sources-NAME` a source of networks; `zoo` trains on everything
and takes from the others the widths of its intervals for devices and networks that were not
measured. Without `--part` all of them in that order. train_class_models.py then gives the shipped
predictor the models of classes of processors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.campaign import Options, missing
from experiments.common import RUNS, ZOO, Array, provenance
from experiments.latency.latency_data import Source, joined, source
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.intervals import device_group
from nasplug.predictors.latency.network_latency import NetworkLatency, NetworkLatencyConfig
from nasplug.predictors.statistics.calibration import left_out_quantiles
from nasplug.predictors.training.config import TrainingResult
from nasplug.search_spaces import InputError
from nasplug.search_spaces.files import atomic_path

# The data sets that the sources are made of, beside what was measured on a CPU here.
TABLES = (
    *("nb201-latency", "fbnet-latency", "ofa-latency", "accel", "nnlqp-nasbench201"),
    "timm-latency",
)
# Networks of each source that may be learned from; the following ones are judged by.
COUNTS = {
    "nb201": 1000,
    "nb201-exported": 600,
    "fbnet": 1000,
    "ofa": 800,
    "accel": 800,
    "nnlqp": 800,
    "cpu": 10**6,
    "timm": 10**6,
}
JUDGED = 400
# At most so many are learned, by the shipped predictor and where something is left out.
MOST, FEWER = 800, 300
# Sources whose networks are few, so that a share of them is judged.
SMALL = ("cpu", "timm")
LEARNED_SHARE = 0.85
SMALLEST_MS = 0.1
# HELP's unseen devices are one fold; the others are spread so that each fold has all kinds.
FOLDS: tuple[tuple[str, ...], ...] = (
    (
        *("Titan RTX", "Xeon Gold 6226", "Pixel 2", "Raspberry Pi 4", "ZC706", "Eyeriss"),
        # Not among HELP's known devices.
        "RTX 2080 Ti",
    ),
    (
        *("GTX 1080 Ti", "Xeon Silver 4114", "Galaxy A50", "VCK190", "TPU v2", "A100 40GB"),
        *("GTX 1660", "RTX 4090"),
    ),
    ("RTX 2080 Ti", "Xeon Gold 6240", "Pixel 3", "ZCU102", "TPU v3", "Core i9-10940X"),
    ("Titan X", "Xeon Silver 4210R", "Galaxy S7", "Essential PH-1", "V100", "RTX 3090"),
)
# Source -> the sources that go with it: networks of the same kind, on whatever device. The devices
# of the other sources are known by those alone.
SOURCES = {"nb201": ("nb201", "nb201-exported", "nnlqp"), "fbnet": ("fbnet",), "ofa": ("ofa",)}


def sources(judged: bool = False, most: int = 10**6, without: Sequence[str] = ()) -> list[Source]:
    """Sources to learn from, at most so many networks each; or other networks to judge by."""
    parts = []
    for name, count in COUNTS.items():
        if name in without:
            continue
        try:
            every = source(name, None if name in SMALL else count + JUDGED)
        except InputError as error:
            # The networks of timm are there only where timm was.
            print(f"without {name}: {error}", flush=True)
            continue
        learned = round(LEARNED_SHARE * len(every.graphs)) if name in SMALL else count
        rows = range(learned, len(every.graphs)) if judged else range(min(learned, most))
        parts.append(every.rows(rows))
    return parts


def config(epochs: int) -> NetworkLatencyConfig:
    """The sizes of all predictors here."""
    usual = NetworkLatencyConfig()
    return replace(usual, training=replace(usual.training, epochs=epochs, patience=epochs))


def without_devices(parts: list[Source], names: tuple[str, ...]) -> list[Source]:
    """The sources without the columns of some devices; a source of none of the others goes."""
    remaining = [part.only(lambda column: column.hardware.name not in names) for part in parts]
    return [part for part in remaining if part.columns]


def trained(parts: list[Source], epochs: int, folder: Path) -> NetworkLatency:
    """A predictor that has learned from some sources."""
    graphs, latencies, columns, groups = joined(parts)
    predictor = NetworkLatency(config(epochs))
    results: list[TrainingResult] = []
    predictor.fit(graphs, latencies, columns, groups=groups, folder=folder, report=results.append)
    print(folder.name, results, flush=True)
    return predictor


def left_out_file(part: str) -> Path:
    """File of the predictions of what was left out."""
    return RUNS / "network-latency" / f"{part}.npz"


def judged_by(part: str) -> list[Source]:
    """Networks and columns that judge a part: devices or a source that it left out.

    A source that was left out is judged on the devices that are known by other sources.
    """
    kind, _, which = part.partition("-")
    judged = sources(judged=True)
    if kind == "devices":
        names = FOLDS[int(which)]
        judged = [p.only(lambda column: column.hardware.name in names) for p in judged]
    else:
        known = {c.key for p in sources() if p.name not in SOURCES[which] for c in p.columns}
        judged = [p.only(lambda column: column.key in known) for p in judged if p.name == which]
    return [p for p in judged if p.columns]


def leave_out(part: str, epochs: int) -> None:
    """Train without a fold of devices or a source, and keep what is predicted of it."""
    learned, folder = sources(most=FEWER), RUNS / "network-latency" / part
    kind, _, which = part.partition("-")
    if kind == "devices":
        names = FOLDS[int(which)]
        predictor = trained(without_devices(learned, names), epochs, folder)
    else:
        others = [p for p in learned if p.name not in SOURCES[which]]
        predictor = trained(others, epochs, folder)
    tensors: dict[str, NDArray[Any]] = {
        p.name: predictor.log_latency(p.graphs, p.columns) for p in judged_by(part)
    }
    if part == "devices-0":
        for name in ("nb201", "nb201-exported"):
            every = source(name)
            columns = [c for c in every.columns if c.hardware.name in FOLDS[0]]
            tensors[f"all {name}"] = predictor.log_latency(every.graphs, columns)
            tensors[f"columns of all {name}"] = np.array([c.key for c in columns])
    with atomic_path(left_out_file(part)) as temporary:
        np.savez(temporary, **tensors)


def residuals(part: str) -> dict[tuple[str, str], tuple[Setting, Array]]:
    """(source, column key) -> the column, and log(truth) − log(prediction) of what was left out."""
    by_column = {}
    with np.load(left_out_file(part)) as stored:
        for p in judged_by(part):
            if p.name not in stored:
                continue
            truth = np.log(np.where(p.latencies >= SMALLEST_MS, p.latencies, np.nan))
            for column, errors in zip(p.columns, (truth - stored[p.name]).T, strict=True):
                by_column[p.name, column.key] = (column, errors[np.isfinite(errors)])
    return by_column


def widths(parts: list[str]) -> dict[str, Array]:
    """Residual quantiles of left-out devices and sources, by `device_group`."""
    grouped: dict[str, list[Array]] = {}
    for part in parts:
        prefix = "zero-shot" if part.startswith("devices") else "unfamiliar"
        for column, errors in residuals(part).values():
            if len(errors):
                name = f"{prefix} {device_group(column.hardware)}"
                grouped.setdefault(name, []).append(errors)
    return {name: left_out_quantiles(errors) for name, errors in grouped.items()}


def main() -> None:
    parser = Options(__doc__)
    parser.add_argument("--epochs", type=int, default=45)
    parser.add_argument("--left-out-epochs", type=int, default=16)
    parser.add_argument("--part")
    options = parser.parse_args()
    parts = [f"devices-{k}" for k in range(len(FOLDS))] + [f"sources-{name}" for name in SOURCES]
    wanted = parts if options.part is None else [options.part]
    for part in missing({part: left_out_file(part) for part in wanted if part != "zoo"}):
        leave_out(part, options.left_out_epochs)
    if options.part not in (None, "zoo"):
        return
    predictor = trained(sources(most=MOST), options.epochs, RUNS / "network-latency" / "zoo")
    predictor.set_widths(widths([part for part in parts if left_out_file(part).exists()]))
    predictor.save(
        ZOO / "network-latency",
        {
            "name": "network-latency",
            "space": "nnlqp",
            "description": "Latency (ms a forward pass) of whole networks on a described device",
            "training": {
                "networks": {part.name: len(part.graphs) for part in sources(most=MOST)},
                "columns": list(predictor.devices),
                "epochs": options.epochs,
            },
            "provenance": provenance(*TABLES),
        },
    )


if __name__ == "__main__":
    main()
