"""Records of measurements."""

from __future__ import annotations

import pandas as pd

from nasplug.measuring.record import Measurement, Record


def test_record_alone():
    kept = Record(None, {"machine": {}, "runtime": {}, "settings": {}, "reference": {}})
    kept.add_reference(10.0, 0.5)
    kept.add(Measurement("a", "a", "f", 1, latency_ms=1.0))
    assert kept.rows["a"].disturbed
    kept.add_reference(10.0, 0.0)
    assert not kept.rows["a"].disturbed
    assert kept.description["networks"] == {"measured": 1, "disturbed": 0, "failed": 0}
    assert [t["other_cores"] for t in kept.timings] == [0.5, 0.0]


def test_a_network_never_has_two_rows(tmp_path):
    out = tmp_path / "latency.csv"
    kept = Record(out, {"machine": {}, "runtime": {}, "settings": {}, "reference": {}})
    kept.add_reference(10.0, 0.0)
    for arch, ms in (("a", 1.0), ("b", 2.0), ("a", 3.0)):
        kept.add(Measurement(arch, arch, "f", 1, latency_ms=ms))
        assert pd.read_csv(out)["arch_id"].is_unique
    assert pd.read_csv(out)["latency_ms"].tolist() == [3.0, 2.0]


def test_the_calmest_timing_of_a_network_counts():
    kept = Record(None, {"machine": {}, "runtime": {}, "settings": {}, "reference": {}})

    def timed(arch: str, ms: float, before: float, after: float) -> None:
        kept.add_reference(before, 0.0)
        kept.add(Measurement(arch, arch, "f", 1, latency_ms=ms))
        kept.add_reference(after, 0.0)

    for _ in range(3):
        kept.add_reference(10.0, 0.0)
    timed("a", 1.0, 10.0, 12.0)
    timed("b", 2.0, 10.0, 14.0)
    earlier = dict(kept.rows)
    timed("a", 3.0, 10.0, 13.0)
    timed("b", 4.0, 10.0, 13.0)
    kept.keep_calmest(earlier)
    assert [(row.arch, row.latency_ms) for row in kept.rows.values()] == [("a", 1.0), ("b", 4.0)]
    assert [round(row.deviation, 6) for row in kept.rows.values()] == [0.2, 0.3]
