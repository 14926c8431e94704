"""Storages of studies, opened by path, URL or `"memory"`; and studies in them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nasplug.search_spaces import InputError
from nasplug.studies.checksums import check_trials

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study

__all__ = [
    "SETTINGS",
    "default_journal",
    "open_storage",
    "open_study",
]

Direction = Literal["maximize", "minimize"]

# User attribute of a study with the settings of its search.
SETTINGS = "nasplug"
# Seconds between two heartbeats of a trial; three may be missed before it counts as lost.
HEARTBEAT_SECONDS = 60


def default_journal(study_name: str) -> Path:
    """Journal file of a study in the user's state folder, `$XDG_STATE_HOME/nasplug/studies`.

    Raises:
        InputError: If the study's name cannot be the name of a file.
    """
    if not re.fullmatch(r"[\w.+@-][\w .+@-]{0,150}", study_name):
        raise InputError(
            f"study name {study_name[:200]!r} cannot name a file; use letters, digits, - and _, "
            "or give a storage of your own"
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
        stored = study.user_attrs.get(SETTINGS)
        if stored is None and is_new:
            study.set_user_attr(SETTINGS, settings)
            stored = settings
        check_trials(study)
    except (OSError, optuna.exceptions.StorageInternalError) as error:
        raise InputError(f"cannot write the storage ({_first_line(error)})") from error
    if stored != settings:
        stored = stored if isinstance(stored, dict) else {}
        other = next((key for key in settings if stored.get(key) != settings[key]), "tool")
        raise InputError(
            f"study {study_name!r} exists and was made with another {other}; "
            "choose another study name or storage"
        )
    return study


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
