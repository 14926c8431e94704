"""The command predict: accuracies and latencies of architectures, and latencies of networks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from nasplug.commands.common import (
    Debug,
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
from nasplug.commands.comparing import print_comparison, split_sizes, split_words
from nasplug.objectives import MFLOPS
from nasplug.search_spaces.errors import InputError
from nasplug.text import check_no_torch_file

if TYPE_CHECKING:
    from nasplug.predicting.evidence import LatencyEvidence
    from nasplug.predictors.hardware import Hardware
    from nasplug.predictors.prediction import Prediction
    from nasplug.search_spaces import SearchSpace

__all__ = ["InputShapes", "InputValues", "parse_shapes", "parse_values", "predict"]

# Keys of `LatencyEvidence.to_json`.
EVIDENCE_KEYS = ("evidence", "setting", "learned", "rests_on", "measured")

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
        list[str],
        Argument(
            help="Architecture strings of the space; or .onnx files, and names of networks such as "
            "timm:resnet50."
        ),
    ],
    space: SpaceName = "nb201",
    example: Example = None,
    hw: Annotated[
        list[str] | None,
        Option(
            "--hw",
            help="Device: a name that nasplug hardware lists, or the path of a .toml file; for "
            "networks it may be repeated.",
        ),
    ] = None,
    batch_size: Annotated[
        str | None,
        Option(
            metavar="SIZE",
            help="Images per forward pass; for networks also several: 1,8,32. Default: as in the "
            ".onnx file, or 1.",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        Option(
            help="Image set of the networks of a space, or of language models the pass: prefill or "
            "decode."
        ),
    ] = None,
    predictor: OwnPredictor = None,
    runtime: Runtime = None,
    precision: Precision = None,
    unit: Unit = None,
    threads: Threads = None,
    explain: Annotated[bool, Option("--explain", help="Show the slowest operators.")] = False,
    input_shape: InputShapes = None,
    input_value: InputValues = None,
    out: Annotated[
        Path | None,
        Option(
            help="File for the table of several networks, devices or settings: .csv, .json, or "
            ".html for a page."
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Predict accuracies of architectures, with --hw also latencies; or latencies of networks."""
    from nasplug.predicting.known_networks import is_known_name

    checkpoints = predictor or ()
    for text in architectures:
        check_no_torch_file(text)
    devices, sizes = list(dict.fromkeys(hw or ())), split_sizes(batch_size)
    runtimes, precisions = split_words(runtime), split_words(precision)
    are_networks = [t.lower().endswith(".onnx") or is_known_name(t) for t in architectures]
    settings = (len(devices), len(sizes), len(runtimes), len(precisions))
    several = max(len(architectures), *settings) > 1
    if any(are_networks) and dataset is not None:
        raise InputError("--dataset is for architectures of a space; leave it out for networks")
    if all(are_networks) and (several or out is not None):
        if not devices:
            raise InputError("a latency needs a device; name one with --hw")
        if explain or input_shape or input_value or checkpoints:
            raise InputError(
                "--explain, --input-shape, --input-value and --predictor are for one network on "
                "one device in one way; leave them out of a comparison"
            )
        print_comparison(
            *(architectures, devices, sizes, runtimes, precisions),
            unit=unit,
            threads=threads,
            out=out,
            as_json=as_json,
        )
        return
    if any(are_networks) and not all(are_networks):
        raise InputError(
            "networks and architectures of a space cannot be predicted together; give .onnx files "
            "and names such as timm:resnet50 alone, or architectures alone"
        )
    if max(settings) > 1 or out is not None:
        raise InputError(
            "several devices, batch sizes, runtimes or precisions, and --out, are for .onnx files "
            "and networks such as timm:resnet50; name one of each for architectures of a space"
        )
    device, size = next(iter(devices), None), next(iter(sizes), None)
    way = {"runtime": runtime, "precision": precision, "unit": unit, "threads": threads}
    if any(are_networks):
        inputs = {
            "input_shapes": parse_shapes(input_shape or ()),
            "input_values": parse_values(input_value or ()),
        }
        _predict_file(architectures[0], device, size, checkpoints, inputs | way, explain, as_json)
    elif explain or input_shape or input_value:
        raise InputError("--explain, --input-shape and --input-value need an .onnx file; give one")
    else:
        opened = space_of(space, example)
        size = 1 if size is None else size
        _predict_architectures(
            architectures, opened, dataset, device, size, checkpoints, way, as_json
        )


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
    network: str,
    hw: str | None,
    batch_size: int | None,
    checkpoints: Sequence[str],
    options: Mapping[str, Any],
    explain: bool,
    as_json: bool,
) -> None:
    """Print the predicted latency of one network, and with `explain` its slowest operators."""
    import nasplug
    from nasplug.predicting.network_prediction import EXPLAINED

    if len(checkpoints) > 1:
        raise InputError("give at most one predictor of an .onnx file")
    if hw is None:
        raise InputError("a latency needs a device; name one with --hw")
    prediction = nasplug.predict(
        network,
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
    dataset: str | None,
    hw: str | None,
    batch_size: int,
    checkpoints: Sequence[str],
    words: Mapping[str, Any],
    as_json: bool,
) -> None:
    """Print the predicted accuracies of architectures of a space, and with `hw` their latency."""
    from nasplug.devices.hardware import hardware
    from nasplug.predicting.energy import energy_gap, energy_note
    from nasplug.predicting.measured_accuracy import HasAccuracies
    from nasplug.predicting.notes import narrowing
    from nasplug.predicting.structure_accuracy import STRUCTURE_NOTE
    from nasplug.predicting.zoo import is_structural
    from nasplug.predictors.features.runtimes import EAGER, asked_way

    way = asked_way(**words)
    runtime = None if way is None else way.text or EAGER
    device = None if hw is None else hardware(hw)
    rows, evidence = _predictions(
        architectures, space, dataset, device, batch_size, checkpoints, runtime
    )
    if as_json:
        print_json(rows)
        return
    for row in rows:
        _print_prediction(row)
    if isinstance(space, HasAccuracies) and not checkpoints:
        print(f"accuracies are measured, not predicted: {space.accuracy_source}")
    elif is_structural(space) and not checkpoints:
        print(STRUCTURE_NOTE)
    if device is not None and rows and rows[0]["energy_j"] is not None:
        print(energy_note(rows[0]["energy_j"]["evidence"], device))
    elif device is not None and space.has_networks and (gap := energy_gap(device)):
        print(gap)
    if device is None or evidence is None:
        return
    for note in evidence.notes():
        print(note)
    wide = sum(not row["latency_ms"]["usable"] for row in rows)
    if wide:
        which = "this network" if wide == len(rows) == 1 else "these networks"
        print(narrowing(evidence.kind, device.name, which, space.name, evidence.learned))


def _predictions(
    architectures: Sequence[str],
    space: SearchSpace,
    dataset: str | None,
    device: Hardware | None,
    batch_size: int,
    checkpoints: Sequence[str],
    runtime: str | None,
) -> tuple[list[dict[str, Any]], LatencyEvidence | None]:
    """Predict architectures.

    Returns:
        A row for each, with None or `{}` for a quantity without predictor; and the evidence of the
        latencies, if there are any.
    """
    from nasplug.arguments import checked_count, checked_dataset
    from nasplug.candidates.scoring import Scoring
    from nasplug.predicting.architecture_predictor import ArchitecturePredictor
    from nasplug.predicting.energy import energy_json, space_energy
    from nasplug.predicting.evidence import latency_evidence
    from nasplug.predicting.known_networks import checked_architecture
    from nasplug.predicting.zoo import in_runtime, predictors_for
    from nasplug.predictors.capabilities import TellsFamiliar
    from nasplug.predictors.features.runtimes import known_way

    checked_count(batch_size, "batch size")
    archs = [checked_architecture(space, text) for text in architectures]
    chosen = predictors_for(space, device is not None, checkpoints)
    if runtime is not None:
        in_runtime(chosen, runtime)
    task = checked_dataset(space, dataset)
    scoring = Scoring(space, (), device, (), batch_size, task, chosen)
    accuracy = perplexity = latency = familiar = evidence = None
    if "accuracy" in chosen:
        accuracy = chosen["accuracy"].predict(archs)
        if isinstance(chosen["accuracy"], TellsFamiliar):
            familiar = chosen["accuracy"].familiar(archs)
    if "perplexity" in chosen:
        perplexity = chosen["perplexity"].predict(archs)
    timed = chosen.get("latency")
    if device is not None and timed is not None:
        graphs = scoring.timed_graphs(archs) if isinstance(timed, ArchitecturePredictor) else []
        latency = scoring.predict("latency", archs)[0]
        evidence = latency_evidence(
            timed, graphs, device, batch_size, latency.evidence, latency.learned
        )
    about = {} if evidence is None else evidence.to_json()
    energy = None
    if device is not None and not checkpoints:
        way = None if runtime is None else known_way(runtime)
        whole = space.to_graphs(archs, task)
        energy = space_energy(space, whole, device, batch_size, way, timed, latency)
    memory = scoring.predict("memory", archs)[0].mean[:, 0] if space.has_networks else None
    rows = [
        {
            "arch": arch.text,
            "arch_id": arch.arch_id,
            "accuracy": {}
            if accuracy is None
            else {
                target: _interval(accuracy, row, target)
                for target in accuracy.targets
                if dataset in (None, target)
            },
            **(
                {}
                if perplexity is None
                else {"perplexity": _interval(perplexity, row, "perplexity")}
            ),
            "familiar": None if familiar is None else bool(familiar[row]),
            "latency_ms": None if latency is None else _interval(latency, row, "latency"),
            "energy_j": energy_json(energy, row),
            "memory_mb": None if memory is None else round(float(memory[row]), 6),
            "zero_shot": None if latency is None else bool(latency.zero_shot),
            **{name: about.get(name) for name in EVIDENCE_KEYS},
        }
        for row, arch in enumerate(archs)
    ]
    return rows, evidence


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
    if "perplexity" in row:
        cells["perplexity"] = {end: f"{number:.3f}" for end, number in row["perplexity"].items()}
    if row["latency_ms"] is not None:
        cells["latency, ms"] = shown(row["latency_ms"], ".3f")
    if row["energy_j"] is not None:
        ends = {end: f"{row['energy_j'][end]:.4g}" for end in ("mean", "lower", "upper")}
        cells[f"energy ({row['energy_j']['evidence']}), J"] = ends
    if row["memory_mb"] is not None:
        cells["memory, MB"] = {"mean": f"{row['memory_mb']:.2f}", "lower": "", "upper": ""}
    print_table([{"predicted": name, **value} for name, value in cells.items()])
    if row["familiar"] is False:
        print(
            "this architecture is unlike those in the training data: its accuracy is an "
            "extrapolation, with a wider interval"
        )
