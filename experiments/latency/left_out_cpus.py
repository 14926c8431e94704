"""Judge the roofline of CPUs by chips that were left out, beside three floors.

    python -m experiments.latency.left_out_cpus [--threads 1] [--fresh]

Chips are left out with their twins (cpu_data.py), a fold of them at once, of all tables. The floors
learn the very same measurements: a ridge regression of logarithms; the sum of the operators'
rooflines times the factor of the runtime and precision; and the measurement of the same network in
the same runtime and precision on the chip that is most like it, times a ratio of data sheets whose
exponent is chosen on the measurements that are learned. Intervals of 90 % for a chip come from the
residuals of the other chips of its class. Folds are kept in runs/ and not repeated. Writes
results/left_out_cpus.json: a row a chip, runtime, precision, cluster, threads and source, and for
each class medians over chips; shape errors are those that one right factor a setting would leave.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from experiments.campaign import Options
from experiments.common import RUNS, Array, write_result
from experiments.latency.cpu_data import CpuMeasurement, cpu_measurements
from nasplug.predictors.features.settings import Setting
from nasplug.predictors.latency.cpu_numbers import CPU_RUNTIMES
from nasplug.predictors.latency.cpu_roofline import CpuRoofline
from nasplug.predictors.latency.cpu_terms import core_kind, cpu_precision
from nasplug.search_spaces import Graph
from nasplug.search_spaces.files import atomic_path

FOLDS = 6
# Networks of a chip, setting and source that judge.
JUDGED = 12
MODELS = ("model", "model, usual source", "model, unknown networks", "ridge", "roofline", "sibling")
RIDGE = 1.0
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
LEVELS = (0.05, 0.95)
# Chips that a runtime needs for intervals of its own.
FEWEST_CHIPS = 5
# Classes of the goals -> groups of cpu_data.py.
CLASSES = {
    "phones and boards": ("qed tflite", "qed pytorch mobile", "mlperf", "ncnn"),
    "x86": (
        *("pytorch-image-models", "openvino", "HW-GPT-Bench", "HELP servers", "brp-nas"),
        "ai_inference_device_benchmark",
    ),
}
Rows = Sequence[CpuMeasurement]


def fold_of_chips(rows: Rows) -> dict[str, int]:
    """Fold of each chip: those with many measurements are spread evenly, phones first."""
    counts: dict[str, int] = defaultdict(int)
    for row in rows:
        counts[row.chip] += 100 if row.group.startswith(("qed", "mlperf")) else 1
    order = sorted(counts, key=lambda chip: (-counts[chip], chip))
    rng = np.random.default_rng(0)
    folds = {}
    for start in range(0, len(order), FOLDS):
        for chip, fold in zip(order[start : start + FOLDS], rng.permutation(FOLDS), strict=False):
            folds[chip] = int(fold)
    return folds


def setting_key(row: CpuMeasurement) -> tuple[Any, ...]:
    """What a row of the results is about."""
    column = row.column
    device = column.hardware.name
    way = (column.runtime, column.precision, column.unit, column.threads)
    return (row.group, row.chip, device, *way, row.source)


def judging(rows: Rows) -> list[CpuMeasurement]:
    """Some networks of each chip, setting and source, by chance."""
    counts: dict[tuple[Any, ...], int] = defaultdict(int)
    kept = []
    for k in np.random.default_rng(1).permutation(len(rows)):
        key = setting_key(rows[k])
        counts[key] += 1
        if counts[key] <= JUDGED:
            kept.append(rows[k])
    return kept


def _rates(column: Setting) -> Array:
    """Logarithms of operations and bytes a ms of the cores that are used, at a precision."""
    used, precision = column.processor, cpu_precision(column)
    more = {"fp16": used.peak_tflops.get("fp16"), "int8 dot": used.peak_tflops.get("int8")}
    peak = more.get(precision) or used.peak_tflops["fp32"]
    return np.log([1e9 * peak, 1e6 * used.memory_bandwidth_gbs])


def _features(rows: Rows) -> Array:
    """Features of the ridge regression, `(rows, features)`."""
    sizes: dict[Graph, list[float]] = {}
    rates: dict[str, Array] = {}
    table = []
    for row in rows:
        graph = row.graph
        if graph not in sizes:
            totals = [graph.total(name) for name in ("flops", "bytes", "params")]
            sizes[graph] = [float(np.log1p(t)) for t in (*totals, len(graph))]
        column = row.column
        if column.key not in rates:
            used = column.processor
            rates[column.key] = np.array(
                [*_rates(column), np.log(used.clock_ghz), np.log(used.units)]
            )
        runtime = [float(column.runtime == name) for name in CPU_RUNTIMES]
        precision = [float(cpu_precision(column) == name) for name in ("fp16", "int8", "int8 dot")]
        batch = float(np.log(column.batch_size))
        table.append([*sizes[graph], *rates[column.key], batch, *runtime, *precision, 1.0])
    return np.array(table)


def ridge(learned: Rows, judged: Rows) -> Array:
    """Logarithms of ms by a regression on logarithms of sizes and data sheets."""
    x, y = _features(learned), np.log([row.ms for row in learned])
    scale = x.std(0) + 1e-9
    scale[-1] = 1.0
    x = x / scale
    weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ y)
    result: Array = _features(judged) / scale @ weights
    return result


def _roofline(row: CpuMeasurement) -> float:
    graph, (peak, bandwidth) = row.graph, np.exp(_rates(row.column))
    images = row.column.batch_size
    arithmetic = 2 * graph.attribute("flops") * images / peak
    moved = graph.attribute("bytes") * images / bandwidth
    return float(np.log(np.maximum(arithmetic, moved).sum()))


def roofline(learned: Rows, judged: Rows) -> Array:
    """Logarithms of ms: rooflines times the median factor of their runtime and precision."""
    factors = defaultdict(list)
    for row in learned:
        factor = np.log(row.ms) - _roofline(row)
        for key in (_way(row), ("", "")):
            factors[key].append(factor)
    medians = {key: float(np.median(values)) for key, values in factors.items()}
    ways = [_way(row) if _way(row) in medians else ("", "") for row in judged]
    return np.array([_roofline(row) + medians[way] for row, way in zip(judged, ways, strict=True)])


def _way(row: CpuMeasurement) -> tuple[str, str]:
    return row.column.runtime, cpu_precision(row.column)


def sibling(learned: Rows, judged: Rows) -> Array:
    """Logarithms of ms from the same network on the chip that is most like it; NaN without one."""
    rates = {row.column.key: _likeness(row.column) for row in (*learned, *judged)}
    measured = defaultdict(list)
    for row in learned:
        measured[_same(row)].append(row)
    tables = {
        key: (rows, np.stack([rates[row.column.key] for row in rows]))
        for key, rows in measured.items()
    }

    def nearest(row: CpuMeasurement) -> CpuMeasurement | None:
        if _same(row) not in tables:
            return None
        rows, table = tables[_same(row)]
        apart = np.abs(table - rates[row.column.key]).sum(1)
        apart[[other.chip == row.chip for other in rows]] = np.inf
        place = int(np.argmin(apart))
        return rows[place] if np.isfinite(apart[place]) else None

    def gaps(rows: Rows) -> tuple[Array, Array, NDArray[np.bool_]]:
        pairs = [(row, nearest(row)) for row in rows]
        logs = [np.nan if other is None else np.log(other.ms) for _, other in pairs]
        ratios = [
            np.zeros(2) if other is None else (rates[other.column.key] - rates[row.column.key])[:2]
            for row, other in pairs
        ]
        return np.array(logs), np.array(ratios), np.isfinite(logs)

    some = [learned[k] for k in np.random.default_rng(0).permutation(len(learned))[:1000]]
    logs, ratios, known = gaps(some)
    truth = np.log([row.ms for row in some])
    errors = [
        np.abs((logs + ratios @ (share, 1 - share) - truth)[known]).mean() for share in SHARES
    ]
    share = SHARES[int(np.argmin(errors))]
    logs, ratios, _ = gaps(judged)
    result: Array = logs + ratios @ (share, 1 - share)
    return result


def _likeness(column: Setting) -> Array:
    """Logarithms of operations and bytes a ms, and of the cores."""
    return np.array([*_rates(column), np.log(column.processor.units)])


def _same(row: CpuMeasurement) -> tuple[str, str, bool]:
    return row.reference, row.column.runtime, row.column.precision == "int8"


def left_out(fold: int) -> dict[str, Array]:
    """Errors of all models, in log units, on the chips of a fold."""
    every = cpu_measurements()
    folds = fold_of_chips(every)
    learned = [row for row in every if folds[row.chip] != fold]
    judged = judging([row for row in every if folds[row.chip] == fold])
    model = CpuRoofline.of(
        [row.graph for row in learned],
        [row.column for row in learned],
        np.array([row.ms for row in learned]),
        [row.source for row in learned],
        np.array([row.weight for row in learned]),
    )
    asked = ([row.graph for row in judged], [row.column for row in judged])
    sources = [row.source for row in judged]
    truth = np.log([row.ms for row in judged])
    few = judging(learned)
    logs: dict[str, Array] = {
        "model": model.log_latency(*asked, sources),
        "model, usual source": model.log_latency(*asked),
        "model, unknown networks": model.log_latency(*asked, sources, known=False),
        "ridge": ridge(few, judged),
        "roofline": roofline(few, judged),
        "sibling": sibling(learned, judged),
    }
    return {name: values - truth for name, values in logs.items()} | {"truth": truth}


def fold_errors(fold: int, fresh: bool) -> dict[str, Array]:
    """`left_out`, kept in runs/."""
    path = Path(RUNS) / "left-out-cpus" / f"{fold}.npz"
    if fresh or not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **left_out(fold))
    with np.load(path) as arrays:
        return dict(arrays)


def _percent(errors: Array) -> float | None:
    errors = errors[np.isfinite(errors)]
    return round(float(100 * np.abs(np.expm1(errors)).mean()), 2) if len(errors) else None


def _rank(logs: Array, truth: Array) -> float | None:
    if len(truth) < 5 or np.ptp(truth) == 0:
        return None
    return round(float(spearmanr(logs, truth).statistic), 4)


def result_rows(judged: Rows, errors: dict[str, Array]) -> list[dict[str, Any]]:
    """A row of the results for each chip, setting and source."""
    places = defaultdict(list)
    for k, row in enumerate(judged):
        places[setting_key(row)].append(k)
    bounds = intervals(judged, errors["model"])
    rows = []
    for key, where in places.items():
        names = ("group", "chip", "device", "runtime", "precision", "unit", "threads", "source")
        row: dict[str, Any] = {**dict(zip(names, key, strict=True)), "networks": len(where)}
        truth = errors["truth"][where]
        for name in MODELS:
            error = errors[name][where]
            known = error[np.isfinite(error)]
            row[name] = {
                "mape_percent": _percent(error),
                "bias": round(float(np.median(known)), 3) if len(known) else None,
                "shape_percent": _percent(error - np.median(known)) if len(known) else None,
                "spearman": _rank(error + truth, truth) if len(known) == len(error) else None,
            }
        low, high = bounds[where].T
        residual = -errors["model"][where]
        row["covered"] = round(float(((residual >= low) & (residual <= high)).mean()), 3)
        row["width"] = round(float(np.exp(np.median(high - low))), 2)
        rows.append(row)
    return rows


def intervals(judged: Rows, errors: Array) -> Array:
    """Bounds of log(truth) − log(prediction), by the residuals of the other chips of each class.

    A runtime that enough chips of a class were measured in has bounds of its own.
    """
    classes = np.array([_interval_class(row) for row in judged])
    runtimes = np.array([row.column.runtime for row in judged])
    chips = np.array([row.chip for row in judged])
    bounds = np.zeros((len(judged), 2))
    keys = zip(classes.tolist(), runtimes.tolist(), chips.tolist(), strict=True)
    for name, runtime, chip in dict.fromkeys(keys):
        alike = (classes == name) & (runtimes == runtime)
        own = alike & (chips == chip)
        if len(set(chips[alike])) < FEWEST_CHIPS:
            alike = classes == name
        others = alike & (chips != chip)
        if len(set(chips[others])) < 3:
            others = chips != chip
        # Each chip counts alike.
        counts = {name: int((chips[others] == name).sum()) for name in set(chips[others])}
        weights = np.array([1 / counts[name] for name in chips[others]])
        bounds[own] = _quantiles(-errors[others], weights)
    return bounds


def _interval_class(row: CpuMeasurement) -> str:
    """Class of residuals: that of the goals, and whether runtimes are made for such cores."""
    name = next((name for name, groups in CLASSES.items() if row.group in groups), "others")
    used = row.column.processor
    operations = 1e3 * used.peak_tflops["fp32"] / (used.units * used.clock_ghz)
    is_rare = core_kind(used.microarchitecture, operations) in ("32 bit", "other", "scalar")
    return f"{name}, rare cores" if is_rare else name


def _quantiles(values: Array, weights: Array) -> list[float]:
    order = np.argsort(values)
    share = (np.cumsum(weights[order]) - weights[order] / 2) / weights.sum()
    return [float(np.interp(level, share, values[order])) for level in LEVELS]


def summary(rows: list[dict[str, Any]], of: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Medians over chips of the means over their settings."""
    chips: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in filter(of, rows):
        chips[f"{row['group']} {row['chip']}"].append(row)
    if not chips:
        return {}
    result: dict[str, Any] = {"chips": len(chips)}
    for name in MODELS:
        result[name] = {}
        for figure in ("mape_percent", "shape_percent", "spearman"):
            each = [[r[name][figure] for r in group] for group in chips.values()]
            known = [[value for value in values if value is not None] for values in each]
            means = [np.mean(values) for values in known if values]
            if means:
                result[name][figure] = round(float(np.median(means)), 3)
                result[name][f"mean {figure}"] = round(float(np.mean(means)), 3)
    covered = [np.mean([row["covered"] for row in group]) for group in chips.values()]
    result["covered"] = round(float(np.mean(covered)), 3)
    result["width"] = round(float(np.median([r["width"] for g in chips.values() for r in g])), 2)
    return result


def main() -> None:
    parser = Options(__doc__, fresh=True)
    options = parser.parse_args()
    every = cpu_measurements()
    folds = fold_of_chips(every)
    judged: list[CpuMeasurement] = []
    parts = []
    for fold in range(FOLDS):
        parts.append(fold_errors(fold, options.fresh))
        judged += judging([row for row in every if folds[row.chip] == fold])
    errors = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    rows = result_rows(judged, errors)
    groups = dict.fromkeys(row["group"] for row in rows)
    summaries = {
        **{name: summary(rows, lambda r, n=name: r["group"] in CLASSES[n]) for name in CLASSES},
        **{name: summary(rows, lambda r, n=name: r["group"] == n) for name in groups},
    }
    write_result(
        "left_out_cpus", folds=FOLDS, judged_of_each_setting=JUDGED, summary=summaries, rows=rows
    )


if __name__ == "__main__":
    main()
