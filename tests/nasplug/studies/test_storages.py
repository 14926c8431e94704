"""Storages by path or word, and studies whose settings differ."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from nasplug.search_spaces import InputError
from nasplug.studies.storages import (
    SETTINGS,
    default_journal,
    differences,
    existing_study,
    open_storage,
    open_study,
)


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
    with pytest.raises(InputError, match="cannot be the name of a file"):
        default_journal(name)


def test_a_study_keeps_its_settings(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "s.journal")
    settings = {"space": "nb201", "seed": 0}
    study = open_study(storage, "s", ["maximize"], settings)
    assert study.user_attrs[SETTINGS] == settings
    assert open_study(storage, "s", ["maximize"], settings).study_name == "s"
    with pytest.raises(
        InputError, match=r"made with other settings: seed \(0 there, 1 here\); choose"
    ):
        open_study(storage, "s", ["maximize"], {**settings, "seed": 1})


def test_a_study_of_another_program_is_not_taken() -> None:
    storage = open_storage("memory")
    study = optuna.create_study(storage=storage, study_name="s")
    study.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(
        InputError, match="study 's' exists and was made with other settings: space"
    ):
        open_study(storage, "s", ["minimize"], {"space": "nb201"})


def test_differences_name_settings_with_both_values() -> None:
    device = {"name": "Orin", "memory_gb": 8}
    settings = {"seed": 0, "hardware": device, "constraints": [], "predictor": "a" * 64}
    assert differences(settings, settings) == ""
    assert differences({**settings, "seed": 1}, settings) == "seed (1 there, 0 here)"
    other = {**settings, "hardware": {**device, "memory_gb": 4}, "predictor": "b" * 64}
    assert differences(other, settings) == (
        "memory_gb of the hardware (4 there, 8 here) and "
        "predictor (bbbbbbbbbbbb… there, aaaaaaaaaaaa… here)"
    )
    other = {**settings, "hardware": None, "constraints": ["latency<=5ms @ 0.9"], "runtime": "x"}
    assert differences(other, settings) == (
        "hardware (none there, Orin here), constraints (latency<=5ms @ 0.9 there, none here) and "
        "runtime (x there, none here)"
    )
    assert differences({}, {str(k): k for k in range(5)}).endswith("and 2 more settings")


def test_a_clash_is_found_without_making_a_study(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "s.journal")
    assert existing_study(storage, "s", {"seed": 0}) is None
    open_study(storage, "s", ["maximize"], {"seed": 0})
    study = existing_study(storage, "s", {"seed": 0})
    assert study is not None
    assert study.study_name == "s"
    with pytest.raises(InputError, match=r"seed \(0 there, 1 here\); choose"):
        existing_study(storage, "s", {"seed": 1})
