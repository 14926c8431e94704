"""The tables of docs/hardware.md on devices that a user calibrates."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean, median

from device_tables import Row, grouped, runs
from predictor_tables import table

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


def networks() -> str:
    """A row a family of which ten networks were measured, and which networks are judged."""
    body = []
    found = grouped(runs("calibrate_networks"), "learned", "judged")
    for (learned, judged), rows in found.items():
        spearman, error, unlike, cover, wide = _means(
            rows, "spearman", "mape_percent", "unlike", "coverage", "coverage_widened"
        )
        body.append(
            [
                "all ten families" if learned == "all" else learned,
                "the same" if judged == "same" else judged,
                f"{unlike:.0%}",
                f"{spearman:.3f}",
                f"{error:.1f}",
                f"{cover:.1%}",
                f"{wide:.1%}",
                f"×{median(row['interval_factor'] for row in rows):.2f}",
            ]
        )
    head = ["ten measured of", "judged", "called unlike", "Spearman", "MAPE %", "90 % cover"]
    return table([*head, "as the command widens them", "interval, median"], body)


SECTIONS: dict[str, Callable[[], str]] = {
    "calibrate-check": check,
    "calibrate-devices": devices,
    "calibrate-networks": networks,
}
