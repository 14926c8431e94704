"""Use a predictor of one image set for another one of which few labels are known.

    python -m experiments.accuracy.transfer [--threads 1] [--seeds 0,1,2,3,4] [--fresh]

A source predictor learns the validation accuracies of m random NAS-Bench-201 cells on one image
set; the target predictor learns those of n other random draws on CIFAR-10 and reads what the source
expects of a cell as a feature. All 15,625 cells are ranked. Rows without target labels rank by the
source as it is; rows without a source by nasplug's predictor alone. Writes results/transfer.json;
runs that are there already are not repeated.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np

from experiments.campaign import Campaign, Options
from experiments.common import CELLS, IMAGE_SETS, accuracies, cells, ranks
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
    validation = accuracies()[0][:, IMAGE_SETS.index(TARGET)]
    predictor = None if source is None else source_predictor(source, source_cells, seed)
    if target_cells:
        chosen = np.random.default_rng(seed).permutation(len(graphs))[:target_cells]
        predictor = create_predictor(
            "accuracy", "nb201", targets=(TARGET,), seed=seed, source=predictor
        ).model
        predictor.fit([graphs[k] for k in chosen], validation[chosen, None], progress=False)
    assert predictor is not None
    score = predictor.scores(graphs)[0, :, 0]
    return ranks(score, IMAGE_SETS.index(TARGET))


def main() -> None:
    parser = Options(__doc__, seeds="0,1,2,3,4", fresh=True)
    options = parser.parse_args()
    campaign = Campaign(
        "transfer",
        ("source", "source_cells", "target_cells", "seed"),
        ["nb201-accuracy"],
        fresh=options.fresh,
        target=f"{TARGET}, validation accuracy",
        ranked_cells=CELLS,
    )
    sources = [(None, 0), *((name, size) for size in SOURCE_CELLS for name in SOURCES)]
    # Without a source there must be labels of the target.
    runs = [
        (source, size, n, seed)
        for (source, size), n, seed in product(sources, TARGET_CELLS, options.seeds)
        if source or n
    ]
    campaign.complete(runs, measure)


if __name__ == "__main__":
    main()
