"""Runs that several processes share, in one JSONL file, each run by one of them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from experiments.campaign import Row, announce
from nasplug import InputError
from nasplug.search_spaces.files import write_text

__all__ = [
    "SharedCampaign",
    "SharedRun",
    "append_line",
    "claim",
    "read_lines",
    "stopwatch",
]


def read_lines(path: Path) -> Iterator[Row]:
    """Rows of a JSONL file, without a line that a crash cut off; none if there is no file."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Handle of a file that no other process writes to meanwhile; made if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            # While this process waited, another one may have put a new file in its place.
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                yield handle
                return
        finally:
            os.close(handle)


def append_line(path: Path, row: Row, dropped: Collection[str] = ()) -> None:
    """Add a row to a JSONL file; it is on disk when this returns.

    Args:
        path: The file.
        row: The row.
        dropped: Rows that are dropped by the same write, as `json.dumps` writes them.
    """
    with _locked(path) as handle:
        if dropped:
            lines = [line for line in map(json.dumps, read_lines(path)) if line not in dropped]
            write_text(path, "".join(f"{line}\n" for line in [*lines, json.dumps(row)]))
            return
        size = os.fstat(handle).st_size
        cut = size and os.pread(handle, 1, size - 1) != b"\n"
        os.write(handle, (("\n" if cut else "") + json.dumps(row) + "\n").encode())
        os.fsync(handle)


@contextmanager
def claim(folder: Path, wait: bool) -> Iterator[bool]:
    """Hold a run so that no other process does it; false if another one holds it.

    The lock is the process's: it is free again when the process ends, however it ends.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder, which is deleted in the end while others may still wait.
    with open(f"{folder}.claim", "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def stopwatch(file: Path) -> Iterator[list[float]]:
    """Seconds of this block and of the earlier, broken-off tries that it goes on from."""
    seconds = [float(file.read_text())] if file.exists() else []
    started = time.perf_counter()
    try:
        yield seconds
    finally:
        seconds.append(time.perf_counter() - started)
        file.write_text(str(sum(seconds)))


@dataclass(frozen=True)
class SharedRun:
    """A run whose fields are among those of its row.

    Attributes:
        model: What is run.
    """

    model: str

    @property
    def title(self) -> str:
        """Name of the run, some words joined by commas."""
        return self.model


class SharedCampaign:
    """Rows of a JSONL file that several processes fill, each run by one of them.

    Args:
        results: The file.
        folder: For claims and training states.
        measure: Does a run; its states lie in the folder that it is given.
        fresh: Whether stored runs are done anew; see `Options`.
    """

    def __init__(
        self,
        results: Path,
        folder: Path,
        measure: Callable[[Any, Path], Row],
        fresh: bool = False,
    ) -> None:
        self._results, self._folder, self._measure = results, folder, measure
        self._is_fresh = fresh
        # Rows that the next write drops, as JSON.
        self._dropped: set[str] = set()

    def stored(self, run: SharedRun) -> Row | None:
        """The row of a finished run, if there is one."""
        for row in read_lines(self._results):
            is_its_row = _identity(row, run) == _identity(asdict(run), run)
            if is_its_row and json.dumps(row) not in self._dropped:
                return row
        return None

    def folder(self, run: SharedRun) -> Path:
        """The folder of a run's training state; another results file is another run."""
        text = json.dumps([asdict(run), str(self._results.resolve())], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return self._folder / f"{run.title.replace(', ', '-').replace(' ', '-')}-{digest}"

    def finish(self, run: SharedRun, wait: bool) -> Row | None:
        """The row of a run, measured if it is not there; None if another process is at it."""
        row = self.stored(run)
        if row is not None:
            return row
        folder = self.folder(run)
        with claim(folder, wait) as is_ours:
            if not is_ours:
                return None
            row = self.stored(run)
            if row is None:
                print(run.title, file=sys.stderr, flush=True)
                if self._is_fresh:
                    shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True, exist_ok=True)
                row = self._measure(run, folder)
                append_line(self._results, row, self._dropped)
                self._dropped = set()
            # Training states are large, and nothing goes on from a finished one.
            shutil.rmtree(folder, ignore_errors=True)
        return row

    def finish_all(self, runs: Sequence[SharedRun]) -> Iterator[Row]:
        """The rows of runs: first of those that are free, then of those that others were at.

        Raises:
            SystemExit: If a run's input is wrong.
        """
        self._begin(runs)
        for wait in (False, True):
            others = []
            for run in runs:
                try:
                    row = self.finish(run, wait)
                except InputError as error:
                    sys.exit(f"{run.model}: {error}")
                if row is None:
                    others.append(run)
                else:
                    yield row
            runs = others

    def _begin(self, runs: Sequence[SharedRun]) -> None:
        """Say how many runs are stored, and note the rows to drop."""
        if not runs:
            return
        asked = {_identity(asdict(run), run) for run in runs}
        stored = [(_identity(row, runs[0]), json.dumps(row)) for row in read_lines(self._results)]
        announce(self._results, asked, [run for run, _ in stored], self._is_fresh)
        if self._is_fresh:
            self._dropped = {row for run, row in stored if run in asked}


def _identity(row: Row, like: SharedRun) -> str:
    """Fields of a row that tell runs of a class apart."""
    return json.dumps([row.get(field.name) for field in fields(like)], sort_keys=True)
