"""TFRecords, and what is wrong with a file: the sentence names file and record, nothing is kept."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nasbench_files as files
import numpy as np
import pytest
from hypothesis import strategies as st

from nasplug.datasets import NASBench
from nasplug.datasets.nasbench.table import METRICS, cached_table, read_file
from nasplug.datasets.nasbench.tfrecord import frame
from nasplug.search_spaces.errors import InputError

Edit = Callable[[list[Any]], object]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("NASPLUG_CACHE", str(folder))
    return folder


def refusal(path: Path, kept: Path) -> str:
    """Why a file is refused, in one sentence, with nothing left behind."""
    with pytest.raises(InputError) as caught:
        NASBench(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert not list(kept.rglob("*"))
    return message


# --- refused files -----------------------------------------------------------------------------


def test_truncated_file(tmp_path: Path, kept: Path) -> None:
    path = files.official(tmp_path / "nasbench.tfrecord")
    path.write_bytes(path.read_bytes()[:-3])
    assert "ends in the middle of record 84, " in refusal(path, kept)


def test_flipped_byte(tmp_path: Path, kept: Path) -> None:
    path = files.official(tmp_path / "nasbench.tfrecord")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    message = refusal(path, kept)
    assert "is damaged: the checksum of its content is wrong" in message
    assert "record 44 of" in message


@pytest.mark.parametrize(
    ("name", "edit", "words"),
    [
        ("no list", lambda row: {"hash": row[0]}, "not a list of hash, epochs, adjacency"),
        ("short", lambda row: row[:4], "not a list of hash, epochs, adjacency"),
        ("epochs", lambda row: [row[0], "108", *row[2:]], "'108' instead of a value of type int"),
        ("metrics", lambda row: [*row[:4], 7], "7 instead of a value of type str"),
        ("base64", lambda row: [*row[:4], "AA"], "its metrics cannot be decoded"),
        ("empty", lambda row: [*row[:4], ""], "it has no trainable parameters"),
        ("hash", lambda row: ["0123", *row[1:]], "'0123' is not the hash of a cell"),
        ("other hash", lambda row: ["0" * 32, *row[1:]], "is not NAS-Bench-101's hash of"),
        ("size", lambda row: [*row[:2], row[2] + "0", *row[3:]], "is not the adjacency matrix"),
        ("digits", lambda row: [*row[:2], row[2].replace("1", "2"), *row[3:]], "not the adjacency"),
        (
            "dead",
            lambda row: [*row[:2], "0" * len(row[2]), *row[3:]],
            "is not the adjacency matrix",
        ),
        ("operations", lambda row: [*row[:3], "input,nor_conv_3x3,output", row[4]], "operations"),
    ],
)
def test_foreign_record(tmp_path: Path, kept: Path, name: str, edit: Edit, words: str) -> None:
    rows = [files.record(arch, k, 108, 0) for k, arch in enumerate(files.cells())]
    content = [*map(files.payload, rows[:4]), files.payload(edit(rows[4]))]
    path = files.write(tmp_path / "nasbench.tfrecord", content)
    message = refusal(path, kept)
    assert f"record 5 of {path} does not have the layout of NAS-Bench-101" in message
    assert words in message


@pytest.mark.parametrize("evaluations", [0, 1, 2, 4])
def test_other_number_of_evaluations(tmp_path: Path, kept: Path, evaluations: int) -> None:
    import base64

    row = files.record(files.cells()[2], 2, 108, 0)
    row[4] = base64.encodebytes(files.metrics(2, 108, 0, 1000, evaluations)).decode()
    path = files.write(tmp_path / "x.tfrecord", [files.payload(row)])
    assert "its metrics cannot be decoded" in refusal(path, kept)


@pytest.mark.parametrize(
    "numbers",
    [
        (0, 5, 1.5, 0.5, 0.5),
        (0, 5, float("nan"), 0.5, 0.5),
        (0, 0, 0.5, 0.5, 0.5),
        (0, -1, 0, 0, 0),
    ],
)
def test_impossible_numbers(tmp_path: Path, kept: Path, numbers: tuple[float, ...]) -> None:
    import base64

    good = files.record(files.cells()[2], 2, 108, 0)
    bad = list(good)
    raw = files.evaluation((0, 1, 0.1, 0.1, 0.1)) * 2 + files.evaluation(numbers) + b"\x10\x07"
    bad[4] = base64.encodebytes(raw).decode()
    path = files.write(tmp_path / "x.tfrecord", [files.payload(row) for row in (good, good, bad)])
    message = refusal(path, kept)
    assert "record 3 of" in message
    assert "after 108 epochs its seconds and accuracies" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has no records"),
        (b"PK\x03\x04" + bytes(200), "is not a TFRecord file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "is a git-LFS pointer"),
        (frame(b"\x0a\x10\x0a\x05image"), "record 1 of .* is not JSON"),  # a tf.Example
        (frame(b"[" * 100_000), "record 1 of .* is not JSON"),
    ],
)
def test_files_of_other_kinds(tmp_path: Path, kept: Path, content: bytes, words: str) -> None:
    path = tmp_path / "other.tfrecord"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        NASBench(path)
    refusal(path, kept)


def test_missing_file(tmp_path: Path, kept: Path) -> None:
    assert "is not a file; give the .tfrecord" in refusal(tmp_path / "none.tfrecord", kept)
    assert "is not a file" in refusal(tmp_path, kept)


def test_a_file_that_became_damaged_is_not_read_from_the_copy(tmp_path: Path, kept: Path) -> None:
    path = files.official(tmp_path / "nasbench.tfrecord")
    NASBench(path)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="record 84 of .* is damaged"):
        NASBench(path)


# --- the copy in the cache ---------------------------------------------------------------------


def same(one: Any, other: Any) -> None:
    for name in ("hashes", "codes", "params", "epochs", "starts"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert one.runs.keys() == other.runs.keys()
    for name, column in one.runs.items():
        assert np.array_equal(column, other.runs[name])
        assert column.dtype == other.runs[name].dtype


def test_second_time_comes_from_the_copy(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.official(tmp_path / "nasbench.tfrecord")
    first = cached_table(path)
    (copy,) = kept.rglob("*.npz")
    moved = path.rename(tmp_path / "elsewhere.tfrecord")
    with monkeypatch.context() as patch:
        patch.setattr("nasplug.datasets.nasbench.table.read_file", None)
        same(cached_table(moved), first)
    for damage in (copy.read_bytes()[:-100], b"", copy.read_bytes()[:900] + bytes(64)):
        copy.write_bytes(damage)
        same(cached_table(moved), first)
    # Another file has another copy.
    same(
        cached_table(files.official(tmp_path / "b.tfrecord", (108,))),
        read_file(tmp_path / "b.tfrecord"),
    )
    assert len(list(kept.rglob("*.npz"))) == 2


def test_copy_of_another_content_is_not_taken(tmp_path: Path, kept: Path) -> None:
    one, other = (files.official(tmp_path / f"{k}.tfrecord", (k,)) for k in (4, 108))
    first = cached_table(one)
    (copy,) = kept.rglob("*.npz")
    cached_table(other)
    (second,) = (path for path in kept.rglob("*.npz") if path != copy)
    copy.replace(second)
    assert cached_table(other).epochs.tolist() == [108]
    assert first.epochs.tolist() == [4]


def test_copy_that_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NASPLUG_CACHE", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    assert len(NASBench(files.official(tmp_path / "nasbench.tfrecord"))) == len(files.cells())
    said = capsys.readouterr()
    assert said.out == ""
    assert "set NASPLUG_CACHE" in said.err
    assert said.err.count("\n") == 1


def test_columns_are_as_narrow_as_they_can_be(tmp_path: Path, kept: Path) -> None:
    table = read_file(files.official(tmp_path / "x.tfrecord"))
    assert tuple(table.runs) == METRICS  # no energies
    narrow = {name for name, column in table.runs.items() if column.dtype == np.float32}
    assert "final_test_accuracy" in narrow
    assert "final_training_time" not in narrow  # tenths of a second


def test_shortcut_and_protobuf_read_the_same(tmp_path: Path, kept: Path) -> None:
    # Without a checkpoint's path a message has the form that is read without protobuf.
    plain = files.official(tmp_path / "plain.tfrecord", checkpoint=None)
    same(read_file(plain), read_file(files.official(tmp_path / "long.tfrecord")))


numbers = st.floats(0, 5000)


def test_other_json_of_the_same_content(tmp_path: Path, kept: Path) -> None:
    import json

    rows = [files.record(arch, k, 108, 0) for k, arch in enumerate(files.cells())]
    usual = files.write(tmp_path / "a.tfrecord", map(files.payload, rows))
    wide = [json.dumps(row, indent=1).encode() for row in rows]
    escaped = [files.payload(row).replace(b"input", b"\\u0069nput") for row in rows]
    same(read_file(files.write(tmp_path / "b.tfrecord", wide)), read_file(usual))
    same(read_file(files.write(tmp_path / "c.tfrecord", escaped)), read_file(usual))


def test_many_runs_are_packed_piece_by_piece(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.official(tmp_path / "x.tfrecord")
    whole = read_file(path)
    monkeypatch.setattr("nasplug.datasets.nasbench.table._CHUNK", 10)
    same(read_file(path), whole)


def test_progress_is_drawn_on_demand(
    tmp_path: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = files.official(tmp_path / "x.tfrecord")
    read_file(path)
    assert capsys.readouterr().err == ""
    read_file(path, progress=True)
    assert "x.tfrecord" in capsys.readouterr().err


def test_no_tensorflow_and_no_torch() -> None:
    code = (
        "import sys; from nasplug.datasets import NASBench; "
        "print({'tensorflow', 'torch', 'pandas', 'google.protobuf'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
