"""Options of several commands, their exit codes, and printing: data on stdout, notes on stderr."""

from __future__ import annotations

import errno
import functools
import json
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nasplug._signals import STOPPED, stoppable

if TYPE_CHECKING:
    from rich.console import Console

    from nasplug.search_spaces import SearchSpace

__all__ = [
    "Batch",
    "Debug",
    "Device",
    "Example",
    "Json",
    "OwnPredictor",
    "Precision",
    "Runtime",
    "SpaceName",
    "StudyName",
    "Threads",
    "Unit",
    "code_written",
    "command",
    "command_line",
    "complain",
    "console",
    "own_space",
    "print_fields",
    "print_json",
    "print_rows",
    "print_table",
    "space_of",
]

# Nothing heavy is imported above: `nasplug --help` must answer at once.
_PIPE_WIDTH = 200
# Longest word of a table, in characters, that is kept whole.
_FOLDED = 20

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
SpaceName = Annotated[
    str,
    typer.Option(
        "--space",
        help="Search space; nasplug spaces lists them. Or your function that builds a model from a "
        "trial, as in my_net.py:build.",
    ),
]
Example = Annotated[
    str | None,
    typer.Option(
        "--example",
        metavar="SHAPE",
        help="Shape of the input of your function's models, such as 1x3x32x32, 1x128:int64 for "
        "another type, or 1x16+1x3x32x32 for two inputs.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--hw", help="Device: a name that nasplug hardware lists, or the path of a .toml file."
    ),
]
Batch = Annotated[int, typer.Option("--batch-size", help="Images per forward pass.")]

Runtime = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        help="Runtime of the networks, for the latency: eager, eager nhwc, compiled, tensorrt, "
        "onnxruntime, openvino, tflite, ncnn, qnn, core ml or another.",
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help="Precision of the arithmetic, for the latency: fp32, tf32, fp16, bf16, int8 or int4; "
        "default: that of the file, else fp32.",
    ),
]
Unit = Annotated[
    str | None,
    typer.Option(
        "--unit", help="Processor of a phone or board: cpu, gpu or npu; also cpu big, cpu little."
    ),
]
Threads = Annotated[
    int | None, typer.Option("--threads", help="Threads on a CPU; default: the usual number.")
]
OwnPredictor = Annotated[
    list[str] | None,
    typer.Option(
        "--predictor",
        metavar="PATH",
        help="Predictor checkpoint to use instead of the package's own; may be repeated.",
    ),
]
StudyName = Annotated[
    str | None,
    typer.Option("--study-name", help="Name of the study; needed if the storage has several."),
]


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command: print an error as one line, and exit with the code of its kind."""

    @functools.wraps(function)
    def guarded(*args: Any, debug: bool = False, **kwargs: Any) -> None:
        try:
            with stoppable(keeps=False), warnings.catch_warnings():
                warnings.showwarning = _show_warning
                function(*args, debug=debug, **kwargs)
                # A full disk shows here, not when the interpreter has ended.
                sys.stdout.flush()
        except KeyboardInterrupt as error:
            complain(str(error) or STOPPED)
            raise typer.Exit(getattr(error, "exit_code", 130)) from None
        except (typer.Exit, BrokenPipeError):
            raise
        except (Exception, SystemExit) as error:
            if debug:
                traceback.print_exc()
            sentence, code = _sentence(error)
            complain(sentence if code == 2 or debug else f"{sentence}; --debug shows the traceback")
            raise typer.Exit(code) from None

    return guarded


def _sentence(error: BaseException) -> tuple[str, int]:
    """Sentence and exit code for an error: 2 if the user can mend its cause, else 1."""
    from nasplug.search_spaces.errors import InputError, hidden_cause

    if isinstance(error, InputError):
        return str(error), 2
    cause = hidden_cause(error)
    if cause is not None:
        return f"cannot read or write ({cause}); free some space or fix the cause, and try again", 2
    if isinstance(error, SystemExit):
        # Even code 0 is a failure here: the command printed no result.
        return f"a library tried to end the program with SystemExit {error.code}", 1
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text}", 1


def _show_warning(message: Warning | str, *position: object, **options: object) -> None:
    """Print a warning like any other sentence, without the line of code that raised it."""
    complain(str(message))


def complain(sentence: str) -> None:
    """Print a sentence on stderr."""
    print(f"nasplug: {sentence}", file=sys.stderr)


def code_written(paths: Sequence[Path], folder: Path) -> str:
    """Sentence on the code that was written to a folder; see `results.export.export_code`."""
    from nasplug.results.code import TRAINING
    from nasplug.text import counted

    modules = [path for path in paths if path.name != TRAINING]
    is_kept = len(modules) == len(paths)
    trains = "to {0}, beside the train.py that was there" if is_kept else "and train.py to {0}"
    return f"wrote the code of {counted(len(modules), 'network')} {trains.format(folder)}"


def command_line() -> str:
    """The command line of this process as a shell reads it, without passwords."""
    from nasplug.studies.databases import without_password

    return shlex.join(["nasplug", *map(without_password, sys.argv[1:])])


def console() -> Console:
    """Rich console on stdout; wide if that is a pipe, unless COLUMNS says how wide."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            # The reader has seen enough; rich would end the program with code 1.
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    terminal = Output()
    # A pipe has no width of its own, and 80 columns would fold every architecture.
    has_width = terminal.is_terminal or os.environ.get("COLUMNS", "").isdecimal()
    return terminal if has_width else Output(width=_PIPE_WIDTH)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, allow_nan=False))


def print_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print rows as JSON or as a table."""
    if as_json:
        print_json(rows)
    else:
        print_table([{key: _cell(value) for key, value in row.items()} for row in rows])


def print_fields(row: dict[str, Any], as_json: bool) -> None:
    """Print one row as JSON, or as a table with a line a field; empty fields are left out of it."""
    if as_json:
        print_json(row)
    else:
        texts = {key: _cell(value) for key, value in row.items()}
        print_table([{"field": key, "value": text} for key, text in texts.items() if text])


def print_table(rows: list[dict[str, str]]) -> None:
    """Print rows of texts as a table; a wide one has two columns on a narrow terminal.

    Long words, such as architectures, are folded.
    """
    from rich.table import Table
    from rich.text import Text

    output = console()
    if _least_width(rows) > output.width:
        # Empty columns go first.
        filled = [name for name in rows[0] if any(row[name] for row in rows)]
        rows = [{name: row[name] for name in filled} for row in rows]
    is_narrow = _least_width(rows) > output.width
    if is_narrow:
        rows = [_folded(row) for row in rows]
    table = Table(show_lines=is_narrow)
    for name in rows[0] if rows else ():
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(value) for value in row.values()))
    output.print(table)


def _folded(row: dict[str, str]) -> dict[str, str]:
    """A row of two columns: the first value, and the others with their names."""
    (name, first), *others = row.items()
    named = [f"{key.replace('_', ' ')} {text}" for key, text in others if text]
    return {name: first, "values": "; ".join(named)}


def _least_width(rows: list[dict[str, str]]) -> int:
    """Width of a table in which words of at most `_FOLDED` characters stay whole."""
    if not rows or len(rows[0]) <= 2:
        return 0
    columns = [[name.replace("_", " "), *(row[name] for row in rows)] for name in rows[0]]
    longest = [
        max(len(word) for text in texts for word in text.split() or [""]) for texts in columns
    ]
    # A column has a space on each side, and a line before it.
    return 1 + sum(min(width, _FOLDED) + 3 for width in longest)


def _cell(value: Any) -> str:
    """Text of a value in a table."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_cell, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def own_space(name: str, example: str | None) -> str | SearchSpace:
    """The space of a function of the user's, with an example; another space stays a name.

    Raises:
        InputError: If an example is given for a space that has its own, or the function is none.
    """
    from nasplug.search_spaces import is_builder

    return name if example is None and not is_builder(name) else space_of(name, example)


def space_of(name: str, example: str | None) -> SearchSpace:
    """Open a space by its name, or that of a function of the user's, with an example.

    Raises:
        InputError: If there is none, or an example is given for a space that has its own.
    """
    from nasplug.search_spaces import is_builder, space

    if not is_builder(name) and example is None:
        return space(name)
    return space(name, example)  # type: ignore[call-overload,no-any-return]
