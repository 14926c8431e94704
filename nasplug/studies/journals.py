"""Journal files: opened by many processes, and whole again after a torn record."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from nasplug.search_spaces import InputError
from nasplug.studies.heartbeats import WatchedJournal

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["TORN", "open_journal"]

# What is cut off a journal is kept in a file of its name with this behind it.
TORN = ".torn"
# What every record starts with.
_START = b'{"op_code"'
# Bytes to read for a last line.
_BLOCK = 1 << 14

_logger = logging.getLogger(__name__)


class _Journal(JournalFileBackend):
    """A journal that never appends to half a record.

    A record counts once its line has ended. The half line that a full disk or a lost machine
    leaves is read by nobody; but the next record would be glued to it, and lost with it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = JournalFileSymlinkLock(str(path))
        super().__init__(str(path), self._guard)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in logs]
        self._guard.acquire()
        try:
            _cut_torn_record(self._path)
            with self._path.open("ab") as file:
                file.write("".join(lines).encode())
                file.flush()
                os.fsync(file.fileno())
        finally:
            self._guard.release()

    def mend(self) -> None:
        """Cut off half a record before anything is read.

        Raises:
            ValueError: If the file is no journal, or its last line is no record, which Optuna
                overlooks until there is another one; it is left as it is.
        """
        if not _is_torn(self._path):
            last = _last_line(self._path)
            if last and not _is_record(last):
                raise ValueError("not a record")
            return
        self._guard.acquire()
        try:
            # Never cut a file that is no journal: somebody's text may end without a line break.
            first = self._path.read_bytes()[: len(_START)]
            if not _START.startswith(first) or bad_line(self._path) is not None:
                raise ValueError("not a journal")
            _cut_torn_record(self._path)
        finally:
            self._guard.release()


def _is_torn(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _cut_torn_record(path: Path) -> None:
    """Cut off what follows the last line break, and keep it beside; with the lock held."""
    if not _is_torn(path):
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    kept = path.with_name(path.name + TORN)
    with kept.open("ab") as file:
        file.write(content[whole:] + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.truncate(path, whole)
    _logger.warning(
        "the last record of %s was not written to its end and does not count; its %d bytes are "
        "kept in %s",
        path,
        len(content) - whole,
        kept,
    )


def _last_line(path: Path) -> bytes:
    """The last line of a file that ends with a line break; nothing of one that is empty."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        block = min(size, _BLOCK)
        while True:
            file.seek(size - block)
            lines = file.read(block).splitlines(keepends=True)
            if len(lines) > 1 or block == size:
                return lines[-1] if lines else b""
            block = min(size, 2 * block)


def _is_record(line: bytes) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and {"op_code", "worker_id"} <= record.keys()


def bad_line(path: Path) -> int | None:
    """The number of the first line that is no record, from 1; the half line at the end is none."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n") and not _is_record(line):
                return number
    return None


def open_journal(path: Path, heartbeat: int | None) -> BaseStorage:
    """Open a journal file, making it if it is new.

    Args:
        path: The file.
        heartbeat: Seconds between two heartbeats of a trial; None for none.

    Raises:
        InputError: If it cannot be read and written, or is something else, or is damaged.
    """
    if path.is_dir():
        raise InputError(f"storage {str(path)!r} is a folder; give the path of a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(0, "its folder cannot be written, where the lock file goes")
        journal = _Journal(path)
        journal.mend()
        return WatchedJournal(journal, heartbeat)
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise InputError(
            f"cannot write storage {str(path)!r} ({reason}); give a path that can be written"
        ) from error
    # A journal of other JSON fails deep inside Optuna, with whatever its lines happen to lack.
    except Exception as error:
        line = bad_line(path)
        where = "" if line is None else f" (line {line} is no record)"
        raise InputError(
            f"storage {str(path)!r} is no journal of a study, or is damaged{where}; "
            "mend it, remove it or give another path"
        ) from error
