"""How well predictors rank NAS-Bench-101 cells after learning from few of them.

    python -m experiments.nb101.nb101_predictors --source small --models nasplug,path-gp,flops \
        --train-sizes 100,172,424 --seeds 0,1,2,3,4

A model learns the validation accuracies of `default_rng(seed).permutation(cells)[:n]`, chooses
whatever it chooses inside these, and ranks all other cells of the source: Kendall tau-b against
their validation and their test accuracies. Sources: `small` (the cells that EC-NAS's searches
visited, NAS-Bench-101's accuracies after 108 epochs; a file, see --subset), `ecnas-5v` (all cells
of at most five vertices after 4 epochs) and `official` (the benchmark's own file, see --official).
Rows go to results/nb101_predictors.jsonl; each run is done once, and work can be shared and taken
up again as in `predictor_accuracy.py`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from dataclasses import dataclass
from datetime import date
from inspect import signature
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.accuracy.predictor_accuracy import KEYS, Run, finish, limit_threads, stopwatch, tau
from experiments.accuracy.recipes import WITHOUT_CALIBRATION, recipe
from experiments.common import RESULTS, RUNS, ZOO
from experiments.nb101 import nb101_labels
from nasplug import InputError, __version__, create_predictor
from nasplug.predictors import create, names
from nasplug.predictors.checkpoint import load_checkpoint
from nasplug.search_spaces import Graph
from nasplug.search_spaces.nb101.cells import MAX_VERTICES

Array = NDArray[np.float64]

DATASET = "cifar10"
# Totals of the network that stand for its accuracy: the floor under all floors.
COUNTS = ("params", "flops")
CLASSICAL = ("random-forest", "gradient-boosting", "path-gp")
# Graphs that are made and scored at once: the official file has too many to hold.
CHUNK = 20_000
# Training cells of the recipe whose steps of training every budget gets.
STEPS_OF = 156


@dataclass(frozen=True)
class CellRun(Run):
    """One model, trained once on cells of a source, by what its rows are called."""

    source: str = ""


class Count:
    """Ranks graphs by a total, the way round that fits the training cells."""

    parameters = 1

    def __init__(self, name: str) -> None:
        self.name = name
        self.sign = 1.0

    def fit(self, graphs: list[Graph], targets: Array) -> None:
        """Choose the sign."""
        self.sign = 1.0 if (tau(self._totals(graphs), targets[:, 0]) or 0.0) >= 0 else -1.0

    def scores(self, graphs: list[Graph]) -> Array:
        """Shape `(1, graphs, 1)`."""
        return self.sign * self._totals(graphs)[None, :, None]

    def _totals(self, graphs: list[Graph]) -> Array:
        return np.array([graph.total(self.name) for graph in graphs])


def options_of(model: str, train_size: int) -> dict[str, Any]:
    """What a model is called with: as on NAS-Bench-201, in as many steps of training."""
    if model in CLASSICAL:
        # Training cells may all be smaller than others.
        options: dict[str, Any] = {"nodes": MAX_VERTICES}
        # Operations by position alone say nothing of a cell whose edges differ too.
        return options | ({"features": "matrix"} if model == "random-forest" else {})
    if model not in WITHOUT_CALIBRATION:
        return {}
    options = recipe(model, STEPS_OF)
    most = options["epochs"]
    return options | {"epochs": min(most, max(1, round(most * STEPS_OF / train_size)))}


def encoder_of(model: str) -> str | None:
    """Identifies the pretrained weights in the package; with others a run is another run."""
    file = ZOO / "nb101-encoder.safetensors"
    if model != "nasplug" or not file.exists():
        return None
    return str(load_checkpoint(file).card["sha256"])


def build(run: CellRun) -> Any:
    """The model of a run, not yet trained."""
    if run.model in COUNTS:
        return Count(run.model)
    options = {"targets": (DATASET,), "seed": run.seed, **run.options}
    if run.model == "nasplug":
        # Only this way it gets what the package has for the space.
        return create_predictor("accuracy", "nb101", **options).model
    return create(run.model, **options)


def measure(
    run: CellRun, labels: nb101_labels.Labels, folder: Path, threads: int
) -> dict[str, Any]:
    """Train, rank all other cells, compare."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(run.seed).permutation(len(labels))
    chosen, others = order[: run.train_size], order[run.train_size :]
    predictor = build(run)
    extra: dict[str, Any] = {"folder": folder / "state", "progress": False}
    known = signature(predictor.fit).parameters
    extra = {name: value for name, value in extra.items() if name in known}
    graphs = labels.graphs(chosen)
    with stopwatch(folder / "seconds.txt") as seconds:
        predictor.fit(graphs, labels.validation[chosen, None], **extra)
    parts, scored = [], 0.0
    for start in range(0, len(others), CHUNK):
        graphs = labels.graphs(others[start : start + CHUNK])
        started = time.perf_counter()
        if hasattr(predictor, "scores"):
            parts.append(predictor.scores(graphs).mean(0)[:, 0])
        else:
            parts.append(predictor.predict(graphs).mean[:, 0])
        scored += time.perf_counter() - started
    score = np.concatenate(parts)
    return {
        "model": run.model,
        "dataset": run.dataset,
        "train_size": run.train_size,
        "seed": run.seed,
        "tau_val": tau(score, labels.validation[others]),
        "tau_test": tau(score, labels.test[others]),
        "fit_seconds": round(sum(seconds), 3),
        "cells_per_second": round(len(others) / scored, 1),
        "parameters": getattr(predictor, "parameters", None),
        "source": run.source,
        "options": run.options,
        "encoder": run.encoder,
        "version": __version__,
        "threads": threads,
        "date": date.today().isoformat(),
    }


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", default="small", choices=list(nb101_labels.LABELS))
    parser.add_argument("--models", default="nasplug", help="names, joined by commas")
    parser.add_argument("--train-sizes", default="100", help="cells, joined by commas")
    parser.add_argument("--seeds", default="0", help="numbers, joined by commas")
    parser.add_argument("--subset", type=Path, help="the file of source small")
    parser.add_argument("--official", type=Path, help="nasbench_only108.tfrecord or _full")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS / "nb101_predictors.jsonl")
    parser.add_argument("--runs", type=Path, default=RUNS, help="claims and training states")
    options = parser.parse_args(arguments)
    options.models = options.models.split(",")
    known = [*names(), *COUNTS]
    for model in options.models:
        if model not in known:
            parser.error(f"unknown model {model!r}; there are {', '.join(known)}")
    try:
        options.train_sizes = [int(size) for size in options.train_sizes.split(",")]
        options.seeds = [int(seed) for seed in options.seeds.split(",")]
    except ValueError:
        parser.error("--train-sizes and --seeds are whole numbers, joined by commas")
    if min(options.train_sizes) < 1 or min(options.seeds) < 0 or options.threads < 1:
        parser.error("train sizes and threads must be at least 1, and seeds not negative")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    limit_threads(options.threads)
    # A run that is ended from outside notes its seconds too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        labels = nb101_labels.labels_of(options.source, options.subset, options.official)
    except InputError as error:
        sys.exit(str(error))
    if max(options.train_sizes) > len(labels) - 2:
        sys.exit(
            f"{labels.name} has {len(labels):,} cells, and some have to be left to be ranked; "
            f"{max(options.train_sizes)} training cells are too many"
        )
    waiting = [
        CellRun(model, DATASET, size, seed, options_of(model, size), encoder_of(model), labels.name)
        for size, seed, model in product(options.train_sizes, options.seeds, options.models)
    ]

    def measured(run: Any, folder: Path, threads: int) -> dict[str, Any]:
        return measure(run, labels, folder, threads)

    # First what is free; then what other processes are at, when they are done with it.
    for wait in (False, True):
        others = []
        for run in waiting:
            try:
                row = finish(
                    run,
                    options.results,
                    options.runs,
                    options.threads,
                    wait=wait,
                    measure=measured,
                )
            except InputError as error:
                sys.exit(f"{run.model}: {error}")
            if row is None:
                others.append(run)
            else:
                print(json.dumps({key: row[key] for key in (*KEYS, "source")}), flush=True)
        waiting = others


if __name__ == "__main__":
    main()
