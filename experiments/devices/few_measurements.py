"""Calibrate devices of the measurement table on one, three and ten networks; judge by others.

    python -m experiments.devices.few_measurements [--seeds 3] [--priors]

A device of left_out_residuals.py is predicted by the model of its class, which never saw its chip;
the prior of departures is learned from devices of the other parts, too. Networks are measured in
one setting by one source: drawn from half of the families there (`random`), or chosen among these
(`suggested`); networks of the other families judge. Where a table has a single family, or cells of
one space, other networks of it judge. Beside it the data sheet alone, that at the median scale of
the measurements, devices that all networks of the measured families were measured on (`all`), and
GPUs that ten single operators were measured on (`operators`).
Writes results/few_measurements.json; with `--priors` also the priors that the package ships,
learned from all devices.
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
from nasplug.predictors.latency.departure_learning import learned_prior, split_by_family
from nasplug.predictors.latency.departure_priors import PRIORS_FILE
from nasplug.predictors.latency.departure_process import END, DeparturePrior, DepartureProcess
from nasplug.search_spaces.files import write_text

COUNTS = (1, 3, 10)
SCORES = ("mape_percent", "within_10_percent", "coverage", "width")
# Fewest networks of a setting, and most that judge or can be suggested.
FEWEST, JUDGED, CANDIDATES = 16, 60, 60
WITHIN, DIGITS = 0.1, 5
PRIORS = ROOT / "predictors" / "latency" / PRIORS_FILE


def scores(truth: Array, mean: Array, std: Array | None = None) -> dict[str, float | None]:
    """Errors of predicted residuals, and coverage and width of 90 % intervals."""
    off = np.abs(np.expm1(mean - truth))
    return {
        "mape_percent": float(100 * off.mean()),
        "within_10_percent": float(100 * (off <= WITHIN).mean()),
        "coverage": None if std is None else float((np.abs(truth - mean) <= END * std).mean()),
        "width": None if std is None else float(np.exp(2 * END * np.median(std))),
    }


def calibrated(
    data: Residuals, prior: DeparturePrior, learned: NDArray[np.int64], judged: NDArray[np.int64]
) -> dict[str, Any]:
    """Scores of a device that some networks were measured on."""
    located, residuals = data.located(learned), data.residuals[learned]
    process = DepartureProcess(prior, located, residuals, np.ones(len(learned)))
    mean, std = process(data.located(judged), np.ones(len(judged)))
    return scores(data.residuals[judged], mean, std)


def _by_operators(
    data: Residuals, prior: DeparturePrior, judged: NDArray[np.int64], operators: Residuals
) -> dict[str, Any]:
    """Scores of a device that the operators which tell most were measured on."""
    located = operators.located(np.arange(len(operators.logs)))
    # As if the judged networks' source had measured them.
    located = located._replace(ways=data.located(judged[:1]).ways * len(operators.logs))
    chosen = np.array(prior.design(located, data.located(judged), max(COUNTS)))
    residuals = operators.residuals[chosen]
    process = DepartureProcess(prior, located.take(chosen), residuals, np.ones(len(chosen)))
    return scores(data.residuals[judged], *process(data.located(judged), np.ones(len(judged))))


def _operators(data: Residuals, device: str, way: str) -> Residuals | None:
    """Operators that were measured on a device in a runtime and precision, if there are enough."""
    same = [text.split("|")[:2] == way.split("|")[:2] for text in data.way.tolist()]
    own = np.flatnonzero(data.is_operator & (data.device == device) & np.array(same))
    return data.take(own) if len(own) >= max(COUNTS) else None


def is_refused(data: Residuals, prior: DeparturePrior, learned: NDArray[np.int64]) -> bool:
    """Whether the data sheet alone predicts each measurement better than the others do.

    `nasplug calibrate` saves no such device.
    """
    errors = []
    for k in learned.tolist():
        others = learned[learned != k]
        process = DepartureProcess(
            prior, data.located(others), data.residuals[others], np.ones(len(others))
        )
        errors.append(abs(data.residuals[k] - process(data.located([k]), np.ones(1))[0][0]))
    return bool(np.mean(errors) > np.abs(data.residuals[learned]).mean())


def judge(
    data: Residuals,
    prior: DeparturePrior,
    places: NDArray[np.int64],
    seed: int,
    operators: Residuals | None = None,
) -> list[dict[str, Any]]:
    """All methods on one draw of measured networks, or of operators where there are some."""
    inside, outside = split_by_family(data.family[places], np.random.default_rng(seed))
    pool, judged = places[inside], places[outside[:JUDGED]]
    if len(judged) < 3:
        return []
    truth = data.residuals[judged]
    sheet = scores(truth, np.zeros(len(judged)))

    def row(method: str, measured: int | None, found: dict[str, Any]) -> dict[str, Any]:
        worse = found["mape_percent"] > sheet["mape_percent"]
        return {"method": method, "measured": measured, **found, "worse": worse}

    rows = [row("data sheet", 0, sheet), row("all", None, calibrated(data, prior, pool, judged))]
    if operators is not None:
        rows.append(row("operators", max(COUNTS), _by_operators(data, prior, judged, operators)))
    candidates = pool[:CANDIDATES]
    for count in COUNTS:
        if len(candidates) < count:
            continue
        chosen = prior.design(data.located(candidates), data.located(judged), count)
        suggested = candidates[chosen]
        rows.append(row("random", count, calibrated(data, prior, pool[:count], judged)))
        found = calibrated(data, prior, suggested, judged)
        refused = is_refused(data, prior, suggested)
        rows.append(row("suggested", count, found) | {"refused": refused})
        for method, learned in (
            ("median scale", pool[:count]),
            ("median scale, suggested", suggested),
        ):
            scale = np.full(len(judged), np.median(data.residuals[learned]))
            rows.append(row(method, count, scores(truth, scale)))
    return rows


def of_class(name: str, seeds: int) -> list[dict[str, Any]]:
    """Rows of all devices of a class, the mean over draws in each setting."""
    every = left_out_residuals(name)
    data = every.networks()
    rows = []
    for part in np.unique(data.part):
        prior = learned_prior(data.devices(data.part != part))
        inside = data.part == part
        forms = sorted(set(zip(data.device[inside], data.way[inside], strict=True)))
        for device, way in forms:
            places = np.flatnonzero((data.device == device) & (data.way == way))
            if len(places) < FEWEST:
                continue
            operators = _operators(every, device, way)
            draws = [
                row for seed in range(seeds) for row in judge(data, prior, places, seed, operators)
            ]
            about = {"class": name, "device": str(device), "way": str(way)}
            rows += summary(about | {"networks": len(places)}, draws)
    return rows


def summary(about: dict[str, Any], draws: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean of each method over draws, and how often it is worse than the data sheet."""
    rows = []
    for (method, measured), group in grouped(draws, "method", "measured").items():
        means = {key: _mean([row[key] for row in group]) for key in SCORES}
        worse = {"worse_than_data_sheet": _mean([row["worse"] for row in group])}
        if method == "suggested":
            saved = [row["worse"] for row in group if not row["refused"]]
            worse["refused"] = _mean([row["refused"] for row in group])
            worse["saved_and_worse"] = round(sum(saved) / len(group), DIGITS)
        rows.append({**about, "method": method, "measured": measured, **means, **worse})
    return rows


def _mean(values: list[Any]) -> float | None:
    return None if values[0] is None else round(float(np.mean(values)), DIGITS)


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
        for key in SCORES:
            values = [r[key] for r in group if r[key] is not None]
            row[f"median_{key}"] = round(float(np.median(values)), DIGITS) if values else None
            row[f"mean_{key}"] = round(float(np.mean(values)), DIGITS) if values else None
        row["settings_worse_than_data_sheet"] = round(float(np.mean(worse)), DIGITS)
        row["draws_worse_than_data_sheet"] = _mean([r["worse_than_data_sheet"] for r in group])
        if method == "suggested":
            row["draws_refused"] = _mean([r["refused"] for r in group])
            row["draws_saved_and_worse"] = _mean([r["saved_and_worse"] for r in group])
        result.append(row)
        print(row, flush=True)
    return result


def write_priors() -> None:
    """Write the priors that the package ships."""
    priors = {}
    for name in CLASSES:
        data = left_out_residuals(name).networks()
        every = np.ones(len(data.logs), dtype=np.bool_)
        priors[name] = _short(learned_prior(data.devices(every)).to_json())
    write_text(PRIORS, json.dumps({"priors": priors}) + "\n")


def _short(value: Any) -> Any:
    """Numbers with few digits."""
    if isinstance(value, dict):
        return {key: _short(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_short(part) for part in value]
    return float(f"{value:.{DIGITS}g}")


def main() -> None:
    parser = Options(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--priors", action="store_true")
    options = parser.parse_args()
    if options.priors:
        write_priors()
    rows = [row for name in CLASSES for row in of_class(name, options.seeds)]
    sources = ("timm-latency", "nb201-latency", "fbnet-latency")
    write_result("few_measurements", *sources, summary=medians(rows), rows=rows)


if __name__ == "__main__":
    main()
