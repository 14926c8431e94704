"""Calibrate devices of the measurement table on one, three and ten networks; judge by others.

    python -m experiments.devices.few_measurements [--seeds 5] [--priors]

A device of left_out_residuals.py is predicted by the model of its class, which never saw its chip;
the prior of departures is learned from devices of the other parts, too. Networks are measured in
one setting by one source: drawn from half of the families there (`random`), or chosen among these
(`suggested`); networks of the other families judge. Where a table has a single family, or cells of
one space, other networks of it judge. Beside it the data sheet alone, and that at the median scale
of the measurements. Writes results/few_measurements.json; with `--priors` also the priors that the
package ships, learned from all devices.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments import ROOT
from experiments.campaign import Options
from experiments.common import Array, write_result
from experiments.devices.left_out_residuals import CLASSES, Residuals, left_out_residuals
from experiments.tables import grouped
from nasplug.predictors.latency.departure_learning import learned_prior
from nasplug.predictors.latency.departure_priors import PRIORS_FILE
from nasplug.predictors.latency.departure_process import END, DeparturePrior, DepartureProcess
from nasplug.search_spaces.files import write_text

COUNTS = (1, 3, 10)
# Fewest networks of a setting, and most that judge or can be suggested.
FEWEST, JUDGED, CANDIDATES = 16, 60, 60
# Share of the networks that the measured families have.
SHARE = 0.5
WITHIN, DIGITS = 0.1, 5
PRIORS = ROOT / "predictors" / "latency" / PRIORS_FILE


def split(
    data: Residuals, places: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Networks that can be measured, and those of other families that judge."""
    order = rng.permutation(places)
    families = data.family[order]
    names = list(dict.fromkeys(families.tolist()))
    if len(names) == 1:
        half = len(order) // 2
        return order[:half], order[half:]
    measured: list[str] = []
    count = 0
    for name in names:
        size = int((families == name).sum())
        if not measured or count + size <= (SHARE + 0.1) * len(order):
            measured.append(name)
            count += size
        if count >= SHARE * len(order):
            break
    inside = np.isin(families, measured)
    return order[inside], order[~inside]


def scores(truth: Array, mean: Array, std: Array | None = None) -> dict[str, float | None]:
    """Errors of predicted residuals, and coverage and width of 90 % intervals."""
    off = np.abs(np.expm1(mean - truth))
    return {
        "mape_percent": float(100 * off.mean()),
        "within_10_percent": float(100 * (off <= WITHIN).mean()),
        "coverage": None if std is None else float((np.abs(truth - mean) <= END * std).mean()),
        "width": None if std is None else float(np.exp(2 * END * np.median(std))),
    }


def judge(
    data: Residuals, prior: DeparturePrior, places: NDArray[np.int64], seed: int
) -> list[dict[str, Any]]:
    """All methods on one draw of measured networks."""
    pool, judged = split(data, places, np.random.default_rng(seed))
    judged = judged[:JUDGED]
    if len(judged) < 3:
        return []
    truth, located = data.residuals[judged], data.located(judged)
    rows: list[dict[str, Any]] = [
        {"method": "data sheet", "measured": 0, **scores(truth, np.zeros(len(judged)))}
    ]
    candidates = pool[:CANDIDATES]
    for count in COUNTS:
        if len(candidates) < count:
            continue
        chosen = prior.design(data.located(candidates), located, count)
        for method, learned in (("random", pool[:count]), ("suggested", candidates[chosen])):
            residuals = data.residuals[learned]
            process = DepartureProcess(prior, data.located(learned), residuals, np.ones(count))
            mean, std = process(located, np.ones(len(judged)))
            rows.append({"method": method, "measured": count, **scores(truth, mean, std)})
        scale = np.full(len(judged), np.median(data.residuals[pool[:count]]))
        rows.append({"method": "median scale", "measured": count, **scores(truth, scale)})
    return rows


def of_class(name: str, seeds: int) -> list[dict[str, Any]]:
    """Rows of all devices of a class, the mean over draws in each setting."""
    data = left_out_residuals(name)
    rows = []
    for part in np.unique(data.part):
        prior = learned_prior(data.devices(data.part != part))
        inside = data.part == part
        forms = sorted(set(zip(data.device[inside], data.way[inside], strict=True)))
        for device, way in forms:
            places = np.flatnonzero((data.device == device) & (data.way == way))
            if len(places) < FEWEST:
                continue
            draws = [row for seed in range(seeds) for row in judge(data, prior, places, seed)]
            about = {"class": name, "device": str(device), "way": str(way)}
            rows += summary(about | {"networks": len(places)}, draws)
    return rows


def summary(about: dict[str, Any], draws: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean of each method over draws, and how often it is worse than the data sheet."""
    sheets = [row["mape_percent"] for row in draws if row["method"] == "data sheet"]
    rows = []
    for (method, measured), group in grouped(draws, "method", "measured").items():
        worse = [r["mape_percent"] > s for r, s in zip(group, sheets, strict=False)]
        means = {
            key: None
            if group[0][key] is None
            else round(float(np.mean([row[key] for row in group])), DIGITS)
            for key in ("mape_percent", "within_10_percent", "coverage", "width")
        }
        share = {"worse_than_data_sheet": round(float(np.mean(worse)), DIGITS)}
        rows.append({**about, "method": method, "measured": measured, **means, **share})
    return rows


def medians(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Median and mean over the settings of each class, by method."""
    result = []
    for (name, method, measured), group in grouped(rows, "class", "method", "measured").items():
        sheet = {
            (r["device"], r["way"]): r["mape_percent"]
            for r in rows
            if r["class"] == name and r["method"] == "data sheet"
        }
        worse = [r["mape_percent"] > sheet[r["device"], r["way"]] for r in group]
        row: dict[str, Any] = {"class": name, "method": method, "measured": measured}
        row["settings"] = len(group)
        row["devices"] = len({r["device"] for r in group})
        for key in ("mape_percent", "within_10_percent", "coverage", "width"):
            values = [r[key] for r in group if r[key] is not None]
            row[f"median_{key}"] = round(float(np.median(values)), DIGITS) if values else None
        row["mean_mape_percent"] = round(float(np.mean([r["mape_percent"] for r in group])), DIGITS)
        row["settings_worse_than_data_sheet"] = round(float(np.mean(worse)), DIGITS)
        row["draws_worse_than_data_sheet"] = round(
            float(np.mean([r["worse_than_data_sheet"] for r in group])), DIGITS
        )
        result.append(row)
        print(row, flush=True)
    return result


def write_priors() -> None:
    """Write the priors that the package ships."""
    data = {name: left_out_residuals(name) for name in CLASSES}
    priors = {
        name: learned_prior(d.devices(np.isfinite(d.logs))).to_json() for name, d in data.items()
    }
    write_text(PRIORS, json.dumps({"priors": _short(priors)}) + "\n")


def _short(value: Any) -> Any:
    """Numbers with few digits."""
    if isinstance(value, dict):
        return {key: _short(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_short(part) for part in value]
    return float(f"{value:.{DIGITS}g}")


def main() -> None:
    parser = Options(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--priors", action="store_true")
    options = parser.parse_args()
    if options.priors:
        write_priors()
    rows = [row for name in CLASSES for row in of_class(name, options.seeds)]
    sources = ("timm-latency", "nb201-latency", "fbnet-latency")
    write_result("few_measurements", *sources, summary=medians(rows), rows=rows)


if __name__ == "__main__":
    main()
