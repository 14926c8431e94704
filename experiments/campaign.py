"""Campaigns of runs that can be stopped and taken up again, and the options of scripts."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from experiments import RESULTS
from experiments.common import write_result
from nasplug.text import counted, shown_path

__all__ = [
    "Campaign",
    "Options",
    "Row",
    "announce",
    "limit_threads",
    "missing",
    "numbers",
    "read_json",
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
        fresh: Whether the script skips stored runs, and so has --fresh.
    """

    def __init__(
        self,
        doc: str | None,
        threads: int | None = 1,
        seeds: str | None = None,
        fresh: bool = False,
        **more: Any,
    ) -> None:
        style = argparse.RawDescriptionHelpFormatter
        super().__init__(description=doc, formatter_class=style, **more)
        if threads is not None:
            self.add_argument("--threads", type=int, default=threads)
        if seeds is not None:
            self.add_argument("--seeds", type=numbers, default=seeds, help="such as 0,1 or 0-19")
        if fresh:
            self.add_argument(
                "--fresh",
                action="store_true",
                help="run all that is asked for anew; the stored rows of these runs are dropped "
                "when the first new row is written, and no row of another run is (of processes "
                "that share the work only the first gets --fresh)",
            )

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


def announce(
    path: Path, asked: Collection[Hashable], stored: Sequence[Hashable], fresh: bool
) -> None:
    """Say on stderr how many runs a file of results holds, and how many are left to do.

    Args:
        path: The file.
        asked: Identities of the runs that are asked for.
        stored: Identity of the run of each row in the file.
        fresh: Whether all runs are done anew.
    """
    rows, count = f"{shown_path(path)} has {counted(len(stored), 'row')}", len(asked)
    done = len(set(stored).intersection(asked))
    if not done:
        text = f"{rows}, none of them of the {counted(count, 'run')} asked for"
    elif fresh:
        text = (
            f"{rows}: of the {counted(count, 'run')} asked for, all are done anew, and the stored "
            f"rows of {done} dropped when the first new row is written"
        )
    else:
        text = (
            f"{rows}: of the {counted(count, 'run')} asked for, {done} are stored and not done "
            f"again, {count - done} are left (--fresh does all anew)"
        )
    print(text, file=sys.stderr, flush=True)


def missing(files: Mapping[str, Path]) -> list[str]:
    """The parts of a work whose files are not there yet; those that are stored are said on stderr.

    Args:
        files: Part -> the file of what was made of it.
    """
    left = [part for part, file in files.items() if not file.exists()]
    stored = [part for part in files if part not in left]
    if stored:
        folders = ", ".join(sorted({shown_path(file.parent) for file in files.values()}))
        print(
            f"stored in {folders} and not made again: {', '.join(stored)}; "
            f"{counted(len(left), 'part')} left (a part whose files are deleted is made anew)",
            file=sys.stderr,
            flush=True,
        )
    return left


class Campaign:
    """Rows in a result of one JSON file, of runs that are each done once.

    The file is read anew each time, since another process may have added rows.

    Args:
        name: The file is results/<name>.json, or the path that is given.
        keys: Fields that tell runs apart; a run may have several rows.
        data: Data sets, for the provenance.
        rows: Field of the result that holds the rows.
        same: Fields of `about` by which earlier rows count; those of other values are dropped.
        fresh: Whether stored runs are done anew; see `Options`.
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
        fresh: bool = False,
        **about: Any,
    ) -> None:
        self.path = name if isinstance(name, Path) else RESULTS / f"{name}.json"
        self.keys = keys
        self._data, self._rows, self._same = data, rows, same
        self._about = about
        self._is_fresh = fresh
        # Rows that the next write drops, as JSON.
        self._dropped: set[str] = set()

    @property
    def content(self) -> dict[str, Any]:
        """The result so far; empty if there is none."""
        content = read_json(self.path)
        if any(content.get(field) != self._about[field] for field in self._same):
            return {}
        if self._dropped:
            rows = content.get(self._rows, [])
            content[self._rows] = [row for row in rows if json.dumps(row) not in self._dropped]
        return content

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
        self._dropped = set()

    def left(self, runs: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
        """The runs that are to be done; how many are stored is said on stderr.

        Args:
            runs: Values of the keys of each run of the script.
        """
        asked = {json.dumps(run): run for run in runs}
        stored = [(self._run(row), json.dumps(row)) for row in self.rows]
        announce(self.path, asked, [run for run, _ in stored], self._is_fresh)
        if not stored and read_json(self.path):
            print(
                f"{shown_path(self.path)}: what was stored with another {', '.join(self._same)} "
                "is dropped when the first new row is written",
                file=sys.stderr,
            )
        if self._is_fresh:
            self._dropped = {row for run, row in stored if run in asked}
            return list(asked.values())
        done = {run for run, _ in stored}
        return [run for key, run in asked.items() if key not in done]

    def complete(
        self, runs: Iterable[Sequence[Any]], measure: Callable[..., Row | list[Row]]
    ) -> None:
        """Do the runs that are not there yet, all of a script in one call.

        Args:
            runs: Values of the keys of each.
            measure: Gets these values, and gives the other fields of the row, or of several rows,
                to which the seconds of the run are added.
        """
        for run in self.left(runs):
            # Another process may have done it meanwhile.
            if not self.has(*run):
                started = time.perf_counter()
                measured = measure(*run)
                rows = measured if isinstance(measured, list) else [measured]
                seconds = {"seconds": round(time.perf_counter() - started, 2)}
                keys = dict(zip(self.keys, run, strict=True))
                self.add(*(keys | row | seconds for row in rows))
