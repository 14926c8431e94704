"""The tables of docs/hardware.md on devices that a user calibrates."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean, median

from experiments.accuracy.predictor_tables import table
from experiments.latency.device_tables import Row, grouped, runs

METHODS = {
    "nasplug": "calibrated",
    "without the data sheet": "calibrated, without the data sheet",
}


def _means(rows: list[Row], *names: str) -> list[float]:
    return [mean(row[name] for row in rows) for name in names]


def check() -> str:
    """A row a number of measurements: means over all devices of NAS-Bench-201."""
    body = []
    for (method, measured), rows in grouped(runs("calibrate_check"), "method", "measured").items():
        spearman, error = _means(rows, "spearman", "mape_percent")
        interval = "–"
        cover = "–"
        if measured:
            cover = f"{mean(row['coverage'] for row in rows):.1%}"
            interval = f"×{median(row['interval_factor'] for row in rows):.2f}"
        body.append(
            [
                METHODS.get(method, method),
                str(measured),
                f"{spearman:.3f}",
                f"{error:.1f}",
                f"{median(row['mape_percent'] for row in rows):.1f}",
                cover,
                interval,
            ]
        )
    head = ["known of the device", "measured", "mean Spearman", "mean MAPE %", "median MAPE %"]
    return table([*head, "90 % cover", "interval, median"], body)


def shipped() -> str:
    """A row a number of measurements, with and without the weighing against the data sheet."""
    body = []
    found = grouped(runs("calibrate_check_shipped"), "measured", "method")
    for (measured, method), rows in sorted(found.items(), key=lambda item: item[0][0]):
        if method == "without the data sheet":
            continue
        spearman, error = _means(rows, "spearman", "mape_percent")
        cover, interval, refused = "–", "–", "–"
        if measured:
            cover = f"{mean(row['coverage'] for row in rows):.1%}"
            interval = f"×{median(row['interval_factor'] for row in rows):.2f}"
        if method == "nasplug":
            refused = f"{mean(row['refused'] for row in rows):.0%}"
        body.append(
            [
                WEIGHED.get(method, method),
                str(measured),
                f"{spearman:.3f}",
                f"{error:.1f}",
                f"{median(row['mape_percent'] for row in rows):.1f}",
                cover,
                interval,
                refused,
            ]
        )
    head = ["what speaks", "measured", "mean Spearman", "mean MAPE %", "median MAPE %"]
    return table([*head, "90 % cover", "interval, median", "refused"], body)


WEIGHED = {"alone": "the measurements", "nasplug": "both, as in a profile"}


def devices() -> str:
    """A row a device with ten measurements, beside its data sheet alone."""
    body = []
    for (column,), rows in grouped(runs("calibrate_check"), "column").items():
        cells = []
        for method, measured in (("data sheet alone", 0), ("nasplug", 10)):
            own = [r for r in rows if (r["method"], r["measured"]) == (method, measured)]
            spearman, error = _means(own, "spearman", "mape_percent")
            cells += [f"{spearman:.3f}", f"{error:.1f}"]
        body.append([column, *cells, f"{mean(r['coverage'] for r in own):.1%}"])
    head = ["device", "data sheet alone: Spearman", "MAPE %", "ten measured: Spearman", "MAPE %"]
    return table([*head, "90 % cover"], body)


def _judged(predictor: str, *keys: str) -> list[list[str]]:
    """A row a measured and a judged kind of networks."""
    body = []
    rows = [row for row in runs("calibrate_networks") if row["predictor"] == predictor]
    for names, own in grouped(rows, *keys).items():
        unlike, spearman, error, cover = _means(
            own, "unlike", "spearman", "mape_percent", "coverage"
        )
        factors = [mean(row["factor"][kind] for row in own) for kind in FACTORS]
        widths = [
            median(row[name] for row in own)
            for name in ("data_sheet_interval_factor", "interval_factor")
        ]
        body.append(
            [
                *(NAMES.get(name, name) for name in names),
                f"{unlike:.0%}",
                *(f"×{factor:.2f}" for factor in factors),
                f"{spearman:.3f}",
                f"{error:.1f}",
                f"{cover:.1%}",
                *(f"×{width:.2f}" for width in widths),
            ]
        )
    return body


FACTORS = ("data_sheet", "scaled", "calibrated")
NAMES = {"all": "all ten families", "same": "the same"}
JUDGED = [
    *("called unlike", "data sheet off by", "at the scale", "calibrated", "Spearman", "MAPE %"),
    *("90 % cover", "interval of the data sheet", "calibrated"),
]


def networks() -> str:
    """A row a family of which ten networks were measured, and which networks are judged."""
    return table(["ten measured of", "judged", *JUDGED], _judged("rooflines", "learned", "judged"))


def elsewhere() -> str:
    """A row a device, and which networks are judged."""
    return table(
        ["device", "ten measured of", "judged", *JUDGED],
        _judged("network-latency", "column", "learned", "judged"),
    )


SECTIONS: dict[str, Callable[[], str]] = {
    "calibrate-check": check,
    "calibrate-devices": devices,
    "calibrate-shipped": shipped,
    "calibrate-networks": networks,
    "calibrate-elsewhere": elsewhere,
}
