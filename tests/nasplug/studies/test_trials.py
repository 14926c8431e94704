"""Searches on a disk that is full in truth: a small file system in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from nasplug.studies.storages import open_storage
from nasplug.studies.trials import run_trials


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB; skips the test where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(words, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here ({error})")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("storage", "left", "said"),
    [
        ("{}/s.journal", 12_288, "No space left on device"),
        ("sqlite:///{}/s.db", 180_000, "database or disk is full"),
    ],
)
def test_a_full_disk_is_said_and_the_search_goes_on(
    nb201_cache: Path, disk: Path, storage: str, left: int, said: str
) -> None:
    (disk / "fill").write_bytes(bytes(1_048_576 - left))
    where = storage.format(disk)
    words = ("search", "--space", "nb201", "--evaluate", "table", "--n-trials", "60")
    words = (*words, "--storage", where, "--study-name", "s")

    def ended() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "nasplug", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def complete() -> int:
        study = optuna.load_study(study_name="s", storage=open_storage(where))
        return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))

    full = ended()
    assert full.returncode == 2, full.stderr
    assert full.stdout == ""
    assert "Traceback" not in full.stderr
    assert full.stderr.splitlines()[-1] == (
        f"nasplug: cannot write study 's' ({said}); finished trials are stored: free some space "
        "or fix the cause, and the same command continues the study"
    )
    os.unlink(disk / "fill")
    kept = complete()
    assert 0 < kept < 60
    assert ended().returncode == 0
    assert complete() == 60


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_in_the_program_is_no_lost_trial(jobs: int) -> None:
    study = optuna.create_study()

    def broken(trial: optuna.Trial) -> float:
        raise ValueError(f"no such choice: {trial.suggest_int('x', 0, 3)}")

    with pytest.raises(ValueError, match="no such choice"):
        run_trials(study, broken, lambda: 5, jobs=jobs)
    assert len(study.trials) <= jobs
