"""Judge the shipped accuracy predictor by cells it was not trained on, beside two floors.

    python -m experiments.accuracy.accuracy_quality

Writes results/accuracy_quality.json.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from experiments.accuracy.floors import gaussian_process, one_hot, path_features, random_forest
from experiments.common import IMAGE_SETS, Array, accuracies, cells, covered, split, write_result
from nasplug import load_predictor
from nasplug.predictors import Prediction

Rows = NDArray[np.int64]


def ranking(
    scores: dict[str, Array], k: int, held_out: Rows, unseen: Rows
) -> Iterator[dict[str, Any]]:
    """A row a model: Kendall's taus on an image set, also on cells of functions not trained on."""
    validation, test = (table[:, k] for table in accuracies())
    for model, score in scores.items():
        row = {
            "dataset": IMAGE_SETS[k],
            "model": model,
            "tau_test": float(kendalltau(score[held_out], test[held_out])[0]),
            "tau_val": float(kendalltau(score[held_out], validation[held_out])[0]),
            "tau_test_new_functions": float(kendalltau(score[unseen], test[unseen])[0]),
        }
        print(row, flush=True)
        yield row


def intervals(prediction: Prediction, held_out: Rows, k: int) -> dict[str, Any]:
    """Coverage and width on an image set, of all cells and of those predicted best."""
    truth, mean = accuracies()[1][held_out, k], prediction.mean[held_out, k]
    inside = covered(prediction, accuracies()[1][:, k], k)[held_out]
    width = (prediction.upper - prediction.lower)[held_out, k]
    best = np.argsort(-mean)
    row = {
        "dataset": IMAGE_SETS[k],
        "interval": prediction.interval,
        "coverage": float(inside.mean()),
        "coverage_best_500": float(inside[best[:500]].mean()),
        "coverage_best_50": float(inside[best[:50]].mean()),
        "median_width": float(np.median(width)),
        "median_width_best_500": float(np.median(width[best[:500]])),
        "mean_absolute_error": float(np.abs(mean - truth).mean()),
    }
    print(row, flush=True)
    return row


def main() -> None:
    train, held_out = split()
    archs, graphs = cells()
    validation, _ = accuracies()
    predictor = load_predictor("nb201-accuracy")
    prediction = predictor.predict(archs)
    # The normal form of a cell names its function.
    classes = np.array([" ".join(graph.ops) for graph in predictor.graphs(archs)])
    # An equivalent of these cells was in the half that was trained on.
    seen = np.isin(classes, np.unique(classes[train]))
    unseen = held_out[~seen[held_out]]
    features, codes = path_features(graphs), one_hot(graphs)
    rows: list[dict[str, Any]] = []
    for k in range(len(IMAGE_SETS)):
        labels = validation[train, k]
        scores = {
            "nb201-accuracy (shipped)": prediction.mean[:, k],
            "Gaussian process over path features": gaussian_process(features, train, labels),
            "random forest, one-hot": random_forest(codes, train, labels),
            "measured validation accuracy of the same cells": validation[:, k],
        }
        rows += ranking(scores, k, held_out, unseen)
    write_result(
        "accuracy_quality",
        "nb201-accuracy",
        predictor={"name": predictor.name, "sha256": predictor.sha256},
        trained_cells=len(train),
        held_out_cells=len(held_out),
        held_out_new_functions=len(unseen),
        ranking=rows,
        coverage=[intervals(prediction, held_out, k) for k in range(len(IMAGE_SETS))],
    )


if __name__ == "__main__":
    main()
