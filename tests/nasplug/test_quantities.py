"""Quantities: names, units, and how values are written."""

from __future__ import annotations

import re

import pytest

from experiments import ROOT
from nasplug.quantities import (
    ALIASES,
    COUNTED,
    PREDICTED,
    QUANTITIES,
    images_per_second,
    quantity_named,
)


@pytest.mark.parametrize(
    ("name", "value", "cell", "text"),
    [
        ("latency", 1.23456, "1.235", "1.235 ms"),
        ("throughput", 30.04, "30.0", "30.0 img/s"),
        ("memory", 109.451, "109.45", "109.45 MB"),
        ("size", 1.5, "1.50", "1.50 MB"),
        ("params", 25_557_032, "25.56M", "25.56M"),
        ("flops", 4_089_184_256, "4089.2", "4089.2M"),
        ("accuracy", 92.345, "92.34", "92.34 %"),
    ],
)
def test_values_are_written(name: str, value: float, cell: str, text: str) -> None:
    kind = QUANTITIES[name]
    assert (kind.cell(value), kind.text(value)) == (cell, text)


def test_quantities_are_found_by_other_names_and_keys() -> None:
    assert {quantity_named(word) for word in ("throughput", "fps")} == {QUANTITIES["throughput"]}
    assert quantity_named("memory_mb") is QUANTITIES["memory"]
    assert quantity_named("macs") is QUANTITIES["flops"]
    assert quantity_named("speed") is None
    assert set(ALIASES.values()) <= set(QUANTITIES)
    assert not set(ALIASES) & set(QUANTITIES)


def test_each_quantity_has_one_source() -> None:
    derived = [kind.name for kind in QUANTITIES.values() if kind.source == "derived"]
    assert sorted([*COUNTED, *PREDICTED, *derived]) == sorted(QUANTITIES)
    # The first unit is the canonical one.
    assert {next(iter(kind.units.values())) for kind in QUANTITIES.values()} == {1.0}


def test_throughput_and_latency_follow_from_each_other() -> None:
    assert images_per_second(4.0, 8) == 2000.0
    assert images_per_second(images_per_second(4.0, 8), 8) == 4.0


def test_the_guide_has_all_quantities() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    table = guide.partition("## Quantities")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    assert named == list(QUANTITIES)
    for kind in QUANTITIES.values():
        assert f"`{kind.example}`" in table
        assert f"`{kind.key}`" in table or kind.key == kind.name
