"""Files that are whole or absent (temporary name, fsync, rename), and where the cache lies.

Each temporary file is locked by its writer, so that a file that a killed process left can be told
from a file that is being written. Left files are removed when a process first uses the folder.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # no such locks on Windows
    fcntl = None

__all__ = ["atomic_path", "cache_dir", "sweep", "write_bytes", "write_text"]

_PREFIX = ".nasplug-tmp-"
# Seconds without a change after which a temporary file that cannot be locked has no writer.
_OLD = 86_400.0
_swept: set[tuple[int, Path]] = set()


def cache_dir() -> Path:
    """The cache folder: `NASPLUG_CACHE`, or else `nasplug` in the user's cache folder."""
    folder = os.environ.get("NASPLUG_CACHE")
    if folder:
        return Path(folder).expanduser()
    import pooch

    return Path(pooch.os_cache("nasplug"))


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` if the block ends well.

    The temporary file is fsynced before the rename and removed when the block raises, so a reader
    never sees half a file. Temporary files that killed processes left in the folder are removed
    first.

    Args:
        path: Path of the finished file; its folder is made if it is missing.

    Raises:
        OSError: If the folder cannot be made or written.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent)
    lock, temporary = _locked_file(target)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes files private; a finished file follows the user's umask like any other file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


def sweep(folder: Path) -> None:
    """Remove the temporary files of processes that ended; each process does so once a folder.

    Names of temporary files begin with a dot, in earlier versions too; no reader of a folder may
    take such a file for a whole one.
    """
    if (os.getpid(), folder) in _swept:
        return
    _swept.add((os.getpid(), folder))
    try:
        with os.scandir(folder) as entries:
            temporary_paths = [
                e.path for e in entries if e.name.startswith(_PREFIX) and e.is_file()
            ]
    except OSError:
        return
    for path in temporary_paths:
        with suppress(OSError):
            _remove_if_left(path)


def _locked_file(target: Path) -> tuple[int | None, Path]:
    """Make a temporary file beside `target`, locked for as long as its writer lives."""
    while True:
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f"{_PREFIX}{os.getpid()}-", suffix=target.suffix
        )
        if fcntl is None:
            os.close(handle)
            return None, Path(name)
        # A file system without locks is swept by age.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        # Another process may have swept it before it was locked.
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)


def _remove_if_left(path: str) -> None:
    is_left = time.time() - os.stat(path).st_mtime > _OLD
    if fcntl is None:
        if is_left:
            os.unlink(path)
        return
    handle = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_left = True
    except BlockingIOError:
        is_left = False
    except OSError:
        pass  # a file system without locks
    try:
        # Removed while it is locked, so that no new writer can have it.
        if is_left:
            os.unlink(path)
    finally:
        os.close(handle)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Write `content` to `path` atomically, as UTF-8."""
    write_bytes(path, content.encode("utf-8"))
