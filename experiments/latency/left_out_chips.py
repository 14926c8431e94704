"""Judge the roofline of fused kernels by GPUs that were left out, beside three floors.

    python -m experiments.latency.left_out_chips [--threads 1] [--count 60] [--fresh]

A chip is left out with its twins, of all tables (gpu_data.py). How strongly the model holds its
numbers is chosen for each chip by the errors on the other chips, each left out in turn, never by
its own. The floors learn the very same measurements: a ridge regression (gpu_roofline.py); the sum
of the operators' rooflines times the factor of the setting; and the measurement of the same network
in the same runtime on the GPU that is most like it, times a ratio of their data sheets whose
exponent is chosen on the measurements that are learned. Writes results/left_out_chips.json;
finished chips are not repeated.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from experiments.campaign import Campaign, Options
from experiments.common import Array
from experiments.latency.gpu_data import (
    Measurement,
    Measurements,
    at_most,
    gpu_measurements,
    without,
)
from experiments.latency.gpu_roofline import log_ms, ridge
from nasplug.predictors.features.roofline import peak_rates
from nasplug.predictors.latency.fused_roofline import FusedRoofline
from nasplug.predictors.latency.gpu_roofline import gpu_setting
from nasplug.search_spaces.costs import FLOAT_BYTES

# Measurements of each form that are learned, and that judge.
COUNT, JUDGED = 60, 300
# How strongly numbers are held: candidates.
STRENGTHS = (1e-4, 1e-5, 3e-6)
# Shares of the ratio of peaks in a ratio of data sheets; the others are those of the bandwidths.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
COPYING = ("aisensiy", "lamikr", "ryujaehun")


def fitted(rows: Measurements, strength: float) -> FusedRoofline:
    """The model that has learned some measurements."""
    return FusedRoofline.of(
        [row.graph for row in rows],
        [row.column for row in rows],
        np.array([row.ms for row in rows]),
        [row.script for row in rows],
        COPYING,
        strength=strength,
    )


def predicted(model: FusedRoofline, rows: Measurements) -> Array:
    """Logarithms of ms."""
    columns = [row.column for row in rows]
    return model.log_latency([row.graph for row in rows], columns, [row.script for row in rows])


def roofline(row: Measurement) -> float:
    """Logarithm of the sum of the rooflines of a network's operators, in ms."""
    graph, column = row.graph, row.column
    peak, bandwidth = peak_rates(column.hardware, column.is_half)
    weights = FLOAT_BYTES * graph.attribute("params")
    moved = weights + np.maximum(graph.attribute("bytes") - weights, 0) * column.batch_size
    arithmetic = 2 * graph.attribute("flops") * column.batch_size / peak
    return float(np.log(np.maximum(arithmetic, moved / (1 + column.is_half) / bandwidth).sum()))


def scaled_roofline(learned: Measurements, judged: Measurements) -> Array:
    """Logarithms of ms: rooflines times the median factor of their setting and precision."""
    factors = defaultdict(list)
    for row in learned:
        factor = np.log(row.ms) - roofline(row)
        for key in (_way(row), None):
            factors[key].append(factor)
    ways = [_way(row) if _way(row) in factors else None for row in judged]
    medians = [float(np.median(factors[way])) for way in ways]
    return np.array([roofline(row) for row in judged]) + medians


def _way(row: Measurement) -> tuple[str, bool]:
    return gpu_setting(row.column), row.column.is_half


def _ratios(a: Measurement, b: Measurement) -> Array:
    """Logarithms of the ratios of peaks and bandwidths of the GPU of `a` to that of `b`."""
    rates = [peak_rates(row.column.hardware, row.column.is_half) for row in (a, b)]
    return np.log(rates[0]) - np.log(rates[1])


def sibling(learned: Measurements, judged: Measurements) -> Array:
    """Logarithms of ms from the same network on the GPU that is most like it; NaN without one."""
    measured = defaultdict(list)
    for row in learned:
        measured[_same(row)].append(row)
    pairs = [
        (_per_image(b) - _per_image(a), _ratios(a, b))
        for rows in measured.values()
        for a, b in combinations(rows, 2)
        if a.chip != b.chip
    ]
    gaps, ratios = np.array([gap for gap, _ in pairs]), np.array([ratio for _, ratio in pairs])
    mixed = [np.abs(gaps - ratios @ (share, 1 - share)).mean() for share in SHARES]
    share = SHARES[int(np.argmin(mixed))]
    result = np.full(len(judged), np.nan)
    for k, row in enumerate(judged):
        others = measured.get(_same(row), [])
        if others:
            nearest = min(others, key=lambda other: float(np.abs(_ratios(other, row)).sum()))
            ratio = float(_ratios(nearest, row) @ (share, 1 - share))
            result[k] = _per_image(nearest) + ratio + np.log(row.column.batch_size)
    return result


def _same(row: Measurement) -> tuple[int, str, str]:
    return id(row.graph), row.column.runtime, row.source


def _per_image(row: Measurement) -> float:
    return float(np.log(row.ms / row.column.batch_size))


def left_out(chip: str, count: int) -> list[dict[str, Any]]:
    """A row a form of a chip that was left out."""
    others = without(gpu_measurements(), [chip])
    learned = at_most(others, count)
    judged = at_most([row for row in gpu_measurements() if row.chip == chip], JUDGED)
    truth = log_ms(judged)
    errors = {
        **{f"model {s:g}": predicted(fitted(learned, s), judged) - truth for s in STRENGTHS},
        "ridge": ridge(learned, judged) - truth,
        "roofline": scaled_roofline(learned, judged) - truth,
        "sibling": sibling(others, judged) - truth,
    }
    forms = [row.form for row in judged]
    rows = []
    for form in dict.fromkeys(forms):
        of_form = np.array([other == form for other in forms])
        row: dict[str, Any] = {"form": form, "networks": int(of_form.sum())}
        for name, error in errors.items():
            known = error[of_form & np.isfinite(error)]
            off = 100 * np.abs(np.expm1(known))
            row[name] = {
                "mape_percent": float(off.mean()) if len(off) else None,
                "median_percent": float(np.median(off)) if len(off) else None,
                "bias": float(np.median(known)) if len(off) else None,
            }
        rows.append(row)
    return rows


def chosen(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Errors of the model with the strength that is best on other chips, and over all groups."""
    names = [f"model {s:g}" for s in STRENGTHS]
    for row in rows:
        elsewhere = [other for other in rows if other["chip"] != row["chip"]]
        scores = [np.mean([other[name]["mape_percent"] for other in elsewhere]) for name in names]
        row["chosen"] = names[int(np.argmin(scores))]
        row["model"] = row[row["chosen"]]
    summary = {}
    for name in ("model", *names, "ridge", "roofline", "sibling"):
        errors = [row[name]["mape_percent"] for row in rows]
        errors = [error for error in errors if error is not None]
        summary[name] = {
            "groups": len(errors),
            "median_mape_percent": float(np.median(errors)),
            "mean_mape_percent": float(np.mean(errors)),
        }
    return summary


def main() -> None:
    parser = Options(__doc__, fresh=True)
    parser.add_argument("--count", type=int, default=COUNT)
    options = parser.parse_args()
    campaign = Campaign(
        "left_out_chips",
        ("chip",),
        ["timm-latency"],
        rows="left_out",
        fresh=options.fresh,
        learned_of_each_form=options.count,
        judged_of_each_form=JUDGED,
    )
    chips = dict.fromkeys(row.chip for row in gpu_measurements())
    campaign.complete(((chip,) for chip in chips), partial(left_out, count=options.count))
    rows = campaign.rows
    campaign.add(*rows, summary=chosen(rows))


if __name__ == "__main__":
    main()
