"""Locks between processes: of a folder while a database is made in it, and of a journal."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from optuna.storages.journal import JournalFileSymlinkLock

__all__ = ["JournalLock", "folder_lock"]

# Seconds to wait for a folder, and between two looks; a process that was halted may never let go.
_PATIENCE, _PAUSE = 60.0, 0.02
# Bytes of a file's name, and how many of them Optuna's lock needs behind the journal's.
_LONGEST, _BEHIND = 255, 48


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes that ask for it, without leaving a file in it.

    The lock ends with the process. Where a file system has none, nothing is held.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, ImportError):
            import fcntl

            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            until = time.monotonic() + _PATIENCE
            while time.monotonic() < until:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    time.sleep(_PAUSE)
                    continue
                # A child that was forked meanwhile has the handle too, and may live on.
                stack.callback(fcntl.flock, handle, fcntl.LOCK_UN)
                break
        yield


class JournalLock(JournalFileSymlinkLock):
    """The lock that Optuna takes of a journal, for any name and any working folder.

    Optuna removes it under a name that is longer by half a hundred letters, and sees from what it
    points to how old it is: a relative path is looked for beside the lock.

    Args:
        journal: The path of the journal.
    """

    def __init__(self, journal: Path) -> None:
        path = journal.absolute()
        super().__init__(str(path))
        if len(os.fsencode(path.name)) > _LONGEST - _BEHIND:
            short = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]
            self._lock_file = str(path.with_name(f"{short}.lock"))
