"""Rank NAS-Bench-101 cells by predictors that learn from few of them.

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

import sys
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from experiments.accuracy.predictor_accuracy import (
    KEYS,
    Run,
    build,
    encoder_of,
    fitted_seconds,
    label_options,
    parse_models,
    row_of,
    run_all,
    scores_of,
    tau,
)
from experiments.accuracy.recipes import WITHOUT_CALIBRATION, recipe
from experiments.common import Array
from experiments.nb101 import nb101_labels
from nasplug import InputError
from nasplug.predictors import names
from nasplug.search_spaces import Graph
from nasplug.search_spaces.nb101.cells import MAX_VERTICES

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
    """A model, trained once on cells of a source of labels."""

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
    """Options of a model: as on NAS-Bench-201, for as many steps of training."""
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


def measure(
    run: CellRun, labels: nb101_labels.Labels, folder: Path, threads: int
) -> dict[str, Any]:
    """Train, rank all other cells, compare."""
    order = np.random.default_rng(run.seed).permutation(len(labels))
    chosen, others = order[: run.train_size], order[run.train_size :]
    predictor: Any = Count(run.model) if run.model in COUNTS else build(run, "nb101")
    targets = labels.validation[chosen, None]
    seconds = fitted_seconds(predictor, labels.graphs(chosen), targets, folder)
    parts, scored = [], 0.0
    for start in range(0, len(others), CHUNK):
        graphs = labels.graphs(others[start : start + CHUNK])
        started = time.perf_counter()
        parts.append(scores_of(predictor, graphs))
        scored += time.perf_counter() - started
    score = np.concatenate(parts)
    truths = labels.validation[others], labels.test[others]
    return row_of(run, predictor, seconds, score, scored, truths, threads)


def main(arguments: list[str] | None = None) -> None:
    parser = label_options(__doc__, "100", "nb101_predictors.jsonl")
    parser.add_argument("--source", default="small", choices=list(nb101_labels.LABELS))
    parser.add_argument("--subset", type=Path, help="the file of source small")
    parser.add_argument("--official", type=Path, help="nasbench_only108.tfrecord or _full")
    options = parse_models(parser, arguments, [*names(), *COUNTS])
    try:
        labels = nb101_labels.labels_of(options.source, options.subset, options.official)
    except InputError as error:
        sys.exit(str(error))
    if max(options.train_sizes) > len(labels) - 2:
        sys.exit(
            f"{labels.name} has {len(labels):,} cells, and some have to be left to be ranked; "
            f"{max(options.train_sizes)} training cells are too many"
        )
    runs = [
        CellRun(model, DATASET, size, seed, options_of(model, size), encoder_of(model), labels.name)
        for size, seed, model in product(options.train_sizes, options.seeds, options.models)
    ]

    def measured(run: CellRun, folder: Path, threads: int) -> dict[str, Any]:
        return measure(run, labels, folder, threads)

    run_all(options, runs, measured, (*KEYS, "source"))


if __name__ == "__main__":
    main()
