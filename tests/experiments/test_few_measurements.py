"""Figures of devices calibrated on few measurements, as few_measurements.py found them."""

from __future__ import annotations

from typing import Any

import pytest

from experiments.tables import load

# Class -> number of suggested networks -> share of the data sheet's error that may be left: of the
# median over settings, and of the mean.
LEFT = {
    "gpu": {3: (0.68, 0.72), 10: (0.73, 0.78)},
    "cpu": {3: (0.52, 0.55), 10: (0.48, 0.5)},
    "other": {3: (0.7, 0.77), 10: (0.6, 0.72)},
}


def summary(name: str) -> dict[tuple[str, int | None], dict[str, Any]]:
    rows = load("few_measurements")["summary"]
    return {(row["method"], row["measured"]): row for row in rows if row["class"] == name}


@pytest.mark.parametrize("name", list(LEFT))
def test_measurements_help_and_seldom_harm(name: str) -> None:
    rows = summary(name)
    sheet = rows["data sheet", 0]
    for count, shares in LEFT[name].items():
        measured = rows["suggested", count]
        for key, share in zip(("median_mape_percent", "mean_mape_percent"), shares, strict=True):
            assert measured[key] < share * sheet[key], (count, key)
        assert measured["draws_worse_than_data_sheet"] < 0.24
        assert measured["draws_saved_and_worse"] < 0.19
        assert 0.84 < measured["mean_coverage"] < 0.95
        # Of how many settings and devices.
        assert measured["settings"] > 50
        assert measured["devices"] > 20


@pytest.mark.parametrize("name", list(LEFT))
def test_calibrated_devices_are_better_than_one_factor(name: str) -> None:
    rows = summary(name)
    for count in (1, 3, 10):
        for ours, factor in (
            ("random", "median scale"),
            ("suggested", "median scale, suggested"),
        ):
            for key in ("median_mape_percent", "mean_mape_percent"):
                assert rows[ours, count][key] < rows[factor, count][key], (ours, count, key)


def test_networks_tell_more_than_operators() -> None:
    rows = [row for row in load("few_measurements")["rows"] if row["class"] == "gpu"]
    asked = {(row["device"], row["way"]) for row in rows if row["method"] == "operators"}
    errors = {
        method: [
            row["mape_percent"]
            for row in rows
            if (row["device"], row["way"]) in asked
            and (row["method"], row["measured"]) == (method, 10)
        ]
        for method in ("operators", "suggested")
    }
    assert len(errors["operators"]) == len(errors["suggested"]) > 4
    assert sum(errors["suggested"]) < 0.7 * sum(errors["operators"])
