"""Storages by path or word, and studies whose settings differ."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from nasplug.search_spaces import InputError
from nasplug.studies.storages import SETTINGS, default_journal, open_storage, open_study


def test_the_journal_of_a_study_is_in_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_journal("nb201-1a2b") == tmp_path / "nasplug" / "studies" / "nb201-1a2b.journal"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / ".local" / "state" / "nasplug" / "studies"
    assert default_journal("s") == folder / "s.journal"


@pytest.mark.parametrize("name", ["", " s", "a/b", "..\0", "x" * 152])
def test_a_name_that_is_no_file_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="cannot name a file"):
        default_journal(name)


def test_a_study_keeps_its_settings(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "s.journal")
    settings = {"space": "nb201", "seed": 0}
    study = open_study(storage, "s", ["maximize"], settings)
    assert study.user_attrs[SETTINGS] == settings
    assert open_study(storage, "s", ["maximize"], settings).study_name == "s"
    with pytest.raises(InputError, match="study 's' exists and was made with another seed; choose"):
        open_study(storage, "s", ["maximize"], {**settings, "seed": 1})


def test_a_study_of_another_program_is_not_taken() -> None:
    storage = open_storage("memory")
    study = optuna.create_study(storage=storage, study_name="s")
    study.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(InputError, match="study 's' exists and was made with another space"):
        open_study(storage, "s", ["minimize"], {"space": "nb201"})
