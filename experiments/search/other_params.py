"""Searches for an architecture together with hyperparameters, on a task with a known best value.

    python -m experiments.search.other_params [--samplers nasplug,TPE,…] [--seeds 0-9]
        [--trials 100]

The value is the CIFAR-10 validation accuracy of an NB201 cell less a penalty: for the distance of
the learning rate from the best one of that cell (larger cells want smaller ones; a factor of ten
costs 4 points), for weight decay (half a point), and for two of three augmentations. Momentum is
suggested for one optimiser alone. `nasplug, independent` is the same sampler, which draws all of
these at random; `nasplug, repeat 3` may try an architecture three times. `regret` is how far the
best value so far is from the best of the task. Written to results/other_params.json.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import optuna

from experiments import RESULTS
from experiments.campaign import Campaign, Options, Row
from experiments.common import Array, accuracies, cells
from nasplug import PredictorSampler
from nasplug.sampling.offered_params import OfferedParams
from nasplug.search_spaces import space
from nasplug.searching.objectives import suggest

CHECKPOINTS = (20, 30, 50, 75, 100)
AUGMENTATION = {"none": 1.5, "flip": 0.5, "cutout": 0.0}


@cache
def table() -> tuple[Array, Array]:
    """Accuracy and logarithm of the best learning rate of each cell, `(15625,)` each."""
    sizes = np.log10([graph.total("params") for graph in cells()[1]])
    scaled = (sizes - sizes.mean()) / sizes.std()
    return accuracies()[0][:, 0], -1.5 - 0.3 * scaled


def objective(trial: optuna.Trial) -> float:
    """Accuracy less penalties; the best value is the best accuracy of the table."""
    nb201: Any = space("nb201")
    row = nb201.index(nb201.from_params(suggest(trial, nb201.distributions())))
    accuracy, best = (column[row] for column in table())
    lr = trial.suggest_float("lr", 1e-4, 1.0, log=True)
    decay = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
    augmentation = trial.suggest_categorical("augmentation", list(AUGMENTATION))
    value = accuracy - 4 * (np.log10(lr) - best) ** 2 - 0.5 * (np.log10(decay) + 3.5) ** 2 / 4
    value -= AUGMENTATION[augmentation]
    if trial.suggest_categorical("optimizer", ["sgd", "adam"]) == "sgd":
        value -= 2 * (trial.suggest_float("momentum", 0.0, 0.99) - 0.9) ** 2
    else:
        value -= 0.3
    return float(value)


def sampler_of(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """A sampler by its name."""
    samplers = optuna.samplers
    made: dict[str, Callable[[], samplers.BaseSampler]] = {
        "TPE": lambda: samplers.TPESampler(seed=seed),
        "TPE, multivariate": lambda: samplers.TPESampler(seed=seed, multivariate=True, group=True),
        "GPSampler": lambda: samplers.GPSampler(seed=seed),
        "random": lambda: samplers.RandomSampler(seed=seed),
        "nasplug, repeat 3": lambda: PredictorSampler("nb201", seed=seed, repeat=3),
    }
    options = {"seed": seed, "warn_independent_sampling": False}
    return made[name]() if name in made else PredictorSampler("nb201", **options)


def run(name: str, seed: int, trials: int) -> Row:
    """Search, and note the regret on the way."""
    study = optuna.create_study(direction="maximize", sampler=sampler_of(name, seed))
    if name == "nasplug, independent":
        with mock.patch.object(OfferedParams, "others", return_value={}):
            study.optimize(objective, n_trials=trials)
    else:
        study.optimize(objective, n_trials=trials)
    values = np.array([trial.value for trial in study.trials])
    regret = table()[0].max() - np.maximum.accumulate(values)
    nb201 = space("nb201")
    ids = {nb201.from_params(trial.params).arch_id for trial in study.trials}
    return {
        "architectures": len(ids),
        "regret": {str(n): round(float(regret[n - 1]), 4) for n in CHECKPOINTS if n <= trials},
    }


def main() -> None:
    parser = Options(__doc__, threads=1, seeds="0-9", fresh=True)
    parser.add_argument(
        "--samplers", default="nasplug;nasplug, independent;TPE;TPE, multivariate;random"
    )
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--result", type=Path, default=RESULTS / "other_params.json")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    keys = ("sampler", "seed", "trials")
    campaign = Campaign(options.result, keys, ("nb201-accuracy",), rows="rows", fresh=options.fresh)
    names = options.samplers.split(";")
    campaign.complete(
        [(name, seed, options.trials) for seed in options.seeds for name in names], run
    )


if __name__ == "__main__":
    main()
