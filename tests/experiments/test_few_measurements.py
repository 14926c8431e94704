"""What measurements are worth on devices of the table, as few_measurements.py found it."""

from __future__ import annotations

import pytest

from experiments.tables import load


@pytest.mark.parametrize("name", ["gpu", "cpu", "other"])
def test_measurements_help_and_hardly_ever_harm(name: str) -> None:
    rows = {
        (row["method"], row["measured"]): row
        for row in load("few_measurements")["summary"]
        if row["class"] == name
    }
    sheet = rows["data sheet", 0]
    for count, gain in ((3, 0.8), (10, 0.7)):
        measured = rows["suggested", count]
        assert measured["median_mape_percent"] < gain * sheet["median_mape_percent"]
        assert measured["mean_mape_percent"] < gain * sheet["mean_mape_percent"]
        assert measured["draws_worse_than_data_sheet"] < 0.2
        assert measured["median_coverage"] > 0.85
        # Of how many settings and devices.
        assert measured["settings"] > 50
        assert measured["devices"] > 20
