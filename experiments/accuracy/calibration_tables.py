"""The tables of docs/results/calibration.md on devices that a user calibrates."""

from __future__ import annotations

from statistics import mean

from experiments.tables import (
    MISSING,
    Row,
    cells,
    grouped,
    load,
    merged,
    runs,
    section,
    table,
    table_of,
)

METHODS = {
    "alone": "the measurements",
    "nasplug": "both, as in a profile",
    "without the data sheet": "the measurements, of a device without a data sheet",
}
QUALITY = "mean Spearman | mean MAPE % | median MAPE % | 90 % cover | interval, median"


def _quality(rows: list[Row]) -> list[str]:
    """The cells of `QUALITY`; without measurements there are no intervals."""
    row = merged([{"coverage": None, "interval_factor": None, **row} for row in rows])
    return cells(
        "{spearman:.3f} | {mape_percent:.1f} | {mape_percent:~.1f} | {coverage:.1%} | "
        "×{interval_factor:~.2f}",
        row,
    )


@section("calibrate-check")
def check() -> str:
    """A row a number of measurements: means over all devices of NAS-Bench-201."""
    by_count = grouped(runs("calibrate_check"), "measured", "method")
    body = [
        [METHODS.get(method, method), str(measured), *_quality(rows)]
        for (measured, method), rows in sorted(by_count.items(), key=lambda item: item[0][0])
    ]
    return table(f"known of the device | measured | {QUALITY}", body)


@section("calibrate-shipped")
def shipped() -> str:
    """A row a number of measurements, with and without the weighing against the data sheet."""
    body = []
    by_count = grouped(runs("calibrate_check_shipped"), "measured", "method")
    for (measured, method), rows in sorted(by_count.items(), key=lambda item: item[0][0]):
        if method == "without the data sheet":
            continue
        refused = "–"
        if method == "nasplug":
            refused = f"{mean(row['refused'] for row in rows):.0%}"
        body.append([METHODS.get(method, method), str(measured), *_quality(rows), refused])
    return table(f"what speaks | measured | {QUALITY} | refused", body)


@section("calibrate-devices")
def devices() -> str:
    """A row a device with ten measurements, beside its data sheet alone."""
    rows = grouped(runs("calibrate_check"), "column", "method", "measured")
    body = []
    for column in dict.fromkeys(column for column, _, _ in rows):
        sheet = merged(rows[column, "data sheet alone", 0])
        measured = merged(rows[column, "nasplug", 10])
        quality = "{spearman:.3f} | {mape_percent:.1f}"
        more = cells(f"{quality} | {{coverage:.1%}}", measured)
        body.append([column, *cells(quality, sheet), *more])
    head = "device | data sheet alone: Spearman | MAPE % | ten measured: Spearman | MAPE %"
    return table(f"{head} | 90 % cover", body)


JUDGED = (
    "called unlike | data sheet off by | at the scale | calibrated | Spearman | MAPE % | "
    "90 % cover | interval of the data sheet | calibrated"
)
NAMES = {"all": "all ten families", "same": "the same"}


def _judged(head: str, predictor: str, *keys: str) -> str:
    """A row a measured and a judged kind of networks."""
    rows = [row for row in runs("calibrate_networks") if row["predictor"] == predictor]
    return table_of(
        f"{head} | {JUDGED}",
        " | ".join(f"{{{key}}}" for key in keys)
        + " | {unlike:.0%} | ×{factor[data_sheet]:.2f} | ×{factor[scaled]:.2f} | "
        "×{factor[calibrated]:.2f} | {spearman:.3f} | {mape_percent:.1f} | {coverage:.1%} | "
        "×{data_sheet_interval_factor:~.2f} | ×{interval_factor:~.2f}",
        [
            merged(group) | {key: NAMES.get(group[0][key], group[0][key]) for key in keys}
            for group in grouped(rows, *keys).values()
        ],
    )


@section("few-measurements")
def few_measurements() -> str:
    """A row a class of processors, way of choosing and number of measurements."""
    names = {"gpu": "GPUs", "cpu": "CPUs", "other": "NPUs, GPUs of phones and boards"}
    usual = {"draws_refused": None, "draws_saved_and_worse": None}
    rows = [
        usual | row | {"class": names[row["class"]]} for row in load("few_measurements")["summary"]
    ]
    return table_of(
        "devices of the class | chosen | measured | devices | settings | MAPE %, median | mean | "
        "within 10 % | 90 % cover | upper / lower | draws worse than the data sheet | refused | "
        "saved and worse",
        "{class} | {method} | {measured} | {devices} | {settings} | {median_mape_percent:.1f} | "
        "{mean_mape_percent:.1f} | {median_within_10_percent:.0f} % | {mean_coverage:.0%} | "
        "×{median_width:.2f} | {draws_worse_than_data_sheet:.0%} | {draws_refused:.0%} | "
        "{draws_saved_and_worse:.0%}",
        rows,
    )


@section("few-operators")
def few_operators() -> str:
    """A row a GPU and way of running: errors by operators, and by networks."""
    by_setting = grouped(load("few_measurements")["rows"], "device", "way")
    body = []
    for (device, way), rows in by_setting.items():
        errors = {(row["method"], row["measured"]): row["mape_percent"] for row in rows}
        if ("operators", 10) in errors:
            runtime, precision, _, source = way.split("|")
            asked = (("data sheet", 0), ("operators", 10), ("suggested", 3), ("suggested", 10))
            found = [errors.get(key) for key in asked]
            text = [MISSING if error is None else f"{error:.1f}" for error in found]
            body.append([device, f"{runtime} {precision}, {source}", *text])
    head = "GPU | networks | data sheet: MAPE % | ten operators | three networks | ten networks"
    return table(head, body)


@section("calibrate-networks")
def networks() -> str:
    """A row a family of which ten networks were measured, and which networks are judged."""
    return _judged("ten measured of | judged", "rooflines", "learned", "judged")


@section("calibrate-elsewhere")
def elsewhere() -> str:
    """A row a device, and which networks are judged."""
    head = "device | ten measured of | judged"
    return _judged(head, "network-latency", "column", "learned", "judged")
