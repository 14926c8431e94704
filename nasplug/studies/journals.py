"""Journal files that many processes open, and that are repaired after a torn record."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage
from optuna.storages.journal import JournalFileBackend

from nasplug.search_spaces import InputError
from nasplug.studies.checksums import is_whole, record_line
from nasplug.studies.heartbeats import WatchedJournal
from nasplug.studies.locks import JournalLock

__all__ = ["TORN", "open_journal"]

# Suffix of the file beside a journal that gets what is cut off the journal.
TORN = ".torn"
# Beginning of every record.
_START = b'{"op_code"'
# Bytes to read at once in search of the last line.
_BLOCK = 1 << 14

_logger = logging.getLogger(__name__)


class _Journal(JournalFileBackend):
    """Journal that never appends to half a record.

    A record counts once its line has ended. Readers skip the half line that a full disk or a lost
    machine leaves; but the next record would be appended to that line, and lost with it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = JournalLock(path)
        super().__init__(str(path), self._guard)

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Read the records from a number on.

        Raises:
            InputError: If a record is damaged; the sentence has the number of its line.
        """
        try:
            for line, record in enumerate(super().read_logs(log_number_from), log_number_from + 1):
                if not is_whole(record):
                    raise _damaged(self._path, line)
                yield record
        except InputError:
            raise
        except ValueError as error:
            raise _damaged(self._path, bad_line(self._path)) from error

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = [record_line(log) for log in logs]
        with self._held():
            _cut_torn_record(self._path)
            with self._path.open("ab") as file:
                file.write("".join(lines).encode())
                file.flush()
                os.fsync(file.fileno())

    def mend(self, read_only: bool = False) -> None:
        """Check the last line before anything is read, and cut it off if it is half a record.

        With `read_only` nothing is cut off.

        Raises:
            ValueError: If the file is no journal, or its last line is no record, which Optuna
                ignores until another line follows; the file is not changed.
        """
        if not _is_torn(self._path):
            last = _last_line(self._path)
            if last and not _is_record(last):
                raise ValueError("not a record")
            return
        with contextlib.nullcontext() if read_only else self._held():
            # Never cut a file that is no journal: another text may end without a line break.
            first = self._path.read_bytes()[: len(_START)]
            if not _START.startswith(first) or bad_line(self._path) is not None:
                raise ValueError("not a journal")
            if not read_only:
                _cut_torn_record(self._path)

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        self._guard.acquire()
        try:
            yield
        finally:
            self._guard.release()


def _is_torn(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _cut_torn_record(path: Path) -> None:
    """Move what follows the last line break to a file beside; the caller holds the lock."""
    if not _is_torn(path):
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    torn = path.with_name(path.name + TORN)
    with torn.open("ab") as file:
        file.write(content[whole:] + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.truncate(path, whole)
    _logger.warning(
        "the last record of %s is incomplete and does not count; its %d bytes are kept in %s",
        path,
        len(content) - whole,
        torn,
    )


def _last_line(path: Path) -> bytes:
    """Last line of a file that ends with a line break; empty for an empty file."""
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
    if not isinstance(record, dict) or not {"op_code", "worker_id"} <= record.keys():
        return False
    return is_whole(record)


def bad_line(path: Path) -> int | None:
    """Number of the first bad line, from 1; half a record at the end is not counted."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            # A last line without a line break is bad if only the break was overwritten.
            if not _is_record(line) if line.endswith(b"\n") else _is_record(line[:-1]):
                return number
    return None


def _damaged(path: Path, line: int | None) -> InputError:
    where = "" if line is None else f" (line {line} is not a record, or was changed)"
    return InputError(
        f"storage {str(path)!r} is not the journal of a study, or is damaged{where}; repair it, "
        "remove it or give another path"
    )


def open_journal(path: Path, heartbeat: int | None, read_only: bool = False) -> BaseStorage:
    """Open a journal file, and create it if it is new.

    Arguments are those of `open_storage`.

    Raises:
        InputError: If the file cannot be read and written, is no journal, or is damaged.
    """
    # Unlike methods of a Path, os.path answers for names that no file can have.
    if os.path.isdir(path):
        raise InputError(f"storage {str(path)!r} is a folder; give the path of a file")
    verb = "read" if read_only else "write"
    try:
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab"):
                pass
            if not os.access(path.parent, os.W_OK):
                raise PermissionError(0, "its folder, which holds the lock file, cannot be written")
        elif not os.path.isfile(path):
            # Optuna would create the file.
            raise FileNotFoundError(0, "the file does not exist")
        journal = _Journal(path)
        journal.mend(read_only)
        return WatchedJournal(journal, heartbeat)
    except InputError:
        raise
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise InputError(
            f"cannot {verb} storage {str(path)!r} ({reason}); give a path that can be "
            f"{'read' if read_only else 'written'}"
        ) from error
    # A file of other JSON fails deep inside Optuna, with errors of any kind.
    except Exception as error:
        raise _damaged(path, bad_line(path)) from error
