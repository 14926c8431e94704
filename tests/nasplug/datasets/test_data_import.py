"""`nasplug data import`: files that were downloaded by hand, good ones and others."""

from __future__ import annotations

import json
from pathlib import Path

import nasbench_files as files
import pytest
from typer.testing import CliRunner

from nasplug.cli import app
from nasplug.datasets.tfrecord import frame

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
    assert len(list(kept.rglob("*.npz"))) == 1


def test_truncated(tmp_path: Path, kept: Path) -> None:
    path = files.official(tmp_path / "nasbench_full.tfrecord")
    path.write_bytes(path.read_bytes()[:-100])
    said = refusal(path, kept)
    assert f"nasplug: {path} ends in the middle of record 84 (which starts at byte " in said


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
    assert "is not laid out like those of NAS-Bench-101: it is no list of hash, epochs" in said


def test_a_file_of_another_benchmark(tmp_path: Path, kept: Path) -> None:
    example = tmp_path / "train.tfrecord"
    example.write_bytes(frame(b"\x0a\x10\x0a\x05image"))
    assert f"record 1 of {example} is not laid out like those" in refusal(example, kept)
    checkpoint = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    checkpoint.write_bytes(b"PK\x03\x04" + bytes(200))
    assert f"{checkpoint} is no TFRecord file" in refusal(checkpoint, kept)


def test_a_file_of_the_same_family(mirror: Path, kept: Path) -> None:
    (path,) = mirror.rglob("energy_4V9E_estimate.tfrecord")
    said = refusal(path, kept)
    assert f"{path} is a file of EC-NAS (91 cells, with energies), not one of NAS-Bench-1" in said


def test_other_data_sets_are_fetched(tmp_path: Path, kept: Path) -> None:
    done = runner.invoke(app, ["data", "import", "nb201-latency", str(tmp_path / "x")])
    assert done.exit_code == 2
    assert "nasplug data fetch nb201-latency gets it" in done.stderr
    done = runner.invoke(app, ["data", "import", "nb101-ofical", str(tmp_path / "x")])
    assert done.exit_code == 2
    assert "nb101-official" in done.stderr
