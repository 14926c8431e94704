"""The commands about predictors and measurements: predict, train, measure and calibrate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

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
    from nasplug.predicting.predict import EXPLAINED, is_file, parse_shapes, predict_file

    if any(map(is_file, architectures)):
        shapes = parse_shapes(input_shape or ())
        said = predict_file(architectures, hw, batch_size, predictor or (), shapes, runtime)
        if as_json:
            print_json(said.to_json(EXPLAINED if explain else 0))
            return
        print_table(said.table())
        if explain:
            print_rows(said.operator_rows(), False)
        for note in said.notes():
            print(note)
        return
    if explain or input_shape:
        from nasplug.search_spaces.errors import InputError

        raise InputError("--explain and --input-shape are for an .onnx file; name one")
    from nasplug.commands.listings import predictions
    from nasplug.predicting.intervals import narrowing, shown

    rows = predictions(architectures, space, hw, batch_size, predictor or (), runtime)
    if as_json:
        print_json(rows)
        return
    for row in rows:
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


# Said in words of their own on the command line.
RESERVED = {"kind": "--kind", "targets": "--target", "seed": "--seed"}


def _parsed(words: Sequence[str]) -> dict[str, Any]:
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

    told = nasplug.train(
        model,
        data,
        space,
        kind=kind,
        targets=target or (),
        hardware=hw,
        batch_size=batch_size,
        train_size=train_size,
        seed=seed,
        options=_parsed(option or ()),
        out=out,
        test=test,
        resume_folder=resume_folder,
    )
    if as_json:
        print_json(told)
    else:
        shown = {key: cell(value) for key, value in told.items() if key != "sha256"}
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

    given = [*(arch or ()), *(read_archs(archs) if archs is not None else ())]
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
        archs=given or None,
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
    from nasplug.search_spaces.errors import InputError

    if suggest is not None:
        from nasplug.calibrating.suggestions import (
            next_step,
            suggest_measurements,
            write_suggestions,
        )

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
            print_json(texts)
        elif out is None:
            print("\n".join(texts))
        complain(next_step(space, out))
        return
    if hw is None or measurements is None:
        raise InputError(
            "give your device with --hw and its latencies with --measurements; --suggest 10 says "
            "which networks are worth measuring"
        )
    import nasplug

    done = nasplug.calibrate(
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
    if as_json:
        print_json(done.to_json())
    else:
        print_table(done.table())
    for note in done.notes():
        complain(note)
