"""Locks of folders and journals."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from nasplug.studies.locks import JournalLock, folder_lock


def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    inside, held = 0, []

    def hold() -> None:
        nonlocal inside
        with folder_lock(tmp_path):
            inside += 1
            held.append(inside)
            inside -= 1

    threads = [threading.Thread(target=hold) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held == [1] * 8
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_absent_is_not_held(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "absent"):
        pass


@pytest.mark.parametrize("length", [10, 207, 208, 247])
def test_a_journal_of_any_name_is_locked_beside_it(
    length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    journal = Path("j" * (length - 8) + ".journal")
    journal.touch()
    lock = JournalLock(journal)
    assert lock.acquire()
    (link,) = (path for path in tmp_path.iterdir() if path.name != journal.name)
    # Optuna reads a lock's age from the file that it points to.
    assert link.stat().st_ino == journal.stat().st_ino
    lock.release()
    assert [path.name for path in tmp_path.iterdir()] == [journal.name]
