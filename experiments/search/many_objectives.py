"""Compare gains of two to four objectives: expected hypervolume against a random weighting.

    python -m experiments.search.many_objectives [--seeds 100-109] [--trials 200] [--fresh]

Searches of measured tables by nasplug's sampler, which learns all values. With `weighting` the
values of each trial are one, an augmented Chebyshev norm with random weights (Knowles, "ParEGO",
2006), whose expected improvement decides. Shares are those of the hypervolume of the table, with
the reference point a tenth of its front's range beyond the front's worst values; milliseconds are
processor time of one thread for one trial, its median over the twenty before each checkpoint.
Writes results/many_objectives.json.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any
from unittest.mock import patch

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna._hypervolume.wfg import compute_hypervolume

from experiments.campaign import Campaign, Options
from experiments.common import cells
from experiments.search.search_nasplug import OURS
from experiments.search.search_tasks import Task, task
from nasplug import datasets
from nasplug.arrays import Array, Indices
from nasplug.pareto import pareto_mask
from nasplug.sampling import listed_choice
from nasplug.sampling.observations import Observations, Posterior, value_scores
from nasplug.sampling.trial_model import TrialModel, most_promising

# Columns of the tables beside the accuracy; NAS-Bench-201's latencies by device.
TASKS = {
    "nb201-2": ("nb201-cifar10", ("GTX 1080 Ti@1",)),
    "nb201-3": ("nb201-cifar10", ("GTX 1080 Ti@1", "params")),
    "nb201-4": ("nb201-cifar10", ("GTX 1080 Ti@1", "Xeon Gold 6226@1", "params")),
    "macro-3": ("macro-cifar10", ("flops", "params")),
}
GAINS = ("hypervolume", "weighting")
CHECKPOINTS = (50, 100, 200)
BEFORE = 20


class Weighted(TrialModel):
    """A model that learns a random weighting of the values, another one for each trial."""

    def choose(
        self, observations: Observations, allowed: Indices, probability: float
    ) -> tuple[int, Posterior]:
        """Choose the candidate of the largest expected improvement of the weighting."""
        recalled = self.recalled(observations)
        scores = np.stack([value_scores(column) for column in observations.losses.T], axis=1)
        generator = np.random.default_rng([len(scores), SEED[0]])
        weighted = scores * generator.dirichlet(np.ones(scores.shape[1]))
        loss = weighted.max(axis=1) + 0.05 * weighted.sum(axis=1)
        observations = replace(observations, losses=loss[:, None])
        posterior = self.posterior(observations, recalled)
        (row,) = most_promising(observations, posterior, allowed, probability)
        # Intervals are announced of each value; these are not of the weighting.
        many = np.repeat(posterior.mean, scores.shape[1], axis=1)
        wide = np.repeat(posterior.std, scores.shape[1], axis=1)
        return int(row), replace(posterior, mean=many, std=wide)


SEED = [0]


@cache
def searched(name: str) -> Task:
    """The search of a table with all objectives."""
    table, columns = TASKS[name]
    single = task(table)
    values = [single.values[:, 0]]
    for column in columns:
        if "@" in column:
            values.append(datasets.load("nb201-latency")[column].to_numpy(np.float64))
        elif table.startswith("macro"):
            values.append(datasets.load("macro")[column].to_numpy(np.float64))
        else:
            values.append(np.array([graph.total(column) for graph in cells()[1]]))
    directions = ("maximize", *("minimize" for _ in columns))
    device = next((column for column in columns if "@" in column), None)
    return replace(
        single, name=name, values=np.stack(values, axis=1), directions=directions, device=device
    )


@cache
def scale(name: str) -> tuple[Array, float]:
    """The reference point of a table, and its hypervolume."""
    losses = searched(name).losses
    front = np.unique(losses[pareto_mask(losses)], axis=0)
    reference = front.max(axis=0) + 0.1 * np.ptp(front, axis=0)
    return reference, float(compute_hypervolume(front, reference))


def share(name: str, rows: NDArray[np.intp]) -> float:
    """Share of a table's hypervolume that architectures have."""
    reference, whole = scale(name)
    found = np.minimum(searched(name).losses[rows], reference)
    return float(compute_hypervolume(found, reference)) / whole


def run(name: str, gain: str, seed: int, trials: int) -> dict[str, Any]:
    """Do a search; its row."""
    SEED[0] = seed
    model = Weighted if gain == "weighting" else TrialModel
    with patch.object(listed_choice, "TrialModel", model):
        rows, ticks = [], [time.process_time()]
        for row in OURS["nasplug"](searched(name), seed, trials):
            rows.append(row)
            ticks.append(time.process_time())
    done, spent = np.array(rows, np.intp), np.diff(ticks)
    reached = [n for n in CHECKPOINTS if n <= trials]
    losses = searched(name).losses[done]
    return {
        "values": losses.shape[1],
        "front": int(pareto_mask(losses).sum()),
        "share": {str(n): round(share(name, done[:n]), 5) for n in reached},
        "milliseconds": {
            str(n): round(float(1e3 * np.median(spent[n - BEFORE : n])), 1) for n in reached
        },
    }


def main() -> None:
    parser = Options(__doc__, threads=1, seeds="100-109", fresh=True)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--trials", type=int, default=200)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # With two objectives it is the seconds alone that are asked for.
    runs = [
        (seed, name, gain)
        for seed, name, gain in product(options.seeds, options.tasks.split(","), GAINS)
        if not (name.endswith("-2") and gain == "weighting")
    ]
    keys, data = ("seed", "task", "gain"), ("nb201-accuracy", "nb201-latency", "macro")
    campaign = Campaign("many_objectives", keys, data, rows="rows", fresh=options.fresh)
    campaign.complete(runs, lambda seed, name, gain: run(name, gain, seed, options.trials))


if __name__ == "__main__":
    main()
