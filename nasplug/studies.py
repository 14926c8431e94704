"""Where a study is kept: a journal file, memory, or a database; and what may go wrong there."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nasplug.search_spaces import InputError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study

__all__ = ["default_journal", "fail_abandoned", "open_storage", "open_study"]

Direction = Literal["maximize", "minimize"]

# What the settings of a search are kept under in the study.
SETTINGS = "nasplug"
# A trial by prediction takes milliseconds: one that runs for longer has lost its process.
ABANDONED_SECONDS = 5.0


def default_journal(study_name: str) -> Path:
    """The journal file of a study in the user's state folder, `$XDG_STATE_HOME/nasplug/studies`.

    Raises:
        InputError: If the name cannot be the name of a file.
    """
    if not re.fullmatch(r"[\w.+@-][\w .+@-]{0,150}", study_name):
        raise InputError(
            f"study name {study_name[:200]!r} cannot name a file; use letters, digits, - and _, "
            "or give a storage of your own"
        )
    state = os.environ.get("XDG_STATE_HOME", "")
    # The XDG specification says that a relative path there is to be ignored.
    folder = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return folder / "nasplug" / "studies" / f"{study_name}.journal"


def open_storage(storage: str | os.PathLike[str]) -> BaseStorage:
    """Open a storage, making it if it is new.

    Args:
        storage: `"memory"`, the path of a journal file, or the URL of a database such as
            `"sqlite:///study.db"` or `"postgresql://user@host/db"`.

    Raises:
        InputError: If it cannot be read and written, or is something else.
    """
    if storage == "memory":
        from optuna.storages import InMemoryStorage

        return InMemoryStorage()
    if isinstance(storage, str) and "://" in storage:
        return _open_database(storage)
    return _open_journal(Path(storage).expanduser())


def _open_database(url: str) -> BaseStorage:
    from optuna.storages import RDBStorage

    # Errors may quote the URL, and a URL may carry a password.
    shown = re.sub(r"//[^/@]*@", "//…@", url)
    try:
        return RDBStorage(url)
    except ImportError as error:
        raise InputError(
            f"storage {shown!r} needs a database driver that is not installed, such as psycopg2"
        ) from error
    except Exception as error:
        raise InputError(
            f"cannot open storage {shown!r} ({_first_line(error).replace(url, shown)}); "
            "give the URL of a database, the path of a journal file, or memory"
        ) from error


def _open_journal(path: Path) -> BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if path.is_dir():
        raise InputError(f"storage {str(path)!r} is a folder; give the path of a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(0, "its folder cannot be written, where the lock file goes")
        _drop_torn_line(path)
        return JournalStorage(JournalFileBackend(str(path)))
    except (OSError, ValueError) as error:
        if isinstance(error, OSError):
            reason = error.strerror or _first_line(error)
            raise InputError(
                f"cannot write storage {str(path)!r} ({reason}); give a path that can be written"
            ) from error
        raise _no_journal(path) from error
    # A journal of other JSON fails deep inside Optuna, with whatever its lines happen to lack.
    except Exception as error:
        raise _no_journal(path) from error


def _no_journal(path: Path) -> InputError:
    return InputError(
        f"storage {str(path)!r} is no journal of a study, or is damaged; "
        "remove it or give another path"
    )


def _drop_torn_line(path: Path) -> None:
    """Cut off the half line that a killed process may have left, before more is appended to it."""
    from optuna.storages.journal import JournalFileSymlinkLock

    def is_torn() -> bool:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"

    if not is_torn():
        return
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()
    try:
        if is_torn():
            content = path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            # Never cut a file that is no journal: somebody's text may end without a line break.
            if not (whole or content).startswith(b'{"op_code"'[: len(content)]):
                raise ValueError("not a journal")
            for line in whole.splitlines():
                json.loads(line)
            os.truncate(path, len(whole))
    finally:
        lock.release()


def open_study(
    storage: BaseStorage, study_name: str, directions: Sequence[Direction], settings: dict[str, Any]
) -> Study:
    """Open a study by name, or make it.

    Args:
        storage: Where it is kept.
        study_name: Its name in there.
        directions: `"maximize"` or `"minimize"` for each objective.
        settings: What decides the result; kept in the study, and compared if it exists.

    Raises:
        InputError: If a study of this name was made with other settings, or cannot be written.
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
        known = study.user_attrs.get(SETTINGS)
        if known is None and not study.get_trials(deepcopy=False):
            study.set_user_attr(SETTINGS, settings)
            known = settings
    except (OSError, optuna.exceptions.StorageInternalError) as error:
        raise InputError(f"cannot write the storage ({_first_line(error)})") from error
    if known != settings:
        known = known if isinstance(known, dict) else {}
        other = next((key for key in settings if known.get(key) != settings[key]), "tool")
        raise InputError(
            f"study {study_name!r} exists and was made with another {other}; "
            "choose another study name or storage"
        )
    return study


def fail_abandoned(study: Study) -> None:
    """Free what trials hold whose process was killed; waits for those that may yet be alive."""
    from optuna.trial import TrialState

    while True:
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        ages = [
            (datetime.now() - trial.datetime_start).total_seconds() if trial.datetime_start else 0.0
            for trial in running
        ]
        for trial, age in zip(running, ages, strict=True):
            if age >= ABANDONED_SECONDS:
                study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        if all(age >= ABANDONED_SECONDS for age in ages):
            return
        time.sleep(0.2)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
