"""Latency of networks on NPUs and on GPUs of phones and boards that were left out.

    nice -n 10 python -m experiments.latency.left_out_npus [--fresh]

Each chip leaves with all its twins, tables and runtimes; up to four chips of unlike lines leave
together, and NpuRoofline learns the others of their class (GPUs or NPUs). "model" has seen the
networks on other chips, where they were measured; for "new networks" the process over residuals has
not, in two halves of the networks. Beside it are a ridge regression on logarithms; the sum of the
operators' rooflines times the factor of the runtime and precision; and the measurement of the same
network in the same runtime on the chip that is most like it, times a ratio of their data sheets
whose exponent is chosen on the measurements that are learned.
"one factor" is what would be left with one right factor a setting. Writes
results/left_out_npus.json; finished chips are not repeated.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from experiments.campaign import Campaign, Options
from experiments.common import Array
from experiments.latency.npu_data import Row, log_ms, npu_measurements, without
from nasplug.predictors.latency.npu_residuals import ResidualProcess, family, peak_rate
from nasplug.predictors.latency.npu_roofline import NpuRoofline
from nasplug.predictors.latency.npu_terms import precision_of
from nasplug.search_spaces.costs import FLOAT_BYTES

# Forms with fewer networks are not judged.
FEWEST = 4
RIDGE = 1e-2
# Chips that leave together.
MOST = {"npu": 2, "gpu": 4}
# Shares of the ratio of peaks in a ratio of data sheets; the others are those of the bandwidths.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_BYTES = {"fp32": 1.0, "fp16": 0.5, "w8a16": 0.5, "int8": 0.25}
METHODS = ("model", "new networks", "ridge", "roofline", "sibling")
SEED = 0
Rows = list[Row]


def fitted(rows: Rows) -> NpuRoofline:
    """The model that has learned some measurements."""
    return NpuRoofline.of(
        [row.graph for row in rows],
        [row.setting for row in rows],
        np.exp(log_ms(rows)),
        [row.source for row in rows],
        np.array([row.noise for row in rows]),
    )


def predicted(model: NpuRoofline, rows: Rows) -> Array:
    """Logarithms of ms."""
    settings = [row.setting for row in rows]
    return model.log_latency([row.graph for row in rows], settings, [row.source for row in rows])


def predicted_as_new(model: NpuRoofline, learned: Rows, judged: Rows) -> Array:
    """Logarithms of ms, by residuals of other networks alone."""
    plain = replace(model, process=None)
    residuals = log_ms(learned) - predicted(plain, learned)
    networks = sorted({row.reference for row in judged})
    order = np.random.default_rng(SEED).permutation(len(networks))
    result = predicted(plain, judged)
    for half in (order[::2], order[1::2]):
        left_out = {networks[k] for k in half}
        places = [k for k, row in enumerate(learned) if row.reference not in left_out]
        process = ResidualProcess.of(
            [learned[k].graph for k in places],
            [learned[k].setting for k in places],
            residuals[places],
            np.array([learned[k].noise for k in places]),
        )
        judged_now = [k for k, row in enumerate(judged) if row.reference in left_out]
        some = [judged[k] for k in judged_now]
        if some:
            result[judged_now] += process.mean(
                [row.graph for row in some], [row.setting for row in some]
            )
    return result


def rates(row: Row) -> Array:
    """Logarithms of peak and bandwidth."""
    bandwidth = row.setting.processor.memory_bandwidth_gbs
    return np.log([peak_rate(row.setting), max(bandwidth, 1.0)])


def roofline(row: Row) -> float:
    """Logarithm of the sum of the rooflines of a network's operators, in ms."""
    peak, bandwidth = np.exp(rates(row))
    number = FLOAT_BYTES * _BYTES[precision_of(row.setting)]
    arithmetic = 2e-9 * row.graph.attribute("flops") / peak
    traffic = 1e-6 * number / FLOAT_BYTES * row.graph.attribute("bytes") / bandwidth
    return float(np.log(np.maximum(arithmetic, traffic).sum()))


def scaled_roofline(learned: Rows, judged: Rows) -> Array:
    """Logarithms of ms: rooflines times the median factor of their runtime and precision."""
    factors = defaultdict(list)
    for row in learned:
        factor = np.log(row.ms) - roofline(row)
        for key in (row.form, row.form[1], ""):
            factors[key].append(factor)
    result = []
    for row in judged:
        key = next(key for key in (row.form, row.form[1], "") if key in factors)
        result.append(roofline(row) + float(np.median(factors[key])))
    return np.array(result)


def ridge(learned: Rows, judged: Rows) -> Array:
    """Logarithms of ms by a linear model of logarithms."""
    runtimes = sorted({row.form[0] for row in learned})

    def features(rows: Rows) -> Array:
        logs = [
            [
                np.log1p(row.graph.total("flops")),
                np.log(row.graph.total("bytes")),
                np.log(len(row.graph)),
                *rates(row),
            ]
            for row in rows
        ]
        words = [
            [float(row.form[1] == p) for p in ("int8", "w8a16", "fp32")]
            + [float(row.form[0] == runtime) for runtime in runtimes]
            for row in rows
        ]
        return np.hstack([logs, words])

    tables = [(row.source, row.chip, *row.form) for row in learned]
    sizes = Counter(tables)
    weight = np.array([sizes[table] ** -0.5 for table in tables])[:, None]
    known = features(learned)
    centre, scale = known.mean(0), known.std(0) + 1e-9
    known, new = ((x - centre) / scale for x in (known, features(judged)))
    truth = log_ms(learned)
    mean = float(np.average(truth, weights=weight[:, 0]))
    square = (known * weight).T @ known + RIDGE * np.eye(known.shape[1])
    return new @ np.linalg.solve(square, (known * weight).T @ (truth - mean)) + mean


def sibling(learned: Rows, judged: Rows) -> Array:
    """Logarithms of ms from the same network on the chip that is most like it; NaN without one."""
    measured = defaultdict(list)
    for row in learned:
        measured[row.reference, row.form].append((row, float(np.log(row.ms)), rates(row)))
    pairs = [
        (other[1] - one[1], one[2] - other[2])
        for rows in measured.values()
        for one, other in combinations(rows, 2)
        if one[0].chip != other[0].chip and one[0].source == other[0].source
    ]
    gaps, ratios = np.array([gap for gap, _ in pairs]), np.array([ratio for _, ratio in pairs])
    mixed = [np.abs(gaps - ratios @ (share, 1 - share)).mean() for share in SHARES]
    share = SHARES[int(np.argmin(mixed))]
    result = np.full(len(judged), np.nan)
    for k, row in enumerate(judged):
        others = measured.get((row.reference, row.form), [])
        others = [other for other in others if other[0].source == row.source] or others
        if others:
            own = rates(row)
            _, ms, figures = min(others, key=lambda other: float(np.abs(other[2] - own).sum()))
            result[k] = ms + float((figures - own) @ (share, 1 - share))
    return result


@cache
def judged_rows(chip: str, unit: str) -> Rows:
    """Rows of a chip, of AI Hub those of the newest snapshot where it has the chip."""
    rows = [row for row in npu_measurements() if (row.chip, row.unit) == (chip, unit)]
    newest = [row for row in rows if not row.source]
    rows = newest or rows
    sizes = Counter(row.form for row in rows)
    return [row for row in rows if sizes[row.form] >= FEWEST]


def left_out(chips: Sequence[str], unit: str) -> list[dict[str, Any]]:
    """A row a form of each chip; all of them were left out."""
    learned = [row for row in without(npu_measurements(), chips) if row.unit == unit]
    model = fitted(learned)
    known = {(row.reference, family(row.setting)) for row in learned}
    rows = []
    for chip in chips:
        judged = judged_rows(chip, unit)
        logs = {
            "model": predicted(model, judged),
            "new networks": predicted_as_new(model, learned, judged),
            "ridge": ridge(learned, judged),
            "roofline": scaled_roofline(learned, judged),
            "sibling": sibling(learned, judged),
        }
        for form in dict.fromkeys(row.form for row in judged):
            places = [k for k, row in enumerate(judged) if row.form == form]
            some = [judged[k] for k in places]
            truth = log_ms(some)
            row: dict[str, Any] = {
                "chip": chip,
                "unit": unit,
                "family": family(some[0].setting),
                "runtime": form[0],
                "precision": form[1],
                "networks": len(some),
                "known": sum((r.reference, family(r.setting)) in known for r in some),
            }
            for name, values in logs.items():
                row[name] = errors(values[places], truth)
            row["residuals"] = {
                name: [round(float(v), 3) for v in truth - logs[name][places]]
                for name in ("model", "new networks")
            }
            rows.append(row)
    return rows


def groups_of(unit: str, most: int) -> list[list[str]]:
    """Chips of a class that leave together, each of another line of processors."""
    lines: dict[str, list[str]] = defaultdict(list)
    for row in npu_measurements():
        line = lines[family(row.setting)]
        if row.unit == unit and row.chip not in line and judged_rows(row.chip, unit):
            line.append(row.chip)
    groups: list[list[str]] = []
    for line in sorted(lines.values(), key=len, reverse=True):
        for chip in line:
            small = [g for g in groups if len(g) < most and not set(g) & set(line)]
            if small:
                min(small, key=len).append(chip)
            else:
                groups.append([chip])
    return groups


def errors(logs: Array, truth: Array) -> dict[str, float | None]:
    """Errors in percent, median of the logarithms, order, and errors with one right factor."""
    is_there = np.isfinite(logs)
    if is_there.sum() < FEWEST:
        return dict.fromkeys(("mape_percent", "median_percent", "bias", "spearman", "one_factor"))
    off = (logs - truth)[is_there]
    return {
        "mape_percent": 100 * float(np.abs(np.expm1(off)).mean()),
        "median_percent": 100 * float(np.median(np.abs(np.expm1(off)))),
        "bias": float(np.median(off)),
        "spearman": float(spearmanr(logs[is_there], truth[is_there]).statistic),
        "one_factor": 100 * float(np.abs(np.expm1(off - np.median(off))).mean()),
    }


def class_of(row: dict[str, Any]) -> str:
    """Class of a row's chip."""
    if row["unit"] == "npu":
        return "NPU, Hexagon" if row["family"] == "Hexagon" else "NPU, other"
    mobile = ("Adreno", "Mali", "PowerVR", "Apple")
    return "GPU, phone or board" if row["family"].startswith(mobile) else "GPU, other (Vulkan)"


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians over chips, by class and precision; a chip's figure is the mean over its runtimes."""
    result = []
    keys = dict.fromkeys((class_of(row), p) for row in rows for p in (row["precision"], "all"))
    for group, precision in sorted(keys):
        some = [r for r in rows if class_of(r) == group and precision in (r["precision"], "all")]
        chips = sorted({row["chip"] for row in some})
        entry: dict[str, Any] = {"class": group, "precision": precision, "chips": len(chips)}
        for name in METHODS:
            figures = {}
            for figure in ("mape_percent", "median_percent", "bias", "spearman", "one_factor"):
                of_chips = [
                    np.mean(values)
                    for chip in chips
                    if (
                        values := [
                            abs(row[name][figure]) if figure == "bias" else row[name][figure]
                            for row in some
                            if row["chip"] == chip and row[name][figure] is not None
                        ]
                    )
                ]
                figures[figure] = float(np.median(of_chips)) if of_chips else None
                if figure == "mape_percent":
                    figures["mean_mape_percent"] = float(np.mean(of_chips)) if of_chips else None
            entry[name] = figures
        result.append(entry)
    return result


# Coverage of the intervals.
COVERED = 0.9
# Left-out chips of a class below which the quantiles are those of all.
ENOUGH = 5


def intervals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Coverage and width of intervals by quantiles of residuals on the other left-out chips.

    Quantiles are those of a class and of whether the networks are known, each chip with one weight.
    """
    result = []
    for group in sorted({class_of(row) for row in rows}):
        for name in ("model", "new networks"):
            some = [row for row in rows if class_of(row) == group]
            residuals = defaultdict(list)
            for row in some:
                residuals[row["chip"]] += row["residuals"][name]
            hits, widths, count = [], [], 0
            for chip, values in residuals.items():
                others = {k: v for k, v in residuals.items() if k != chip}
                if len(others) < ENOUGH:
                    others = defaultdict(list)
                    for row in rows:
                        if row["chip"] != chip and row["unit"] == some[0]["unit"]:
                            others[row["chip"]] += row["residuals"][name]
                low, high = quantiles(list(others.values()))
                hits.append(np.mean((np.array(values) >= low) & (np.array(values) <= high)))
                widths.append(np.exp(high - low))
                count += len(values)
            result.append(
                {
                    "class": group,
                    "networks": "known" if name == "model" else "new",
                    "rows": count,
                    "covered_percent": 100 * float(np.mean(hits)),
                    "median_width": float(np.median(widths)),
                    "quantiles": quantiles(list(residuals.values())),
                }
            )
    return result


def quantiles(groups: list[list[float]]) -> tuple[float, float]:
    """Quantiles between which `COVERED` lie, each group with the same weight."""
    values = np.concatenate(groups)
    weights = np.concatenate([np.full(len(group), 1 / len(group)) for group in groups])
    order = np.argsort(values)
    share = np.cumsum(weights[order]) / weights.sum()
    tail = (1 - COVERED) / 2
    low, high = np.searchsorted(share, (tail, 1 - tail))
    last = len(values) - 1
    return float(values[order][low]), float(values[order][min(high, last)])


def main() -> None:
    parser = Options(__doc__, fresh=True)
    options = parser.parse_args()
    campaign = Campaign("left_out_npus", ("chip", "unit"), [], rows="left_out", fresh=options.fresh)
    for unit in ("npu", "gpu"):
        for group in groups_of(unit, MOST[unit]):
            chips = [chip for chip in group if options.fresh or not campaign.has(chip, unit)]
            if chips:
                campaign.add(*left_out(chips, unit))
    rows = campaign.rows
    campaign.add(*rows, summary=summary(rows), intervals=intervals(rows))


if __name__ == "__main__":
    main()
