"""How well the shipped accuracy predictor does on cells it was not trained on, beside two floors.

    python -m experiments.accuracy.accuracy_quality

Writes results/accuracy_quality.json.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import kendalltau

from experiments.accuracy.floors import gaussian_process, one_hot, path_features, random_forest
from experiments.common import IMAGE_SETS, accuracies, cells, provenance, split, write_result
from nasplug import load_predictor


def main() -> None:
    train, held_out = split()
    archs, graphs = cells()
    validation, test = accuracies()
    predictor = load_predictor("nb201-accuracy")
    prediction = predictor.predict(archs)
    # The normal form of a cell names its function.
    classes = np.array([" ".join(graph.ops) for graph in predictor.graphs(archs)])
    # An equivalent of these cells was in the half that was trained on.
    seen = np.isin(classes, np.unique(classes[train]))
    unseen = held_out[~seen[held_out]]
    features, codes = path_features(graphs), one_hot(graphs)
    rows = []
    for k, name in enumerate(IMAGE_SETS):
        scores = {
            "nb201-accuracy (shipped)": prediction.mean[:, k],
            "Gaussian process over path features": gaussian_process(
                features, train, validation[train, k]
            ),
            "random forest, one-hot": random_forest(codes, train, validation[train, k]),
            "measured validation accuracy of the same cells": validation[:, k],
        }
        for model, score in scores.items():
            rows.append(
                {
                    "dataset": name,
                    "model": model,
                    "tau_test": float(kendalltau(score[held_out], test[held_out, k])[0]),
                    "tau_val": float(kendalltau(score[held_out], validation[held_out, k])[0]),
                    "tau_test_new_functions": float(kendalltau(score[unseen], test[unseen, k])[0]),
                }
            )
            print(rows[-1], flush=True)
    coverage = []
    for k, name in enumerate(IMAGE_SETS):
        lower, upper = prediction.lower[held_out, k], prediction.upper[held_out, k]
        truth = test[held_out, k]
        best = np.argsort(-prediction.mean[held_out, k])
        inside = (truth >= lower) & (truth <= upper)
        coverage.append(
            {
                "dataset": name,
                "interval": prediction.interval,
                "coverage": float(inside.mean()),
                "coverage_best_500": float(inside[best[:500]].mean()),
                "coverage_best_50": float(inside[best[:50]].mean()),
                "median_width": float(np.median(upper - lower)),
                "median_width_best_500": float(np.median((upper - lower)[best[:500]])),
                "mean_absolute_error": float(np.abs(prediction.mean[held_out, k] - truth).mean()),
            }
        )
        print(coverage[-1], flush=True)
    write_result(
        "accuracy_quality",
        {
            "predictor": {"name": predictor.name, "sha256": predictor.sha256},
            "trained_cells": len(train),
            "held_out_cells": len(held_out),
            "held_out_new_functions": len(unseen),
            "ranking": rows,
            "coverage": coverage,
            "provenance": provenance("nb201-accuracy"),
        },
    )


if __name__ == "__main__":
    main()
