"""What a predictor of one image set is worth for another one of which few labels are known.

    python -m experiments.accuracy.transfer [--threads 1] [--seeds 0,1,2,3,4]

A source predictor learns the validation accuracies of m random NAS-Bench-201 cells on one image
set; the target predictor learns those of n other random draws on CIFAR-10 and reads what the source
expects of a cell as a feature. All 15,625 cells are ranked. Rows without target labels rank by the
source as it is; rows without a source by nasplug's predictor alone. Writes results/transfer.json;
runs that are there already are not repeated.
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau

from experiments.common import IMAGE_SETS, RESULTS, accuracies, cells, provenance, write_result
from nasplug import create_predictor
from nasplug.predictors.accuracy.transformer_gp import TransformerGP

TARGET = "cifar10"
SOURCES = ("cifar100", "imagenet16-120")
SOURCE_CELLS = (781, 1563)
TARGET_CELLS = (0, 20, 78, 156)
# Draws of the source are independent of those of the target with the same seed.
SOURCE_SEED = 10_000


@cache
def source_predictor(name: str, size: int, seed: int) -> TransformerGP:
    """A predictor of another image set."""
    _, graphs = cells()
    chosen = np.random.default_rng(SOURCE_SEED + seed).permutation(len(graphs))[:size]
    predictor: TransformerGP = create_predictor(
        "accuracy", "nb201", targets=(name,), seed=seed
    ).model
    labels = accuracies()[0][chosen, IMAGE_SETS.index(name), None]
    predictor.fit([graphs[k] for k in chosen], labels, progress=False)
    return predictor


def measure(source: str | None, source_cells: int, target_cells: int, seed: int) -> dict[str, Any]:
    """Learn from the source, then from the target's few labels, and rank all cells."""
    _, graphs = cells()
    validation, test = (table[:, IMAGE_SETS.index(TARGET)] for table in accuracies())
    predictor = None if source is None else source_predictor(source, source_cells, seed)
    if target_cells:
        chosen = np.random.default_rng(seed).permutation(len(graphs))[:target_cells]
        predictor = create_predictor(
            "accuracy", "nb201", targets=(TARGET,), seed=seed, source=predictor
        ).model
        predictor.fit([graphs[k] for k in chosen], validation[chosen, None], progress=False)
    assert predictor is not None
    score = predictor.scores(graphs)[0, :, 0]
    return {
        "source": source,
        "source_cells": source_cells,
        "target_cells": target_cells,
        "seed": seed,
        "tau_validation": float(kendalltau(score, validation)[0]),
        "tau_test": float(kendalltau(score, test)[0]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", default="0,1,2,3,4")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keys = ("source", "source_cells", "target_cells", "seed")
    path = RESULTS / "transfer.json"
    rows: list[dict[str, Any]] = []
    if path.exists():
        rows = json.loads(path.read_text(encoding="utf-8"))["runs"]
    done = {tuple(row[key] for key in keys) for row in rows}
    sources = [(None, 0), *((name, size) for size in SOURCE_CELLS for name in SOURCES)]
    for source, size in sources:
        for seed in map(int, options.seeds.split(",")):
            for n in TARGET_CELLS:
                if (source, size, n, seed) in done or (source is None and not n):
                    continue
                rows.append(measure(source, size, n, seed))
                print(json.dumps(rows[-1]), flush=True)
            write_result(
                "transfer",
                {
                    "target": f"{TARGET}, validation accuracy",
                    "ranked_cells": len(cells()[1]),
                    "runs": rows,
                    "provenance": provenance("nb201-accuracy"),
                },
            )


if __name__ == "__main__":
    main()
