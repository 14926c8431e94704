"""The command line: one thin function a command; data on stdout, the rest on stderr."""

from __future__ import annotations

import functools
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["app", "main"]

# Nothing heavy is imported above: `nasplug --help` must answer at once.
_PIPE_WIDTH = 200


class _ListByDefault(TyperGroup):
    """A group that lists when no command of its own is named: `nasplug hardware nvidia`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


_OPTIONS: dict[str, Any] = {
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "add_completion": False,
}
app = typer.Typer(name="nasplug", no_args_is_help=True, **_OPTIONS)
hardware_app = typer.Typer(cls=_ListByDefault, **_OPTIONS)
data_app = typer.Typer(cls=_ListByDefault, **_OPTIONS)
app.add_typer(hardware_app, name="hardware", help="The hardware catalogue: list, show NAME.")
app.add_typer(data_app, name="data", help="Public data sets: list, fetch NAME, verify NAME.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
SpaceName = Annotated[str, typer.Option("--space", help="Search space; see nasplug spaces.")]
Device = Annotated[
    str | None,
    typer.Option("--hw", help="Device by name (see nasplug hardware), or the path of a .toml."),
]
Batch = Annotated[int, typer.Option("--batch-size", help="Images a forward pass.")]

Runtime = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        help="How whole networks are run: float32, amp, amp nhwc, compiled, onnxruntime, "
        "tensorrt, tflite.",
    ),
]
OwnPredictor = Annotated[
    list[str] | None,
    typer.Option("--predictor", help="Checkpoint to use instead of the package's own; repeatable."),
]


def _command(function: Callable[..., None]) -> Callable[..., None]:
    """Tell errors in one line, and end with the exit code of their kind."""

    @functools.wraps(function)
    def guarded(*args: Any, debug: bool = False, **kwargs: Any) -> None:
        try:
            function(*args, debug=debug, **kwargs)
        except KeyboardInterrupt as error:
            _complain(str(error) or "stopped")
            raise typer.Exit(130) from None
        except (typer.Exit, BrokenPipeError):
            raise
        except Exception as error:
            if debug:
                traceback.print_exc()
            from nasplug.search_spaces.errors import InputError

            if isinstance(error, InputError):
                _complain(str(error))
                raise typer.Exit(2) from None
            text = " ".join(str(error).split()) or "no message"
            hint = "" if debug else "; --debug shows where"
            _complain(f"{type(error).__name__}: {text}{hint}")
            raise typer.Exit(1) from None

    return guarded


def _complain(sentence: str) -> None:
    print(f"nasplug: {sentence}", file=sys.stderr)


def _version(wanted: bool) -> None:
    if wanted:
        from nasplug import __version__

        print(f"nasplug {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Architecture search that is guided by predicted accuracy and latency."""


@app.command()
@_command
def search(
    space: SpaceName = "nb201",
    hw: Device = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option("--constraint", help='A limit such as "latency<=5ms"; may be repeated.'),
    ] = None,
    probability: Annotated[
        float, typer.Option("--probability", help="Probability with which limits are to hold.")
    ] = 0.9,
    batch_size: Batch = 1,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Image set whose accuracy counts.")
    ] = None,
    n_trials: Annotated[
        int, typer.Option("--n-trials", help="Trials in total, earlier ones included.")
    ] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds give equal results.")] = 0,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage", help="Journal file, database URL, or memory; default: the state folder."
        ),
    ] = None,
    study_name: Annotated[
        str | None, typer.Option("--study-name", help="Default: a hash of all settings.")
    ] = None,
    predictor: OwnPredictor = None,
    runtime: Runtime = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            "--proxy",
            help="flops or params: what to maximise where no accuracy is known; default: flops.",
        ),
    ] = None,
    pool_size: Annotated[
        int | None,
        typer.Option(
            "--pool-size", help="Networks to score of a space that cannot be listed; default: 4000."
        ),
    ] = None,
    as_json: Json = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="Folder for pictures and result.json.")
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Folder for the networks found, as ONNX, random weights."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Search a space for accurate architectures that are fast on a device."""
    from nasplug._export import check_export
    from nasplug._search import search as run
    from nasplug.pool import POOL_SIZE
    from nasplug.search_spaces import space as find_space

    if export is not None:
        check_export(find_space(space), export)
    result = run(
        space,
        hw,
        constraint or (),
        n_trials=n_trials,
        batch_size=batch_size,
        dataset=dataset,
        seed=seed,
        storage=storage,
        probability=probability,
        study_name=study_name,
        predictors=predictor or (),
        proxy=proxy,
        pool_size=POOL_SIZE if pool_size is None else pool_size,
        runtime=runtime,
    )
    if report is not None:
        _complain(f"wrote {', '.join(map(str, result.report(report)))}")
    if export is not None:
        *networks, _ = result.export(export)
        size = sum(path.stat().st_size for path in networks) / 1e6
        _complain(
            f"wrote {len(networks)} networks with random weights ({size:,.0f} MB), and an index, "
            f"to {export}"
        )
    if as_json:
        # The JSON has a fixed form; what a reader must know of its numbers goes beside it.
        for note in result.notes():
            _complain(note)
        _print_json(result.to_json())
    else:
        result.show(_console())


@app.command()
@_command
def predict(
    architectures: Annotated[
        list[str], typer.Argument(help="Architecture strings of the space, or one .onnx file.")
    ],
    space: SpaceName = "nb201",
    hw: Device = None,
    batch_size: Batch = 1,
    predictor: OwnPredictor = None,
    runtime: Runtime = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the operators that take longest.")
    ] = False,
    input_shape: Annotated[
        list[str] | None,
        typer.Option(
            "--input-shape", help="Shape that an .onnx file leaves open: name=1x3x224x224."
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Predict accuracy on every data set, and latency with --hw; of an .onnx file the latency."""
    from nasplug._predict import EXPLAINED, is_file, parse_shapes, predict_file

    if any(map(is_file, architectures)):
        shapes = parse_shapes(input_shape or ())
        said = predict_file(architectures, hw, batch_size, predictor or (), shapes, runtime)
        if as_json:
            _print_json(said.to_json(EXPLAINED if explain else 0))
            return
        _print_table(said.table())
        if explain:
            _print_rows(said.operator_rows(), False)
        for note in said.notes():
            print(note)
        return
    if explain or input_shape:
        from nasplug.search_spaces.errors import InputError

        raise InputError("--explain and --input-shape are for an .onnx file; name one")
    from nasplug._listings import predictions

    rows = predictions(architectures, space, hw, batch_size, predictor or (), runtime)
    if as_json:
        _print_json(rows)
        return
    for row in rows:
        print(row["arch"])
        cells = {f"{task} accuracy, %": value for task, value in row["accuracy"].items()}
        if row["latency_ms"] is not None:
            cells["latency, ms"] = row["latency_ms"]
        _print_table(
            [
                {"predicted": name, **{end: f"{number:.3f}" for end, number in value.items()}}
                for name, value in cells.items()
            ]
        )
    if rows[0]["zero_shot"]:
        print(
            "zero-shot: this device has no measurements; latency is predicted from its data sheet"
        )
    elif rows[0]["evidence"] == "few-shot":
        print("few-shot: latency is predicted from the few measurements of your calibration")


@app.command()
@_command
def train(
    data: Annotated[
        str, typer.Option("--data", help="Data set, or a .csv with a column arch and numbers.")
    ],
    model: Annotated[str, typer.Option("--model", help="Predictor to train.")] = "nasplug",
    space: SpaceName = "nb201",
    kind: Annotated[str, typer.Option("--kind", help="accuracy or latency.")] = "accuracy",
    target: Annotated[
        list[str] | None,
        typer.Option("--target", help="Column to learn, or name=column; may be repeated."),
    ] = None,
    hw: Device = None,
    batch_size: Batch = 1,
    train_size: Annotated[
        int | None, typer.Option("--train-size", help="Rows to train on; default: all.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds give equal results.")] = 0,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="Setting of the predictor such as epochs=100; repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write OUT.safetensors and OUT.json.")
    ] = None,
    test: Annotated[
        bool, typer.Option("--test", help="Compare with the rows that were not trained on.")
    ] = False,
    resume_folder: Annotated[
        Path | None, typer.Option("--resume-folder", help="Keeps a training that is broken off.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a predictor on measured architectures."""
    from nasplug._train import parse_options
    from nasplug._train import train as run

    told = run(
        model,
        data,
        space,
        kind=kind,
        targets=target or (),
        hardware=hw,
        batch_size=batch_size,
        train_size=train_size,
        seed=seed,
        options=parse_options(option or ()),
        out=out,
        test=test,
        resume_folder=resume_folder,
    )
    if as_json:
        _print_json(told)
    else:
        shown = {key: _cell(value) for key, value in told.items() if key != "sha256"}
        _print_table([{"field": key, "value": value} for key, value in shown.items() if value])


@app.command()
@_command
def measure(
    space: SpaceName = "nnlqp",
    n: Annotated[int | None, typer.Option("--n", help="Different networks to draw.")] = None,
    hw: Annotated[
        str,
        typer.Option("--hw", help="local: this machine; or cpu or cuda, one of its processors."),
    ] = "local",
    backend: Annotated[
        str, typer.Option("--backend", help="onnxruntime or torch.")
    ] = "onnxruntime",
    batch_size: Batch = 1,
    threads: Annotated[
        int | None, typer.Option("--threads", help="Default: one a physical core.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds draw equal networks.")] = 0,
    out: Annotated[
        Path, typer.Option("--out", help="The .csv to write; a .json comes beside it.")
    ] = Path("latency.csv"),
    arch: Annotated[
        list[str] | None,
        typer.Option("--arch", help="Time this network instead of drawn ones; repeatable."),
    ] = None,
    archs: Annotated[
        Path | None,
        typer.Option("--archs", help="Time these: one a line, or the column arch of a .csv."),
    ] = None,
    runs: Annotated[int, typer.Option("--runs", help="Timed runs a network, at least.")] = 20,
    warmup: Annotated[int, typer.Option("--warmup", help="Runs before them, at least.")] = 10,
    min_seconds: Annotated[
        float, typer.Option("--min-seconds", help="Timed runs of a network sum up to this.")
    ] = 0.3,
    max_seconds: Annotated[
        float, typer.Option("--max-seconds", help="They end when they sum up to this.")
    ] = 3.0,
    retry_disturbed: Annotated[
        bool,
        typer.Option("--retry-disturbed", help="Time again what was timed on a busy machine."),
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Time networks on this machine and keep the times in a .csv."""
    from nasplug.measuring import measure as run
    from nasplug.measuring.choice import read_archs

    given = [*(arch or ()), *(read_archs(archs) if archs is not None else ())]
    measured = run(
        space,
        n,
        hw,
        batch_size=batch_size,
        threads=threads,
        seed=seed,
        out=out,
        runs=runs,
        warmup=warmup,
        min_seconds=min_seconds,
        max_seconds=max_seconds,
        archs=given or None,
        backend=backend,
        retry_disturbed=retry_disturbed,
    )
    if as_json:
        _print_json(measured.to_json())
    else:
        _print_rows(measured.summary(), False)


@app.command()
@_command
def calibrate(
    hw: Annotated[
        str | None,
        typer.Option("--hw", help="Your device: the path of its .toml, or a device by name."),
    ] = None,
    measurements: Annotated[
        Path | None,
        typer.Option("--measurements", help="A .csv with columns arch and latency_ms."),
    ] = None,
    space: SpaceName = "nb201",
    name: Annotated[
        str | None, typer.Option("--name", help="Its name from now on; default: as described.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", help="Images a forward pass; default: as in the .csv, or 1."),
    ] = None,
    unit: Annotated[
        str | None, typer.Option("--unit", help="ms, s or us; default: ms, which is checked.")
    ] = None,
    predictor: Annotated[
        str | None,
        typer.Option("--predictor", help="Checkpoint to build on instead of the package's own."),
    ] = None,
    suggest: Annotated[
        int | None,
        typer.Option("--suggest", help="Only say which networks, so many, are worth measuring."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Where to write, instead of the data folder or stdout."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Learn your own device from a few measurements; --hw NAME then means it."""
    from nasplug.search_spaces.errors import InputError

    if suggest is not None:
        from nasplug._suggestions import next_step, suggest_measurements, write_suggestions

        if measurements is not None or name is not None or unit is not None:
            raise InputError("--suggest comes before measuring: it takes no table, name or unit")
        size = 1 if batch_size is None else batch_size
        archs = suggest_measurements(
            space, suggest, hardware=hw, batch_size=size, predictor=predictor
        )
        texts = [arch.text for arch in archs]
        if out is not None:
            write_suggestions(texts, out)
        if as_json:
            _print_json(texts)
        elif out is None:
            print("\n".join(texts))
        _complain(next_step(space, out))
        return
    if hw is None or measurements is None:
        raise InputError(
            "give your device with --hw and its latencies with --measurements; --suggest 10 says "
            "which networks are worth measuring"
        )
    from nasplug._calibrate import calibrate as run

    done = run(
        hw,
        measurements,
        space,
        name=name,
        batch_size=batch_size,
        unit=unit,
        predictor=predictor,
        out=out,
    )
    if as_json:
        _print_json(done.to_json())
    else:
        _print_table(done.table())
    for note in done.notes():
        _complain(note)


@app.command()
@_command
def spaces(as_json: Json = False, debug: Debug = False) -> None:
    """List the search spaces."""
    from nasplug._listings import spaces as rows

    _print_rows(rows(), as_json)


@hardware_app.command("list")
@_command
def hardware_list(
    word: Annotated[str | None, typer.Argument(help="Show what contains this word.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List your calibrated devices and the catalogue, or what in them contains a word."""
    from nasplug._listings import devices

    rows, damaged = devices(word)
    _print_rows(rows, as_json)
    for sentence in damaged:
        _complain(sentence)


@hardware_app.command("show")
@_command
def hardware_show(
    name: Annotated[str, typer.Argument(help="Name, alias, or path of a .toml file.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show all that is known of one device."""
    from nasplug._listings import specification

    row = specification(name)
    if as_json:
        _print_json(row)
    else:
        _print_table([{"field": key, "value": _cell(value)} for key, value in row.items()])


@data_app.command("list")
@_command
def data_list(as_json: Json = False, debug: Debug = False) -> None:
    """List the data sets."""
    from nasplug._listings import datasets

    _print_rows(datasets(), as_json)


@data_app.command("fetch")
@_command
def data_fetch(
    name: Annotated[str, typer.Argument(help="Data set; see nasplug data list.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Download a data set, check it and import it."""
    from nasplug import datasets

    paths = datasets.fetch(name)
    _print_rows([{"file": str(path)} for path in paths], as_json)


@data_app.command("verify")
@_command
def data_verify(
    name: Annotated[str, typer.Argument(help="Data set; see nasplug data list.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check the cached files of a data set; exit code 1 if one is not as it should be."""
    from nasplug._listings import verification

    rows = verification(name)
    _print_rows(rows, as_json)
    if any(row["status"] != "ok" for row in rows):
        raise typer.Exit(1)


def _console() -> Console:
    from rich.console import Console

    console = Console()
    # A pipe has no width of its own, and 80 columns would fold every architecture.
    return console if console.is_terminal else Console(width=_PIPE_WIDTH)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))


def _print_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        _print_json(rows)
    else:
        _print_table([{key: _cell(value) for key, value in row.items()} for row in rows])


def _print_table(rows: list[dict[str, str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in rows[0] if rows else ():
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(value) for value in row.values()))
    _console().print(table)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_cell, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Run the command line; exit code 0 done, 2 wrong usage or bad input, 130 Ctrl-C, 1 other."""
    app(prog_name="nasplug")
