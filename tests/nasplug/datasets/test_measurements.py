"""The table of measurements in its file: rounding, damage, and the data set of that name."""

import numpy as np
import pytest

from nasplug import InputError, datasets
from nasplug.datasets.archives import read_arrays, write_arrays
from nasplug.datasets.measurements import (
    NUMBERS,
    TEXTS,
    MeasurementTable,
    measurement_sources,
    read_measurements,
    shipped_measurements,
    write_measurements,
)

LICENCES = {"MIT", "Apache-2.0", "BSD-3-Clause", "BSD-3-Clause AND Apache-2.0"}


def small_table(rows=50, seed=0):
    rng = np.random.default_rng(seed)
    names = list(measurement_sources())[:3]
    values = {name: ("", f"{name} 1", f"{name} 2, é") for name in TEXTS} | {"source": tuple(names)}
    return MeasurementTable(
        {name: rng.integers(3, size=rows).astype(np.int32) for name in TEXTS},
        values,
        {
            "batch": rng.integers(2000, size=rows).astype(np.int32),
            "threads": np.zeros(rows, np.int32),
            "latency_ms": np.exp(rng.uniform(-7, 16, size=rows)),
        },
    )


def test_a_table_is_read_as_it_was_written(tmp_path):
    table = small_table()
    write_measurements(tmp_path / "table.npz", table)
    stored = read_measurements(tmp_path / "table.npz")
    assert stored.values == table.values
    for name in TEXTS:
        assert np.array_equal(stored.codes[name], table.codes[name])
    for name in ("batch", "threads"):
        assert np.array_equal(stored.numbers[name], table.numbers[name])
    ratios = stored.numbers["latency_ms"] / table.numbers["latency_ms"]
    assert np.abs(ratios - 1).max() < 3e-4


def test_rows_are_chosen_by_texts():
    table = small_table()
    chosen = table.take(table.where("unit", ["unit 1"]))
    assert {row["unit"] for row in chosen.records()} == {"unit 1"}
    assert set(next(chosen.records())) == {*TEXTS, *NUMBERS, "licence"}


def test_a_frame_has_categories():
    frame = small_table().to_frame()
    assert list(frame) == [*TEXTS, *NUMBERS, "licence"]
    assert isinstance(frame["runtime"].dtype, type(frame["unit"].dtype))
    assert set(frame["licence"].astype(str)) <= LICENCES


@pytest.mark.parametrize("change", ["cut", "altered", "version", "missing"])
def test_damage_is_told(tmp_path, change):
    path = tmp_path / "table.npz"
    if change != "missing":
        write_measurements(path, small_table())
    if change == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif change == "altered":
        arrays = np.load(path)
        kept = {name: arrays[name] for name in arrays.files}
        kept["latency_ms"] = kept["latency_ms"] + np.uint8(1)
        np.savez_compressed(path, **kept)
    elif change == "version":
        arrays, _ = read_arrays(path)
        write_arrays(path, arrays | {"version": np.array(99)})
    with pytest.raises(InputError, match="install nasplug again"):
        read_measurements(path)


def test_every_source_has_a_licence_that_permits_it():
    for source in measurement_sources().values():
        assert source.licence in LICENCES
        assert source.url.startswith("https://github.com/")
        assert source.name.count("/") == 1


def test_the_data_set():
    entry = datasets.info("measurements")
    assert entry.size < 4_000_000
    assert datasets.available("measurements")
    with pytest.raises(InputError, match="a part of the package"):
        datasets.fetch("measurements")
    assert datasets.verify("measurements") == [("measurements.npz", "ok")]
    assert [len(sha256) for sha256 in datasets.sources("measurements").values()] == [64]


def test_the_data_set_as_a_frame():
    frame = datasets.load("measurements")
    assert len(frame) == len(shipped_measurements())
    assert frame["latency_ms"].min() > 0
    # The reference table of NVIDIA's A100: the 8192³ product of bf16 is 4.280 ms.
    gemm = frame[(frame["graph"] == "op:gemm{M=8192,N=8192,K=8192}") & (frame["device"] != "")]
    times = gemm.set_index(gemm["device"].astype(str))["latency_ms"]
    assert times["A100 80GB"] == pytest.approx(4.280, rel=1e-3)
    assert times["H100"] == pytest.approx(1.542, rel=1e-3)
    assert times["B200"] == pytest.approx(0.652, rel=1e-3)


def test_the_notice_names_every_source():
    from pathlib import Path

    notice = Path(datasets.__file__).with_name("MEASUREMENTS-NOTICE.md").read_text("utf-8")
    for name in shipped_measurements().values["source"]:
        assert f"- {name}: {measurement_sources()[name].licence}" in notice
