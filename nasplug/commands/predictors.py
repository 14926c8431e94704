"""Commands about predictors and measurements: predict, train, measure and calibrate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nasplug.commands.common import (
    Batch,
    Debug,
    Device,
    Json,
    OwnPredictor,
    Runtime,
    SpaceName,
    cell,
    command,
    complain,
    print_json,
    print_rows,
    print_table,
)
from nasplug.search_spaces.errors import InputError

if TYPE_CHECKING:
    from nasplug.calibrating.calibrate import CalibratedDevice

__all__ = ["calibrate", "measure", "predict", "train"]


@command
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
    from nasplug.predicting.predict import is_file, parse_shapes

    checkpoints = predictor or ()
    if any(map(is_file, architectures)):
        shapes = parse_shapes(input_shape or ())
        _predict_file(architectures, hw, batch_size, checkpoints, shapes, runtime, explain, as_json)
        return
    if explain or input_shape:
        raise InputError("--explain and --input-shape are for an .onnx file; name one")
    _predict_architectures(architectures, space, hw, batch_size, checkpoints, runtime, as_json)


def _predict_file(
    files: Sequence[str],
    hw: str | None,
    batch_size: int,
    checkpoints: Sequence[str],
    shapes: Mapping[str, Sequence[int]],
    runtime: str | None,
    explain: bool,
    as_json: bool,
) -> None:
    """Print the predicted latency of one .onnx file, and with `explain` its slowest operators."""
    from nasplug.predicting.predict import EXPLAINED, predict_file

    prediction = predict_file(files, hw, batch_size, checkpoints, shapes, runtime)
    if as_json:
        print_json(prediction.to_json(EXPLAINED if explain else 0))
        return
    print_table(prediction.table())
    if explain:
        print_rows(prediction.operator_rows(), False)
    for note in prediction.notes():
        print(note)


def _predict_architectures(
    architectures: Sequence[str],
    space: str,
    hw: str | None,
    batch_size: int,
    checkpoints: Sequence[str],
    runtime: str | None,
    as_json: bool,
) -> None:
    """Print the predicted accuracies of architectures of a space, and with `hw` their latency."""
    from nasplug.commands.listings import predictions
    from nasplug.predicting.intervals import narrowing

    rows = predictions(architectures, space, hw, batch_size, checkpoints, runtime)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        _print_prediction(row)
    if rows[0]["zero_shot"]:
        print(
            f"zero-shot: {hw} has no measurements at batch {batch_size}"
            f"{f' ({runtime})' if runtime else ''}; latency is predicted from its data sheet and "
            "from what was measured on others"
        )
    elif rows[0]["evidence"] == "few-shot":
        print("few-shot: latency is predicted from the few measurements of your calibration")
    if any(row["latency_ms"] and not row["latency_ms"]["usable"] for row in rows):
        print(narrowing(rows[0]["evidence"], str(hw), "this network", space))


def _print_prediction(row: Mapping[str, Any]) -> None:
    """Print one row of `predictions`: the architecture, and a table of its predicted values."""
    from nasplug.predicting.intervals import shown

    print(row["arch"])
    cells = {
        f"{task} accuracy, %": {end: f"{number:.3f}" for end, number in value.items()}
        for task, value in row["accuracy"].items()
    }
    if row["latency_ms"] is not None:
        cells["latency, ms"] = shown(row["latency_ms"], ".3f")
    print_table([{"predicted": name, **value} for name, value in cells.items()])
    if row["familiar"] is False:
        print(
            "this architecture is unlike those that the accuracy was learned from; it is an "
            "extrapolation, and its interval wider for it"
        )


# Parameters of a predictor that have an option of their own on the command line.
RESERVED = {"kind": "--kind", "targets": "--target", "seed": "--seed"}


def _options(words: Sequence[str]) -> dict[str, Any]:
    """Options of a predictor from words such as `epochs=100`, `dynamic=gate`, `ema_decay=null`.

    Raises:
        InputError: If a word has no `=`, comes twice, or is an option with a name of its own.
    """
    options: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise InputError(f"option {word!r} has no value; write it as epochs=100")
        if name in RESERVED:
            raise InputError(f"option {name!r} is given as {RESERVED[name]}")
        if name in options:
            raise InputError(f"option {name!r} is given twice")
        try:
            options[name] = json.loads(text)
        except ValueError:
            options[name] = text
    return options


@command
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
    out: Annotated[Path | None, typer.Option("--out", help="Write OUT.safetensors.")] = None,
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
    import nasplug

    record = nasplug.train(
        model,
        data,
        space,
        kind=kind,
        targets=target or (),
        hardware=hw,
        batch_size=batch_size,
        train_size=train_size,
        seed=seed,
        options=_options(option or ()),
        out=out,
        test=test,
        resume_folder=resume_folder,
    )
    if as_json:
        print_json(record)
    else:
        shown = {key: cell(value) for key, value in record.items() if key != "sha256"}
        print_table([{"field": key, "value": value} for key, value in shown.items() if value])


@command
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
    import nasplug
    from nasplug.measuring.choice import read_archs

    networks = [*(arch or ()), *(read_archs(archs) if archs is not None else ())]
    measured = nasplug.measure(
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
        archs=networks or None,
        backend=backend,
        retry_disturbed=retry_disturbed,
    )
    if as_json:
        print_json(measured.to_json())
    else:
        print_rows(measured.summary(), False)


@command
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
    force: Annotated[
        bool,
        typer.Option("--force", help="Save a profile that predicts worse than the data sheet."),
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Learn your own device from a few measurements; --hw NAME then means it."""
    if suggest is not None:
        if measurements is not None or name is not None or unit is not None:
            raise InputError("--suggest comes before measuring: it takes no table, name or unit")
        _suggest(space, suggest, hw, batch_size, predictor, out, as_json)
        return
    if hw is None or measurements is None:
        raise InputError(
            "give your device with --hw and its latencies with --measurements; --suggest 10 says "
            "which networks are worth measuring"
        )
    import nasplug

    calibration = nasplug.calibrate(
        hw,
        measurements,
        space,
        name=name,
        batch_size=batch_size,
        unit=unit,
        predictor=predictor,
        out=out,
        force=force,
    )
    _print_calibration(calibration, as_json)


def _suggest(
    space: str,
    count: int,
    hw: str | None,
    batch_size: int | None,
    predictor: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Print, or write to `out`, networks that are worth measuring before a calibration."""
    from nasplug.calibrating.suggestions import next_step, suggest_measurements, write_suggestions

    size = 1 if batch_size is None else batch_size
    archs = suggest_measurements(space, count, hardware=hw, batch_size=size, predictor=predictor)
    texts = [arch.text for arch in archs]
    if out is not None:
        write_suggestions(texts, out)
    if as_json:
        print_json(texts)
    elif out is None:
        print("\n".join(texts))
    complain(next_step(space, out))


def _print_calibration(calibration: CalibratedDevice, as_json: bool) -> None:
    """Print how well a calibrated device is predicted, and the notes on stderr."""
    if as_json:
        print_json(calibration.to_json())
    else:
        print_table(calibration.table())
    for note in calibration.notes():
        complain(note)
