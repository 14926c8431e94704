"""Campaigns of runs that can be stopped, taken up again, and shared by several processes."""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from experiments import RESULTS
from experiments.common import write_result
from nasplug import InputError

__all__ = [
    "Campaign",
    "Options",
    "SharedCampaign",
    "SharedRun",
    "append_line",
    "claim",
    "limit_threads",
    "numbers",
    "read_json",
    "read_lines",
    "stopwatch",
]

Row = dict[str, Any]


def numbers(text: str) -> list[int]:
    """Read whole numbers such as `0,1` or `0,3-19`."""
    result: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            result += range(int(first), int(last or first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of whole numbers that are not negative, such as 0,1 or 0-19"
        ) from None
    return result


class Options(argparse.ArgumentParser):
    """The options of a script; parsing them sets the number of threads.

    Args:
        doc: The script's docstring.
        threads: Default of --threads; without that option if None.
        seeds: Default of --seeds, as text; without that option if None.
    """

    def __init__(
        self, doc: str | None, threads: int | None = 1, seeds: str | None = None, **more: Any
    ) -> None:
        style = argparse.RawDescriptionHelpFormatter
        super().__init__(description=doc, formatter_class=style, **more)
        if threads is not None:
            self.add_argument("--threads", type=int, default=threads)
        if seeds is not None:
            self.add_argument("--seeds", type=numbers, default=seeds, help="such as 0,1 or 0-19")

    def parse_args(self, *arguments: Any) -> argparse.Namespace:  # type: ignore[override]
        """Parse the command line, or the words that are given."""
        options = super().parse_args(*arguments)
        threads = getattr(options, "threads", None)
        if threads is not None:
            if threads < 1:
                self.error("--threads must be at least 1")
            limit_threads(threads)
        return options


def limit_threads(threads: int) -> None:
    """Limit the threads of torch, and of the libraries under numpy and scikit-learn."""
    torch.set_num_threads(threads)
    threadpool_limits(threads)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file; empty if there is none."""
    content: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return content


class Campaign:
    """Rows in a result of one JSON file, of runs that are each done once.

    The file is read anew each time, since another process may have added rows.

    Args:
        name: The file is results/<name>.json, or the path that is given.
        keys: Fields that tell runs apart; a run may have several rows.
        data: Data sets, for the provenance.
        rows: Field of the result that holds the rows.
        same: Fields of `about` by which earlier rows count; those of other values are dropped.
        about: Other fields of the result.
    """

    def __init__(
        self,
        name: str | Path,
        keys: Sequence[str],
        data: Iterable[str] = (),
        *,
        rows: str = "runs",
        same: Sequence[str] = (),
        **about: Any,
    ) -> None:
        self.path = name if isinstance(name, Path) else RESULTS / f"{name}.json"
        self.keys = keys
        self._data, self._rows, self._same = data, rows, same
        self._about = about

    @property
    def content(self) -> dict[str, Any]:
        """The result so far; empty if there is none."""
        content = read_json(self.path)
        is_same = all(content.get(field) == self._about[field] for field in self._same)
        return content if is_same else {}

    @property
    def rows(self) -> list[Row]:
        """The rows so far."""
        rows: list[Row] = self.content.get(self._rows, [])
        return rows

    def _run(self, row: Row) -> str:
        return json.dumps([row[key] for key in self.keys])

    def has(self, *values: Any) -> bool:
        """Whether there is a run with these values of the keys."""
        run = json.dumps(values)
        return any(self._run(row) == run for row in self.rows)

    def add(self, *rows: Row, **fields: Any) -> None:
        """Print rows and write the result with them, in place of earlier ones of the same runs.

        Args:
            rows: The rows.
            fields: Fields of the result that have changed.
        """
        for row in rows:
            print(json.dumps(row), flush=True)
        content, new = self.content, {self._run(row) for row in rows}
        others = [row for row in content.get(self._rows, []) if self._run(row) not in new]
        content |= {**self._about, **fields, self._rows: [*others, *rows]}
        content.pop("provenance", None)
        write_result(self.path, *self._data, **content)

    def complete(
        self, runs: Iterable[Sequence[Any]], measure: Callable[..., Row | list[Row]]
    ) -> None:
        """Do the runs that are not there yet.

        Args:
            runs: Values of the keys of each.
            measure: Gets these values, and gives the other fields of the row, or of several rows,
                to which the seconds of the run are added.
        """
        for run in runs:
            if not self.has(*run):
                started = time.perf_counter()
                measured = measure(*run)
                rows = measured if isinstance(measured, list) else [measured]
                seconds = {"seconds": round(time.perf_counter() - started, 2)}
                keys = dict(zip(self.keys, run, strict=True))
                self.add(*(keys | row | seconds for row in rows))


# ------------------------------------------------------------------- runs that processes share


def read_lines(path: Path) -> Iterator[Row]:
    """Rows of a JSONL file, without a line that a crash cut off; none if there is no file."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def append_line(path: Path, row: Row) -> None:
    """Add a row to a JSONL file; it is on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        size = os.fstat(handle).st_size
        cut = size and os.pread(handle, 1, size - 1) != b"\n"
        os.write(handle, (("\n" if cut else "") + json.dumps(row) + "\n").encode())
        os.fsync(handle)
    finally:
        os.close(handle)


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
    """

    def __init__(self, results: Path, folder: Path, measure: Callable[[Any, Path], Row]) -> None:
        self._results, self._folder, self._measure = results, folder, measure

    def stored(self, run: SharedRun) -> Row | None:
        """The row of a finished run, if there is one."""
        fields = asdict(run)
        for row in read_lines(self._results):
            if all(row.get(key) == value for key, value in fields.items()):
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
                folder.mkdir(parents=True, exist_ok=True)
                row = self._measure(run, folder)
                append_line(self._results, row)
            # Training states are large, and nothing goes on from a finished one.
            shutil.rmtree(folder, ignore_errors=True)
        return row

    def finish_all(self, runs: Sequence[SharedRun]) -> Iterator[Row]:
        """The rows of runs: first of those that are free, then of those that others were at.

        Raises:
            SystemExit: If a run's input is wrong.
        """
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
