"""Judge the roofline of GPUs by GPUs that were left out, beside a ridge regression.

    python -m experiments.latency.gpu_roofline [--threads 1] [--count 120] [--fresh]

A chip is left out with its twins, of all tables (gpu_data.py); the model and the ridge learn the
very same measurements of the others, and are judged by the sources of latency_data.py as well. The
ridge sees the logarithms of operations, bytes of parameters and of all, operators, peak throughput
and bandwidth, the precision and the setting. Writes results/gpu_roofline.json; finished chips are
not repeated.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import numpy as np

from experiments.campaign import Campaign, Options
from experiments.common import Array
from experiments.latency.gpu_data import (
    Measurements,
    at_most,
    gpu_measurements,
    source_measurements,
    without,
)
from nasplug.predictors.features.roofline import peak_rates
from nasplug.predictors.latency.gpu_roofline import GPU_SETTINGS, GpuRoofline, gpu_setting
from nasplug.search_spaces.costs import FLOAT_BYTES

TABLES = ("nb201-latency", "fbnet-latency", "ofa-latency", "accel", "nnlqp-nasbench201")
# Measurements of each form that are learned, and that judge.
COUNT = 120
JUDGED = 300


def fitted(rows: Measurements, count: int = COUNT) -> GpuRoofline:
    """The model that has learned at most so many measurements of each form, of timm's networks."""
    graphs, columns, ms, sources, *_ = zip(*at_most(rows, count), strict=True)
    return GpuRoofline.of(graphs, columns, np.array(ms), sources, ("timm",))


def ridge_features(rows: Measurements) -> Array:
    features = []
    for graph, column, *_ in rows:
        half, images = column.is_half, column.batch_size
        peak, bandwidth = peak_rates(column.hardware, half)
        number = FLOAT_BYTES / (1 + half)
        weights = graph.total("params")
        moved = weights + (graph.total("bytes") / FLOAT_BYTES - weights) * images
        logs = np.log(
            [2 * graph.total("flops") * images, number * weights, number * moved, len(graph)]
        )
        setting = [float(gpu_setting(column) == name) for name in GPU_SETTINGS[1:]]
        features.append([*logs, np.log(peak), np.log(bandwidth), float(half), *setting])
    return np.array(features)


def log_ms(rows: Measurements) -> Array:
    """Logarithms of the measured ms."""
    return np.log([row.ms for row in rows])


def ridge(learned: Measurements, judged: Measurements, strength: float = 1.0) -> Array:
    """Predicted logarithms of ms; each form weighs as in the model."""
    x, y, forms = ridge_features(learned), log_ms(learned), [row.form for row in learned]
    counts = Counter(forms)
    weight = np.array([counts[form] ** -0.5 for form in forms])
    weight /= weight.mean()
    center, spread = x.mean(0), x.std(0) + 1e-9
    z = (x - center) / spread
    middle = float((weight * y).sum() / weight.sum())
    system = (z * weight[:, None]).T @ z + strength * np.eye(z.shape[1])
    slopes = np.linalg.solve(system, (z * weight[:, None]).T @ (y - middle))
    return middle + ((ridge_features(judged) - center) / spread) @ slopes


def left_out(chip: str, count: int) -> list[dict[str, Any]]:
    """A row a form of a chip that was left out."""
    learned = without(gpu_measurements(), [chip])
    judged: Measurements = []
    for table in (gpu_measurements(), source_measurements()):
        judged += at_most([row for row in table if row.chip == chip], JUDGED)
    model = fitted(learned, count)
    predicted = [model.log_latency([row.graph], [row.column])[0, 0] for row in judged]
    errors = {
        "model": np.array(predicted) - log_ms(judged),
        "ridge": ridge(at_most(learned, count), judged) - log_ms(judged),
    }
    forms = [row.form for row in judged]
    rows = []
    for form in dict.fromkeys(forms):
        of_form = np.array([other == form for other in forms])
        row: dict[str, Any] = {"form": form, "networks": int(of_form.sum())}
        for name, error in errors.items():
            off = 100 * np.abs(np.expm1(error[of_form]))
            row[f"{name}_mape_percent"] = float(off.mean())
            row[f"{name}_median_percent"] = float(np.median(off))
        row["bias"] = float(np.median(errors["model"][of_form]))
        rows.append(row)
    return rows


def main() -> None:
    parser = Options(__doc__, fresh=True)
    parser.add_argument("--count", type=int, default=COUNT)
    options = parser.parse_args()
    campaign = Campaign(
        "gpu_roofline",
        ("chip",),
        [*TABLES, "timm-latency"],
        rows="left_out",
        fresh=options.fresh,
        learned_of_each_form=options.count,
        judged_of_each_form=JUDGED,
    )
    chips = dict.fromkeys(row.chip for row in [*gpu_measurements(), *source_measurements()])
    campaign.complete(((chip,) for chip in chips), partial(left_out, count=options.count))


if __name__ == "__main__":
    main()
