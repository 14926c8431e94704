"""Commands that search: search and worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from nasplug.commands.common import (
    Batch,
    Debug,
    Example,
    Json,
    OwnPredictor,
    Precision,
    Runtime,
    SpaceName,
    StudyName,
    Threads,
    Unit,
    code_written,
    command,
    command_line,
    complain,
    console,
    print_json,
    space_of,
)
from nasplug.search_spaces.errors import InputError
from nasplug.text import check_no_torch_file, counted

if TYPE_CHECKING:
    from nasplug.results.result import SearchResult

__all__ = ["search", "worker"]

Constraints = Annotated[
    list[str] | None,
    Option(
        metavar="LIMIT",
        help='Constraint such as "latency<=5ms", on latency, throughput (also fps), memory, '
        "energy, params, size, flops (also macs), accuracy or perplexity; may be repeated.",
    ),
]
Devices = Annotated[
    list[str] | None,
    Option(
        "--hw",
        help="Device: a name that nasplug hardware lists, or the path of a .toml file. May be "
        'repeated: then "latency@NAME<=5ms" limits the latency on one of them, and '
        '"latency<=5ms" that on each.',
    ),
]
Storage = Annotated[
    str | None,
    Option(
        metavar="PATH",
        help="Where the study is kept: journal file, database URL, or memory; default: a "
        "journal in the state folder.",
    ),
]
Proxy = Annotated[
    str | None,
    Option(
        help="Count to maximise in a space without an accuracy predictor: flops "
        "(multiply-accumulates, also macs) or params; default: flops."
    ),
]
PoolSize = Annotated[
    int | None,
    Option(help="Number of networks to score in a space that is too large to list; default: 4000."),
]
Objectives = Annotated[
    list[str] | None,
    Option(
        metavar="METRIC",
        help="Quantity to optimise, one of those of --constraint, such as memory:min or, of "
        "several devices, latency@NAME:min; with "
        "--evaluate table or command a metric, such as latency_ms:min. May be repeated. Default: "
        "accuracy:max, and with --hw the latency, which is predicted if the program does not print "
        "it.",
    ),
]
Export = Annotated[
    Path | None,
    Option(
        help="Folder for the networks of the front, as ONNX files; their weights are random, but "
        "for those of --space timm."
    ),
]
Code = Annotated[
    bool,
    Option(
        "--code",
        help="With --export: write each network as a PyTorch module that can be trained, too, and "
        "train.py, which trains one.",
    ),
]
Evaluate = Annotated[
    str,
    Option(
        "--evaluate",
        metavar="KIND",
        help="Source of a trial's values: predicted (by the predictors), table (a benchmark's "
        'measurements), or command "PROGRAM" (what your program prints).',
    ),
]
Program = Annotated[
    str | None,
    Argument(
        help='With --evaluate command: the program and its arguments, as in "python train.py '
        '{arch}". {arch} stands for the architecture, {params} for the parameters as one JSON '
        "object, {json} for a file that describes the trial, {onnx} for the network with random "
        "weights; the program reads the description from standard input too. It prints its result "
        'as a JSON object, such as {"accuracy": 93.1, "latency_ms": 4.2}; the last such line '
        'counts. Under "constraints" it may print numbers that must be <= 0. See docs/cluster.md.',
        show_default=False,
    ),
]
Timeout = Annotated[
    float | None,
    Option(
        "--timeout", metavar="SECONDS", help="Longest run of the program for one trial, in seconds."
    ),
]
Every = Annotated[bool, Option("--all", help="Show all rows of the front instead of twelve.")]
Report = Annotated[Path | None, Option(help="Folder for report.html, plots and result.json.")]
Jobs = Annotated[int, Option("--jobs", help="Number of trials to evaluate at the same time.")]


@command
def search(
    space: SpaceName = "nb201",
    example: Example = None,
    hardware: Devices = None,
    constraint: Constraints = None,
    probability: Annotated[
        float, Option(help="Probability with which each constraint must hold.")
    ] = 0.9,
    batch_size: Batch = 1,
    dataset: Annotated[str | None, Option(help="Image set of the accuracy.")] = None,
    n_trials: Annotated[
        int, Option(help="Number of trials in total, including those of earlier runs.")
    ] = 100,
    seed: Annotated[int, Option(help="Equal seeds give equal results.")] = 0,
    storage: Storage = None,
    study_name: Annotated[
        str | None, Option(help="Name of the study; default: space and a hash of all settings.")
    ] = None,
    predictor: OwnPredictor = None,
    runtime: Runtime = None,
    precision: Precision = None,
    unit: Unit = None,
    threads: Threads = None,
    proxy: Proxy = None,
    pool_size: PoolSize = None,
    as_json: Json = False,
    every: Every = False,
    report: Report = None,
    export: Export = None,
    code: Code = False,
    evaluate: Evaluate = "predicted",
    program: Program = None,
    objective: Objectives = None,
    timeout: Timeout = None,
    jobs: Jobs = 1,
    debug: Debug = False,
) -> None:
    """Search a space for accurate architectures that are fast on a device."""
    import nasplug
    from nasplug.candidates.pool import POOL_SIZE
    from nasplug.results.export import check_export

    opened = space_of(space, example)
    if export is not None:
        check_export(opened, export, code)
    elif code:
        raise InputError("--code needs --export; name a folder for the code with it")
    result = nasplug.search(
        opened,
        hardware[0] if hardware and len(hardware) == 1 else hardware or None,
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
        precision=precision,
        unit=unit,
        threads=threads,
        evaluate=_evaluation(evaluate, program, timeout),
        objectives=objective or (),
        n_jobs=jobs,
    )
    _write_files(result, report, export, code)
    _show(result, as_json, every)


def _show(result: SearchResult, as_json: bool, every: bool) -> None:
    if as_json:
        # The keys of the JSON are fixed, so notes about its numbers go to stderr.
        for note in result.notes():
            complain(note)
        print_json(result.to_json())
    else:
        result.show(console(), every, command_line())


def _write_files(
    result: SearchResult, report: Path | None, export: Path | None, code: bool
) -> None:
    if report is not None:
        complain(f"wrote {', '.join(map(str, result.report(report, command_line())))}")
    if export is not None:
        written = result.export(export, code=code)
        count = len(result.pareto)
        networks, index, programs = written[:count], written[count], written[count + 1 :]
        size = sum(path.stat().st_size for path in networks) / 1e6
        listed = json.loads(index.read_text(encoding="utf-8"))["networks"]
        random = sum(entry["weights"].startswith("random") for entry in listed)
        words = f"trained weights ({random} with random ones)" if random else "trained weights"
        weights = "random weights" if random == len(listed) else words
        if all(entry["weights"] == "as the builder makes them" for entry in listed):
            weights = "the weights that the builder makes"
        complain(
            f"wrote {counted(len(networks), 'network')} with {weights} ({size:,.0f} MB), "
            f"and an index, to {export}"
        )
        if programs:
            complain(code_written(programs, export))


@command
def worker(
    storage: Annotated[
        str, Option(metavar="PATH", help="Journal file or database URL of the search.")
    ],
    study: StudyName = None,
    n_trials: Annotated[
        int | None,
        Option(help="Number of trials to evaluate here; default: all that the study still needs."),
    ] = None,
    evaluate: Annotated[
        str | None,
        Option(
            metavar="KIND",
            help='command "PROGRAM", if the search evaluates by a command: a worker never runs a '
            "program that it finds in a storage. Leave it out otherwise.",
        ),
    ] = None,
    program: Program = None,
    timeout: Timeout = None,
    jobs: Jobs = 1,
    predictor: OwnPredictor = None,
    space: Annotated[
        str | None,
        Option(
            "--space",
            help="Your function that builds a model from a trial, as in my_net.py:build, if the "
            "search has one.",
        ),
    ] = None,
    example: Example = None,
    wait: Annotated[
        float,
        Option(
            metavar="SECONDS", help="Time to wait for a study that does not exist yet, in seconds."
        ),
    ] = 0.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Evaluate trials of a study that a search has started, beside other workers."""
    import nasplug

    outcome = nasplug.worker(
        storage,
        study,
        n_trials=n_trials,
        evaluate=None if evaluate is None else _evaluation(evaluate, program, timeout),
        predictors=predictor or (),
        n_jobs=jobs,
        wait=wait,
        space=None if space is None else space_of(space, example),
    )
    if as_json:
        print_json(outcome.to_json())
    else:
        print(outcome)


def _evaluation(evaluate: str, program: str | None, timeout: float | None) -> Any:
    """Argument `evaluate` of `nasplug.search`: a word, or the program to run."""
    if evaluate == "command" and program is not None:
        from nasplug.studies.evaluation_command import Command

        return Command(program, timeout)
    if program is not None:
        if len(program.split()) == 1:
            check_no_torch_file(program)
        raise InputError(
            f"{program!r} is a program without --evaluate command; add that option, or leave the "
            "program out"
        )
    if timeout is not None:
        raise InputError(
            "--timeout needs --evaluate command; add that option, or leave --timeout out"
        )
    return evaluate
