"""Judge the roofline of GPUs by GPUs that were left out, beside a ridge regression.

    python -m experiments.latency.gpu_roofline [--threads 1] [--count 120]

A chip is left out with its twins, of all tables (gpu_tables.py); the model and the ridge learn the
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
from experiments.latency.gpu_tables import GpuTable, gpu_table, source_table
from nasplug.predictors.features.roofline import peak_rates
from nasplug.predictors.latency.gpu_roofline import GPU_SETTINGS, GpuRoofline, gpu_setting
from nasplug.search_spaces.costs import FLOAT_BYTES

TABLES = ("nb201-latency", "fbnet-latency", "ofa-latency", "accel", "nnlqp-nasbench201")
# Measurements of each form that are learned, and that judge.
COUNT = 120
JUDGED = 300


def fitted(table: GpuTable, count: int = COUNT) -> GpuRoofline:
    """The model that has learned at most so many measurements of each form, of timm's networks."""
    some = table.at_most(count)
    return GpuRoofline.of(some.graphs, some.columns, some.ms, some.sources, ("timm",))


def ridge_features(table: GpuTable) -> Array:
    rows = []
    for graph, column in zip(table.graphs, table.columns, strict=True):
        half, images = column.is_half, column.batch_size
        peak, bandwidth = peak_rates(column.hardware, half)
        number = FLOAT_BYTES / (1 + half)
        weights = graph.total("params")
        moved = weights + (graph.total("bytes") / FLOAT_BYTES - weights) * images
        logs = np.log(
            [2 * graph.total("flops") * images, number * weights, number * moved, len(graph)]
        )
        setting = [float(gpu_setting(column) == name) for name in GPU_SETTINGS[1:]]
        rows.append([*logs, np.log(peak), np.log(bandwidth), float(half), *setting])
    return np.array(rows)


def ridge(learned: GpuTable, judged: GpuTable, strength: float = 1.0) -> Array:
    """Predicted logarithms of ms; each form weighs as in the model."""
    x, y = ridge_features(learned), np.log(learned.ms)
    counts = Counter(learned.forms)
    weight = np.array([counts[form] ** -0.5 for form in learned.forms])
    weight /= weight.mean()
    center, spread = x.mean(0), x.std(0) + 1e-9
    z = (x - center) / spread
    middle = float((weight * y).sum() / weight.sum())
    system = (z * weight[:, None]).T @ z + strength * np.eye(z.shape[1])
    slopes = np.linalg.solve(system, (z * weight[:, None]).T @ (y - middle))
    return middle + ((ridge_features(judged) - center) / spread) @ slopes


def left_out(chip: str, count: int) -> list[dict[str, Any]]:
    """A row a form of a chip that was left out."""
    learned = gpu_table().without([chip])
    judged = gpu_table().of_chip(chip).at_most(JUDGED) + source_table().of_chip(chip).at_most(
        JUDGED
    )
    model = fitted(learned, count)
    errors = {
        "model": _log_predictions(model, judged) - np.log(judged.ms),
        "ridge": ridge(learned.at_most(count), judged) - np.log(judged.ms),
    }
    rows = []
    for form in dict.fromkeys(judged.forms):
        of_form = np.array([other == form for other in judged.forms])
        row: dict[str, Any] = {"form": form, "networks": int(of_form.sum())}
        for name, error in errors.items():
            off = 100 * np.abs(np.expm1(error[of_form]))
            row[f"{name}_mape_percent"] = float(off.mean())
            row[f"{name}_median_percent"] = float(np.median(off))
        row["bias"] = float(np.median(errors["model"][of_form]))
        rows.append(row)
    return rows


def _log_predictions(model: GpuRoofline, table: GpuTable) -> Array:
    result = np.empty(len(table.ms))
    places: dict[str, list[int]] = {}
    for k, column in enumerate(table.columns):
        places.setdefault(column.key, []).append(k)
    for own in places.values():
        graphs = [table.graphs[k] for k in own]
        result[own] = model.log_latency(graphs, [table.columns[own[0]]])[:, 0]
    return result


def main() -> None:
    parser = Options(__doc__)
    parser.add_argument("--count", type=int, default=COUNT)
    options = parser.parse_args()
    campaign = Campaign(
        "gpu_roofline",
        ("chip",),
        [*TABLES, "timm-latency"],
        rows="left_out",
        learned_of_each_form=options.count,
        judged_of_each_form=JUDGED,
    )
    chips = dict.fromkeys([*gpu_table().chips, *source_table().chips])
    campaign.complete(((chip,) for chip in chips), partial(left_out, count=options.count))


if __name__ == "__main__":
    main()
