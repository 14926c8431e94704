"""Rank NAS-Bench-201 by predictors that learn from few cells.

    python -m experiments.accuracy.predictor_accuracy --models nasplug,nnformer \
        --train-sizes 156,781 --seeds 0,1,2 --dataset cifar10 --json

A model learns the validation accuracies of `default_rng(seed).permutation(15625)[:n]`, chooses
whatever it chooses inside these, and ranks all 15,625 cells, the training cells among them: Kendall
tau-b against validation and test accuracies. One line of JSON a run on stdout. Each finished run is
added to results/predictor_accuracy.jsonl and not repeated without --fresh; several processes may
share the work. Ctrl-C loses the run at hand, and of a long training only the part since its last
saved state.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from inspect import signature
from itertools import product
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from scipy.stats import kendalltau

from experiments import RESULTS
from experiments.accuracy.recipes import LONGER, recipe
from experiments.campaign import Options, numbers
from experiments.common import CELLS, IMAGE_SETS, RUNS, ZOO, Array, accuracies, cells
from experiments.shared_campaign import SharedCampaign, SharedRun, stopwatch
from nasplug import __version__, create_predictor
from nasplug.predictors import Predictor, create, names
from nasplug.predictors.checkpoint import load_checkpoint
from nasplug.search_spaces import Graph

KEYS = (
    *("model", "dataset", "train_size", "seed", "tau_val", "tau_test"),
    *("fit_seconds", "cells_per_second", "parameters"),
)


@dataclass(frozen=True)
class Run(SharedRun):
    """A model, trained once; `encoder` is the SHA-256 of its pretrained weights, if it has any."""

    dataset: str
    train_size: int
    seed: int
    options: dict[str, Any] = field(default_factory=dict)
    encoder: str | None = None

    @property
    def title(self) -> str:
        """Name of the run for messages and folders."""
        return f"{self.model}, {self.dataset}, {self.train_size} cells, seed {self.seed}"


def encoder_of(model: str) -> str | None:
    """Identifies the pretrained weights in the package; with others a run is another run."""
    file = ZOO / "nb201-encoder.safetensors"
    if model != "nasplug" or not file.exists():
        return None
    return str(load_checkpoint(file).card["sha256"])


def build(run: Run, space: str = "nb201") -> Predictor:
    """The model of a run, not yet trained."""
    options = {"targets": (run.dataset,), "seed": run.seed, **run.options}
    if run.model == "nasplug":
        # Only this way it gets the encoder that the package has for the space.
        made: Predictor = create_predictor("accuracy", space, **options).model
        return made
    return create(run.model, **options)


def fitted_seconds(predictor: Any, graphs: Sequence[Graph], targets: Array, folder: Path) -> float:
    """Train a model, and go on from its state in the folder; the seconds of all tries."""
    extra: dict[str, Any] = {"folder": folder / "state", "progress": False}
    accepted = signature(predictor.fit).parameters
    with stopwatch(folder / "seconds.txt") as seconds:
        predictor.fit(graphs, targets, **{name: v for name, v in extra.items() if name in accepted})
    return round(sum(seconds), 3)


@runtime_checkable
class Scores(Protocol):
    """Ranks graphs by scores of its members, before any calibration."""

    def scores(self, graphs: Sequence[Graph]) -> Array:
        """Shape `(members, graphs, targets)`."""


@runtime_checkable
class Sized(Protocol):
    """Counts what it has learned."""

    parameters: int | None


def scores_of(predictor: Any, graphs: Sequence[Graph]) -> Array:
    """Scores by which a model ranks graphs, shape `(graphs,)`."""
    if isinstance(predictor, Scores):
        return np.asarray(predictor.scores(graphs).mean(0)[:, 0])
    return np.asarray(predictor.predict(graphs).mean[:, 0])


def row_of(
    run: Run,
    predictor: Any,
    fit_seconds: float,
    score: Array,
    score_seconds: float,
    truths: tuple[Array, Array],
    threads: int,
) -> dict[str, Any]:
    """The row of a run; `truths` are validation and test accuracies of the scored cells."""
    row = asdict(run) | {
        "tau_val": tau(score, truths[0]),
        "tau_test": tau(score, truths[1]),
        "fit_seconds": fit_seconds,
        "cells_per_second": round(len(score) / score_seconds, 1),
        "parameters": predictor.parameters if isinstance(predictor, Sized) else None,
        "version": __version__,
        "threads": threads,
        "date": date.today().isoformat(),
    }
    return {key: row.pop(key) for key in KEYS} | row


def measure(run: Run, folder: Path, threads: int) -> dict[str, Any]:
    """Train, rank all cells, compare."""
    _, graphs = cells()
    column = IMAGE_SETS.index(run.dataset)
    validation, test = (table[:, column] for table in accuracies())
    chosen = np.random.default_rng(run.seed).permutation(CELLS)[: run.train_size]
    predictor: Any = build(run)
    seconds = fitted_seconds(
        predictor, [graphs[i] for i in chosen], validation[chosen, None], folder
    )
    started = time.perf_counter()
    score = scores_of(predictor, graphs)
    scored = time.perf_counter() - started
    return row_of(run, predictor, seconds, score, scored, (validation, test), threads)


def tau(score: Any, truth: Any) -> float | None:
    """Kendall's tau-b; None if all scores are equal."""
    value = float(kendalltau(score, truth)[0])
    return round(value, 6) if np.isfinite(value) else None


def label_options(doc: str | None, sizes: str, results: str) -> Options:
    """The options of scripts that learn from few labels."""
    parser = Options(doc, seeds="0", fresh=True)
    parser.add_argument("--models", default="nasplug", help="names, joined by commas")
    parser.add_argument("--train-sizes", type=numbers, default=sizes, help="cells, as the seeds")
    parser.add_argument("--results", type=Path, default=RESULTS / results)
    parser.add_argument("--runs", type=Path, default=RUNS, help="claims and training states")
    return parser


def parse_models(parser: Options, arguments: list[str] | None, known: Sequence[str]) -> Namespace:
    """Parse the options of `label_options`, and end by a sentence if there is no such model."""
    options = parser.parse_args(arguments)
    options.models = options.models.split(",")
    for model in options.models:
        if model not in known:
            parser.error(f"unknown model {model!r}; there are {', '.join(known)}")
    if min(options.train_sizes) < 1:
        parser.error("--train-sizes must be at least 1")
    return options


def run_all(
    options: Namespace,
    runs: Sequence[Run],
    measure: Callable[[Any, Path, int], dict[str, Any]],
    keys: Sequence[str] = KEYS,
) -> None:
    """Do runs, which other processes may share, and print some fields of each."""
    # A run that is ended from outside notes its seconds too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    campaign = SharedCampaign(
        options.results,
        options.runs / "predictor-accuracy",
        lambda run, folder: measure(run, folder, options.threads),
        options.fresh,
    )
    for row in campaign.finish_all(runs):
        print(json.dumps({key: row[key] for key in keys}), flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = label_options(__doc__, "156", "predictor_accuracy.jsonl")
    parser.add_argument("--dataset", default="cifar10", choices=[*IMAGE_SETS, "all"])
    parser.add_argument("--longer", action="store_true", help="more steps, for those in LONGER")
    parser.add_argument("--json", action="store_true", help="lines of JSON, as without it")
    options = parse_models(parser, arguments, names())
    for model in options.models:
        if options.longer and model not in LONGER:
            parser.error(f"--longer is for {', '.join(LONGER)}, not for {model}")
    if max(options.train_sizes) > CELLS:
        parser.error(f"--train-sizes must lie between 1 and {CELLS}")
    datasets = IMAGE_SETS if options.dataset == "all" else (options.dataset,)
    runs = [
        Run(model, dataset, size, seed, recipe(model, size, options.longer), encoder_of(model))
        for size, seed, dataset, model in product(
            options.train_sizes, options.seeds, datasets, options.models
        )
    ]
    run_all(options, runs, measure)


if __name__ == "__main__":
    main()
