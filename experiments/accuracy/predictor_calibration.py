"""Coverage and likelihood of predictors on cells that they have not seen.

    python -m experiments.accuracy.predictor_calibration [--seeds 0,1,2] [--train-sizes 156,781]
        [--fresh]

Each model learns validation accuracies of random cells, as in predictor_accuracy.py, and keeps from
that budget what it needs for its intervals. Writes results/predictor_calibration.json; runs that
are there already are not repeated.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from experiments.accuracy.predictor_accuracy import Run, build
from experiments.campaign import Campaign, Options, numbers
from experiments.common import accuracies, cells

LEVELS = (0.5, 0.8, 0.9)
MODELS: dict[str, dict[str, Any]] = {
    "nasplug": {},
    "path-gp": {},
    # A deep ensemble: its intervals come from cells that are kept aside.
    "transformer-ensemble": {"members": 3, "epochs": 150, "batch_size": 32, "patience": 150},
}


def measure(model: str, size: int, seed: int) -> dict[str, Any]:
    _, graphs = cells()
    truth = accuracies()[0][:, 0]
    order = np.random.default_rng(seed).permutation(len(graphs))
    train, others = order[:size], order[size:]
    predictor: Any = build(Run(model, "cifar10", size, seed, MODELS[model]))
    predictor.fit([graphs[i] for i in train], truth[train, None])
    predicted = predictor.predict([graphs[i] for i in others])
    seen = truth[others]
    mean, std = predicted.mean[:, 0], predicted.std[:, 0]
    row: dict[str, Any] = {}
    for level in LEVELS:
        bounds = (1 - level) / 2, (1 + level) / 2
        low, high = (predicted.quantile(bound)[:, 0] for bound in bounds)
        row[f"coverage_{level:.0%}"] = float(((seen >= low) & (seen <= high)).mean())
        row[f"median_width_{level:.0%}"] = float(np.median(high - low))
    loss = 0.5 * ((seen - mean) / std) ** 2 + np.log(std) + 0.5 * np.log(2 * np.pi)
    row["nll_mean"], row["nll_median"] = float(loss.mean()), float(np.median(loss))
    row["nll_mean_without_worst_percent"] = float(np.sort(loss)[: int(0.99 * len(loss))].mean())
    return row


def main() -> None:
    parser = Options(__doc__, seeds="0,1,2", fresh=True)
    parser.add_argument("--train-sizes", type=numbers, default="156,781")
    parser.add_argument("--models", default=",".join(MODELS))
    options = parser.parse_args()
    campaign = Campaign(
        "predictor_calibration",
        ("model", "train_size", "seed"),
        ["nb201-accuracy"],
        fresh=options.fresh,
        dataset="cifar10, validation accuracy, percent",
        likelihood="of a normal distribution with the predicted mean and std",
        models=MODELS,
    )
    runs = product(options.models.split(","), options.train_sizes, options.seeds)
    campaign.complete(runs, measure)


if __name__ == "__main__":
    main()
