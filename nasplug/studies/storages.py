"""Storages of studies, opened by path, URL or `"memory"`; and studies in them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nasplug.search_spaces import InputError
from nasplug.studies.checksums import check_trials
from nasplug.text import counted

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study

__all__ = [
    "SETTINGS",
    "default_journal",
    "differences",
    "existing_study",
    "open_storage",
    "open_study",
]

Direction = Literal["maximize", "minimize"]

# User attribute of a study with the settings of its search.
SETTINGS = "nasplug"
# Seconds between two heartbeats of a trial; three may be missed before it counts as lost.
HEARTBEAT_SECONDS = 60
# Most settings that a sentence on a clash names, and most characters of a value in it.
_NAMED, _LENGTH = 3, 60


def default_journal(study_name: str) -> Path:
    """Journal file of a study in the user's state folder, `$XDG_STATE_HOME/nasplug/studies`.

    Raises:
        InputError: If the study's name cannot be the name of a file.
    """
    if not re.fullmatch(r"[\w.+@-][\w .+@-]{0,150}", study_name):
        raise InputError(
            f"study name {study_name[:200]!r} cannot be the name of a file; use letters, digits, "
            "- and _, or give your own storage"
        )
    state = os.environ.get("XDG_STATE_HOME", "")
    # The XDG specification demands that a relative path is ignored.
    folder = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return folder / "nasplug" / "studies" / f"{study_name}.journal"


def open_storage(
    storage: str | os.PathLike[str],
    heartbeat: int | None = HEARTBEAT_SECONDS,
    *,
    read_only: bool = False,
) -> BaseStorage:
    """Open a storage, and create it if it is new.

    While `Study.optimize` runs a trial, its process records heartbeats. Trials whose process died
    are marked as failed by the other workers, and tried again once (`heartbeats`).

    Args:
        storage: `"memory"`, the path of a journal file, or the URL of a database such as
            `"sqlite:///study.db"` or `"postgresql://user@host/db"`.
        heartbeat: Seconds between two heartbeats; None for none, as for `Study.ask` and `tell`,
            between which a trial may run in no process at all.
        read_only: Whether nothing may be created or written; neither file nor folder need be
            writable then.

    Raises:
        InputError: If the storage cannot be read and written, or is none.
    """
    if storage == "memory":
        from optuna.storages import InMemoryStorage

        return InMemoryStorage()
    if isinstance(storage, str) and "://" in storage:
        from nasplug.studies.databases import open_database

        return open_database(storage, heartbeat, read_only)
    from nasplug.studies.journals import open_journal

    return open_journal(Path(storage).expanduser(), heartbeat, read_only)


def open_study(
    storage: BaseStorage, study_name: str, directions: Sequence[Direction], settings: dict[str, Any]
) -> Study:
    """Open a study by name, or create it.

    The settings, which decide the result, are stored in a new study, and compared with those of an
    existing one.

    Raises:
        InputError: If a study of this name has other settings, or the storage cannot be written.
    """
    import optuna
    from optuna.study import StudyDirection

    try:
        study = optuna.create_study(
            storage=storage,
            study_name=study_name,
            directions=list[Direction | StudyDirection](directions),
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(),
        )
        # Trials are read before settings: a worker stores the settings before its first trial.
        is_new = not study.get_trials(deepcopy=False)
        if study.user_attrs.get(SETTINGS) is None and is_new:
            study.set_user_attr(SETTINGS, settings)
        check_trials(study)
    except (OSError, optuna.exceptions.StorageInternalError) as error:
        raise InputError(f"cannot write the storage ({_first_line(error)})") from error
    _check_settings(study, settings)
    return study


def existing_study(
    storage: BaseStorage, study_name: str, settings: Mapping[str, Any]
) -> Study | None:
    """Open a study that has settings; None if there is none, or it has none yet.

    Raises:
        InputError: If the study has other settings, or a trial of it is damaged.
    """
    import optuna

    try:
        study = optuna.load_study(
            study_name=study_name, storage=storage, sampler=optuna.samplers.RandomSampler()
        )
        if not study.get_trials(deepcopy=False) and SETTINGS not in study.user_attrs:
            return None
    except KeyError:
        return None
    except (OSError, optuna.exceptions.StorageInternalError) as error:
        raise InputError(f"cannot read the storage ({_first_line(error)})") from error
    _check_settings(study, settings)
    check_trials(study)
    return study


def _check_settings(study: Study, settings: Mapping[str, Any]) -> None:
    differing = differences(study.user_attrs.get(SETTINGS), settings)
    if differing:
        raise InputError(
            f"study {study.study_name!r} exists and was made with other settings: {differing}; "
            "choose another study name or storage"
        )


def differences(stored: Any, settings: Mapping[str, Any]) -> str:
    """Name the settings that differ, with both values, as in `seed (0 there, 1 here)`.

    Args:
        stored: Settings that a study keeps; whatever is there.
        settings: Settings of the search here.

    Returns:
        The names and values; empty if there is no difference.
    """
    kept = stored if isinstance(stored, dict) else {}
    keys = [key for key in {**settings, **kept} if kept.get(key) != settings.get(key)]
    named = [_difference(key, kept.get(key), settings.get(key)) for key in keys]
    further = len(named) - _NAMED
    texts = named[:_NAMED] + ([counted(further, "more setting")] if further > 0 else [])
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def _difference(name: str, there: Any, here: Any) -> str:
    """A setting with both values; of two devices of one name the field that differs."""
    both = isinstance(there, dict) and isinstance(here, dict)
    if both and there.get("name") == here.get("name"):
        field = next(f for f in {**here, **there} if there.get(f) != here.get(f))
        return _difference(f"{field} of the {name}", there.get(field), here.get(field))
    return f"{name} ({_shown(there)} there, {_shown(here)} here)"


def _shown(value: Any) -> str:
    """A setting in a sentence: a device by its name, checksums by their beginning."""
    if isinstance(value, dict) and "name" in value:
        value = value["name"]
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    text = re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1…", str(value))
    if value is None or text == "":
        return "none"
    return text if len(text) <= _LENGTH else f"{text[: _LENGTH - 1]}…"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
