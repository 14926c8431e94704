"""Fit the shipped NAS-Bench-101 accuracy predictor to all labels at hand, and tell its worth.

The process learns from validation accuracies only; its answers are mapped to the test accuracies of
the same cells, which cannot change a ranking.

    python -m experiments.zoo.train_nb101_accuracy [--subset nb101_real_subset.csv.gz]

Writes nasplug/zoo/nb101-accuracy.{safetensors,json} and results/nb101_accuracy.json: how well cells
are told that are left out at random, or because they are large.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments import RESULTS
from experiments.accuracy.predictor_accuracy import tau
from experiments.campaign import Options, read_json
from experiments.common import ZOO, covered, provenance, write_result
from experiments.nb101 import nb101_labels
from experiments.nb101.nb101_labels import Labels
from nasplug import load_predictor
from nasplug.predicting.zoo import ArchitecturePredictor
from nasplug.predictors.accuracy.array_gp import CellGP, cell_gp
from nasplug.search_spaces import space
from nasplug.search_spaces.nb101.cells import MAX_VERTICES
from nasplug.search_spaces.nb101.space import NB101

Rows = NDArray[np.int64]

TARGETS = ("cifar10",)
# Cells that are left out at random, and how often.
SHARE, SEEDS = 0.2, (0, 1, 2, 3, 4)
# All cells of at least so many vertices are left out.
LARGE = (5, 6)
DESCRIPTION = (
    "CIFAR-10 test accuracy (%) of NAS-Bench-101 cells after 108 epochs, learned from 1,713 cells "
    "of which 1,537 have at most five vertices; a cell of six or seven is far from what was learned"
)
BIAS = (
    "No uniform sample of the 423,624 cells: all 91 of at most four vertices, 1,446 of the 2,441 "
    "of five, 174 of six and 2 of seven vertices, which multi-objective evolution and random "
    "search in the small-cell corner visited. Accuracies are NAS-Bench-101's own means of three "
    "trainings of 108 epochs. The best cell among them has 93.93 % test accuracy, the best of "
    "NAS-Bench-101 94.32 %."
)


def learned(labels: Labels, rows: Rows) -> CellGP:
    """A predictor that knows some cells."""
    predictor = cell_gp(targets=TARGETS, places=MAX_VERTICES)
    predictor.fit(
        labels.graphs(rows), labels.validation[rows], calibration_targets=labels.test[rows]
    )
    return predictor


def quality(labels: Labels, known: Rows, asked: Rows) -> dict[str, Any]:
    """Judge a predictor of some cells by others.

    `fixed` are intervals of one width, that of errors at cells left out at random (split
    conformal); the others are the predictor's own, wider where it knows less.
    """
    predictor = learned(labels, known)
    graphs, truth = labels.graphs(asked), labels.test[asked]
    predicted = predictor.predict(graphs)
    order = np.random.default_rng(0).permutation(known)
    inner_known, inner_asked = order[: len(order) * 4 // 5], order[len(order) * 4 // 5 :]
    inner = learned(labels, inner_known).predict(labels.graphs(inner_asked)).mean[:, 0]
    reach = float(np.quantile(np.abs(labels.test[inner_asked] - inner), 0.9))
    mean = predicted.mean[:, 0]
    inside = covered(predicted, truth)
    width = predicted.upper - predicted.lower
    best = np.argsort(-mean)[: max(20, len(mean) // 10)]
    return {
        "known": len(known),
        "asked": len(asked),
        "tau_val": tau(mean, labels.validation[asked]),
        "tau_test": tau(mean, truth),
        "mean_absolute_error": round(float(np.abs(mean - truth).mean()), 4),
        "coverage_fixed": round(float((np.abs(mean - truth) <= reach).mean()), 4),
        "width_fixed": round(2 * reach, 4),
        "coverage": round(float(inside.mean()), 4),
        "median_width": round(float(np.median(width)), 4),
        "coverage_fixed_best": round(float((np.abs(mean - truth) <= reach)[best].mean()), 4),
        "coverage_best": round(float(inside[best].mean()), 4),
        "median_width_best": round(float(np.median(width[best])), 4),
        "familiar": round(float(predictor.familiar(graphs).mean()), 4),
    }


def left_out(labels: Labels) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The worth of predictors for cells left out at random, and for large cells left out."""
    at_random = []
    for seed in SEEDS:
        order = np.random.default_rng(seed).permutation(len(labels))
        cut = round(len(order) * SHARE)
        at_random.append({"seed": seed, **quality(labels, order[cut:], order[:cut])})
    large = []
    for size in LARGE:
        small = labels.vertices < size
        rows = np.flatnonzero(small), np.flatnonzero(~small)
        large.append({"vertices": size, **quality(labels, *rows)})
    return at_random, large


def whole_space(predictor: ArchitecturePredictor, threads: int) -> dict[str, Any]:
    """Predict all cells: means by their number of vertices, and the time."""
    nb101 = space("nb101")
    assert isinstance(nb101, NB101)
    codes = nb101.codes
    # Other work slows a shared machine, so that the processor's own time is kept too.
    started, busy = time.perf_counter(), time.process_time()
    predicted = predictor.predict_codes(codes)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    familiar, nodes = predictor.familiar_codes(codes), nb101.arrays(codes).nodes
    assert predicted is not None
    assert familiar is not None
    rows, width = [], predicted.upper - predicted.lower
    for size in range(2, MAX_VERTICES + 1):
        is_size = nodes == size
        rows.append(
            {
                "vertices": size,
                "cells": int(is_size.sum()),
                "mean": round(float(predicted.mean[is_size].mean()), 3),
                "best": round(float(predicted.mean[is_size].max()), 3),
                "median_width": round(float(np.median(width[is_size])), 3),
                "familiar": round(float(familiar[is_size].mean()), 4),
            }
        )
    return {
        "cells": len(codes),
        "seconds": round(seconds, 2),
        "processor_seconds": round(busy, 2),
        "threads": threads,
        "mean": round(float(predicted.mean.mean()), 3),
        "by_vertices": rows,
    }


def main() -> None:
    parser = Options(__doc__, threads=2)
    parser.add_argument("--subset", type=Path)
    parser.add_argument("--out", default=str(ZOO / "nb101-accuracy"))
    parser.add_argument(
        "--only-all-cells", action="store_true", help="score them with what is there"
    )
    options = parser.parse_args()
    if options.only_all_cells:
        shipped = load_predictor(f"{options.out}.json")
        path = RESULTS / "nb101_accuracy.json"
        scored = {"all_cells": whole_space(shipped, options.threads)}
        write_result(path, **(read_json(path) | scored))
        return
    labels = nb101_labels.small_subset(options.subset)
    every = np.arange(len(labels))
    sources = {
        **provenance("ecnas-5v"),
        "labels": {nb101_labels.SUBSET_FILE: nb101_labels.SUBSET_SHA256},
    }
    at_random, large = left_out(labels)
    started = time.perf_counter()
    predictor = learned(labels, every)
    seconds = time.perf_counter() - started
    predictor.save(
        options.out,
        {
            "name": "nb101-accuracy",
            "space": "nb101",
            "description": DESCRIPTION,
            "training": {
                "cells": len(labels),
                "source": labels.name,
                "epochs": 108,
                "vertices": {
                    str(size): int((labels.vertices == size).sum())
                    for size in range(2, MAX_VERTICES + 1)
                },
                "bias": BIAS,
                "labels": "validation accuracy, mean of three trainings; test accuracy only in "
                "the map from ranks to percent and in the intervals",
                "seconds": round(seconds),
            },
            "quality": {"left_out_at_random": at_random, "large_cells_left_out": large},
            "provenance": sources,
        },
    )
    write_result(
        "nb101_accuracy",
        source=labels.name,
        at_random=at_random,
        large=large,
        all_cells=whole_space(load_predictor(f"{options.out}.json"), options.threads),
        provenance=sources,
    )


if __name__ == "__main__":
    main()
