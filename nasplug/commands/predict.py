"""The command predict: accuracies and latencies of architectures, and of one ONNX file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from nasplug.commands.common import (
    Debug,
    Device,
    Example,
    Json,
    OwnPredictor,
    Precision,
    Runtime,
    SpaceName,
    Threads,
    Unit,
    command,
    print_json,
    print_rows,
    print_table,
    space_of,
)
from nasplug.objectives import MFLOPS
from nasplug.search_spaces.errors import InputError
from nasplug.text import check_no_torch_file

if TYPE_CHECKING:
    from nasplug.predictors.hardware import Hardware
    from nasplug.predictors.prediction import Prediction
    from nasplug.search_spaces import SearchSpace

__all__ = ["InputShapes", "InputValues", "parse_shapes", "parse_values", "predict"]

InputShapes = Annotated[
    list[str] | None,
    Option(
        metavar="[NAME=]SHAPE",
        help="Shape of an input of the .onnx file: name=1x3x224x224; may be repeated.",
    ),
]
InputValues = Annotated[
    list[str] | None,
    Option(
        metavar="NAME=VALUE",
        help="Value of an input that fixes shapes or conditions: sr=16000; may be repeated.",
    ),
]


@command
def predict(
    architectures: Annotated[
        list[str], Argument(help="Architecture strings of the space, or one .onnx file.")
    ],
    space: SpaceName = "nb201",
    example: Example = None,
    hw: Device = None,
    batch_size: Annotated[
        int | None, Option(help="Images per forward pass; default: as in the .onnx file, or 1.")
    ] = None,
    predictor: OwnPredictor = None,
    runtime: Runtime = None,
    precision: Precision = None,
    unit: Unit = None,
    threads: Threads = None,
    explain: Annotated[bool, Option("--explain", help="Show the slowest operators.")] = False,
    input_shape: InputShapes = None,
    input_value: InputValues = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Predict accuracies of architectures, with --hw also latencies, or an .onnx file's latency."""
    checkpoints = predictor or ()
    way = {"runtime": runtime, "precision": precision, "unit": unit, "threads": threads}
    for text in architectures:
        check_no_torch_file(text)
    if any(text.lower().endswith(".onnx") for text in architectures):
        inputs = {
            "input_shapes": parse_shapes(input_shape or ()),
            "input_values": parse_values(input_value or ()),
        }
        _predict_file(architectures, hw, batch_size, checkpoints, inputs | way, explain, as_json)
    elif explain or input_shape or input_value:
        raise InputError("--explain, --input-shape and --input-value need an .onnx file; give one")
    else:
        size = 1 if batch_size is None else batch_size
        opened = space_of(space, example)
        _predict_architectures(architectures, opened, hw, size, checkpoints, way, as_json)


def parse_shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Parse texts such as `"x=1x3x224x224"` to shapes by name; the name of an only input is empty.

    A scalar is `"x="` or `"x=scalar"`.
    """
    shapes = {}
    for text in texts:
        name, equals, sizes = text.rpartition("=")
        parts = [] if sizes.lower() in ("", "scalar") and name else sizes.lower().split("x")
        if (equals and not name) or not all(part.isdecimal() for part in parts):
            raise InputError(
                f"{text!r} is not a shape; write name=1x3x224x224, or name=scalar for one number"
            )
        if name in shapes:
            raise InputError(f"the shape of {name or 'the input'!r} is given twice; give it once")
        shapes[name] = tuple(map(int, parts))
    return shapes


def parse_values(texts: Sequence[str]) -> dict[str, Any]:
    """Parse texts such as `"sr=16000"`, `"s=1,4,8,8"` or `"on=true"` to values by name."""
    values: dict[str, Any] = {}
    for text in texts:
        name, _, words = text.rpartition("=")
        try:
            numbers = [json.loads(word.lower()) for word in words.split(",")]
        except ValueError:
            numbers = []
        if not name or not numbers or not all(isinstance(n, (int, float)) for n in numbers):
            raise InputError(
                f"{text!r} is not a value; write name=16000, name=1,4,8,8 or name=true"
            )
        if name in values:
            raise InputError(f"the value of {name!r} is given twice; give it once")
        values[name] = numbers if "," in words else numbers[0]
    return values


def _predict_file(
    files: Sequence[str],
    hw: str | None,
    batch_size: int | None,
    checkpoints: Sequence[str],
    options: Mapping[str, Any],
    explain: bool,
    as_json: bool,
) -> None:
    """Print the predicted latency of one .onnx file, and with `explain` its slowest operators."""
    import nasplug
    from nasplug.predicting.predict import EXPLAINED

    if len(files) != 1 or len(checkpoints) > 1:
        raise InputError("give one .onnx file and at most one predictor")
    if hw is None:
        raise InputError("a latency needs a device; name one with --hw")
    prediction = nasplug.predict(
        files[0],
        hardware=hw,
        batch_size=batch_size,
        **options,
        predictor=checkpoints[0] if checkpoints else None,
    )
    if as_json:
        print_json(prediction.to_json(EXPLAINED if explain else 0))
        return
    print_table(prediction.table())
    if explain:
        print_rows(prediction.operator_rows(), False)
    costs = () if prediction.batch_fixed else (MFLOPS,)
    for note in (*costs, *prediction.notes()):
        print(note)


def _predict_architectures(
    architectures: Sequence[str],
    space: SearchSpace,
    hw: str | None,
    batch_size: int,
    checkpoints: Sequence[str],
    words: Mapping[str, Any],
    as_json: bool,
) -> None:
    """Print the predicted accuracies of architectures of a space, and with `hw` their latency."""
    from nasplug.devices.hardware import hardware
    from nasplug.predicting.notes import evidence_note, narrowing
    from nasplug.predictors.features.runtimes import EAGER, asked_way

    way = asked_way(**words)
    runtime = None if way is None else way.text or EAGER
    device = None if hw is None else hardware(hw)
    rows = _predictions(architectures, space, device, batch_size, checkpoints, runtime)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        _print_prediction(row)
    if device is None:
        return
    if rows[0]["evidence"] is not None:
        print(evidence_note(rows[0]["evidence"], device.name, batch_size, runtime))
    if any(row["latency_ms"] and not row["latency_ms"]["usable"] for row in rows):
        print(narrowing(rows[0]["evidence"], device.name, "this network", space.name))


def _predictions(
    architectures: Sequence[str],
    space: SearchSpace,
    device: Hardware | None,
    batch_size: int,
    checkpoints: Sequence[str],
    runtime: str | None,
) -> list[dict[str, Any]]:
    """Predict architectures; a row for each, with None or `{}` for a quantity without predictor."""
    from nasplug.arguments import checked_count
    from nasplug.predicting.zoo import in_runtime, predictors_for
    from nasplug.predictors.capabilities import TellsFamiliar

    checked_count(batch_size, "batch size")
    archs = [space.parse(text) for text in architectures]
    chosen = predictors_for(space, device is not None, checkpoints)
    if runtime is not None:
        in_runtime(chosen, runtime)
    accuracy = latency = familiar = None
    if "accuracy" in chosen:
        accuracy = chosen["accuracy"].predict(archs)
        if isinstance(chosen["accuracy"], TellsFamiliar):
            familiar = chosen["accuracy"].familiar(archs)
    if "latency" in chosen:
        latency = chosen["latency"].predict(archs, device, batch_size)
    return [
        {
            "arch": arch.text,
            "arch_id": arch.arch_id,
            "accuracy": {}
            if accuracy is None
            else {target: _interval(accuracy, row, target) for target in accuracy.targets},
            "familiar": None if familiar is None else bool(familiar[row]),
            "latency_ms": None if latency is None else _interval(latency, row, "latency"),
            "zero_shot": None if latency is None else bool(latency.zero_shot),
            "evidence": None if latency is None else latency.evidence,
        }
        for row, arch in enumerate(archs)
    ]


def _interval(prediction: Prediction, row: int, target: str) -> dict[str, Any]:
    from nasplug.predicting.intervals import interval_of

    k = prediction.column(target)
    ends = [float(end[row, k]) for end in (prediction.mean, prediction.lower, prediction.upper)]
    return interval_of(ends, prediction.units[k])


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
            "this architecture is unlike those in the training data: its accuracy is an "
            "extrapolation, with a wider interval"
        )
