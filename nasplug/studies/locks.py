"""Locks between processes: of a folder while a database is created in it, and of a journal."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from optuna.storages.journal import JournalFileSymlinkLock

__all__ = ["JournalLock", "folder_lock"]

# Seconds to wait for a folder, and between two attempts; a suspended process never releases it.
_PATIENCE, _PAUSE = 60.0, 0.02
# Most bytes of a file name, and bytes that Optuna's lock adds to the journal's name.
_LONGEST, _BEHIND = 255, 48


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes that call this, without leaving a file in it.

    The lock ends with the process. On a file system without locks nothing is locked.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, ImportError):
            import fcntl

            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            deadline = time.monotonic() + _PATIENCE
            while time.monotonic() < deadline:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    time.sleep(_PAUSE)
                    continue
                # Closing is not enough: a forked child has the handle too, and may live on.
                stack.callback(fcntl.flock, handle, fcntl.LOCK_UN)
                break
        yield


class JournalLock(JournalFileSymlinkLock):
    """Optuna's lock of a journal, for file names of any length and any working folder.

    Optuna renames a lock before it removes it, to a name that is about fifty characters longer. It
    reads a lock's age from the file that the link points to, and looks for a relative path beside
    the lock; so the path is made absolute.
    """

    def __init__(self, journal: Path) -> None:
        path = journal.absolute()
        super().__init__(str(path))
        if len(os.fsencode(path.name)) > _LONGEST - _BEHIND:
            short = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]
            self._lock_file = str(path.with_name(f"{short}.lock"))
