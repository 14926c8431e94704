"""Compare variants of the LeDG-Former-style predictor on NAS-Bench-201, CIFAR-10.

    python -m experiments.accuracy.ledg_ablation [--threads 1] [--seeds 3] [--fresh]

A small model learns from n random cells (validation accuracies turned into normal scores) for a
fixed number of epochs, and ranks all 15,625 cells, the training cells among them. Nothing is chosen
on a test label. Writes results/ledg_ablation.json; runs that are there already are not repeated.
"""

from __future__ import annotations

import time
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from experiments.campaign import Campaign, Options
from experiments.common import CELLS, Array, accuracies, cells, ranks
from nasplug.predictors.features.nodes import vocabulary_of
from nasplug.predictors.models.ledgformer import LanguageBatch, LeDGFormer, LeDGFormerConfig
from nasplug.predictors.training.ensemble import unique_graphs
from nasplug.search_spaces import Graph

EPOCHS = {156: 200, 781: 60}
BATCH_SIZE = 64
LEARNING_RATE, WEIGHT_DECAY, RANK_WEIGHT = 2e-3, 0.05, 0.2
SIZES: dict[str, Any] = {"dim": 64, "num_layers": 3, "dropout": 0.1}

# Name -> what differs from text and numbers with the dynamic mode `bias`.
VARIANTS: dict[str, dict[str, Any]] = {
    "static": {"dynamic": "static"},
    "gate": {"dynamic": "gate"},
    "mixture": {"dynamic": "mixture"},
    "bias": {"dynamic": "bias"},
    "sparse": {"dynamic": "sparse"},
    "text": {"numbers": False},
    "learned": {"text": False, "learned": True, "numbers": False},
    "text + learned": {"learned": True, "numbers": False},
    "numbers": {"text": False},
    "learned + numbers": {"text": False, "learned": True},
    "static, no sibling heads": {"dynamic": "static", "sibling_heads": False},
}


def fit(
    model: LeDGFormer, batch: LanguageBatch, rows: NDArray[np.int64], target: Array, n: int
) -> None:
    """Squared error and pairwise rank term, AdamW with a one-cycle schedule."""
    goal = torch.tensor(norm.ppf((rankdata(target) - 0.5) / n), dtype=torch.float32)
    steps = -(-n // BATCH_SIZE)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": WEIGHT_DECAY},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=LEARNING_RATE,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=EPOCHS[n] * steps, pct_start=0.1
    )
    model.train()
    for _ in range(EPOCHS[n]):
        for part in torch.randperm(n).tensor_split(steps):
            wanted = goal[part]
            predicted = model(batch.select(rows[part.numpy()].tolist()))[:, 0]
            other = torch.randperm(len(part))
            gap = (predicted - predicted[other]) - (wanted - wanted[other])
            loss = (predicted - wanted).square().mean() + RANK_WEIGHT * gap.abs().mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()


@cache
def distinct_cells() -> tuple[list[Graph], NDArray[np.int64]]:
    """Simplified graphs, which all variants read, and the one of each cell."""
    _, graphs = cells()
    return unique_graphs(LeDGFormer(LeDGFormerConfig((), ("cifar10",))).prepare(graphs))


def measure(variant: str, n: int, seed: int) -> dict[str, Any]:
    """Train one model and rank all cells."""
    (distinct, place), truth = distinct_cells(), accuracies()[0][:, 0]
    chosen = np.random.default_rng(seed).permutation(len(place))[:n]
    torch.manual_seed(seed)
    vocabulary = vocabulary_of(distinct)
    config = LeDGFormerConfig(vocabulary, ("cifar10",), **SIZES, **VARIANTS[variant])
    model = LeDGFormer(config, "torch")
    batch = model.collate(distinct)
    started = time.perf_counter()
    fit(model, batch, place[chosen], truth[chosen], n)
    seconds = time.perf_counter() - started
    with torch.inference_mode():
        parts = torch.arange(len(distinct)).split(1024)
        scores = torch.cat([model(batch.select(part.tolist()))[:, 0] for part in parts])
    score = scores.numpy()[place]
    return {**ranks(score), "training_seconds": seconds}


def main() -> None:
    parser = Options(__doc__, fresh=True)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    campaign = Campaign(
        "ledg_ablation",
        ("variant", "n", "seed"),
        ["nb201-accuracy"],
        fresh=options.fresh,
        space="nb201",
        ranked_cells=CELLS,
        cells="numpy default_rng(seed).permutation(15625)[:n]",
        training={
            "epochs": EPOCHS,
            "batch_size": BATCH_SIZE,
            "learning_rate": LEARNING_RATE,
            "weight_decay": WEIGHT_DECAY,
            "rank_weight": RANK_WEIGHT,
        },
        model=SIZES,
        variants=VARIANTS,
    )
    campaign.complete(product(VARIANTS, EPOCHS, range(options.seeds)), measure)


if __name__ == "__main__":
    main()
