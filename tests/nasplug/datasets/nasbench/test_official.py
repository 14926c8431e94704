"""`nasplug data import`: files that were downloaded by hand, good ones and others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nasbench_files as files
import numpy as np
import pytest
from typer.testing import CliRunner

import nasplug
from nasplug import InputError, datasets
from nasplug.cli import app
from nasplug.datasets.nasbench import official as nasbench_official
from nasplug.datasets.nasbench.table import NasbenchTable
from nasplug.datasets.nasbench.tfrecord import frame
from nasplug.search_spaces.nb101.enumeration import CellTable, cell_codes, cell_hashes

runner = CliRunner()


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("NASPLUG_CACHE", str(folder))
    return folder


def refusal(path: Path, kept: Path) -> str:
    """The one sentence that a bad file gives."""
    done = runner.invoke(app, ["data", "import", "nb101-official", str(path)])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert not [one for one in kept.rglob("*") if one.is_file()]
    return done.stderr


def test_a_good_file_is_told_of_and_kept(tmp_path: Path, kept: Path) -> None:
    path = files.official(tmp_path / "nasbench_full.tfrecord")
    done = runner.invoke(app, ["data", "import", "nb101-official", str(path), "--json"])
    assert done.exit_code == 0
    (row,) = json.loads(done.stdout)
    assert row == {"file": str(path), "cells": 7, "runs": 84, "epochs": [4, 12, 36, 108]}
    assert {one.name for one in kept.rglob("*.npz")} >= {"nb101-official.npz"}


def test_the_table_of_a_file(tmp_path: Path, kept: Path) -> None:
    with pytest.raises(InputError, match="cannot be fetched: download nasbench_only108"):
        datasets.load("nb101-official")
    assert not datasets.available("nb101-official")
    assert datasets.tables_of("nb101", "accuracy") == ["nb101-small"]
    path = files.official(tmp_path / "nasbench_full.tfrecord")
    assert runner.invoke(app, ["data", "import", "nb101-official", str(path)]).exit_code == 0
    assert datasets.tables_of("nb101", "accuracy")[0] == "nb101-official"
    assert list(datasets.sources("nb101-official")) == ["nasbench_full.tfrecord"]
    table = datasets.load("nb101-official")
    assert list(table["arch"]) == sorted(table["arch"], key=lambda t: files.SPACE.parse(t).key)
    nasbench = datasets.NASBench(path)
    for row in table.itertuples():
        arch = files.SPACE.parse(row.arch)
        assert files.SPACE[row.Index] == arch
        fixed, runs = nasbench.get_metrics_from_hash(arch.arch_id)
        assert (row.epochs, row.params) == (108, fixed["trainable_parameters"])
        for column, name in (("val", "validation"), ("test", "test"), ("train", "train")):
            mean = np.mean([run[f"final_{name}_accuracy"] for run in runs[108]])
            assert getattr(row, f"cifar10_{column}") == pytest.approx(100 * mean)
        seconds = np.mean([run["final_training_time"] for run in runs[108]])
        assert row.train_time_s == pytest.approx(seconds)


def test_a_search_looks_up_what_the_file_says(tmp_path: Path, kept: Path) -> None:
    path = files.official(tmp_path / "nasbench_full.tfrecord")
    assert runner.invoke(app, ["data", "import", "nb101-official", str(path)]).exit_code == 0
    table = datasets.load("nb101-official").set_index("arch")
    result = nasplug.search("nb101", evaluate="table", n_trials=7, storage="memory")
    assert len(result.trials) == len(table)
    for row in result.pareto:
        known = table.loc[row["arch"]]
        assert row["observed"]["accuracy"] == pytest.approx(known["cifar10_val"], abs=1e-6)
        assert row["measured"]["accuracy"] == pytest.approx(known["cifar10_test"], abs=1e-6)


def test_a_file_of_all_cells_is_in_the_order_of_the_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the first five cells as the whole space."""
    codes = cell_codes()[:5]
    few = CellTable(codes, cell_hashes(codes, progress=False))
    monkeypatch.setattr(nasbench_official, "CELLS", 5)
    monkeypatch.setattr(nasbench_official, "_FEW", 0)
    monkeypatch.setattr(nasbench_official, "cell_table", lambda: few)
    order = np.array([3, 0, 4, 1, 2])
    runs = {name: np.repeat(order / 8, 2) for name, _ in nasbench_official._RUNS.values()}
    given = NasbenchTable(
        few.hashes[order],
        few.codes[order],
        order,
        np.array([108]),
        np.arange(0, 11, 2),
        runs,
    )
    table = nasbench_official.means(given, {"file": "0"})
    assert table.archs is None
    assert table.index.tolist() == table.values[:, 1].tolist() == [0, 1, 2, 3, 4]
    columns = dict(zip(table.columns, table.values.T.tolist(), strict=True))
    assert columns["cifar10_test"] == [0, 12.5, 25, 37.5, 50]
    assert columns["train_time_s"] == [0, 0.125, 0.25, 0.375, 0.5]
    foreign = replace(given, hashes=given.hashes ^ 1)
    with pytest.raises(InputError, match="is not in NAS-Bench-101"):
        nasbench_official.means(foreign, {})


def test_truncated(tmp_path: Path, kept: Path) -> None:
    path = files.official(tmp_path / "nasbench_full.tfrecord")
    path.write_bytes(path.read_bytes()[:-100])
    said = refusal(path, kept)
    assert f"nasplug: {path} ends in the middle of record 84, which starts at byte " in said


def test_a_flipped_byte(tmp_path: Path, kept: Path) -> None:
    path = files.official(tmp_path / "nasbench_full.tfrecord")
    content = bytearray(path.read_bytes())
    content[len(content) // 3 + 60] ^= 0x40
    path.write_bytes(content)
    said = refusal(path, kept)
    assert f"record 29 of {path} (at byte " in said
    assert "is damaged: the checksum of its content is wrong" in said


def test_a_record_of_a_foreign_layout(tmp_path: Path, kept: Path) -> None:
    rows = [files.record(arch, k, 108, 0) for k, arch in enumerate(files.cells())]
    content = [*map(files.payload, rows[:4]), files.payload({"cell": rows[4][0]})]
    said = refusal(files.write(tmp_path / "x.tfrecord", content), kept)
    assert "record 5 of " in said
    assert "does not have the layout of NAS-Bench-101: it is not a list of hash, epochs" in said


def test_a_file_of_another_benchmark(tmp_path: Path, kept: Path) -> None:
    example = tmp_path / "train.tfrecord"
    example.write_bytes(frame(b"\x0a\x10\x0a\x05image"))
    assert f"record 1 of {example} does not have the layout" in refusal(example, kept)
    checkpoint = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    checkpoint.write_bytes(b"PK\x03\x04" + bytes(200))
    assert f"{checkpoint} is not a TFRecord file" in refusal(checkpoint, kept)


def test_a_file_of_the_same_family(mirror: Path, kept: Path) -> None:
    (path,) = mirror.rglob("energy_4V9E_estimate.tfrecord")
    said = refusal(path, kept)
    assert f"{path} is a file of EC-NAS (91 cells, with energies), not of NAS-Bench-101" in said


def test_other_data_sets_are_fetched(tmp_path: Path, kept: Path) -> None:
    done = runner.invoke(app, ["data", "import", "nb201-latency", str(tmp_path / "x")])
    assert done.exit_code == 2
    assert "nasplug data fetch nb201-latency" in done.stderr
    done = runner.invoke(app, ["data", "import", "nb101-ofical", str(tmp_path / "x")])
    assert done.exit_code == 2
    assert "nb101-official" in done.stderr
