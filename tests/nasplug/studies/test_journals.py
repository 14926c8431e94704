"""Journal files that were not written to their end, or are something else."""

from __future__ import annotations

import json
import logging
import random
import threading
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from nasplug.search_spaces import InputError
from nasplug.studies.journals import TORN, bad_line
from nasplug.studies.locks import JournalLock
from nasplug.studies.storages import open_storage

# What plain Optuna writes and what nasplug does: the file is the same.
HEARTBEATS = [None, 60]


def objective(trial: optuna.trial.Trial) -> float:
    trial.set_user_attr("word", "ü–\n")
    return trial.suggest_float("x", 0, 1)


def journal(path: Path, trials: int = 2, heartbeat: int | None = 60) -> bytes:
    study = optuna.create_study(storage=open_storage(path, heartbeat), study_name="s")
    study.optimize(objective, n_trials=trials)
    return path.read_bytes()


def states(path: Path) -> list[TrialState]:
    study = optuna.load_study(study_name="s", storage=open_storage(path, None))
    return [trial.state for trial in study.trials]


@pytest.mark.parametrize("heartbeat", HEARTBEATS)
def test_cut_at_every_byte_of_its_last_record(tmp_path: Path, heartbeat: int | None) -> None:
    content = journal(tmp_path / "whole", heartbeat=heartbeat)
    start = content.rstrip(b"\n").rfind(b"\n") + 1
    assert json.loads(content[start:])["op_code"] == 6
    for size in range(start, len(content)):
        path = tmp_path / f"{size}"
        path.write_bytes(content[:size])
        # The record that said that the last trial is complete is gone, and nothing else.
        assert states(path) == [TrialState.COMPLETE, TrialState.RUNNING], size
        assert path.read_bytes() == content[:start]
        kept = path.with_name(path.name + TORN)
        assert kept.exists() == (size > start)
        if size > start:
            assert kept.read_bytes() == content[start:size] + b"\n"


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.8])
def test_a_cut_journal_goes_on(tmp_path: Path, share: float) -> None:
    content = journal(tmp_path / "s.journal", 3)
    path = tmp_path / "cut.journal"
    path.write_bytes(content[: int(share * len(content))])
    study = optuna.create_study(storage=open_storage(path), study_name="s", load_if_exists=True)
    before = len(study.get_trials(states=(TrialState.COMPLETE,)))
    study.optimize(objective, n_trials=2)
    assert states(path).count(TrialState.COMPLETE) == before + 2
    assert bad_line(path) is None


def test_a_worker_that_runs_never_appends_to_half_a_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s.journal"
    study = optuna.create_study(storage=open_storage(path), study_name="s")
    study.optimize(objective, n_trials=1)
    other = optuna.load_study(study_name="s", storage=open_storage(path))
    # Another process died, or its disk was full, in the middle of a record.
    with path.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"x","study_')
    with caplog.at_level(logging.WARNING, "nasplug.studies.journals"):
        study.optimize(objective, n_trials=1)
    assert "36 bytes are kept in" in caplog.text
    other.optimize(objective, n_trials=1)
    assert bad_line(path) is None
    assert states(path) == [TrialState.COMPLETE] * 3
    assert len(study.trials) == len(other.trials) == 3


def test_plain_optuna_reads_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "s.journal"
    journal(path)
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    study = optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(backend))
    study.optimize(objective, n_trials=1)
    assert states(path) == [TrialState.COMPLETE] * 3


@pytest.mark.parametrize(
    "line", [b'{"op_co\n', b"\n", b"\xff\xfe\n", b"[]\n", b'{"a":1}\n', b"\x00\x00\x00\n"]
)
def test_a_damaged_line_is_named_and_the_file_left_alone(tmp_path: Path, line: bytes) -> None:
    content = journal(tmp_path / "s.journal")
    lines = content.splitlines(keepends=True)
    path = tmp_path / "damaged.journal"
    for tail in (b"", b'{"op_code":'):
        broken = b"".join([*lines[:4], line, *lines[4:]]) + tail
        path.write_bytes(broken)
        with pytest.raises(InputError, match="line 5 is not a record") as caught:
            open_storage(path)
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == broken


def test_a_damaged_last_line_is_found_before_more_is_appended(tmp_path: Path) -> None:
    content = journal(tmp_path / "s.journal")
    path, number = tmp_path / "damaged.journal", len(content.splitlines()) + 1
    # As another program leaves it that appends to half a record.
    for last in (b'{"op_code":4,"wor{"op_code":1}\n', b"\x00" * 40_000 + b"\n"):
        path.write_bytes(content + last)
        with pytest.raises(InputError, match=f"line {number} is not a record"):
            open_storage(path)
        assert path.read_bytes() == content + last


@given(content=st.binary(max_size=60))
def test_other_files_are_refused_or_empty(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(content)
    try:
        open_storage(path)
    except InputError as error:
        assert "\n" not in str(error)
        assert path.read_bytes() == content
    else:
        # Nothing, or the beginning of a first record, which is kept beside.
        assert path.read_bytes() == b""
        kept = path.with_name(path.name + TORN)
        assert content == (kept.read_bytes()[:-1] if kept.exists() else b"")


def said_of(path: Path) -> list[object]:
    study = optuna.load_study(study_name="s", storage=open_storage(path, None, read_only=True))
    return [(t.state, t.values, t.params, t.distributions, t.user_attrs) for t in study.trials]


def test_a_flipped_bit_is_told_with_its_line_or_changes_nothing(tmp_path: Path) -> None:
    content = journal(tmp_path / "s.journal")
    wanted, path = said_of(tmp_path / "s.journal"), tmp_path / "flipped.journal"
    rng, silent = random.Random(0), 0
    places = [rng.randrange(len(content)) for _ in range(120)]
    # The last line break too: a whole record with something else behind it is not half a record.
    for place in [*places, len(content) - 1]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(damaged))
        line = content[:place].count(b"\n") + 1
        try:
            assert said_of(path) == wanted
            silent += 1
        except InputError as error:
            assert f"(line {line} is not a record, or was changed)" in str(error)
        assert path.read_bytes() == damaged
    assert silent < 10


def test_a_worker_that_runs_tells_a_damaged_line(tmp_path: Path) -> None:
    path = tmp_path / "s.journal"
    journal(path)
    study = optuna.load_study(study_name="s", storage=open_storage(path, None))
    line = json.dumps({"op_code": 2, "worker_id": "x", "study_id": 0, "user_attr": {"a": 1}})
    with path.open("a") as file:
        file.write(line.replace("}}", '},"crc32":"00000000"}') + "\n")
    number = len(path.read_bytes().splitlines())
    with pytest.raises(InputError, match=f"line {number} is not a record"):
        study.optimize(objective, n_trials=1)


def test_records_without_a_checksum_are_read(tmp_path: Path) -> None:
    path = tmp_path / "s.journal"
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    study = optuna.create_study(study_name="s", storage=optuna.storages.JournalStorage(backend))
    study.optimize(objective, n_trials=1)
    assert b"crc32" not in path.read_bytes()
    assert states(path) == [TrialState.COMPLETE]


def test_reading_alone_leaves_file_and_folder_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "s.journal"
    content = journal(path) + b'{"op_code":'
    path.write_bytes(content)
    path.chmod(0o400)
    tmp_path.chmod(0o500)
    before = path.stat().st_mtime_ns, tmp_path.stat().st_mtime_ns
    try:
        assert len(said_of(path)) == 2
        with pytest.raises(InputError, match="cannot read storage"):
            open_storage(tmp_path / "other.journal", read_only=True)
    finally:
        tmp_path.chmod(0o700)
    assert path.read_bytes() == content
    assert (path.stat().st_mtime_ns, tmp_path.stat().st_mtime_ns) == before


@pytest.mark.parametrize("length", [200, 207, 208, 240, 255])
def test_long_names(tmp_path: Path, length: int) -> None:
    path = tmp_path / ("ü" + "j" * (length - 2))
    journal(path, trials=1)
    other = optuna.load_study(study_name="s", storage=open_storage(path))
    other.optimize(objective, n_trials=1)
    assert states(path) == [TrialState.COMPLETE] * 2
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_name_that_no_file_can_have_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="File name too long"):
        open_storage(tmp_path / ("j" * 256))


def test_the_lock_of_a_dead_process_is_broken_in_any_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("folder", "s.journal")
    path.parent.mkdir()
    path.touch()
    # Whoever has it never lets it go.
    JournalLock(path).acquire()
    lock = JournalLock(path)
    lock.grace_period = 0
    waiting = threading.Thread(target=lock.acquire, daemon=True)
    waiting.start()
    waiting.join(300)
    assert not waiting.is_alive()
    lock.release()
