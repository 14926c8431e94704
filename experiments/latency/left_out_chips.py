"""Latencies of whole networks on GPUs that were left out, chip by chip.

    NASPLUG_MIRROR=... python -m experiments.latency.left_out_chips [--threads 1] [--fresh]

A chip leaves with all its twins, tables and batch sizes, and with its operators. The model
(fused_roofline.py) learns from networks and operators of the other chips (gpu_rows.py). Beside it
are floors that learn the very same networks: a ridge regression on logarithms of work, bytes,
operators, peak and bandwidth with setting and precision; the sum of the operators' rooflines times
the median factor of setting and precision; and the same network's time on the most similar chip
times a ratio of data sheets, whose form is chosen on the learned chips. For a known network in a
known way there is no better simple rule than the last.

Boards and integrated GPUs are a table of their own. A group is what one source measured on one GPU
in one runtime and precision. `shape_percent` is the error that one right factor for the group would
leave. Intervals are quantiles of the residuals of other chips that were left out. Writes
results/left_out_chips.json; finished chips are kept.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from experiments.campaign import Campaign, Options
from experiments.common import Array
from experiments.latency.gpu_rows import OPERATORS, GpuRow, at_most, gpu_rows, operator_rows
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.fused_roofline import FusedRoofline, Script
from nasplug.predictors.latency.gpu_ways import (
    GPU_SETTINGS,
    gpu_precision,
    gpu_setting,
    rates_of,
)
from nasplug.search_spaces import Graph
from nasplug.search_spaces.costs import FLOAT_BYTES

# Measurements of each form that are learned, and that judge.
COUNT, JUDGED = 40, 300
# Shares of the ratio of peaks in a ratio of data sheets; the others are those of the bandwidths.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8")
# Fewer networks than this on a chip say nothing of its errors.
FEWEST = 3
LEVELS = (0.05, 0.95)
# Quantiles of the residuals (truth over prediction) of a group that are kept.
SAMPLED = np.linspace(0.0, 1.0, 21)


def block(row: GpuRow) -> str:
    """Name the table of the results that a measurement belongs to."""
    package = row.source.partition(" ")[0]
    if row.script.name == "sitar-lab":
        return "NeuSight"
    # Memory of a processor's own is that of the computer.
    device = row.column.hardware
    small = device.kind == "edge" or not device.memory_gb
    usual = "boards and integrated GPUs" if small else "whole networks"
    names = {"gpt": "HW-GPT", **dict.fromkeys(("nb201", "fbnet", "ofa"), "search spaces")}
    return names.get(package, usual)


def rates(row: GpuRow) -> tuple[float, float]:
    """Operations and bytes a ms that the data sheet promises for a precision."""
    column = row.column
    found = rates_of(column.hardware, gpu_precision(column), gpu_setting(column))
    peak = max(found.convolutions, found.products)
    return 1e9 * peak, 1e6 * column.hardware.memory_bandwidth_gbs


def log_ms(rows: Sequence[GpuRow]) -> Array:
    """Logarithms of the measured ms."""
    return np.log([row.ms for row in rows])


def ridge_features(rows: Sequence[GpuRow]) -> Array:
    """Logarithms of work, weights, bytes, operators, peak and bandwidth; setting and precision."""
    features = []
    for row in rows:
        graph, column, images = row.graph, row.column, row.column.batch_size
        weights = graph.total("params")
        moved = weights + (graph.total("bytes") / FLOAT_BYTES - weights) * images
        sizes = [2 * graph.total("flops") * images + 1, weights + 1, moved, len(graph)]
        setting = [float(gpu_setting(column) == name) for name in GPU_SETTINGS[1:]]
        precision = [float(gpu_precision(column) == name) for name in PRECISIONS[1:]]
        ways = [float(row.script.kernels), float(row.script.copies)]
        features.append([*np.log(sizes), *np.log(rates(row)), *setting, *precision, *ways])
    return np.array(features)


def ridge(learned: Sequence[GpuRow], judged: Sequence[GpuRow], strength: float = 1.0) -> Array:
    """Logarithms of ms by a ridge regression in which a group weighs as in the model."""
    x, y, forms = ridge_features(learned), log_ms(learned), [row.form for row in learned]
    counts = Counter(forms)
    weight = np.array([counts[form] ** -0.5 for form in forms])
    weight /= weight.mean()
    center, spread = x.mean(0), x.std(0) + 1e-9
    z = (x - center) / spread
    middle = float((weight * y).sum() / weight.sum())
    system = (z * weight[:, None]).T @ z + strength * np.eye(z.shape[1])
    slopes = np.linalg.solve(system, (z * weight[:, None]).T @ (y - middle))
    result: Array = middle + ((ridge_features(judged) - center) / spread) @ slopes
    return result


def roofline(row: GpuRow) -> float:
    """Logarithm of the sum of the rooflines of a network's operators, in ms."""
    graph, images = row.graph, row.column.batch_size
    peak, bandwidth = rates(row)
    column = row.column
    found = rates_of(column.hardware, gpu_precision(column), gpu_setting(column))
    weights = graph.attribute("params")
    activations = np.maximum(graph.attribute("bytes") / FLOAT_BYTES - weights, 0) * images
    moved = weights * found.weight_bytes + activations * found.number_bytes
    arithmetic = 2 * graph.attribute("flops") * images / peak
    return float(np.log(np.maximum(arithmetic, moved / bandwidth).sum()))


def scaled_roofline(learned: Sequence[GpuRow], judged: Sequence[GpuRow]) -> Array:
    """Logarithms of ms: rooflines times the median factor of their setting and precision."""
    factors = defaultdict(list)
    for row in learned:
        factor = np.log(row.ms) - roofline(row)
        for key in (way(row), None):
            factors[key].append(factor)
    ways = [way(row) if way(row) in factors else None for row in judged]
    medians = [float(np.median(factors[key])) for key in ways]
    return np.array([roofline(row) for row in judged]) + medians


def way(row: GpuRow) -> tuple[str, str, bool]:
    """Setting, precision, and whether kernels alone are timed."""
    return gpu_setting(row.column), gpu_precision(row.column), row.script.kernels


def sibling(learned: Sequence[GpuRow], judged: Sequence[GpuRow]) -> Array:
    """Logarithms of ms from the same network on the GPU that is most like it; NaN without one."""
    measured = defaultdict(list)
    for row in learned:
        measured[same(row)].append(row)
    pairs = [
        (per_image(b) - per_image(a), ratios(a, b))
        for rows in measured.values()
        for a, b in combinations(rows[:8], 2)
        if a.chip != b.chip
    ]
    gaps, ratio = np.array([gap for gap, _ in pairs]), np.array([both for _, both in pairs])
    mixed = [np.abs(gaps - ratio @ (share, 1 - share)).mean() for share in SHARES]
    share = SHARES[int(np.argmin(mixed))]
    result = np.full(len(judged), np.nan)
    for k, row in enumerate(judged):
        others = measured.get(same(row), [])
        if others:
            nearest = min(others, key=lambda other: unlike(other, row))
            scaled = float(ratios(nearest, row) @ (share, 1 - share))
            result[k] = per_image(nearest) + scaled + np.log(row.column.batch_size)
    return result


def unlike(a: GpuRow, b: GpuRow) -> tuple[bool, float]:
    """Distance of two measurements of a network: another batch size, then other data sheets."""
    return a.column.batch_size != b.column.batch_size, float(np.abs(ratios(a, b)).sum())


def ratios(a: GpuRow, b: GpuRow) -> Array:
    """Logarithms of the ratios of peaks and bandwidths of the GPU of `a` to that of `b`."""
    result: Array = np.log(rates(a)) - np.log(rates(b))
    return result


def same(row: GpuRow) -> tuple[str, str, str, str]:
    """Key that is the same for one network on two GPUs, whoever measured."""
    return (row.reference, *way(row)[:2], block(row))


def per_image(row: GpuRow) -> float:
    """Logarithm of ms an image."""
    return float(np.log(row.ms / row.column.batch_size))


def left_out(chip: str, count: int) -> list[dict[str, Any]]:
    """A row a group of a chip that was left out."""
    others = [row for row in gpu_rows() if row.chip != chip]
    operators = [row for row in operator_rows() if row.chip != chip]
    judged = at_most([row for row in gpu_rows() if row.chip == chip], JUDGED)
    learned = at_most(others, count)
    truth = log_ms(judged)
    known = {same(row) for row in others}
    errors = {
        "model": predicted(fitted(learned, operators), judged) - truth,
        "ridge": ridge(learned, judged) - truth,
        "scaled roofline": scaled_roofline(learned, judged) - truth,
        "sibling": sibling(others, judged) - truth,
    }
    groups = defaultdict(list)
    for k, row in enumerate(judged):
        groups[row.form].append(k)
    rows = []
    for form, places in groups.items():
        first = judged[places[0]]
        row: dict[str, Any] = {
            "group": form,
            "block": block(first),
            "networks": len(places),
            "known_networks": sum(same(judged[k]) in known for k in places),
        }
        for name, error in errors.items():
            row[name] = figures(error[places])
        residuals = np.quantile(-errors["model"][places], SAMPLED)
        row["residuals"] = [round(float(residual), 4) for residual in residuals]
        rows.append(row)
    return rows


def fitted(networks: Sequence[GpuRow], operators: Sequence[GpuRow]) -> FusedRoofline:
    """The model that has learned some measurements."""
    rows = [*networks, *operators]
    weights = np.repeat([1.0, OPERATORS], [len(networks), len(operators)])
    return FusedRoofline.of(*inputs(rows), weights)


def inputs(rows: Sequence[GpuRow]) -> tuple[list[Graph], list[Setting], Array, list[Script]]:
    """Graphs, columns, ms and scripts of measurements."""
    graphs, columns, scripts = (
        [getattr(r, n) for r in rows] for n in ("graph", "column", "script")
    )
    return graphs, columns, np.array([row.ms for row in rows]), scripts


def predicted(model: FusedRoofline, rows: Sequence[GpuRow]) -> Array:
    """Logarithms of ms that a model predicts."""
    graphs, columns, _, scripts = inputs(rows)
    return model.log_latency(graphs, columns, scripts)


def figures(errors: Array) -> dict[str, float] | None:
    """Figures of errors of logarithms; None where there is no prediction."""
    errors = errors[np.isfinite(errors)]
    if not len(errors):
        return None
    off, middle = 100 * np.abs(np.expm1(errors)), float(np.median(errors))
    return {
        "networks": len(errors),
        "mape_percent": float(off.mean()),
        "median_percent": float(np.median(off)),
        "within_10_percent": float(100 * (off <= 10).mean()),
        "bias": middle,
        "shape_percent": float(100 * np.abs(np.expm1(errors - middle)).mean()),
    }


def interval_of(row: dict[str, Any], rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Quantiles of residuals of other chips, those in the same setting and block if there are."""
    others = [r for r in rows if r["chip"] != row["chip"] and r["block"] == row["block"]]
    setting = [r for r in others if r["group"].split("|")[2:] == row["group"].split("|")[2:]]
    chips = {r["chip"] for r in setting}
    pool = setting if len(chips) >= FEWEST else others
    # Each group weighs the same.
    values = np.array([r["residuals"] for r in pool])
    low, high = np.quantile(values, LEVELS)
    return float(low), float(high)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Errors over groups, by block, with floors; chips below their floors; intervals."""
    result: dict[str, Any] = {}
    for name in dict.fromkeys(row["block"] for row in rows):
        part = [row for row in rows if row["block"] == name and row["networks"] >= FEWEST]
        if not part:
            continue
        entry: dict[str, Any] = {}
        for model in ("model", "ridge", "scaled roofline", "sibling"):
            errors = [row[model]["mape_percent"] for row in part if row[model]]
            if errors:
                entry[model] = {
                    "groups": len(errors),
                    "median_mape_percent": float(np.median(errors)),
                    "mean_mape_percent": float(np.mean(errors)),
                }
        shapes = [row["model"]["shape_percent"] for row in part]
        entry["shape_percent"] = {
            "median": float(np.median(shapes)),
            "mean": float(np.mean(shapes)),
        }
        entry["chips"] = {
            chip: by_chip([row for row in part if row["chip"] == chip])
            for chip in dict.fromkeys(row["chip"] for row in part)
        }
        covers, widths = [], []
        for row in part:
            low, high = interval_of(row, rows)
            values = np.array(row["residuals"])
            row["interval"] = {
                "covers_percent": float(100 * ((values >= low) & (values <= high)).mean()),
                "upper_over_lower": float(np.exp(high - low)),
            }
            covers.append(row["interval"]["covers_percent"])
            widths.append(row["interval"]["upper_over_lower"])
        entry["intervals"] = {
            "mean_covers_percent": float(np.mean(covers)),
            "median_upper_over_lower": float(np.median(widths)),
        }
        result[name] = entry
    return result


def by_chip(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean error of a chip's groups and of floors, each on the groups that a floor has."""
    result: dict[str, Any] = {"model": float(np.mean([r["model"]["mape_percent"] for r in rows]))}
    below = []
    for name in ("ridge", "scaled roofline", "sibling"):
        both = [(r["model"]["mape_percent"], r[name]["mape_percent"]) for r in rows if r[name]]
        if both:
            result[name] = float(np.mean([floor for _, floor in both]))
            below.append(np.mean([own for own, _ in both]) <= result[name])
    result["below_every_floor"] = bool(np.all(below))
    return result


def main() -> None:
    parser = Options(__doc__, fresh=True)
    parser.add_argument("--count", type=int, default=COUNT)
    options = parser.parse_args()
    campaign = Campaign(
        "left_out_chips",
        ("chip",),
        rows="left_out",
        fresh=options.fresh,
        learned_of_each_form=options.count,
        judged_of_each_form=JUDGED,
    )
    counts = Counter(row.chip for row in gpu_rows())
    chips = [chip for chip, count in counts.most_common() if count >= FEWEST]
    campaign.complete(((chip,) for chip in chips), partial(left_out, count=options.count))
    rows = campaign.rows
    campaign.add(*rows, summary=summary(rows))


if __name__ == "__main__":
    main()
