"""Cells that are equal as functions of their weights, and how alike they are predicted.

    python -m experiments.reliability.equal_cells

"graphs as drawn" is the shipped predictor on the graph of each cell; "one graph a function" is what
`load_predictor` and `create_predictor` give: the same on the normal form of each cell. Writes
results/equal_cells.json.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import kendalltau

from experiments.common import IMAGE_SETS, Array, accuracies, cells, split, write_result
from nasplug import create_predictor, load_predictor
from nasplug.search_spaces import Graph, space
from nasplug.search_spaces.nb101.space import NB101
from nasplug.search_spaces.simplify import simplify

DRAWN, NORMAL = "graphs as drawn", "one graph a function"
TRAIN_SIZES, SEEDS = (78, 156, 469), range(3)
# Differences below this, in points, are those of rounding in the networks.
ROUNDING = 1e-4


def spread(values: Array, classes: NDArray[np.intp]) -> Array:
    """Difference between the largest and the smallest value of each class, `(classes, columns)`."""
    groups = pd.DataFrame(values).groupby(classes)
    return np.asarray(groups.max() - groups.min())


def quality(mean: Array, test: Array, held_out: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Order and error on cells that were not trained on."""
    return [
        {
            "dataset": name,
            "tau_test": float(kendalltau(mean[held_out, k], test[held_out, k])[0]),
            "mean_absolute_error": float(np.abs(mean - test)[held_out, k].mean()),
        }
        for k, name in enumerate(IMAGE_SETS)
    ]


def few_labels(graphs: list[Graph]) -> list[dict[str, Any]]:
    """Kendall's tau over all cells after a few labels of CIFAR-10, by what is learned from."""
    validation, test = (table[:, 0] for table in accuracies())
    rows = []
    for size in TRAIN_SIZES:
        for seed in SEEDS:
            chosen = np.random.default_rng(seed).permutation(len(graphs))[:size]
            known = [graphs[k] for k in chosen]
            made = create_predictor("accuracy", "nb201", targets=("cifar10",), seed=seed)
            for name, predictor in ((DRAWN, made.model), (NORMAL, made)):
                predictor.fit(known, validation[chosen, None])
                score = predictor.predict(graphs).mean[:, 0]
                row = {"train_size": size, "seed": seed, "read": name}
                row |= {"tau_val": float(kendalltau(score, validation)[0])}
                rows.append(row | {"tau_test": float(kendalltau(score, test)[0])})
                print(rows[-1], flush=True)
    return rows


def nb101() -> dict[str, Any]:
    """Count cells with another normal form, and compare predictions of both."""
    where = space("nb101")
    assert isinstance(where, NB101)
    normal = where.normal_codes(where.codes)
    changed = normal != where.codes
    model = load_predictor("nb101-accuracy").model
    drawn, other = (
        model.predict_arrays(where.arrays(codes[changed])).mean for codes in (where.codes, normal)
    )
    gap = np.abs(drawn - other)
    return {
        "cells": len(normal),
        "functions": len(np.unique(normal)),
        "cells_with_another_normal_form": int(changed.sum()),
        "largest_difference_as_drawn": float(gap.max()),
        "median_difference_as_drawn": float(np.median(gap)),
    }


def main() -> None:
    train, held_out = split()
    archs, graphs = cells()
    _, test = accuracies()
    predictor = load_predictor("nb201-accuracy")
    normal = predictor.graphs(archs)
    classes = np.unique([" ".join(graph.ops) for graph in normal], return_inverse=True)[1]
    mean = {DRAWN: predictor.model.predict(graphs).mean, NORMAL: predictor.predict(archs).mean}
    changed = (np.abs(mean[DRAWN] - mean[NORMAL]) > ROUNDING).any(1)
    rows = []
    for name, values in mean.items():
        apart = spread(values, classes)
        rows.append(
            {
                "read": name,
                "largest_difference": dict(zip(IMAGE_SETS, apart.max(0).tolist(), strict=True)),
                "classes_apart": int((apart > ROUNDING).any(1).sum()),
                "held_out": quality(values, test, held_out),
                "held_out_changed": quality(values, test, held_out[changed[held_out]]),
            }
        )
        print(rows[-1], flush=True)
    write_result(
        "equal_cells",
        "nb201-accuracy",
        predictor={"name": predictor.name, "sha256": predictor.sha256},
        cells=len(archs),
        ids=len({arch.arch_id for arch in archs}),
        simplified_graphs=len({simplify(graph).canonical_hash for graph in graphs}),
        functions=int(classes.max() + 1),
        trained_cells=len(train),
        held_out_cells=len(held_out),
        changed_cells=int(changed.sum()),
        rounding=ROUNDING,
        rows=rows,
        few_labels=few_labels(graphs),
        nb101=nb101(),
    )


if __name__ == "__main__":
    main()
