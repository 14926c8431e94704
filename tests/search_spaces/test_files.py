"""Files that are whole or absent, and what killed processes leave."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from nasplug.search_spaces import files
from nasplug.search_spaces.files import atomic_path, sweep, write_text


def test_atomic_write_leaves_nothing_when_it_fails(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_text(target, "before")

    def fail() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert target.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_a_reader_of_the_old_file_is_not_disturbed(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_text(target, "before")
    with open(target, encoding="utf-8") as reader:
        write_text(target, "after")
        assert reader.read() == "before"
    assert target.read_text() == "after"


def _write_half(folder: str, started: object) -> None:
    with atomic_path(Path(folder, "file.json")) as temporary:
        temporary.write_text("half")
        started.set()  # type: ignore[attr-defined]
        time.sleep(600)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[BaseProcess]:
    """A process that is half way through a file in `tmp_path`."""
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    process = context.Process(target=_write_half, args=(str(tmp_path), started))
    process.start()
    assert started.wait(120)
    yield process
    process.kill()
    process.join()


def test_what_a_killed_process_left_is_swept_and_what_is_being_written_is_not(
    writer: BaseProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".")
    write_text(tmp_path / "other.json", "whole")
    assert left.exists()
    writer.kill()
    writer.join()
    # Once a folder in a process; this stands for the next start.
    monkeypatch.setattr(files, "_swept", set())
    write_text(tmp_path / "other.json", "whole again")
    assert [path.name for path in tmp_path.iterdir()] == ["other.json"]


def test_nothing_but_temporary_files_is_swept(tmp_path: Path) -> None:
    for name in (".nasplug.json", ".hidden", "tmp", "x.nasplug-tmp-1"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".nasplug-tmp-folder").mkdir()
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 5


def test_a_folder_that_is_not_there_is_swept(tmp_path: Path) -> None:
    sweep(tmp_path / "absent")
