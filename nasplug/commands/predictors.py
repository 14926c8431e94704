"""Commands that train predictors and measure networks: train, measure and calibrate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from nasplug.commands.common import (
    Batch,
    Debug,
    Device,
    Example,
    Json,
    SpaceName,
    command,
    complain,
    own_space,
    print_fields,
    print_json,
    print_rows,
    print_table,
    space_of,
)
from nasplug.commands.predict import InputShapes, InputValues, parse_shapes, parse_values
from nasplug.search_spaces.errors import InputError
from nasplug.text import check_no_torch_file

if TYPE_CHECKING:
    from nasplug.calibrating.calibrate import CalibratedDevice

__all__ = ["calibrate", "measure", "train"]

# Options of `measure` whose descriptions are long.
Archs = Annotated[
    list[str] | None, Option(help="Time this architecture of the space; may be repeated.")
]
ArchsFile = Annotated[
    Path | None,
    Option(help="File of architectures to time: one per line, or the column arch of a .csv."),
]
RetryDisturbed = Annotated[
    bool, Option(help="Time networks again, and longer, if the machine was busy.")
]
KeepDisturbed = Annotated[
    bool,
    Option("--keep-disturbed", help="Mark disturbed measurements so that calibrate uses them."),
]


def _options(words: Sequence[str]) -> dict[str, Any]:
    """Options of a predictor from words such as `epochs=100`, `dynamic=gate`, `ema_decay=null`.

    Raises:
        InputError: If a word has no `=`, or comes twice.
    """
    options: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise InputError(f"option {word!r} has no value; write it as epochs=100")
        if name in options:
            raise InputError(f"option {name!r} is given twice; give it once")
        try:
            options[name] = json.loads(text)
        except ValueError:
            options[name] = text
    return options


@command
def train(
    data: Annotated[
        str,
        Option(
            help="Name of a data set, or a .csv file with a column arch and columns of numbers."
        ),
    ],
    model: Annotated[str, Option(help="Predictor to train.")] = "nasplug",
    space: SpaceName = "nb201",
    example: Example = None,
    kind: Annotated[str, Option(help="accuracy or latency.")] = "accuracy",
    target: Annotated[
        list[str] | None, Option(help="Column to learn, as column or name=column; may be repeated.")
    ] = None,
    hw: Device = None,
    batch_size: Batch = 1,
    train_size: Annotated[
        int | None, Option(help="Number of rows to train on; default: all.")
    ] = None,
    seed: Annotated[int, Option(help="Equal seeds give equal results.")] = 0,
    option: Annotated[
        list[str] | None,
        Option(
            metavar="NAME=VALUE",
            help="Setting of the predictor, such as epochs=100; may be repeated.",
        ),
    ] = None,
    out: Annotated[Path | None, Option(help="Write the predictor to PATH.safetensors.")] = None,
    test: Annotated[
        bool, Option("--test", help="Test the predictor on the rows that it was not trained on.")
    ] = False,
    resume_folder: Annotated[
        Path | None, Option(help="Keep the state of the training here, so that it can be resumed.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a predictor on measured architectures."""
    import nasplug

    record = nasplug.train(
        model,
        data,
        own_space(space, example),
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
        print_fields({key: value for key, value in record.items() if key != "sha256"}, False)


@command
def measure(
    networks: Annotated[
        list[str] | None,
        Argument(help="Your .onnx files, or architectures of the space."),
    ] = None,
    space: SpaceName = "nnlqp",
    example: Example = None,
    n: Annotated[
        int | None, Option(help="Number of different networks to draw from the space.")
    ] = None,
    hw: Annotated[
        str,
        Option(
            help="Processor of this machine: cpu, cuda, or local for the usual one of the backend."
        ),
    ] = "local",
    backend: Annotated[str, Option(help="onnxruntime or torch.")] = "onnxruntime",
    batch_size: Batch = 1,
    threads: Annotated[
        int | None, Option(help="CPU threads; default: one per physical core.")
    ] = None,
    seed: Annotated[int, Option(help="Equal seeds draw equal networks.")] = 0,
    out: Annotated[
        Path, Option(help="The .csv file to write; a .json file beside it describes the machine.")
    ] = Path("latency.csv"),
    arch: Archs = None,
    archs: ArchsFile = None,
    input_shape: InputShapes = None,
    input_value: InputValues = None,
    runs: Annotated[int, Option(help="Least number of timed runs per network.")] = 20,
    warmup: Annotated[int, Option(help="Least number of runs before the timed ones.")] = 10,
    min_seconds: Annotated[
        float, Option(help="Least total time of the timed runs of a network, in seconds.")
    ] = 0.3,
    max_seconds: Annotated[
        float, Option(help="Total time after which the timed runs of a network end, in seconds.")
    ] = 3.0,
    retry_disturbed: RetryDisturbed = True,
    keep_disturbed: KeepDisturbed = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Time networks on this machine and write their latencies to a .csv file."""
    import nasplug
    from nasplug.measuring.choice import read_archs

    listed = () if archs is None else read_archs(archs)
    texts = [*(networks or ()), *(arch or ()), *listed]
    for text in texts:
        check_no_torch_file(text)
    files = [text for text in texts if text.lower().endswith(".onnx")]
    others = [text for text in texts if text not in files]
    measured = nasplug.measure(
        own_space(space, example),
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
        files=files,
        input_shapes=parse_shapes(input_shape or ()),
        input_values=parse_values(input_value or ()),
        archs=others or None,
        backend=backend,
        retry_disturbed=retry_disturbed,
        keep_disturbed=keep_disturbed,
    )
    if as_json:
        print_json(measured.to_json())
    else:
        print_rows(measured.summary(), False)


@command
def calibrate(
    hw: Annotated[
        str | None,
        Option(
            help="Your device: the path of a .toml file, or a name that nasplug hardware lists."
        ),
    ] = None,
    measurements: Annotated[
        Path | None,
        Option(
            help="A .csv file with columns arch (of a space, your .onnx files, or names such as "
            "timm:resnet50) and latency_ms."
        ),
    ] = None,
    space: SpaceName = "nb201",
    example: Example = None,
    name: Annotated[
        str | None,
        Option(help="Name of the calibrated device; default: the name in its description."),
    ] = None,
    batch_size: Annotated[
        int | None, Option(help="Images per forward pass; default: as in the .csv file, or 1.")
    ] = None,
    unit: Annotated[
        str | None,
        Option(help="Unit of the latencies: ms, s or us; default: ms, which is checked."),
    ] = None,
    predictor: Annotated[
        str | None,
        Option(
            metavar="PATH", help="Predictor checkpoint to build on instead of the package's own."
        ),
    ] = None,
    suggest: Annotated[
        int | None, Option(help="Only list this many networks that are worth measuring.")
    ] = None,
    out: Annotated[
        Path | None,
        Option(help="File to write instead of the one in the data folder, or instead of stdout."),
    ] = None,
    force: Annotated[
        bool,
        Option("--force", help="Save the profile even if it predicts worse than the data sheet."),
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Calibrate your own device with a few measurements; --hw NAME then selects it."""
    check_no_torch_file(measurements)
    if suggest is not None:
        if measurements is not None or name is not None or unit is not None:
            raise InputError(
                "--suggest lists networks to measure; leave out --measurements, --name and --unit"
            )
        _suggest(space, example, suggest, hw, batch_size, predictor, out, as_json)
        return
    if hw is None or measurements is None:
        raise InputError(
            "give your device with --hw and its latencies with --measurements; --suggest 10 "
            "lists ten networks worth measuring"
        )
    import nasplug

    calibration = nasplug.calibrate(
        hw,
        measurements,
        own_space(space, example),
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
    example: str | None,
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
    opened = space_of(space, example)
    archs = suggest_measurements(opened, count, hardware=hw, batch_size=size, predictor=predictor)
    texts = [arch.text for arch in archs]
    if out is not None:
        write_suggestions(texts, out)
    if as_json:
        print_json(texts)
    elif out is None:
        print("\n".join(texts))
    words = space if example is None else f"{space} --example {example}"
    complain(next_step(opened, out, words))


def _print_calibration(calibration: CalibratedDevice, as_json: bool) -> None:
    """Print how well a calibrated device is predicted, and the notes on stderr."""
    if as_json:
        print_json(calibration.to_json())
    else:
        print_table(calibration.table())
    for note in calibration.notes():
        complain(note)
